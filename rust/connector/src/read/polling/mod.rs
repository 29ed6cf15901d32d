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
use super::fanout::BatchEnd;
use super::lag::{Ending, Lag};
use super::rows::{Bounds, Cut, SkippedAggregates, Taken, Taking};
use super::stretch::Stretch;
use super::task::PeerCallRate;
use super::turns::Waiters;
use super::{FeedRegistry, Shared};
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
    /// Nothing more was there to be read.
    pub tip: bool,
    /// More is known to be there.
    pub left: bool,
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
            tip: false,
            left: false,
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

/// What becomes of a shard's part of a batch while others use up the shard's limits.
#[derive(Clone, Copy)]
enum Throttled {
    /// It waits.
    Waits,
    /// It ends, if it has got somewhere.
    Ends,
}

impl Fetcher<'_> {
    pub(super) fn retention(&self) -> Retention {
        Retention::new(self.options, &self.shared)
    }

    /// A cursor at the start of the shard's part of the batch.
    pub(super) fn cursor(&self, claimed: bool) -> Result<Cursor> {
        Cursor::open(self, claimed)
    }

    /// Reads until the batch's limits, the tip or the shard's end, or until told to stop.
    pub(super) async fn read_until_stop(&mut self, cursor: &mut Cursor) -> Result<()> {
        let deadline = self
            .options
            .max_fetch_time_per_shard
            .filter(|_| self.shared.task.until.is_none())
            .map(|time| Instant::now() + time);
        cursor.until(BatchEnd::Open(deadline));
        let throttled = match self.shared.task.until {
            Some(_) => Throttled::Waits,
            None => Throttled::Ends,
        };
        loop {
            let bounds = self.bounds();
            // A batch's last answer need not be a small one, where there is room for what is beyond the batch.
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
            let limit = limit.clamp(1, self.options.records_per_fetch);
            let asked = self.next_page(cursor, limit, throttled).await?;
            let Some(answer) = asked else { return Ok(()) };
            let Some(page) = answer else {
                // The shard's part ends here for every attempt, rows or none.
                self.shared.progress().fetched = true;
                return Ok(());
            };
            let step = self.take_page(page, &bounds, cursor).await?;
            if step.stopped || step.cut.is_some() || step.shard_end {
                return Ok(());
            }
            if step.tip || step.hurried || self.is_full() || self.is_over(deadline) {
                return Ok(());
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
    }

    /// The next answer, or none where the shard's part of the batch ends before it; nothing at all if told to stop.
    /// Throttling is no failure: it asks again until its turn comes.
    async fn next_page(
        &mut self,
        cursor: &mut Cursor,
        limit: u32,
        throttled: Throttled,
    ) -> Result<Option<Option<Page>>> {
        loop {
            let asked = cursor.next_page(limit, self.options.fetch_interval);
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
                    let position = self.shared.progress().position.clone();
                    if error.kind() == ErrorKind::RefusedPosition && cursor.poll_from(position, self) {
                        continue;
                    }
                    return Err(error);
                }
            };
            let again = Instant::now() + self.patience.wait_after(error)?;
            if matches!(throttled, Throttled::Ends) {
                let got_somewhere = !self
                    .shared
                    .progress()
                    .position
                    .is_same_place(&self.shared.task.start);
                if got_somewhere {
                    return Ok(Some(None));
                }
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

    /// Reads exactly to a claim's end, whatever the limits say now. A reader told to stop leaves the rest: the
    /// claim stands already.
    pub(super) async fn read_to(&mut self, end: &Position, cursor: &mut Cursor) -> Result<()> {
        let mut tips = 0;
        cursor.until(BatchEnd::Claimed);
        if end.record().is_none() && *end != Position::ShardEnd {
            // Nothing belongs to the batch, and nothing was taken: the start is the end.
            return Ok(());
        }
        while !self.shared.progress().position.is_same_place(end) {
            let bounds = Bounds {
                through: end.record().cloned(),
                ..Bounds::default()
            };
            let asked = self.next_page(cursor, MAX_RECORDS, Throttled::Waits).await?;
            let Some(page) = asked.flatten() else {
                return Ok(());
            };
            let step = self.take_page(page, &bounds, cursor).await?;
            if step.stopped {
                return Ok(());
            }
            let passed = step.cut == Some(Cut::Claim) || step.shard_end;
            tips += u32::from(step.tip);
            let position = self.shared.progress().position.clone();
            if !position.is_same_place(end) && (passed || tips > PATIENCE_FOR_CLAIM) {
                // A subscription that is being opened again knows nothing of what came meanwhile.
                if passed || !cursor.poll_from(position, self) {
                    return self.claim_out_of_reach(end);
                }
                tips = 0;
            }
            if step.empty
                && self
                    .or_stop(cursor.pause(self.options.fetch_interval))
                    .await?
                    .is_none()
            {
                return Ok(());
            }
        }
        self.shared.progress().position = end.clone();
        Ok(())
    }

    /// The records up to a claim's end are not all there any more: retention took them.
    fn claim_out_of_reach(&self, end: &Position) -> Result<()> {
        self.retention().lost(&format!(
            "the batch was claimed to end at {end}, but the shard has no such record any more: it is older than the \
             stream's retention, as others of the batch may be"
        ))?;
        self.shared.progress().position = end.clone();
        Ok(())
    }

    /// Follows the claim of another attempt, after this one has read as far as it would.
    pub(super) async fn follow(&mut self, first: &Position, cursor: &mut Cursor) -> Result<()> {
        let own = self.shared.progress().position.clone();
        match reconcile(&own, first) {
            Reconcile::Accept => Ok(()),
            Reconcile::ReadOn => self.read_to(first, cursor).await,
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
        progress.tip = false;
        progress.left = true;
        Ok(())
    }

    /// Moves an answer's records into the queue, part by part.
    async fn take_page(&mut self, page: Page, bounds: &Bounds, cursor: &mut Cursor) -> Result<Step> {
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
            let left = !shard_end && (more || cut.is_some() || !is_tip(page.millis_behind_latest, empty));
            let tip = shard_end || !(left || cursor.tip_unconfirmed() || page.next.is_none());
            {
                let mut progress = self.shared.progress();
                progress.fetched = true;
                progress.rows += rows;
                progress.bytes += bytes;
                progress.skipped.add(skipped);
                progress.tip = tip;
                progress.left = left;
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
                stopped: false,
                hurried,
                cut,
                shard_end,
                tip,
                empty,
            };
            for batch in batches {
                let (queue, lane) = (&self.shared.queue, self.shared.lane);
                let push = async { Ok(queue.push(lane, batch, &self.waiters).await) };
                let Some(had_room) = self.or_stop(push).await? else {
                    if more {
                        let position = self.shared.progress().position.clone();
                        cursor.advance_to(position, None, taking.rest()?);
                    }
                    return Ok(Step {
                        stopped: true,
                        ..step
                    });
                };
                step.hurried |= !had_room;
            }
            hurried = step.hurried;
            if !more {
                return Ok(step);
            }
            // Taking records apart is work for the processor alone, and others wait for it too.
            tokio::task::yield_now().await;
        }
    }

    /// What the batch may still take.
    fn bounds(&self) -> Bounds {
        let progress = self.shared.progress();
        let options = self.options;
        if let Some(until) = self.shared.task.until {
            return Bounds {
                until: Some(until),
                ..Bounds::default()
            };
        }
        Bounds {
            rows: Some(options.max_fetch_records_per_shard.saturating_sub(progress.rows)),
            bytes: options
                .max_fetch_bytes_per_shard
                .map(|most| most.saturating_sub(progress.bytes)),
            through: None,
            until: None,
            first: progress.rows == 0,
        }
    }

    /// True if the batch's time is over. It doesn't end before a record was read, or the tip: the next batch would begin
    /// where this one did, and get no farther.
    fn is_over(&self, deadline: Option<Instant>) -> bool {
        let start = &self.shared.task.start;
        deadline.is_some_and(|deadline| Instant::now() >= deadline)
            && !self.shared.progress().position.is_same_place(start)
    }

    fn is_full(&self) -> bool {
        let bounds = self.bounds();
        bounds.rows == Some(0) || bounds.bytes == Some(0)
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

/// What one answer meant for the batch.
struct Step {
    stopped: bool,
    /// Others wait for this attempt, and there was no room for the records: the batch ends here, wherever its consumer
    /// is.
    hurried: bool,
    cut: Option<Cut>,
    shard_end: bool,
    tip: bool,
    empty: bool,
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
