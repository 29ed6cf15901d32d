//! What the planner's calls share: one state, under one lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::available_now::AvailableNow;
use super::ends::Reports;
use super::shards::Listed;
use crate::stream::ShardId;

/// What any call may need at any moment, from any thread. The lock is held for as long as it takes to read or change
/// this, and never while the service or a store is awaited. What is awaited for is in
/// [`Planning`](super::planning::Planning).
#[derive(Debug, Default)]
pub(super) struct State {
    /// Of the readers whose tasks succeeded.
    pub reports: Reports,
    /// The shards, as they were listed last.
    pub listed: Listed,
    /// The batch planned last.
    pub planned: Planned,
    /// What is left to read; none without `Trigger.AvailableNow`.
    pub available_now: Option<AvailableNow>,
    /// The query's sources, as its offsets named them.
    pub sources: BTreeSet<String>,
    /// What its readers left in this process was ended. What stands there later is of the query's next start.
    pub closed: bool,
    /// The sources beside whose claims the driver left its mark, and when.
    pub marked: BTreeMap<String, Instant>,
}

/// The state, as the planner and its parts share it.
pub(super) type SharedState = Arc<Mutex<State>>;

/// What is known of a batch when it is planned, for its tasks.
#[derive(Debug, Default)]
pub(super) struct Planned {
    /// The batch's number.
    pub batch: u64,
    /// The shards that start where their tip was seen, and when that was (milliseconds since the epoch).
    pub at_tip: BTreeMap<ShardId, i64>,
    /// The shard in which the driver saw records.
    pub hit: Option<ShardId>,
    /// How many shards have no task, since nothing is there to be read.
    pub idle: usize,
}

impl Planned {
    /// When the tip was seen where the shard starts in this batch.
    pub(super) fn tip_seen_at(&self, batch: u64, shard: &ShardId) -> Option<i64> {
        self.at_tip.get(shard).copied().filter(|_| self.batch == batch)
    }

    /// True if the driver saw records in the shard before it planned this batch.
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
