//! The polling feed: a position in a shard with its iterator, which is fetched on first use and renewed after it
//! expires.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::odd_answers::OddAnswers;
use super::prefetched::{Answer, Prefetched, is_young, leads_on};
use super::registry::Kept;
use super::retention::{Retention, expired_after};
use super::{Deadline, Feed, FeedParts, MAX_RECORDS, Next, ReadKind, Wanted, rest_of};
use crate::error::{Error, ErrorKind, Result};
use crate::read::memory_pool::MemoryLimits;
use crate::read::{Backlog, Shared};
use crate::service::{Ends, KinesisApi, Page, Presence, RecordColumns, ShardIterator, presence, same_stream};
use crate::stream::{Position, SequenceNumber};

/// Delay between two requests for a refused position.
const ASK_AFTER_REFUSAL: Duration = Duration::from_secs(1);

pub(super) struct PollingFeed {
    api: Arc<dyn KinesisApi>,
    shared: Arc<Shared>,
    retention: Retention,
    /// Minimum time between two requests.
    interval: Duration,
    /// Maximum number of records in one answer.
    most_records: u32,
    position: Position,
    iterator: Option<ShardIterator>,
    /// Pages fetched beyond the previous batch's end, or what this batch left of its last page.
    ahead: Prefetched,
    /// What to observe at the pages' end, until the first request for what follows it.
    resume_point: Option<ResumePoint>,
    /// The record before the position, until the shard is known to still have it. The service silently omits expired
    /// records, so this record is requested too: if it comes, nothing after it is missing.
    before: Option<SequenceNumber>,
    /// The last answer doesn't prove the tip, whatever its `MillisBehindLatest`: more records may have followed at
    /// once.
    no_tip: bool,
    asked: Option<Instant>,
    /// Evidence for the shard's end after this position.
    ends: Ends,
    /// The last page returned, without its records.
    last: Option<Page>,
}

/// What to observe at the end of the prefetched pages.
#[derive(Clone, Copy, Debug, Default)]
struct ResumePoint {
    /// The previous batch's reader left the pages.
    taken_over: bool,
    /// A request was sent between the batches, possibly just now.
    pause: bool,
    /// Some of the pages were delivered.
    handed_out: bool,
}

impl PollingFeed {
    /// A feed at the batch's start, with what the previous batch's reader parked there, if anything.
    pub(super) fn new(parts: &FeedParts<'_>, kind: ReadKind) -> Self {
        let (shared, feeds) = (&parts.shared, parts.feeds);
        let task = &shared.task;
        let position = task.start.clone();
        let before = position_before(&position, task.is_tip_seen());
        let left = feeds.take_pages(task, kind, &shared.counters);
        let ahead =
            left.unwrap_or_else(|| Prefetched::nothing(MemoryLimits::new(parts.options, feeds.pool())));
        Self {
            api: parts.api.clone(),
            shared: shared.clone(),
            retention: Retention::new(parts.options, &parts.shared),
            interval: parts.options.fetch_interval,
            most_records: parts.options.records_per_fetch,
            position,
            iterator: None,
            resume_point: Some(ResumePoint {
                taken_over: true,
                pause: ahead.was_fetched(),
                handed_out: false,
            }),
            ahead,
            before,
            no_tip: false,
            asked: None,
            ends: Ends::default(),
            last: None,
        }
    }

    /// A feed that continues where another one of this batch stopped.
    pub(super) fn going_on(parts: &FeedParts<'_>, position: Position) -> Self {
        let start = Self::new(parts, ReadKind::Replay);
        match start.position == position {
            true => start,
            false => Self {
                position,
                iterator: None,
                before: None,
                ..start
            },
        }
    }

    /// The next page: a prefetched one, or the answer to a request for at most `limit` records.
    async fn next_page(&mut self, limit: u32) -> Result<Page> {
        let mut page = match self.ahead.next().await {
            Some(page) => {
                // Nothing expired between these records and the previous batch's.
                self.before = None;
                // The pages were requested before the task began.
                self.no_tip = true;
                let resume = self.resume_point.get_or_insert_default();
                resume.handed_out = true;
                if resume.taken_over {
                    self.shared.progress().prefetch_hit = true;
                }
                page
            }
            None => {
                self.pass_resume_point().await;
                self.ask(limit).await?
            }
        };
        if let Position::AfterQuiet(number, _) = &self.position {
            // The iterator was requested by time.
            remove_read(number, &mut page.records)?;
        }
        self.last = Some(page.without_records());
        Ok(page)
    }

    /// Prepares the request for what follows the end of the prefetched pages. Dropping the future loses nothing.
    async fn pass_resume_point(&mut self) {
        let Some(resume) = self.resume_point else { return };
        if resume.pause {
            self.ahead.pause(self.interval).await;
        }
        self.resume_point = None;
        if let Some(iterator) = self.ahead.take_iterator() {
            self.iterator = Some(iterator);
        }
        if resume.handed_out && !self.ahead.answer().as_ref().is_some_and(Answer::is_fresh) {
            // The pages may have waited for long.
            if let Position::After(number) = &self.position {
                self.before = Some(number.clone());
            }
        }
        if self.before.is_some() {
            self.iterator = None;
        }
    }

    /// Sends a request. Odd answers are retried: one counts only if it repeats, or if the stream's listing confirms
    /// it.
    async fn ask(&mut self, limit: u32) -> Result<Page> {
        let limit = match self.before {
            Some(_) => (limit + 1).min(MAX_RECORDS),
            None => limit,
        };
        let mut odd = OddAnswers::default();
        loop {
            let page = match self.ask_once(limit).await {
                Err(error) if error.kind().is_of_iterator() => {
                    tracing::info!(
                        shard = %self.shared.task.shard,
                        position = %self.position,
                        "the shard iterator is of no use any more, getting another: {error}"
                    );
                    if error.kind() == ErrorKind::InvalidRequest {
                        odd.count(error)?;
                        odd.wait_longer().await;
                    } else {
                        odd.count(error.retryable(true))?;
                    }
                    if self.position.record().is_none() {
                        // Another stream under the same name would accept this position, too.
                        same_stream(&*self.api, self.retention.stream(), self.shared.task.created).await?;
                    }
                    self.iterator = None;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    match self.presence().await {
                        Ok(Presence::Gone) => return self.end_of_gone_shard(error),
                        Ok(Presence::Open | Presence::Closed) => odd.count(error.retryable(true))?,
                        Err(unclear) => odd.count_if_it_passes(unclear)?,
                    }
                    odd.wait().await;
                    self.iterator = None;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::RefusedPosition => {
                    self.iterator = None;
                    if let Err(unclear) = self.presence().await {
                        odd.count_if_it_passes(unclear)?;
                        odd.wait().await;
                        continue;
                    }
                    if !odd.is_repeated_refusal() {
                        tokio::time::sleep(ASK_AFTER_REFUSAL).await;
                        continue;
                    }
                    match self.position.clone() {
                        // The service may reject the time; the record before it is a valid position, too.
                        Position::AfterQuiet(number, _) => {
                            odd.refusals = 0;
                            self.before = Some(number.clone());
                            self.position = Position::After(number);
                        }
                        _ if self.stands_at_last_batch() => self.start_at_horizon(&error)?,
                        _ => return Err(error),
                    }
                    continue;
                }
                page => page?,
            };
            let (stream, task) = (self.retention.stream(), &self.shared.task);
            let doubt = self
                .ends
                .doubt(&*self.api, stream, task.created, &task.shard, &page);
            let wrong = match doubt.await {
                Ok(None) => return Ok(page),
                Ok(Some(wrong)) => wrong,
                Err(unclear) => unclear,
            };
            odd.count_if_it_passes(wrong)?;
            odd.wait().await;
            self.iterator = None;
        }
    }

    async fn ask_once(&mut self, limit: u32) -> Result<Page> {
        let iterator = self.iterator().await?;
        // The iterator stays usable even if this request is throttled.
        self.iterator = Some(iterator.clone());
        let (shard, counters) = (&self.shared.task.shard, &self.shared.counters);
        let asked = Instant::now();
        self.asked = Some(asked);
        let mut page = self.api.get_records(shard, &iterator, limit, counters).await?;
        self.no_tip = page.records.len() >= limit as usize;
        self.drop_what_was_read(&mut page)?;
        self.ahead.answered(&page, self.no_tip, asked);
        Ok(page)
    }

    async fn iterator(&self) -> Result<ShardIterator> {
        if let Some(iterator) = &self.iterator {
            return Ok(iterator.clone());
        }
        let (shard, counters) = (&self.shared.task.shard, &self.shared.counters);
        match &self.before {
            Some(number) => self.api.shard_iterator_at_record(shard, number, counters).await,
            None => self.api.shard_iterator(shard, &self.position, counters).await,
        }
    }

    /// Whether the shard exists. Fails if the stream is missing or was replaced by another one.
    async fn presence(&self) -> Result<Presence> {
        let task = &self.shared.task;
        presence(&*self.api, self.retention.stream(), task.created, &task.shard).await
    }

    /// Continues at the horizon after the service refused the position at which the previous batch ended.
    fn start_at_horizon(&mut self, error: &Error) -> Result<()> {
        self.retention.lost(&format!(
            "the shard can't be read on from where the query stood in it, so records that were not read may be lost: \
             {}",
            error.message()
        ))?;
        self.position = Position::TrimHorizon;
        self.before = None;
        self.shared.progress().position = Position::TrimHorizon;
        Ok(())
    }

    /// True at the previous batch's end, before anything of this batch was read.
    fn stands_at_last_batch(&self) -> bool {
        self.position.record().is_some() && self.position.is_same_place(&self.shared.task.start)
    }

    /// The shard has expired: returns an answer like the one at the end of a closed shard, so that the shards that
    /// follow it can be read.
    fn end_of_gone_shard(&self, error: Error) -> Result<Page> {
        self.retention.lost(&format!(
            "the stream doesn't have the shard any more, whose records were not all read: closed shards go when the \
             stream's retention has passed ({})",
            error.message()
        ))?;
        Ok(Page {
            records: RecordColumns::with_capacity(0, 0),
            next: None,
            millis_behind_latest: None,
            child_shards: Vec::new(),
            request_id: None,
            service_millis: None,
        })
    }

    /// Removes the record before the position, which an earlier batch read, from an answer. If another record comes
    /// first, that one has expired, and unread records may have expired with it.
    fn drop_what_was_read(&mut self, page: &mut Page) -> Result<()> {
        let records = &mut page.records;
        let Some(before) = self.before.take_if(|_| !records.is_empty()) else {
            return Ok(());
        };
        match remove_read(&before, records)? {
            0 => self.retention.lost(&expired_after(&before, records)),
            _ => Ok(()),
        }
    }

    /// True if the next batch takes over from this feed. A batch read has no next batch, and a query with fan-out
    /// continues by its subscription.
    fn leaves_to_next(&self) -> bool {
        let task = &self.shared.task;
        task.until.is_none() && task.consumer.is_none()
    }

    /// Number of records to request. The last request of a batch may exceed the batch if there is room for the
    /// surplus.
    fn limit(&self, wanted: Wanted) -> u32 {
        let Wanted::AtMost { rows, bytes } = wanted else {
            return MAX_RECORDS;
        };
        let by_bytes = bytes.and_then(|bytes| self.ahead.records_with(bytes));
        let limit = rows
            .into_iter()
            .chain(by_bytes)
            .min()
            .map_or(MAX_RECORDS, |rows| {
                let rows = rows.saturating_add(self.room_for_leftover() as u64);
                u32::try_from(rows).unwrap_or(MAX_RECORDS)
            });
        limit.clamp(1, self.most_records)
    }

    /// Number of records beyond the batch's limit that an answer may have, to be kept for the next batch.
    fn room_for_leftover(&self) -> usize {
        match self.leaves_to_next() {
            true => self.ahead.room_for(),
            false => 0,
        }
    }
}

#[async_trait]
impl Feed for PollingFeed {
    async fn next(&mut self, wanted: Wanted, _: Deadline) -> Result<Next> {
        let limit = self.limit(wanted);
        match self.next_page(limit).await {
            Ok(page) => Ok(Next::Page(Box::new(page))),
            Err(error) if error.kind() == ErrorKind::Throttled => Ok(Next::Throttled(error)),
            Err(error) => Err(error),
        }
    }

    async fn pause(&mut self) {
        rest_of(self.interval, self.asked).await;
    }

    /// What the batch leaves of a page waits for the next one.
    fn advance_to(
        &mut self,
        position: Position,
        iterator: Option<ShardIterator>,
        rest: Option<RecordColumns>,
    ) {
        if !self.position.is_same_place(&position) {
            self.ends = Ends::default();
        }
        self.position = position;
        self.iterator = iterator.filter(leads_on);
        match (rest, self.last.take()) {
            (Some(records), Some(last)) => {
                self.ahead.put_back(Page { records, ..last });
                self.resume_point = Some(ResumePoint::default());
            }
            _ if self.iterator.is_none() => self.ahead.clear(),
            _ => {}
        }
    }

    fn retains_leftover(&self) -> bool {
        self.leaves_to_next()
    }

    /// More records may follow the last answer at once even if it reports the tip: services compute
    /// `MillisBehindLatest` from arrival times, and many records can arrive within one millisecond. An answer
    /// requested before the task began proves nothing about the tip either.
    fn tip_unconfirmed(&self) -> bool {
        self.no_tip
    }

    fn instead(&self, _: Position, _: &FeedParts<'_>) -> Option<Box<dyn Feed>> {
        None
    }

    /// The feed's own iterator is dropped if it may still return the record before the position. With `fetch`, more
    /// is fetched ahead if more is known to exist.
    fn hand_off(mut self: Box<Self>, end: &Position, fetch: bool, parts: &FeedParts<'_>) {
        let shared = &self.shared;
        let task = &shared.task;
        self.ahead.count(&shared.counters);
        if let Some(behind) = self.ahead.behind() {
            shared.progress().fetched_behind = Some(behind);
        }
        let usable = self.before.is_none() || self.resume_point.is_some();
        let stands_there = self.position == *end && *end != Position::ShardEnd;
        let iterator = self.iterator.take();
        if !usable || !stands_there || !self.leaves_to_next() || !self.ahead.go_on_with(iterator) {
            return;
        }
        let goes_on = {
            let progress = shared.progress();
            progress.backlog == Backlog::Remaining && progress.rows > 0
        };
        let Self { api, mut ahead, .. } = *self;
        if fetch && goes_on {
            ahead.fetch(&api, &task.shard, end, parts.options);
        }
        parts.feeds.keep(task, end.clone(), Kept::Pages(ahead));
    }
}

/// The record before a position: if the shard still has it, nothing after the position has expired. None if that is
/// already known.
fn position_before(position: &Position, tip_seen: bool) -> Option<SequenceNumber> {
    match position {
        _ if tip_seen => None,
        Position::After(number) => Some(number.clone()),
        Position::AfterQuiet(number, millis) if !is_young(*millis) => Some(number.clone()),
        _ => None,
    }
}

/// Removes the records up to and including `last`, which were read before; returns their number.
pub(crate) fn remove_read(last: &SequenceNumber, records: &mut RecordColumns) -> Result<usize> {
    let mut read = 0;
    while read < records.len() && records.sequence_number(read).parse::<SequenceNumber>()? <= *last {
        read += 1;
    }
    records.remove_first(read);
    Ok(read)
}
