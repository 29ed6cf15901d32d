//! What was fetched of a shard beyond a batch's end: the rest of its last answer, and answers requested between two
//! batches.

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

/// Age below which a record's successors can't have expired: half of the day that every stream keeps its records at
/// least (AWS limit), so clocks may differ by hours.
const YOUNG: Duration = Duration::from_secs(12 * 3600);

/// Contiguous pages and the fetch that may add to them. Dropping it ends the fetch and releases the bytes.
#[derive(Debug)]
pub(in crate::read) struct Prefetched {
    limits: MemoryLimits,
    waiting: Arc<Mutex<Waiting>>,
    /// Requests of the fetch that no task has counted yet.
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

/// State shared by the pages' owner and their fetch.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub pages: PageBuffer,
    /// Continues at the pages' end; none at the shard's end, or if unknown.
    pub iterator: Option<ShardIterator>,
    /// The latest answer, whether from a task's request or the fetch's.
    pub answer: Option<Answer>,
}

/// What an answer reveals about the records after it.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub asked: Instant,
    /// The tip was reached.
    pub tip: bool,
    /// It held as many records as were requested: more may follow, even if it reports the tip.
    pub full: bool,
    /// When the last known record arrived, milliseconds since the epoch.
    pub arrival: Option<i64>,
    /// Average bytes of a record in the last answer with records; 0 before the first one.
    pub record_bytes: usize,
    /// Average bytes of a record's payload.
    data_bytes: usize,
}

/// Placeholder for the iterator after a partly dropped page: the shard doesn't end there.
fn nowhere() -> ShardIterator {
    ShardIterator(String::new())
}

/// False for the placeholder [`nowhere`].
pub(super) fn leads_on(iterator: &ShardIterator) -> bool {
    !iterator.0.is_empty()
}

impl Answer {
    /// The answer's summary; `last` is its predecessor's.
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

    /// Estimated number of records that fit into `bytes`, from the last answer's average size, with a third of
    /// headroom.
    pub(super) fn records_in(&self, bytes: usize) -> usize {
        (bytes / 4 * 3).checked_div(self.record_bytes).unwrap_or_default()
    }

    /// Estimated number of records with at least `data_bytes` of payload, from the last answer; none without data.
    fn records_with(&self, data_bytes: u64) -> Option<u64> {
        let of_one = u64::try_from(self.data_bytes).ok().filter(|bytes| *bytes > 0)?;
        Some(data_bytes.div_ceil(of_one).max(1))
    }

    /// True if nothing after the answer can have expired unread.
    pub(super) fn is_fresh(&self) -> bool {
        (self.tip && !self.full) || self.arrival.is_some_and(is_young)
    }
}

/// True if nothing that arrived at this time (milliseconds since the epoch) or later can have expired.
pub(in crate::read) fn is_young(arrival: i64) -> bool {
    let age = chrono::Utc::now().timestamp_millis().saturating_sub(arrival);
    u128::try_from(age).is_ok_and(|age| age < YOUNG.as_millis()) || age < 0
}

impl Prefetched {
    /// An empty buffer.
    pub(super) fn nothing(limits: MemoryLimits) -> Self {
        Self {
            limits,
            waiting: Arc::default(),
            counters: Arc::default(),
            fetching: None,
        }
    }

    /// Bytes of the waiting pages.
    pub(in crate::read) fn bytes(&self) -> usize {
        self.waiting.lock().pages.bytes()
    }

    /// How far the last page was behind the shard's tip when it was requested, in milliseconds.
    pub(super) fn behind(&self) -> Option<i64> {
        self.waiting.lock().pages.back()?.millis_behind_latest
    }

    /// True if pages wait or may still arrive.
    pub(in crate::read) fn has_more(&self) -> bool {
        self.is_fetching() || !self.waiting.lock().pages.is_empty()
    }

    /// True if pages wait or may still arrive, or if the iterator for what follows is there.
    pub(in crate::read) fn leads_on(&self) -> bool {
        self.has_more() || self.waiting.lock().iterator.is_some()
    }

    /// True if a fetch between two batches was started.
    pub(super) fn was_fetched(&self) -> bool {
        self.fetching.is_some()
    }

    fn is_fetching(&self) -> bool {
        let running = |fetching: &Fetching| !fetching.handle.is_finished();
        self.fetching.as_ref().is_some_and(running)
    }

    /// Moves the fetch's requests since the last call to the owner's counters.
    pub(in crate::read) fn count(&self, counters: &RequestCounters) {
        counters.take_over(&self.counters);
    }

    /// Ends the fetch after the request in flight.
    pub(in crate::read) fn stop(&self) {
        if let Some(fetching) = &self.fetching {
            fetching.stop.send_replace(true);
        }
    }

    /// The next page, after the request in flight if necessary; none at the pages' end. Dropping the future loses
    /// nothing.
    pub(super) async fn next(&mut self) -> Option<Page> {
        if let Some(page) = self.waiting.lock().pages.pop_front() {
            return Some(page);
        }
        let fetching = self.fetching.as_mut()?;
        // The outcome doesn't matter: anything fetched is among the pages.
        let _ = (&mut fetching.handle).await;
        self.fetching = None;
        self.waiting.lock().pages.pop_front()
    }

    /// Puts back what a batch left of the page it took last. Without room for all of it, the part that fits is kept,
    /// and what follows that is requested again.
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
            // Something follows the part that is kept, whatever the answer reported.
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

    /// Drops the pages and their continuation.
    pub(super) fn clear(&mut self) {
        self.fetching = None;
        let answer = self.waiting.lock().answer.take();
        // Replaced rather than emptied: a fetch that is just ending may still write to the former pages.
        self.waiting = Arc::new(Mutex::new(Waiting {
            answer,
            ..Waiting::default()
        }));
    }

    /// Number of records beyond the batch that an answer may have room for.
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

    /// Estimated number of records with this much payload; none if their size is unknown.
    pub(super) fn records_with(&self, data_bytes: u64) -> Option<u64> {
        self.waiting.lock().answer.as_ref()?.records_with(data_bytes)
    }

    /// Records the latest answer.
    pub(super) fn answered(&self, page: &Page, full: bool, asked: Instant) {
        let mut waiting = self.waiting.lock();
        waiting.answer = Some(Answer::to(page, full, asked, waiting.answer.as_ref()));
    }

    /// Summary of the latest answer.
    pub(super) fn answer(&self) -> Option<Answer> {
        self.waiting.lock().answer.clone()
    }

    /// Takes the iterator for what follows the pages, once they are used up.
    pub(super) fn take_iterator(&self) -> Option<ShardIterator> {
        self.waiting.lock().iterator.take()
    }

    /// Continues with this iterator if no pages wait. True if a later reader has any use for this, if only for the
    /// records' average size.
    pub(super) fn go_on_with(&self, iterator: Option<ShardIterator>) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.pages.is_empty() && waiting.iterator.is_none() {
            waiting.iterator = iterator;
        }
        let anything = !waiting.pages.is_empty() || waiting.iterator.is_some() || waiting.answer.is_some();
        drop(waiting);
        anything || self.is_fetching()
    }

    /// Fetches what follows until the tip, the shard's end, an error or the bounds. `end` is where to start if there
    /// are no pages.
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
            // The former fetch may still have a request in flight.
            if let Some(mut former) = former {
                let _ = (&mut former.handle).await;
            }
            fetch.run(end, stopped).await;
        });
        self.fetching = Some(Fetching { handle, stop });
    }

    /// Waits until the shard may be requested again.
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
