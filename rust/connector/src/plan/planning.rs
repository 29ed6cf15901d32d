//! Where the query stands between two batches, and how the end of a batch changes that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Planner;
use super::ends::{self, Ends};
use super::probe::{Extent, Probed, Prober, Stream};
use super::shards::Shards;
use crate::error::Result;
use crate::read::Backlog;
use crate::service::KinesisApi;
use crate::stream::{Offset, Position, ShardId};

/// Shards that are read without a question while the stream is busy: a round of questions costs no less.
const FEW: usize = 8;

/// What one call at a time works on, also while it awaits the service, and leaves to the next. All of it can be found
/// again after a restart.
#[derive(Debug)]
pub(super) struct Planning {
    api: Arc<dyn KinesisApi>,
    stream: Arc<Stream>,
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
    /// How many of them each shard delivered in, the last ones in a row. Those that didn't in the last one are not here.
    delivering: BTreeMap<ShardId, u32>,
    pub next_batch: NextBatch,
    /// Shards in which the last batch left records. Its readers fetch them, so nobody else asks.
    pub with_backlog: BTreeSet<ShardId>,
    /// Claims of batches before this one were removed.
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

impl Planning {
    /// Nothing was planned yet.
    pub(super) fn new(api: Arc<dyn KinesisApi>, stream: Arc<Stream>, shards: Shards, prober: Prober) -> Self {
        Self {
            api,
            stream,
            shards,
            prober,
            batch: None,
            ends: BTreeMap::new(),
            positions: BTreeMap::new(),
            busy: 0,
            delivering: BTreeMap::new(),
            next_batch: NextBatch::Probe,
            with_backlog: BTreeSet::new(),
            purged: 0,
        }
    }

    /// Probes the shards, but those in `skip`: see [`Prober::probe`].
    pub(super) async fn probe(&mut self, skip: &BTreeSet<ShardId>, extent: Extent) -> Result<Probed> {
        self.prober.probe(&mut self.positions, skip, extent).await
    }

    /// Puts the shards that follow in the place of those that ended, where the stream may be listed and can tell
    /// something new. True if there are shards now that were not there before.
    pub(super) async fn follow(&mut self) -> Result<bool> {
        let followed = self.shards.follow(&*self.api, &self.stream, &self.positions);
        let Some(positions) = followed.await? else {
            return Ok(false);
        };
        let grown = positions.keys().any(|shard| !self.positions.contains_key(shard));
        self.positions = positions;
        Ok(grown)
    }

    /// Nothing is to be read.
    pub(super) fn rest(&mut self) {
        (self.busy, self.next_batch) = (0, NextBatch::Probe);
        self.delivering.clear();
    }

    /// The shards that have something without a question: the last batch left records in them, or they delivered in the
    /// last two.
    pub(super) fn sure(&self) -> BTreeSet<ShardId> {
        let steady = self.delivering.iter().filter(|(_, batches)| **batches > 1);
        let sure = steady.map(|(shard, _)| shard).chain(&self.with_backlog);
        sure.filter(|shard| {
            self.positions
                .get(*shard)
                .is_some_and(|at| *at != Position::ShardEnd)
        })
        .cloned()
        .collect()
    }

    /// True if no other shard is left to be asked.
    pub(super) fn is_covered_by(&self, shards: &BTreeSet<ShardId>) -> bool {
        let mut positions = self.positions.iter();
        positions.all(|(shard, at)| *at == Position::ShardEnd || shards.contains(shard))
    }

    /// True if the other shards are too few to be worth a question.
    pub(super) fn are_most(&self, sure: &BTreeSet<ShardId>) -> bool {
        let unended = self.positions.values().filter(|at| **at != Position::ShardEnd);
        let others = unended.count().saturating_sub(sure.len());
        others <= FEW.max(sure.len())
    }

    /// The shards that have no task in the next batch, of which these are known to have nothing: each of a group that
    /// shares a task, so that the groups stay the same ones. None if that were all of them.
    pub(super) fn without_task(&self, idle: &BTreeSet<ShardId>, shards_per_task: usize) -> BTreeSet<ShardId> {
        let unended = self.positions.iter().filter(|(_, at)| **at != Position::ShardEnd);
        let unended: Vec<&ShardId> = unended.map(|(shard, _)| shard).collect();
        let groups = unended.chunks(shards_per_task.max(1));
        let of_idle = groups.filter(|group| group.iter().all(|shard| idle.contains(*shard)));
        let without: BTreeSet<ShardId> = of_idle.flatten().map(|shard| (*shard).clone()).collect();
        match without.len() == unended.len() {
            true => BTreeSet::new(),
            false => without,
        }
    }

    /// True while the children of a shard that ended are expected in the listing.
    pub(super) fn awaits_children(&self) -> bool {
        self.shards.awaits_children(&self.positions)
    }

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
    pub(super) async fn resolve(&self, start: &Offset, planning: &mut Planning) -> Result<()> {
        if let Some(initial) = &start.initial {
            planning.positions = planning.shards.roots(&*self.api, initial).await?;
            planning.ends.clone_from(&planning.positions);
            planning.batch = Some(start.batch);
            return Ok(());
        }
        if start.batch == 0 {
            // It was never read: these positions were given.
            planning.positions.clone_from(&start.shards);
            planning.ends.clone_from(&start.shards);
            planning.batch = Some(start.batch);
            return Ok(());
        }
        let restarted = planning.batch.is_none();
        let reports = self.state.lock().reports.of(start);
        let Ends {
            positions,
            claims,
            delivered,
            has_backlog,
        } = ends::resolve(start, &reports, &*self.store).await?;
        if restarted && claims == 0 && reports.is_empty() && start.read().next().is_some() {
            tracing::warn!(
                stream = %start.stream,
                batch = start.batch,
                "no claim of the last batch was found: its records may be delivered again. That is so when \
                 kinesis.metadataPath was cleaned or changed, or when nothing read the batch"
            );
        }
        if let Some(left) = &mut self.state.lock().available_now {
            let done = reports.iter().filter(|(_, report)| self.is_done(report, left));
            let done: Vec<ShardId> = done.map(|(shard, _)| shard.clone()).collect();
            left.done.extend(done);
        }
        for (shard, report) in reports
            .iter()
            .filter(|(_, report)| report.backlog == Backlog::Empty)
        {
            planning.prober.tip_seen_in_batch(shard, &report.end);
        }
        planning.busy = if delivered > 0 { planning.busy + 1 } else { 0 };
        let before = std::mem::take(&mut planning.delivering);
        let delivering = reports.iter().filter(|(_, report)| report.records > 0);
        planning.delivering = delivering
            .map(|(shard, _)| (shard.clone(), before.get(shard).map_or(1, |times| times + 1)))
            .collect();
        planning.next_batch = match (delivered > 0, has_backlog) {
            (true, true) => NextBatch::Backlog,
            (true, false) if planning.busy > 1 => NextBatch::Busy,
            _ => NextBatch::Probe,
        };
        planning.prober.batch_ended(!reports.is_empty(), delivered > 0);
        let remaining = reports
            .into_iter()
            .filter(|(_, report)| report.backlog == Backlog::Remaining);
        planning.with_backlog = remaining.map(|(shard, _)| shard).collect();
        planning.ends.clone_from(&positions);
        planning.positions = positions;
        planning.batch = Some(start.batch);
        Ok(())
    }
}
