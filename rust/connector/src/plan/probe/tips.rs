//! Where the tip of each shard was last observed. Records after it are too young to expire unread for a while, so
//! readers that start there need no check for loss.

use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;

use crate::stream::{Position, ShardId};

/// Tips observed by this query's readers and probes since its start, with their times in milliseconds since the
/// epoch.
#[derive(Debug, Default)]
pub(in crate::plan) struct Tips(HashMap<ShardId, (Position, i64)>);

impl Tips {
    /// Records that at this time nothing followed the position.
    pub(in crate::plan) fn saw(&mut self, shard: &ShardId, position: &Position, at: Instant) {
        let ago = i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX);
        let millis = chrono::Utc::now().timestamp_millis().saturating_sub(ago);
        self.0.insert(shard.clone(), (position.clone(), millis));
    }

    /// True if the tip was observed at this position, however long ago.
    pub(in crate::plan) fn was_seen_at(&self, shard: &ShardId, position: &Position) -> bool {
        self.0.get(shard).is_some_and(|(seen, _)| seen == position)
    }

    /// Shards whose tip was observed at these positions, and when; other entries are dropped. The reader decides
    /// whether the observation is recent enough, since the time of the read is unknown here.
    pub(in crate::plan) fn seen_at(
        &mut self,
        positions: &BTreeMap<ShardId, Position>,
    ) -> BTreeMap<ShardId, i64> {
        self.0
            .retain(|shard, (position, _)| positions.get(shard).is_some_and(|stands| stands == position));
        let seen = self.0.iter();
        seen.map(|(shard, (_, millis))| (shard.clone(), *millis))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tip_counts_where_it_was_seen_and_since_then() {
        let (shard, other) = (
            ShardId::from("shardId-000000000000"),
            ShardId::from("shardId-000000000001"),
        );
        let at = |number: &str| Position::After(number.parse().expect("number"));
        let positions = BTreeMap::from([(shard.clone(), at("5")), (other.clone(), at("7"))]);
        let mut tips = Tips::default();
        let seen = Instant::now();
        tokio::time::advance(Duration::from_secs(3600)).await;
        tips.saw(&shard, &at("5"), seen);
        tips.saw(&other, &at("6"), seen);
        let found = tips.seen_at(&positions);
        assert_eq!(found.keys().collect::<Vec<_>>(), [&shard]);
        let ago = chrono::Utc::now().timestamp_millis() - found[&shard];
        assert!((3_600_000..3_660_000).contains(&ago), "{ago}");
        assert!(tips.was_seen_at(&shard, &at("5")) && !tips.was_seen_at(&other, &at("6")));
    }
}
