//! Where the tip of each shard was seen last. What comes after it is too young to expire unread, so that readers
//! which start there need not make sure of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::stream::{Position, ShardId};

/// Younger than the 24 hours that a stream keeps its records at least (AWS limit).
const FRESH: Duration = Duration::from_secs(23 * 3600);

/// The tips that this query's readers and looks saw since it started.
#[derive(Debug, Default)]
pub(super) struct Tips(HashMap<ShardId, (Position, Instant)>);

impl Tips {
    /// At this time nothing came after the position.
    pub(super) fn saw(&mut self, shard: &ShardId, position: &Position, at: Instant) {
        self.0.insert(shard.clone(), (position.clone(), at));
    }

    /// True if the tip was seen at this position, however long ago.
    pub(super) fn was_seen_at(&self, shard: &ShardId, position: &Position) -> bool {
        self.0.get(shard).is_some_and(|(seen, _)| seen == position)
    }

    /// The shards whose tip was seen at these positions within the last hours. Others are forgotten.
    pub(super) fn seen_at(&mut self, positions: &BTreeMap<ShardId, Position>) -> BTreeSet<ShardId> {
        self.0.retain(|shard, (position, at)| {
            at.elapsed() < FRESH && positions.get(shard).is_some_and(|stands| stands == position)
        });
        self.0.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tip_counts_where_it_was_seen_and_for_less_than_a_day() {
        let (shard, other) = (
            ShardId::from("shardId-000000000000"),
            ShardId::from("shardId-000000000001"),
        );
        let at = |number: &str| Position::After(number.parse().expect("number"));
        let positions = BTreeMap::from([(shard.clone(), at("5")), (other.clone(), at("7"))]);
        let mut tips = Tips::default();
        tips.saw(&shard, &at("5"), Instant::now());
        tips.saw(&other, &at("6"), Instant::now());
        assert_eq!(tips.seen_at(&positions), BTreeSet::from([shard.clone()]));
        tokio::time::advance(FRESH).await;
        assert_eq!(tips.seen_at(&positions), BTreeSet::new());
    }
}
