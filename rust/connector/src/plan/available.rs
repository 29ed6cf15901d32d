//! `Trigger.AvailableNow`: everything that was in the stream when the query started, and then the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};

use super::Planner;
use super::news::News;
use super::shards::Shards;
use crate::error::Result;
use crate::stream::{Position, ShardId};

/// What a query with `Trigger.AvailableNow` has left: every shard is read until its tip was seen once.
#[derive(Debug, Default)]
pub(super) struct AvailableNow {
    /// When it began, milliseconds since the epoch.
    pub since: i64,
    pub done: BTreeSet<ShardId>,
}

impl AvailableNow {
    /// Those of these shards that are open and have nothing left to read.
    pub(super) fn done_of(&self, positions: &BTreeMap<ShardId, Position>) -> BTreeSet<ShardId> {
        let open = |shard: &&ShardId| positions.get(*shard).is_some_and(|at| *at != Position::ShardEnd);
        self.done.iter().filter(open).cloned().collect()
    }
}

impl Planner {
    /// Fixes what a query with `Trigger.AvailableNow` reads: every shard until its tip was seen.
    pub fn prepare_for_available_now(&self) {
        *self.available() = Some(AvailableNow {
            since: self.clock.now_millis(),
            done: BTreeSet::new(),
        });
    }

    /// Looks at every shard that a query with `Trigger.AvailableNow` has not finished, and at those that follow
    /// the ones it has. Those in `left_in` are known to have records, and need no look.
    pub(super) async fn anything_left(
        &self,
        shards: &mut Shards,
        news: &mut News,
        positions: &mut BTreeMap<ShardId, Position>,
        left_in: &BTreeSet<ShardId>,
    ) -> Result<bool> {
        loop {
            let done = self
                .available()
                .as_ref()
                .map(|left| left.done.clone())
                .unwrap_or_default();
            let known = done.union(left_in).cloned().collect();
            let mut quiet = news
                .quiet_shards(&self.api, positions, &known, &self.counters)
                .await?;
            quiet.retain(|shard| !left_in.contains(shard));
            if let Some(left) = &mut *self.available() {
                left.done.extend(quiet);
                let unread = |(shard, at): (&ShardId, &Position)| {
                    *at != Position::ShardEnd && !left.done.contains(shard)
                };
                if positions.iter().any(unread) {
                    return Ok(true);
                }
            }
            if positions.values().all(|position| *position != Position::ShardEnd) {
                return Ok(false);
            }
            let before = positions.clone();
            shards.wait_until_due().await;
            self.follow(shards, positions).await?;
            if *positions == before {
                return Ok(false);
            }
        }
    }

    pub(super) fn is_available_now(&self) -> bool {
        self.available().is_some()
    }

    pub(super) fn available(&self) -> MutexGuard<'_, Option<AvailableNow>> {
        self.available.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
