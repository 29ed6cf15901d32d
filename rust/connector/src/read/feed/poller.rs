//! The feed that polls: a place in a shard with its iterator, which is fetched when it is first needed and renewed
//! when it expired.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::prefetched::{Answer, Prefetched, is_young, leads_on};
use super::registry::Kept;
use super::retention::{Retention, expired_after};
use super::{Deadline, Feed, FeedParts, MAX_RECORDS, Next, ReadKind, Wanted, rest_of};
use crate::error::{Error, ErrorKind, Result};
use crate::read::memory_pool::MemoryLimits;
use crate::read::{Backlog, Shared};
use crate::service::{Ends, KinesisApi, Page, Presence, RecordColumns, ShardIterator, presence, same_stream};
use crate::stream::{Position, SequenceNumber};

/// Answers that are asked for again before the task fails with the last of them.
const MOST_ODD_ANSWERS: u32 = 20;
/// Refusals of a position in a row before it is believed that the shard doesn't have it any more.
const REFUSALS: u32 = 4;
/// Between two of them.
const ASK_AFTER_REFUSAL: Duration = Duration::from_secs(1);
/// Until then.
const ASK_AGAIN: Duration = Duration::from_millis(500);

pub(super) struct PollingFeed {
    api: Arc<dyn KinesisApi>,
    shared: Arc<Shared>,
    retention: Retention,
    /// Between two requests.
    interval: Duration,
    /// In one answer.
    most_records: u32,
    position: Position,
    iterator: Option<ShardIterator>,
    /// What was fetched beyond the batch before, or of the last page beyond this one.
    ahead: Prefetched,
    /// Where that ends another answer begins, which was not asked for yet.
    resume_point: Option<ResumePoint>,
    /// The record that the position follows, until it is known whether the shard still has it. The service leaves
    /// out in silence what expired, so the record itself is asked for: if it comes, nothing after it is missing.
    before: Option<SequenceNumber>,
    /// The last answer says nothing of the tip, whatever it tells: more may have followed it at once.
    no_tip: bool,
    asked: Option<Instant>,
    /// What says, after this position, that the shard ends.
    ends: Ends,
    /// The page handed out last, without its records.
    last: Option<Page>,
}

/// What to mind when the pages that were fetched before come to their end.
#[derive(Clone, Copy, Debug, Default)]
struct ResumePoint {
    /// The pages are those that the last batch's reader left.
    taken_over: bool,
    /// Something was asked for between the batches, perhaps just now.
    pause: bool,
    /// Some of the pages were handed out.
    handed_out: bool,
}

impl PollingFeed {
    /// A feed at the batch's start, with what the last batch's reader left there, if it did.
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

    /// A feed that goes on from where another one has read to in this batch.
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

    /// The next page: of what was fetched before, or the answer to a request for at most `limit` records.
    async fn next_page(&mut self, limit: u32) -> Result<Page> {
        let mut page = match self.ahead.next().await {
            Some(page) => {
                // Nothing expired between these records and those of the batch before.
                self.before = None;
                // They were asked for before the task began.
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
            // Asked for by time.
            remove_read(number, &mut page.records)?;
        }
        self.last = Some(page.without_records());
        Ok(page)
    }

    /// The pages that were fetched before are at their end: makes ready to ask for what follows. Dropping the future
    /// loses nothing.
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
            // They may have waited for long.
            if let Position::After(number) = &self.position {
                self.before = Some(number.clone());
            }
        }
        if self.before.is_some() {
            self.iterator = None;
        }
    }

    /// Asks the service. An odd answer is asked for again: only what it repeats, or what the stream's listing confirms,
    /// counts.
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
                        odd.wait().await;
                    } else {
                        odd.count(error.retryable(true))?;
                    }
                    if self.position.record().is_none() {
                        // Another stream under the same name would take this position, too.
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
                        // The time may be one that the service doesn't take: the record before it is a place, too.
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
        // It is of use even if this request gets no turn.
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

    /// Whether the shard is there. A stream that is missing, or another one by now, is told as such.
    async fn presence(&self) -> Result<Presence> {
        let task = &self.shared.task;
        presence(&*self.api, self.retention.stream(), task.created, &task.shard).await
    }

    /// The service doesn't take the position that the last batch ended at: what is left of the shard is read.
    fn start_at_horizon(&mut self, error: &Error) -> Result<()> {
        self.retention.lost(&format!(
            "the shard can't be read on from where the query stood in it, so records that were not read may be lost: {}",
            error.message()
        ))?;
        self.position = Position::TrimHorizon;
        self.before = None;
        self.shared.progress().position = Position::TrimHorizon;
        Ok(())
    }

    /// True at the end of an earlier batch, that is before anything of this one was read.
    fn stands_at_last_batch(&self) -> bool {
        self.position.record().is_some() && self.position.is_same_place(&self.shared.task.start)
    }

    /// The shard has expired: an answer like that at the end of a closed shard then, so that the shards that follow it
    /// can be read.
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

    /// Takes the record before the position, which an earlier batch had, out of an answer. If another comes first,
    /// it has expired, and unread ones may have with it.
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

    /// A batch read has no next batch, and the one of a query with fan-out reads by its subscription.
    fn leaves_to_next(&self) -> bool {
        let task = &self.shared.task;
        task.until.is_none() && task.consumer.is_none()
    }

    /// How many records to ask for. A batch's last answer need not be a small one, where there is room for what is
    /// beyond the batch.
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

    /// How many records beyond the batch's limit an answer may have, because they are kept for the next batch.
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

    /// What the batch left of a page waits for the next one.
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

    /// More records may follow the last answer at once, though it says that none do: services count
    /// `MillisBehindLatest` between arrivals, and those of many records fall into one millisecond. And what was asked
    /// for before the task began is no proof of the tip.
    fn tip_unconfirmed(&self) -> bool {
        self.no_tip
    }

    fn instead(&self, _: Position, _: &FeedParts<'_>) -> Option<Box<dyn Feed>> {
        None
    }

    /// An iterator of its own that may still give the record before the position is of no use to the next reader. If
    /// `fetch`, more is fetched meanwhile, where more is known to be there.
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

/// The record before a position, which proves, if the shard still has it, that nothing after the position has expired.
/// Not needed where that is known.
fn position_before(position: &Position, tip_seen: bool) -> Option<SequenceNumber> {
    match position {
        _ if tip_seen => None,
        Position::After(number) => Some(number.clone()),
        Position::AfterQuiet(number, millis) if !is_young(*millis) => Some(number.clone()),
        _ => None,
    }
}

/// Answers to one question that can't be believed.
#[derive(Debug, Default)]
struct OddAnswers {
    count: u32,
    refusals: u32,
}

impl OddAnswers {
    /// Counts one, and fails with it when there were too many.
    fn count(&mut self, error: Error) -> Result<()> {
        self.count += 1;
        match self.count > MOST_ODD_ANSWERS {
            true => Err(error),
            false => Ok(()),
        }
    }

    /// The same for one that says nothing, but may pass; fails with it at once if it doesn't.
    fn count_if_it_passes(&mut self, error: Error) -> Result<()> {
        match error.is_retryable() {
            true => self.count(error),
            false => Err(error),
        }
    }

    /// Counts a refusal of the position; true if it was refused often enough to be believed.
    fn is_repeated_refusal(&mut self) -> bool {
        self.refusals += 1;
        self.refusals >= REFUSALS
    }

    /// Waits before the next question.
    async fn wait(&self) {
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Removes the records up to this one, which were read before, and answers how many those were.
pub(crate) fn remove_read(last: &SequenceNumber, records: &mut RecordColumns) -> Result<usize> {
    let mut read = 0;
    while read < records.len() && records.sequence_number(read).parse::<SequenceNumber>()? <= *last {
        read += 1;
    }
    records.remove_first(read);
    Ok(read)
}
