//! What the planner remembers between two calls, and how the end of a batch changes it.

use std::collections::{BTreeMap, BTreeSet};

use super::Planner;
use super::availability::Prober;
use super::ends::{self, Ends};
use super::shards::Shards;
use crate::error::Result;
use crate::read::Backlog;
use crate::stream::{Offset, Position, ShardId};

/// What the planner remembers from one call to the next. All of it can be found again after a restart.
#[derive(Debug)]
pub(super) struct State {
    pub shards: Shards,
    pub prober: Prober,
    /// The last batch's number.
    pub batch: Option<u64>,
    /// Where it ended, as its claims keep it.
    pub ends: BTreeMap<ShardId, Position>,
    /// Where the next one starts: what probes and listings found since is not kept yet.
    pub positions: BTreeMap<ShardId, Position>,
    /// Batches in a row that delivered records, without a probe in between that found nothing.
    pub busy: u32,
    pub next_batch: NextBatch,
    /// Shards in which the last batch left records. Its readers fetch them, so nobody else asks.
    pub with_backlog: BTreeSet<ShardId>,
    pub purged: u64,
}

/// What comes before the next batch is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextBatch {
    /// The last batch left records behind: the next follows at once.
    Backlog,
    /// The stream goes on delivering: the next follows without a question, as soon as its shards may be asked.
    Busy,
    /// Nothing may be there: the driver asks. After a single burst too, since a question is cheaper than an empty
    /// batch.
    Probe,
}

impl State {
    /// True if the shards to be read are others than after the last batch. Only a batch keeps that.
    pub(super) fn shards_changed(&self) -> bool {
        let unread = |positions: &BTreeMap<ShardId, Position>| {
            let unended = positions.iter().filter(|(_, at)| **at != Position::ShardEnd);
            unended.map(|(shard, _)| shard.clone()).collect::<BTreeSet<_>>()
        };
        unread(&self.positions) != unread(&self.ends)
    }
}

impl Planner {
    /// Finds where the batch of `start` ended, from the readers' reports, and from the store what they miss.
    pub(super) async fn resolve(&self, start: &Offset, state: &mut State) -> Result<()> {
        if let Some(initial) = &start.initial {
            state.positions = state.shards.roots(&*self.api, initial).await?;
            state.ends.clone_from(&state.positions);
            state.batch = Some(start.batch);
            return Ok(());
        }
        if start.batch == 0 {
            // It was never read: these positions were given.
            state.positions.clone_from(&start.shards);
            state.ends.clone_from(&start.shards);
            state.batch = Some(start.batch);
            return Ok(());
        }
        let restarted = state.batch.is_none();
        let reports = self.reports().of(start);
        let Ends {
            positions,
            claims,
            delivered,
            has_backlog,
        } = ends::resolve(start, &reports, &*self.store).await?;
        if restarted && claims == 0 && reports.is_empty() {
            tracing::warn!(
                stream = %start.stream,
                batch = start.batch,
                "no claim of the last batch was found: its records may be delivered again. That is so when \
                 kinesis.metadataPath was cleaned or changed, or when nothing read the batch"
            );
        }
        if let Some(left) = &mut *self.available() {
            let done = reports.iter().filter(|(_, report)| self.is_done(report, left));
            let done: Vec<ShardId> = done.map(|(shard, _)| shard.clone()).collect();
            left.done.extend(done);
        }
        for (shard, report) in reports
            .iter()
            .filter(|(_, report)| report.backlog == Backlog::Empty)
        {
            state.prober.tip_seen_in_batch(shard, &report.end);
        }
        state.busy = if delivered > 0 { state.busy + 1 } else { 0 };
        state.next_batch = match (delivered > 0, has_backlog) {
            (true, true) => NextBatch::Backlog,
            (true, false) if state.busy > 1 => NextBatch::Busy,
            _ => NextBatch::Probe,
        };
        state.prober.batch_ended(!reports.is_empty(), delivered > 0);
        let remaining = reports
            .into_iter()
            .filter(|(_, report)| report.backlog == Backlog::Remaining);
        state.with_backlog = remaining.map(|(shard, _)| shard).collect();
        state.ends.clone_from(&positions);
        state.positions = positions;
        state.batch = Some(start.batch);
        Ok(())
    }
}
