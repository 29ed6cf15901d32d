//! `Trigger.AvailableNow`: reads everything that was in the stream when the query started, then ends.

use std::collections::{BTreeMap, BTreeSet};

use super::Planner;
use super::planning::Planning;
use super::probe::Extent;
use crate::error::Result;
use crate::read::{Backlog, ShardReport};
use crate::stream::{Position, ShardId};

/// What a query with `Trigger.AvailableNow` still has to read: every shard until its tip was seen once, or until a
/// record that arrived after the start.
#[derive(Debug, Default)]
pub(super) struct AvailableNow {
    /// Start of the query, in milliseconds since the epoch.
    pub since: i64,
    /// A time certainly later than `since` by the service's clock: if a shard's next record arrived at this time or
    /// later, none is left from before `since`.
    pub surely_later: i64,
    pub done: BTreeSet<ShardId>,
}

impl AvailableNow {
    fn so_far(&self) -> (BTreeSet<ShardId>, i64) {
        (self.done.clone(), self.surely_later)
    }

    /// The shards in `positions` that are open and have nothing left to read.
    pub(super) fn done_of(&self, positions: &BTreeMap<ShardId, Position>) -> BTreeSet<ShardId> {
        let open = |shard: &&ShardId| positions.get(*shard).is_some_and(|at| *at != Position::ShardEnd);
        self.done.iter().filter(open).cloned().collect()
    }
}

impl Planner {
    /// Fixes what a query with `Trigger.AvailableNow` reads: every shard until its tip was seen, or until a record
    /// that arrived after this moment.
    pub fn prepare_for_available_now(&self) {
        let all = AvailableNow {
            since: self.clock.now_millis(),
            surely_later: self.clock.surely_later_millis(),
            done: BTreeSet::new(),
        };
        self.state.lock().available_now = Some(all);
    }

    /// Probes every shard that a query with `Trigger.AvailableNow` has not finished, and the children of finished
    /// ones. True if there is anything for another batch.
    pub(super) async fn anything_left(&self, planning: &mut Planning) -> Result<bool> {
        loop {
            let so_far = self.state.lock().available_now.as_ref().map(AvailableNow::so_far);
            let Some((done, surely_later)) = so_far else {
                return Ok(false);
            };
            // The shards in which the last batch left records need no probe.
            let known = &done | &planning.with_backlog;
            let asked: BTreeSet<ShardId> = planning
                .positions
                .keys()
                .filter(|shard| !known.contains(*shard))
                .cloned()
                .collect();
            let probed = planning.probe(&known, Extent::All).await?;
            let quiet = asked
                .into_iter()
                .filter(|shard| !probed.unknown.contains(shard))
                .filter(|shard| match probed.available.get(shard) {
                    Some(arrival) => arrival.is_some_and(|arrival| arrival > surely_later),
                    None => true,
                });
            if let Some(left) = &mut self.state.lock().available_now {
                left.done.extend(quiet);
                let unread = |(shard, at): (&ShardId, &Position)| {
                    *at != Position::ShardEnd && !left.done.contains(shard)
                };
                if planning.positions.iter().any(unread) {
                    return Ok(true);
                }
            }
            while planning.awaits_children() {
                planning.shards.wait_for_children(&planning.positions).await;
                if planning.follow().await? {
                    break;
                }
            }
            let fresh =
                |(shard, at): (&ShardId, &Position)| *at != Position::ShardEnd && !self.is_finished(shard);
            if !planning.positions.iter().any(fresh) {
                return Ok(planning.shards_changed());
            }
        }
    }

    /// True if a query with `Trigger.AvailableNow` has nothing left to read in the shard.
    fn is_finished(&self, shard: &ShardId) -> bool {
        let state = self.state.lock();
        let left = state.available_now.as_ref();
        left.is_some_and(|left| left.done.contains(shard))
    }

    /// True if a reader had read everything that was there when the query began. GetRecords returns what is there at
    /// once. A subscription pushes it a moment later, so the proof is the time of its last record, or a wait for one
    /// in vain.
    pub(super) fn is_done(&self, report: &ShardReport, available: &AvailableNow) -> bool {
        let arrived_since = |time: i64| report.last_arrival.is_some_and(|arrival| arrival >= time);
        let at_tip = report.backlog == Backlog::Empty
            && (self.fan_out.is_none() || report.records == 0 || arrived_since(available.since));
        at_tip || arrived_since(available.surely_later)
    }

    pub(super) fn is_available_now(&self) -> bool {
        self.state.lock().available_now.is_some()
    }
}
