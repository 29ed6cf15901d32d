//! Shards that had nothing to read at their last probe or read.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::time::Instant;

use crate::stream::{Position, ShardId};

/// Position after which a shard had nothing, and when that was observed. Later findings about the shard replace it.
#[derive(Debug, Default)]
pub(super) struct Idle(HashMap<ShardId, (Position, Instant)>);

impl Idle {
    /// Records that at this time nothing followed the position.
    pub fn saw(&mut self, shard: &ShardId, position: &Position, at: Instant) {
        self.0.insert(shard.clone(), (position.clone(), at));
    }

    /// Forgets a shard that has records or is unknown.
    pub fn forget(&mut self, shard: &ShardId) {
        self.0.remove(shard);
    }

    /// Drops entries for other positions than these.
    pub fn retain(&mut self, positions: &BTreeMap<ShardId, Position>) {
        self.0
            .retain(|shard, (position, _)| positions.get(shard) == Some(position));
    }

    /// The shards in `positions` that had nothing there at `since` or later; at any time if `since` is none.
    pub fn since(
        &self,
        since: Option<Instant>,
        positions: &BTreeMap<ShardId, Position>,
    ) -> BTreeSet<ShardId> {
        let idle = self.0.iter().filter(|(shard, (position, at))| {
            since.is_none_or(|since| *at >= since) && positions.get(*shard) == Some(position)
        });
        idle.map(|(shard, _)| shard.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_shard_is_idle_where_and_since_nothing_was_seen_there() {
        let shards = ["a", "b", "c", "d"].map(ShardId::from);
        let [early, late, moved, asked] = &shards;
        let at = |number: &str| Position::After(number.parse().expect("a number"));
        let mut idle = Idle::default();
        idle.saw(early, &at("1"), Instant::now());
        tokio::time::advance(Duration::from_secs(1)).await;
        let since = Instant::now();
        for shard in [late, moved, asked] {
            idle.saw(shard, &at("1"), since);
        }
        idle.forget(asked);
        let mut positions: BTreeMap<_, _> = shards.iter().map(|shard| (shard.clone(), at("1"))).collect();
        positions.insert(moved.clone(), at("2"));
        let found = |idle: &Idle, since| idle.since(since, &positions);
        assert_eq!(found(&idle, Some(since)), [late.clone()].into());
        assert_eq!(found(&idle, None), [early.clone(), late.clone()].into());
        idle.retain(&positions);
        assert_eq!(idle.0.len(), 2);
    }
}
