//! Reading a shard: how far a batch goes, and the claim that fixes it.

mod cursor;
mod fetch;
mod prefetched;
mod retention;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::cursor::{Answer, Cursor};
use super::end_rule::{EndRule, SoFar, Step, Verdict};
use super::lag::{Ending, Lag};
use super::rows::{Bounds, SkippedAggregates, Taken, Taking};
use super::stretch::Stretch;
use super::task::PeerCallRate;
use super::turns::Waiters;
use super::{Backlog, FeedRegistry, ReadKind, Shared};
use crate::claims::protocol::{Reconcile, reconcile};
use crate::error::{Error, ErrorKind, Result};
use crate::options::SourceOptions;
use crate::service::{FanOutApi, KinesisApi, Page, Patience};
use crate::stream::Position;

pub(super) use cursor::PollingCursor;
pub(crate) use cursor::remove_read;
pub(super) use prefetched::{Prefetched, is_young};
pub(super) use retention::{Retention, expired_after};

/// Most records in one GetRecords (AWS limit): what is asked for when a claim, not a limit, is the end.
const MAX_RECORDS: u32 = 10_000;
/// Answers from the tip without the claimed record before a reader gives up on finding it.
const PATIENCE_FOR_CLAIM: u32 = 25;

/// How far a reader has come.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The end of what was fetched for the batch.
    pub position: Position,
    /// True once an answer was taken, records or none, or the batch waited for one as long as it may.
    pub fetched: bool,
    pub rows: u64,
    pub bytes: u64,
    /// Aggregates passed over. After a step back to a nearer claim, those after it too.
    pub skipped: SkippedAggregates,
    /// What is known to follow the position.
    pub backlog: Backlog,
    /// Records expired before they were read, and the query goes on without them.
    pub lost: bool,
    /// When the last record taken arrived, milliseconds since the epoch.
    pub last_arrival: Option<i64>,
    /// The task reads by a subscription.
    pub subscribed: bool,
    /// It took over a subscription, or what was fetched ahead, from an earlier task.
    pub prefetch_hit: bool,
    /// What that subscription held when the task left it.
    pub buffered_bytes: u64,
    /// What the answers since the last record tell.
    pub stretch: Stretch,
    /// How often the process asked for records lately.
    pub asked: Option<PeerCallRate>,
    /// How far the rows are behind the shard's tip.
    pub lag: Option<Lag>,
    /// How far the last answer was, delivered or not.
    pub fetched_behind: Option<i64>,
    /// The batch's end, once it is sure.
    pub claimed: Option<Position>,
}

impl Progress {
    pub(crate) fn at(position: Position) -> Self {
        Self {
            position,
            fetched: false,
            rows: 0,
            bytes: 0,
            skipped: SkippedAggregates::default(),
            backlog: Backlog::Unknown,
            lost: false,
            last_arrival: None,
            subscribed: false,
            prefetch_hit: false,
            buffered_bytes: 0,
            stretch: Stretch::default(),
            asked: None,
            lag: None,
            fetched_behind: None,
            claimed: None,
        }
    }

    /// Moves the position on in a stretch without records, as far as its answers prove.
    fn get_through_stretch(&mut self) {
        if let Some(millis) = self.stretch.no_record_before() {
            self.position = self.position.not_before(millis);
        }
    }
}

/// The fetching side of one shard.
pub(super) struct Fetcher<'a> {
    pub api: Arc<dyn KinesisApi>,
    /// For a task with a consumer.
    pub fan_out: Option<Arc<dyn FanOutApi>>,
    pub feeds: &'a FeedRegistry,
    pub options: &'a SourceOptions,
    pub shared: Arc<Shared>,
    pub stop: watch::Receiver<bool>,
    /// Other attempts of this process that wait for the batch's end.
    pub waiters: Waiters,
    /// With the limits that the shard's readers share.
    pub patience: Patience,
}

impl Fetcher<'_> {
    pub(super) fn retention(&self) -> Retention {
        Retention::new(self.options, &self.shared)
    }

    /// A cursor at the start of the shard's part of the batch.
    pub(super) fn cursor(&self, kind: ReadKind) -> Result<Cursor> {
        Cursor::open(self, kind)
    }

    /// Reads to where the rule ends the shard's part of the batch, or until told to stop: what is left of a claimed
    /// batch then needs nobody, since the claim stands already.
    pub(super) async fn read(&mut self, rule: &EndRule, cursor: &mut Cursor) -> Result<()> {
        if rule.is_empty() {
            return Ok(());
        }
        let mut tips = 0;
        while !rule.is_at(&self.position()) {
            let bounds = rule.bounds(self.so_far());
            let limit = self.limit(rule, &bounds, cursor);
            let asked = self.next_page(cursor, limit, rule).await?;
            let Some(answer) = asked else { return Ok(()) };
            let Some(page) = answer else {
                // The shard's part ends here for every attempt, rows or none.
                self.shared.progress().fetched = true;
                return Ok(());
            };
            let Some(step) = self.take_page(page, &bounds, cursor).await? else {
                return Ok(());
            };
            match rule.after(&step, self.so_far(), &self.position(), Instant::now()) {
                Verdict::End => break,
                Verdict::Missed => return self.claim_out_of_reach(rule),
                Verdict::NotThereYet => {
                    tips += 1;
                    if tips > PATIENCE_FOR_CLAIM {
                        // A subscription that is being opened again knows nothing of what came meanwhile.
                        if !cursor.poll_from(self.position(), self) {
                            return self.claim_out_of_reach(rule);
                        }
                        tips = 0;
                    }
                }
                Verdict::GoOn => {}
            }
            // An empty answer behind the tip is a stretch without records, to be walked through at the pace that
            // five requests a second and shard allow (AWS limit).
            if step.empty
                && self
                    .or_stop(cursor.pause(self.options.fetch_interval))
                    .await?
                    .is_none()
            {
                return Ok(());
            }
        }
        self.stand_at_claim(rule);
        Ok(())
    }

    /// How many records to ask for. A batch's last answer need not be a small one, where there is room for what is beyond
    /// the batch.
    fn limit(&self, rule: &EndRule, bounds: &Bounds, cursor: &Cursor) -> u32 {
        if rule.claimed().is_some() {
            return MAX_RECORDS;
        }
        let by_bytes = bounds.bytes.and_then(|bytes| cursor.records_with(bytes));
        let limit = bounds
            .rows
            .into_iter()
            .chain(by_bytes)
            .min()
            .map_or(MAX_RECORDS, |rows| {
                let rows = rows.saturating_add(cursor.room_for_leftover() as u64);
                u32::try_from(rows).unwrap_or(MAX_RECORDS)
            });
        limit.clamp(1, self.options.records_per_fetch)
    }

    /// The next answer, or none where the shard's part of the batch ends before it; nothing at all if told to stop.
    /// Throttling is no failure: it asks again until its turn comes.
    async fn next_page(
        &mut self,
        cursor: &mut Cursor,
        limit: u32,
        rule: &EndRule,
    ) -> Result<Option<Option<Page>>> {
        loop {
            let asked = cursor.next_page(limit, self.options.fetch_interval, rule.deadline());
            let error = match self.or_stop(asked).await {
                Ok(None) => return Ok(None),
                Ok(Some(Answer::Page(page))) => {
                    self.patience.answered();
                    return Ok(Some(Some(*page)));
                }
                Ok(Some(Answer::TimeIsOver)) => return Ok(Some(None)),
                Ok(Some(Answer::Throttled(error))) => error,
                Err(error) => {
                    // A subscription inside the batch that can't be opened again: GetRecords tells what that means.
                    if error.kind() == ErrorKind::RefusedPosition && cursor.poll_from(self.position(), self) {
                        continue;
                    }
                    return Err(error);
                }
            };
            let again = Instant::now() + self.patience.wait_after(error)?;
            if rule.ends_when_throttled(self.so_far()) {
                return Ok(Some(None));
            }
            let wait = async {
                tokio::time::sleep_until(again).await;
                Ok(())
            };
            if self.or_stop(wait).await?.is_none() {
                return Ok(None);
            }
            self.shared.counters.count_retry();
        }
    }

    /// The records up to a claim's end are not all there any more: retention took them.
    fn claim_out_of_reach(&self, rule: &EndRule) -> Result<()> {
        let Some(end) = rule.claimed() else { return Ok(()) };
        self.retention().lost(&format!(
            "the batch was claimed to end at {end}, but the shard has no such record any more: it is older than the \
             stream's retention, as others of the batch may be"
        ))?;
        self.stand_at_claim(rule);
        Ok(())
    }

    fn stand_at_claim(&self, rule: &EndRule) {
        if let Some(end) = rule.claimed() {
            self.shared.progress().position = end.clone();
        }
    }

    /// Follows the claim of another attempt, after this one has read as far as it would.
    pub(super) async fn follow(&mut self, first: &Position, cursor: &mut Cursor) -> Result<()> {
        match reconcile(&self.position(), first) {
            Reconcile::Accept => Ok(()),
            Reconcile::ReadOn => self.read(&EndRule::Claim(first.clone()), cursor).await,
            Reconcile::CutBack => self.fall_back_to(first),
        }
    }

    /// Gives up what was fetched after a nearer claim, if none of it was delivered yet.
    fn fall_back_to(&self, first: &Position) -> Result<()> {
        let Some(dropped) = self.shared.queue.truncate(self.shared.lane, first) else {
            return Err(Error::new(
                ErrorKind::ClaimConflict,
                format!(
                    "another attempt at this batch ended at {first}, and this one has delivered records after it. \
                     The next attempt reads exactly to that end"
                ),
            )
            .retryable(true));
        };
        let mut progress = self.shared.progress();
        progress.rows -= dropped.rows;
        progress.bytes -= dropped.bytes;
        progress.position = first.clone();
        // The attempt that was first knows.
        progress.lag = None;
        progress.last_arrival = None;
        progress.backlog = Backlog::Remaining;
        Ok(())
    }

    /// Moves an answer's records into the queue, part by part; none if told to stop meanwhile.
    async fn take_page(&mut self, page: Page, bounds: &Bounds, cursor: &mut Cursor) -> Result<Option<Step>> {
        let empty = page.records.is_empty();
        self.shared.progress().stretch.saw(&page);
        let (newest, received) = (page.records.last_arrival_millis(), page.records.received());
        let shared = Arc::clone(&self.shared);
        let mut hurried = false;
        let mut taking = Taking::new(page.records, bounds, &shared.rules, cursor.retains_leftover());
        loop {
            let Taken {
                batches,
                rows,
                bytes,
                last,
                last_arrival,
                more,
                cut,
                skipped,
                rest,
            } = taking.part()?;
            // A shard that was closed since the batch was claimed may end where the claim does: the batch stays as it was.
            let at_claim = last.is_some() && last == bounds.through;
            let shard_end = page.next.is_none() && cut.is_none() && !at_claim && !more;
            let backlog = if shard_end {
                Backlog::Empty
            } else if more || cut.is_some() || !is_tip(page.millis_behind_latest, empty) {
                Backlog::Remaining
            } else if cursor.tip_unconfirmed() || page.next.is_none() {
                Backlog::Unknown
            } else {
                Backlog::Empty
            };
            {
                let mut progress = self.shared.progress();
                progress.fetched = true;
                progress.rows += rows;
                progress.bytes += bytes;
                progress.skipped.add(skipped);
                progress.backlog = backlog;
                progress.last_arrival = last_arrival.or(progress.last_arrival);
                progress.fetched_behind = page.millis_behind_latest.or(progress.fetched_behind);
                progress.lag = Lag::of(Ending {
                    millis_behind_latest: page.millis_behind_latest,
                    received,
                    last_arrival: newest,
                    delivered: progress.last_arrival,
                    left: more || cut.is_some(),
                })
                .or(progress.lag);
                match last {
                    _ if shard_end => progress.position = Position::ShardEnd,
                    Some(number) => progress.position = Position::After(number),
                    None => progress.get_through_stretch(),
                }
                if !more {
                    let next = page.next.clone().filter(|_| cut.is_none());
                    cursor.advance_to(progress.position.clone(), next, rest);
                }
            }
            let mut step = Step {
                hurried,
                cut,
                shard_end,
                tip: backlog == Backlog::Empty,
                empty,
            };
            for batch in batches {
                let (queue, lane) = (&self.shared.queue, self.shared.lane);
                let push = async { Ok(queue.push(lane, batch, &self.waiters).await) };
                let Some(had_room) = self.or_stop(push).await? else {
                    if more {
                        cursor.advance_to(self.position(), None, taking.rest()?);
                    }
                    return Ok(None);
                };
                step.hurried |= !had_room;
            }
            hurried = step.hurried;
            if !more {
                return Ok(Some(step));
            }
            // Taking records apart is work for the processor alone, and others wait for it too.
            tokio::task::yield_now().await;
        }
    }

    fn so_far(&self) -> SoFar {
        let progress = self.shared.progress();
        SoFar {
            rows: progress.rows,
            bytes: progress.bytes,
            advanced: !progress.position.is_same_place(&self.shared.task.start),
        }
    }

    fn position(&self) -> Position {
        self.shared.progress().position.clone()
    }

    /// Runs `work` unless the reader is told to stop first; none then.
    async fn or_stop<T>(&self, work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            // The sender goes only with the reader, which aborts this task.
            Ok(_) = stop.wait_for(|stop| *stop) => Ok(None),
            done = work => done.map(Some),
        }
    }
}

/// Where the service doesn't tell how far behind an answer is, an empty one counts as the tip.
fn is_tip(millis_behind_latest: Option<i64>, empty: bool) -> bool {
    millis_behind_latest.map_or(empty, |millis| millis == 0)
}

/// Waits out the rest of an interval.
async fn rest_of(interval: Duration, since: Option<Instant>) {
    if let Some(since) = since {
        tokio::time::sleep_until(since + interval).await;
    }
}
