//! The stream's shards, listed only when something can have changed: at a start, and when a shard was read to its
//! end. New shards come from a split or a merge, so their parents end first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::service::{KinesisApi, ShardFilter};
use crate::stream::{HashRange, Lineage, Position, Shard, ShardId};

/// Listings until a new query goes on without a shard that a split or merge has just made. ListShards may show it a
/// moment later than its parents' end.
const LISTINGS_OF_A_START: u32 = 5;

/// Lists shards, at most once in an interval.
#[derive(Debug)]
pub(super) struct Shards {
    interval: Duration,
    listed: Option<Instant>,
    ranges: HashRanges,
    /// What the planner's opening listed, until the first call that can use it.
    opening: Option<(Instant, Vec<Shard>)>,
}

/// The hash keys of the shards that were listed last, and how many those are. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct HashRanges(Arc<Mutex<Listed>>);

#[derive(Debug, Default)]
struct Listed {
    ranges: BTreeMap<ShardId, HashRange>,
    /// Of them, those that others came from.
    closed: usize,
}

impl HashRanges {
    /// What a shard takes; none if it isn't listed.
    pub(super) fn of(&self, shard: &ShardId) -> Option<HashRange> {
        self.listed().ranges.get(shard).copied()
    }

    /// How many shards there are, and how many of them are closed; none before the first listing.
    pub(super) fn counts(&self) -> Option<(usize, usize)> {
        let listed = self.listed();
        let total = listed.ranges.len();
        (total > 0).then_some((total, listed.closed))
    }

    fn remember(&self, listing: &[Shard]) {
        let ranges: BTreeMap<_, _> = listing
            .iter()
            .map(|shard| (shard.id.clone(), shard.hash_range()))
            .collect();
        let parents: BTreeSet<_> = listing.iter().flat_map(|shard| &shard.parents).collect();
        let closed = parents.into_iter().filter(|id| ranges.contains_key(*id)).count();
        *self.listed() = Listed { ranges, closed };
    }

    fn listed(&self) -> MutexGuard<'_, Listed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            ranges: HashRanges::default(),
            opening: None,
        }
    }

    /// Lists the shards before anything is planned: the batch in flight at a restart runs again without a call of
    /// [`Self::follow`], and its tasks need the shards' hash keys.
    pub(super) async fn open(&mut self, api: &dyn KinesisApi) -> Result<()> {
        let listing = api.list_shards(ShardFilter::All).await?;
        self.ranges.remember(&listing);
        self.opening = Some((Instant::now(), listing));
        Ok(())
    }

    /// The shards' hash keys, as they are known at any time.
    pub(super) fn hash_ranges(&self) -> HashRanges {
        self.ranges.clone()
    }

    /// All shards: what the opening listed, if that may be used still.
    async fn list(&mut self, api: &dyn KinesisApi) -> Result<Lineage> {
        let (listed, listing) = match self.opening.take() {
            Some((listed, listing)) if listed.elapsed() < self.interval => (listed, listing),
            _ => {
                let listing = api.list_shards(ShardFilter::All).await?;
                (Instant::now(), listing)
            }
        };
        self.ranges.remember(&listing);
        self.listed = Some(listed);
        Ok(Lineage::new(listing))
    }

    /// Where a new query starts. With a time, shards that ended before it have nothing for the query. Since every hash
    /// key has a shard at any time, a listing that leaves some out is not complete yet.
    pub(super) async fn roots(
        &mut self,
        api: &dyn KinesisApi,
        at: &Position,
    ) -> Result<BTreeMap<ShardId, Position>> {
        for listing in 1.. {
            let lineage = match at {
                Position::AtTimestamp(millis) => {
                    let listing = api.list_shards(ShardFilter::FromTimestamp(*millis)).await?;
                    self.ranges.remember(&listing);
                    self.listed = Some(Instant::now());
                    Lineage::new(listing)
                }
                _ => self.list(api).await?,
            };
            let roots = lineage.roots(at);
            if lineage.take_all_keys(roots.keys()) {
                return Ok(roots);
            }
            if listing == LISTINGS_OF_A_START && !roots.is_empty() {
                tracing::warn!("the listed shards don't take all hash keys; going on with those there are");
                return Ok(roots);
            }
            if listing == LISTINGS_OF_A_START {
                break;
            }
            self.wait_until_due().await;
        }
        Err(Error::new(
            ErrorKind::NotFound,
            "the stream lists no shard: is it being deleted?",
        ))
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
        let lineage = self.list(api).await?;
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
