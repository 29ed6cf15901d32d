//! What was fetched of a shard beyond a batch's end: the rest of its last answer, and answers that were asked for
//! between two batches.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::fetch::Fetch;
use super::page_buffer::PageBuffer;
use super::{is_tip, rest_of};
use crate::options::SourceOptions;
use crate::read::memory_pool::{MemoryLimits, MemoryReservation};
use crate::service::{KinesisApi, Page, RequestCounters, ShardIterator};
use crate::stream::{Position, ShardId};

/// What follows a record that arrived this short a time ago can't have expired: half of the day that a stream keeps its
/// records at least (AWS limit), so that clocks may differ by hours.
const YOUNG: Duration = Duration::from_secs(12 * 3600);

/// Pages that follow one another without a gap, and the fetch that may add to them. Dropping it ends the fetch and gives
/// the bytes back.
#[derive(Debug)]
pub(in crate::read) struct Prefetched {
    limits: MemoryLimits,
    waiting: Arc<Mutex<Waiting>>,
    /// What the fetch asks of the service while no task counts it.
    counters: Arc<RequestCounters>,
    fetching: Option<Fetching>,
}

#[derive(Debug)]
struct Fetching {
    handle: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// What the owner of the pages and their fetch share.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub pages: PageBuffer,
    /// Goes on where the pages end; none at the shard's end, or where it isn't known.
    pub iterator: Option<ShardIterator>,
    /// Of the answer asked for last, to whomever it was given.
    pub answer: Option<Answer>,
}

/// What an answer tells of what follows it.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub asked: Instant,
    /// Nothing followed.
    pub tip: bool,
    /// It held as many records as were asked for: more may follow, whatever it says of the tip.
    pub full: bool,
    /// When the last record known arrived, milliseconds since the epoch.
    pub arrival: Option<i64>,
    /// Bytes of a record, on average over the last answer with records; 0 before.
    pub record_bytes: usize,
    /// Of those the payload's.
    data_bytes: usize,
}

/// In the place of the iterator that follows a page of which the rest was dropped: it isn't the shard's end.
fn nowhere() -> ShardIterator {
    ShardIterator(String::new())
}

/// False for the iterator in whose place is nothing.
pub(super) fn leads_on(iterator: &ShardIterator) -> bool {
    !iterator.0.is_empty()
}

impl Answer {
    /// After this answer's predecessor.
    pub(super) fn to(page: &Page, full: bool, asked: Instant, last: Option<&Self>) -> Self {
        let records = &page.records;
        let known = |bytes: usize| bytes.checked_div(records.len());
        let data_bytes = known(records.data_bytes()).or(last.map(|last| last.data_bytes));
        Self {
            asked,
            tip: is_tip(page.millis_behind_latest, records.is_empty()),
            full,
            arrival: records
                .last_arrival_millis()
                .or(last.and_then(|last| last.arrival)),
            record_bytes: known(records.bytes())
                .or(last.map(|last| last.record_bytes))
                .unwrap_or_default(),
            data_bytes: data_bytes.unwrap_or_default(),
        }
    }

    /// How many records there is room for in so many bytes, by those of the last answer. Larger ones by a third fit, too.
    pub(super) fn records_in(&self, bytes: usize) -> usize {
        (bytes / 4 * 3).checked_div(self.record_bytes).unwrap_or_default()
    }

    /// How many records have so many bytes of payload, or a few more, by those of the last answer; none if nothing is
    /// known of them.
    fn records_with(&self, data_bytes: u64) -> Option<u64> {
        let of_one = u64::try_from(self.data_bytes).ok().filter(|bytes| *bytes > 0)?;
        Some(data_bytes.div_ceil(of_one).max(1))
    }

    /// True if nothing that follows can have expired unread.
    pub(super) fn is_fresh(&self) -> bool {
        (self.tip && !self.full) || self.arrival.is_some_and(is_young)
    }
}

/// True if nothing that arrived at this time (milliseconds since the epoch), or later, can have expired.
pub(in crate::read) fn is_young(arrival: i64) -> bool {
    let age = chrono::Utc::now().timestamp_millis().saturating_sub(arrival);
    u128::try_from(age).is_ok_and(|age| age < YOUNG.as_millis()) || age < 0
}

impl Prefetched {
    /// Nothing yet.
    pub(super) fn nothing(limits: MemoryLimits) -> Self {
        Self {
            limits,
            waiting: Arc::default(),
            counters: Arc::default(),
            fetching: None,
        }
    }

    /// The bytes that wait.
    pub(in crate::read) fn bytes(&self) -> usize {
        self.waiting.lock().pages.bytes()
    }

    /// How far the last page was behind the shard's tip when it was asked for.
    pub(super) fn behind(&self) -> Option<i64> {
        self.waiting.lock().pages.back()?.millis_behind_latest
    }

    /// True if it has pages, or may get some.
    pub(in crate::read) fn has_more(&self) -> bool {
        self.is_fetching() || !self.waiting.lock().pages.is_empty()
    }

    /// True if it has pages, may get some, or has the iterator for what follows.
    pub(in crate::read) fn leads_on(&self) -> bool {
        self.has_more() || self.waiting.lock().iterator.is_some()
    }

    /// True if something was asked for between two batches.
    pub(super) fn was_fetched(&self) -> bool {
        self.fetching.is_some()
    }

    fn is_fetching(&self) -> bool {
        let running = |fetching: &Fetching| !fetching.handle.is_finished();
        self.fetching.as_ref().is_some_and(running)
    }

    /// What the fetch asked of the service since the last call is the owner's to report.
    pub(in crate::read) fn count(&self, counters: &RequestCounters) {
        counters.take_over(&self.counters);
    }

    /// Lets the fetch end with the answer that is under way.
    pub(in crate::read) fn stop(&self) {
        if let Some(fetching) = &self.fetching {
            fetching.stop.send_replace(true);
        }
    }

    /// The next page, waiting for an answer under way; none when the pages are at an end. Dropping the future loses
    /// nothing.
    pub(super) async fn next(&mut self) -> Option<Page> {
        if let Some(page) = self.waiting.lock().pages.pop_front() {
            return Some(page);
        }
        let fetching = self.fetching.as_mut()?;
        // How it ended is all the same: what it has is among the pages.
        let _ = (&mut fetching.handle).await;
        self.fetching = None;
        self.waiting.lock().pages.pop_front()
    }

    /// Puts back what a batch left of the page taken last. Where there is no room for all of it, as much as fits is kept,
    /// and what follows that is asked for again.
    pub(super) fn put_back(&mut self, mut page: Page) {
        let left = |ahead: &Self| ahead.limits.own.saturating_sub(ahead.bytes());
        let reserve = |ahead: &Self, bytes: usize| match bytes <= left(ahead) {
            true => ahead.limits.pool.try_reserve(bytes, ahead.limits.all),
            false => None,
        };
        if let Some(reserved) = reserve(self, page.records.bytes()) {
            return self.waiting.lock().put_first(page, reserved);
        }
        self.clear();
        if let Some(answer) = &mut self.waiting.lock().answer {
            // Something follows what is kept, whatever the answer said of what followed it.
            (answer.tip, answer.full) = (false, true);
        }
        let most = left(self).min(self.limits.pool.left(self.limits.all));
        page.records.truncate(page.records.fitting(most));
        if page.records.is_empty() {
            return;
        }
        page.next = Some(nowhere());
        page.millis_behind_latest = page.millis_behind_latest.map(|millis| millis.max(1));
        if let Some(reserved) = reserve(self, page.records.bytes()) {
            self.waiting.lock().put_first(page, reserved);
        }
    }

    /// Drops the pages and what follows them.
    pub(super) fn clear(&mut self) {
        self.fetching = None;
        let answer = self.waiting.lock().answer.take();
        // Not emptied: a fetch that ends this moment may still write to the former ones.
        self.waiting = Arc::new(Mutex::new(Waiting {
            answer,
            ..Waiting::default()
        }));
    }

    /// How many records beyond the batch an answer may have, so that there is room for them.
    pub(super) fn room_for(&self) -> usize {
        let waiting = self.waiting.lock();
        let bytes = self
            .limits
            .own
            .saturating_sub(waiting.pages.bytes())
            .min(self.limits.pool.left(self.limits.all));
        let known = waiting.answer.as_ref();
        known.map_or(0, |answer| answer.records_in(bytes))
    }

    /// How many records have so many bytes of payload; none if that isn't known.
    pub(super) fn records_with(&self, data_bytes: u64) -> Option<u64> {
        self.waiting.lock().answer.as_ref()?.records_with(data_bytes)
    }

    /// Notes the answer asked for last.
    pub(super) fn answered(&self, page: &Page, full: bool, asked: Instant) {
        let mut waiting = self.waiting.lock();
        waiting.answer = Some(Answer::to(page, full, asked, waiting.answer.as_ref()));
    }

    /// What is known of the answer asked for last.
    pub(super) fn answer(&self) -> Option<Answer> {
        self.waiting.lock().answer.clone()
    }

    /// Takes the iterator for what follows the pages, once they are at an end.
    pub(super) fn take_iterator(&self) -> Option<ShardIterator> {
        self.waiting.lock().iterator.take()
    }

    /// Goes on with this iterator if no pages wait. True if there is anything for a later reader, if only how large the
    /// records are.
    pub(super) fn go_on_with(&self, iterator: Option<ShardIterator>) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.pages.is_empty() && waiting.iterator.is_none() {
            waiting.iterator = iterator;
        }
        let anything = !waiting.pages.is_empty() || waiting.iterator.is_some() || waiting.answer.is_some();
        drop(waiting);
        anything || self.is_fetching()
    }

    /// Fetches what follows until the tip, the shard's end, an error or the bounds. `end` is where the pages end, if
    /// there are none.
    pub(super) fn fetch(
        &mut self,
        api: &Arc<dyn KinesisApi>,
        shard: &ShardId,
        end: &Position,
        options: &SourceOptions,
    ) {
        let (stop, stopped) = watch::channel(false);
        let fetch = Fetch {
            api: api.clone(),
            shard: shard.clone(),
            interval: options.fetch_interval,
            most_records: options.records_per_fetch,
            limits: self.limits.clone(),
            waiting: self.waiting.clone(),
            counters: self.counters.clone(),
        };
        let (former, end) = (self.fetching.take(), end.clone());
        let handle = tokio::spawn(async move {
            // It may still have an answer under way.
            if let Some(mut former) = former {
                let _ = (&mut former.handle).await;
            }
            fetch.run(end, stopped).await;
        });
        self.fetching = Some(Fetching { handle, stop });
    }

    /// Waits until the shard may be asked again.
    pub(super) async fn pause(&self, interval: Duration) {
        let asked = self.answer().map(|answer| answer.asked);
        rest_of(interval, asked).await;
    }
}

impl Waiting {
    fn put_first(&mut self, page: Page, reserved: MemoryReservation) {
        if self.pages.is_empty() && self.iterator.is_none() {
            self.iterator = page.next.clone().filter(leads_on);
        }
        self.pages.push_front(page, reserved);
    }
}
