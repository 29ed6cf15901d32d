//! Fetches what follows a batch while no task reads the shard.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::MAX_RECORDS;
use super::poller::remove_read;
use super::prefetched::{Answer, Waiting, is_young};
use super::rest_of;
use crate::error::{ErrorKind, Result};
use crate::read::memory_pool::{MemoryLimits, MemoryReservation};
use crate::service::{KinesisApi, Page, Patience, RequestCounters, ShardIterator};
use crate::stream::{Position, SequenceNumber, ShardId};

pub(super) struct Fetch {
    pub api: Arc<dyn KinesisApi>,
    pub shard: ShardId,
    /// Minimum time between two requests for the shard, from any sender.
    pub interval: Duration,
    /// Maximum number of records in one answer.
    pub most_records: u32,
    pub limits: MemoryLimits,
    pub waiting: Arc<Mutex<Waiting>>,
    pub counters: Arc<RequestCounters>,
}

/// A request whose answer has reserved room.
struct Question {
    iterator: ShardIterator,
    limit: u32,
    reserved: MemoryReservation,
}

impl Fetch {
    /// Runs until the tip, the shard's end, an error, the bounds, or a stop. `end` is where fetching resumes if no
    /// pages wait.
    pub(super) async fn run(self, end: Position, mut stop: watch::Receiver<bool>) {
        let mut before = self.record_to_find(end);
        let (mut patience, mut again) = (Patience::default(), None);
        loop {
            let asked = self.waiting.lock().answer.as_ref().map(|answer| answer.asked);
            tokio::select! {
                biased;
                // Only the owner of the pages drops the sender, which ends the fetch.
                _ = stop.wait_for(|stop| *stop) => return,
                () = rest_of(self.interval, asked) => {}
            }
            if let Some(wait) = again.take() {
                tokio::select! {
                    biased;
                    _ = stop.wait_for(|stop| *stop) => return,
                    () = tokio::time::sleep(wait) => self.counters.count_retry(),
                }
            }
            let Some(question) = self.question() else { return };
            match self.ask(question, &mut before).await {
                Ok(true) => patience.answered(),
                Ok(false) => return,
                Err(error) if error.kind() == ErrorKind::Throttled => match patience.wait_after(error) {
                    Ok(wait) => again = Some(wait),
                    Err(_) => return,
                },
                // The next reader sends its own request and reports an error that persists.
                Err(error) => {
                    tracing::debug!(shard = %self.shard, "nothing more is fetched ahead: {error}");
                    return;
                }
            }
        }
    }

    /// The record that the fetched ones must follow; none if nothing after it can have expired.
    fn record_to_find(&self, end: Position) -> Option<SequenceNumber> {
        let waiting = self.waiting.lock();
        if waiting.answer.as_ref().is_some_and(Answer::is_fresh) {
            return None;
        }
        match waiting.pages.end().unwrap_or(end) {
            Position::After(number) => Some(number),
            Position::AfterQuiet(number, millis) if !is_young(millis) => Some(number),
            _ => None,
        }
    }

    /// The next request; none at the tip, at the shard's end, or without room. The answer's size is estimated from
    /// earlier records. A request for less than half of the maximum isn't worthwhile.
    fn question(&self) -> Option<Question> {
        let waiting = self.waiting.lock();
        let answer = waiting.answer.as_ref().filter(|answer| !answer.tip)?;
        let left = self.limits.own.saturating_sub(waiting.pages.bytes());
        let most = answer.records_in(self.limits.own).min(self.most_records as usize);
        let limit = answer.records_in(left).min(most);
        if limit == 0 || limit < most / 2 {
            return None;
        }
        let bytes = left.min(limit * answer.record_bytes / 3 * 4);
        Some(Question {
            iterator: waiting.iterator.clone()?,
            limit: u32::try_from(limit).unwrap_or(MAX_RECORDS),
            reserved: self.limits.pool.try_reserve(bytes, self.limits.all)?,
        })
    }

    /// Sends one request; false if there is nothing more to request.
    async fn ask(&self, question: Question, before: &mut Option<SequenceNumber>) -> Result<bool> {
        let (iterator, limit) = match &*before {
            Some(number) => {
                let at_record = self
                    .api
                    .shard_iterator_at_record(&self.shard, number, &self.counters);
                (at_record.await?, (question.limit + 1).min(MAX_RECORDS))
            }
            None => (question.iterator, question.limit),
        };
        let asked = Instant::now();
        let mut page = self
            .api
            .get_records(&self.shard, &iterator, limit, &self.counters)
            .await?;
        if page.next.is_none() && page.child_shards.is_empty() {
            // The next reader must confirm this end.
            return Ok(false);
        }
        let full = page.records.len() >= limit as usize;
        match before.take() {
            // Proves nothing: the next reader looks for the record itself.
            Some(_) if page.records.is_empty() => return Ok(false),
            // Records after it may have expired, too. The next reader detects and reports that.
            Some(number) if remove_read(&number, &mut page.records)? == 0 => return Ok(false),
            _ => {}
        }
        Ok(self.add(page, full, asked, question.reserved))
    }

    /// Adds an answer to the pages; false if there is nothing more to request.
    fn add(&self, page: Page, full: bool, asked: Instant, mut reserved: MemoryReservation) -> bool {
        let mut waiting = self.waiting.lock();
        let bytes = page.records.bytes();
        let fits = waiting.pages.bytes().saturating_add(bytes) <= self.limits.own;
        if !fits || !reserved.resize(bytes, self.limits.all) {
            // The next reader requests it again.
            if let Some(answer) = &mut waiting.answer {
                answer.asked = asked;
            }
            return false;
        }
        waiting.answer = Some(Answer::to(&page, full, asked, waiting.answer.as_ref()));
        waiting.iterator.clone_from(&page.next);
        let end = page.next.is_none();
        if end || !page.records.is_empty() {
            waiting.pages.push_back(page, reserved);
        }
        !end
    }
}
