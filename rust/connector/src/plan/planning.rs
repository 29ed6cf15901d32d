//! The query's state between two batches, and how the end of a batch changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Planner;
use super::ends::{self, Ends};
use super::probe::{Extent, Probed, Prober, Stream};
use super::shards::Shards;
use crate::config::SourceConfig;
use crate::error::Result;
use crate::read::Backlog;
use crate::service::KinesisApi;
use crate::stream::{Offset, Position, ShardId};

/// Number of shards that a busy stream's batch reads without a probe: a round of probes costs no less.
const FEW: usize = 8;

/// State of one planning call at a time, held across awaits of the service and kept for the next call. All of it can
/// be rebuilt after a restart.
#[derive(Debug)]
pub(super) struct Planning {
    api: Arc<dyn KinesisApi>,
    stream: Arc<Stream>,
    pub shards: Shards,
    pub prober: Prober,
    /// Number of the last batch.
    pub batch: Option<u64>,
    /// Where the last batch ended, as its claims keep it.
    pub ends: BTreeMap<ShardId, Position>,
    /// Where the next batch starts: `ends` plus the findings of later probes and listings, which no claim holds yet.
    pub positions: BTreeMap<ShardId, Position>,
    /// Number of consecutive batches that delivered records; a probe that finds nothing resets it.
    pub busy: u32,
    /// For each shard that delivered in the last batch, the number of consecutive batches in which it did.
    delivering: BTreeMap<ShardId, u32>,
    pub next_batch: NextBatch,
    /// Shards in which the last batch left records. Their readers fetch these, so the driver does not probe.
    pub with_backlog: BTreeSet<ShardId>,
    /// Claims of batches before this number were removed.
    pub purged: u64,
    /// The source of the offset with which the query was started, and the one that takes its place if the checkpoint
    /// was set back. None until that is known.
    pub started: Option<(String, Option<String>)>,
}

/// The step before the next batch is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextBatch {
    /// The last batch left records behind: the next one follows at once.
    Backlog,
    /// The stream keeps delivering: the next batch follows without a probe, as soon as its shards may be called.
    Busy,
    /// The stream may be empty: the driver probes it. So it does after a single burst, since a probe costs less than
    /// an empty batch.
    Probe,
}

impl Planning {
    /// The state before the first batch.
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
            started: None,
        }
    }

    /// Probes all shards except those in `skip`: see [`Prober::probe`].
    pub(super) async fn probe(&mut self, skip: &BTreeSet<ShardId>, extent: Extent) -> Result<Probed> {
        self.prober.probe(&mut self.positions, skip, extent).await
    }

    /// Replaces ended shards by their children, if a listing is due and can show new ones. True if new shards were
    /// added.
    pub(super) async fn follow(&mut self) -> Result<bool> {
        let followed = self.shards.follow(&*self.api, &self.stream, &self.positions);
        let Some(positions) = followed.await? else {
            return Ok(false);
        };
        let grown = positions.keys().any(|shard| !self.positions.contains_key(shard));
        self.positions = positions;
        Ok(grown)
    }

    /// Resets the state to that of an idle stream.
    pub(super) fn rest(&mut self) {
        (self.busy, self.next_batch) = (0, NextBatch::Probe);
        self.delivering.clear();
    }

    /// Shards that are taken to have records without a probe: the last batch left some in them, or they delivered in
    /// the last two batches.
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

    /// True if every open shard is in `shards`.
    pub(super) fn is_covered_by(&self, shards: &BTreeSet<ShardId>) -> bool {
        let mut positions = self.positions.iter();
        positions.all(|(shard, at)| *at == Position::ShardEnd || shards.contains(shard))
    }

    /// True if the open shards outside `sure` are too few to be worth a probe.
    pub(super) fn are_most(&self, sure: &BTreeSet<ShardId>) -> bool {
        let unended = self.positions.values().filter(|at| **at != Position::ShardEnd);
        let others = unended.count().saturating_sub(sure.len());
        others <= FEW.max(sure.len())
    }

    /// Shards without a task in the next batch: each group whose shards are all in `idle`. Groups that share a task
    /// stay whole, so that they stay the same. Empty if no shard would be left, and if there are few shards.
    pub(super) fn without_task(&self, idle: &BTreeSet<ShardId>, config: &SourceConfig) -> BTreeSet<ShardId> {
        let unended = self.positions.iter().filter(|(_, at)| **at != Position::ShardEnd);
        let unended: Vec<&ShardId> = unended.map(|(shard, _)| shard).collect();
        if unended.len() <= config.few_shards {
            return BTreeSet::new();
        }
        let shards_per_task = config.options.shards_per_task;
        let groups = unended.chunks(shards_per_task.max(1));
        let of_idle = groups.filter(|group| group.iter().all(|shard| idle.contains(*shard)));
        let without: BTreeSet<ShardId> = of_idle.flatten().map(|shard| (*shard).clone()).collect();
        match without.len() == unended.len() {
            true => BTreeSet::new(),
            false => without,
        }
    }

    /// True while the listing is expected to show the children of an ended shard.
    pub(super) fn awaits_children(&self) -> bool {
        self.shards.awaits_children(&self.positions)
    }

    /// True if the open shards differ from those after the last batch. Only a new batch makes that durable.
    pub(super) fn shards_changed(&self) -> bool {
        let unread = |positions: &BTreeMap<ShardId, Position>| {
            let unended = positions.iter().filter(|(_, at)| **at != Position::ShardEnd);
            unended.map(|(shard, _)| shard.clone()).collect::<BTreeSet<_>>()
        };
        unread(&self.positions) != unread(&self.ends)
    }
}

impl Planner {
    /// Finds where the batch of `start` ended: from the readers' reports, and from the store for shards without a
    /// report.
    pub(super) async fn resolve(&self, start: &Offset, planning: &mut Planning) -> Result<()> {
        if let Some(initial) = &start.initial {
            planning.positions = planning.shards.roots(&*self.api, initial).await?;
            planning.ends.clone_from(&planning.positions);
            planning.batch = Some(start.batch);
            return Ok(());
        }
        if start.batch == 0 {
            // The batch was never read: its positions were given.
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
        } = ends::resolve(start, &reports, &*self.store, restarted).await?;
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
