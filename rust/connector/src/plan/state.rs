//! The state that all calls of a planner share, under one lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::available_now::AvailableNow;
use super::ends::Reports;
use super::shards::Listed;
use crate::stream::ShardId;

/// State that any call may need at any time, from any thread. The lock is held only to read or change it, never while
/// the service or a store is awaited. State that is held across an await is in
/// [`Planning`](super::planning::Planning).
#[derive(Debug, Default)]
pub(super) struct State {
    /// Reports of the readers whose tasks succeeded.
    pub reports: Reports,
    /// The shards of the last listing.
    pub listed: Listed,
    /// The batch planned last.
    pub planned: Planned,
    /// What remains to be read; none without `Trigger.AvailableNow`.
    pub available_now: Option<AvailableNow>,
    /// The query's sources, by their IDs in its offsets.
    pub sources: BTreeSet<String>,
    /// True once the query's feeds in this process were ended. Later feeds belong to its next start.
    pub closed: bool,
    /// Sources whose claims have the driver's mark beside them, and when it was written.
    pub marked: BTreeMap<String, Instant>,
}

/// The state as the planner and its parts share it.
pub(super) type SharedState = Arc<Mutex<State>>;

/// Facts about a planned batch that its tasks need.
#[derive(Debug, Default)]
pub(super) struct Planned {
    /// The batch's number.
    pub batch: u64,
    /// Shards that start at an observed tip, with the time of the observation (milliseconds since the epoch).
    pub at_tip: BTreeMap<ShardId, i64>,
    /// The shard in which a probe of the driver found records.
    pub hit: Option<ShardId>,
    /// Number of shards without a task, because they have nothing to read.
    pub idle: usize,
}

impl Planned {
    /// Time at which the tip was observed at the shard's start in this batch (milliseconds since the epoch).
    pub(super) fn tip_seen_at(&self, batch: u64, shard: &ShardId) -> Option<i64> {
        self.at_tip.get(shard).copied().filter(|_| self.batch == batch)
    }

    /// True if the driver found records in the shard before it planned this batch.
    pub(super) fn saw_records(&self, batch: u64, shard: &ShardId) -> bool {
        self.batch == batch && self.hit.as_ref() == Some(shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_counts_for_the_tasks_of_the_batch_planned_after_it() {
        let (quiet, busy) = (
            ShardId::from("shardId-000000000000"),
            ShardId::from("shardId-000000000001"),
        );
        let planned = Planned {
            batch: 7,
            at_tip: BTreeMap::from([(quiet.clone(), 1_000)]),
            hit: Some(busy.clone()),
            idle: 0,
        };
        let of = |batch, shard| {
            (
                planned.tip_seen_at(batch, shard),
                planned.saw_records(batch, shard),
            )
        };
        assert_eq!(
            (of(7, &quiet), of(7, &busy)),
            ((Some(1_000), false), (None, true))
        );
        for other in [6, 8] {
            assert_eq!(
                (of(other, &quiet), of(other, &busy)),
                ((None, false), (None, false))
            );
        }
    }
}
