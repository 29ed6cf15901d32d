//! The stream's shards, listed only when something can have changed: at a start, and when a shard was read to its
//! end. New shards come from a split or a merge, so their parents end first.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::service::{KinesisApi, ShardFilter};
use crate::stream::{Lineage, Position, ShardId};

/// Lists shards, at most once in an interval.
#[derive(Debug)]
pub(super) struct Shards {
    interval: Duration,
    listed: Option<Instant>,
}

/// What a look at the listing changed.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// The new positions, if the shards were listed.
    pub positions: Option<BTreeMap<ShardId, Position>>,
    /// Shards that the stream no longer lists, with where their reading stood.
    pub lost: Vec<(ShardId, Position)>,
}

impl Shards {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            listed: None,
        }
    }

    /// Where a new query starts. With a time, shards that ended before it have nothing for the query.
    pub(super) async fn roots(
        &mut self,
        api: &dyn KinesisApi,
        at: &Position,
    ) -> Result<BTreeMap<ShardId, Position>> {
        let filter = match at {
            Position::AtTimestamp(millis) => ShardFilter::FromTimestamp(*millis),
            _ => ShardFilter::All,
        };
        let lineage = Lineage::new(api.list_shards(filter).await?);
        if lineage.is_empty() {
            return Err(Error::new(
                ErrorKind::NotFound,
                "the stream lists no shard: is it being deleted?",
            ));
        }
        self.listed = Some(Instant::now());
        Ok(lineage.roots(at))
    }

    /// Waits until the shards may be listed again.
    pub(super) async fn wait_until_due(&self) {
        if let Some(listed) = self.listed {
            tokio::time::sleep_until(listed + self.interval).await;
        }
    }

    /// Lists the shards if that is due and can tell something new.
    pub(super) async fn follow(
        &mut self,
        api: &dyn KinesisApi,
        positions: &BTreeMap<ShardId, Position>,
    ) -> Result<Followed> {
        let ended = positions.values().any(|position| *position == Position::ShardEnd);
        let due = match self.listed {
            None => true,
            Some(listed) => ended && listed.elapsed() >= self.interval,
        };
        if !due {
            return Ok(Followed::default());
        }
        let lineage = Lineage::new(api.list_shards(ShardFilter::All).await?);
        self.listed = Some(Instant::now());
        let lost: Vec<(ShardId, Position)> = positions
            .iter()
            .filter(|(shard, position)| **position != Position::ShardEnd && !lineage.lists(shard))
            .map(|(shard, position)| (shard.clone(), position.clone()))
            .collect();
        let mut standing = positions.clone();
        for (shard, _) in &lost {
            standing.insert(shard.clone(), Position::ShardEnd);
        }
        Ok(Followed {
            positions: Some(lineage.advance(&standing)),
            lost,
        })
    }
}
