//! The shards of hash keys, from a listing of the stream's shards.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::error::ErrorKind;
use crate::service::{KinesisApi, ShardFilter};
use crate::stream::{HashRange, Shard, ShardId};

/// Minimum time between two listings by any writers: after a split, many responses show it at once.
const INTERVAL: Duration = Duration::from_secs(1);

/// Minimum time after a listing that isn't allowed: the permission may be granted meanwhile.
const INTERVAL_WHEN_DENIED: Duration = Duration::from_secs(600);

/// The open shards of a stream at one time.
#[derive(Debug)]
pub(super) struct ShardMap {
    /// The shards' ranges, in the order of their hash keys.
    ranges: Vec<HashRange>,
    by_id: HashMap<ShardId, HashRange>,
}

impl ShardMap {
    pub(super) fn of(shards: Vec<Shard>) -> Self {
        let by_id: HashMap<_, _> = shards
            .into_iter()
            .filter(|shard| !shard.closed)
            .map(|shard| {
                let range = HashRange {
                    start: shard.hash_start,
                    end: shard.hash_end,
                };
                (shard.id, range)
            })
            .collect();
        let mut ranges: Vec<_> = by_id.values().copied().collect();
        ranges.sort_unstable_by_key(|range| range.start);
        Self { ranges, by_id }
    }

    /// A map of one shard that takes every hash key.
    pub(super) fn of_one() -> Arc<Self> {
        static ONE: OnceLock<Arc<ShardMap>> = OnceLock::new();
        let whole = || HashRange {
            start: 0,
            end: u128::MAX,
        };
        Arc::clone(ONE.get_or_init(|| {
            Arc::new(Self {
                ranges: vec![whole()],
                by_id: HashMap::new(),
            })
        }))
    }

    /// Index of the shard that takes this hash key, in the order of hash keys; `None` if no shard takes it.
    pub(super) fn place(&self, hash_key: u128) -> Option<usize> {
        let after = self.ranges.partition_point(|range| range.start <= hash_key);
        let place = after.checked_sub(1)?;
        self.ranges[place].contains(hash_key).then_some(place)
    }

    /// True if the map has this shard.
    pub(super) fn knows(&self, shard: &ShardId) -> bool {
        self.by_id.contains_key(shard)
    }

    /// True if the map has this shard, and the shard takes all these hash keys.
    pub(super) fn holds(&self, shard: &ShardId, span: HashRange) -> bool {
        self.by_id
            .get(shard)
            .is_some_and(|range| range.contains(span.start) && range.contains(span.end))
    }
}

/// Latest map of a stream's shards, which this process's writers share.
#[derive(Debug, Default)]
pub(crate) struct Shards {
    known: Mutex<Known>,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    map: Option<Arc<ShardMap>>,
    asked: Option<Instant>,
    denied: bool,
}

impl Shards {
    /// The latest map, without a request.
    pub(super) fn known(&self) -> Option<Arc<ShardMap>> {
        self.lock().map.clone()
    }

    /// The latest map, listed if there is none. `None` if the service doesn't allow the listing, or doesn't answer.
    /// Writing goes on without a map, since single records need none.
    pub(super) async fn get(&self, api: &dyn KinesisApi, stream: &str) -> Option<Arc<ShardMap>> {
        match self.known() {
            Some(map) => Some(map),
            None => self.listed(api, stream, None).await,
        }
    }

    /// A newer map than `old`, which is out of date. Waits if the next listing is due within [`INTERVAL`]; if it is
    /// due later, returns the latest map.
    pub(super) async fn newer_than(
        &self,
        old: &Arc<ShardMap>,
        api: &dyn KinesisApi,
        stream: &str,
    ) -> Option<Arc<ShardMap>> {
        self.listed(api, stream, Some(old)).await
    }

    async fn listed(
        &self,
        api: &dyn KinesisApi,
        stream: &str,
        old: Option<&Arc<ShardMap>>,
    ) -> Option<Arc<ShardMap>> {
        let _turn = self.turn.lock().await;
        let wait = {
            let known = self.lock();
            match (&known.map, old) {
                (Some(map), Some(old)) if Arc::ptr_eq(map, old) => {}
                // Another caller listed the shards before.
                (Some(map), _) => return Some(Arc::clone(map)),
                (None, _) => {}
            }
            let interval = if known.denied {
                INTERVAL_WHEN_DENIED
            } else {
                INTERVAL
            };
            let left = known
                .asked
                .and_then(|asked| interval.checked_sub(asked.elapsed()));
            left.filter(|left| !left.is_zero())
        };
        match wait {
            None => {}
            Some(wait) if old.is_some() && wait <= INTERVAL => tokio::time::sleep(wait).await,
            Some(_) => return self.known(),
        }
        let listing = api.list_shards(ShardFilter::Open).await;
        let mut known = self.lock();
        known.asked = Some(Instant::now());
        match listing {
            Ok(shards) => {
                known.denied = false;
                known.map = Some(Arc::new(ShardMap::of(shards)));
            }
            Err(error) if error.kind() == ErrorKind::Access => {
                if !known.denied {
                    tracing::warn!(
                        %stream,
                        "records are put one by one, not in aggregates, since the stream's shards can't be listed. \
                         Allow kinesis:ListShards, or set kinesis.sink.aggregationEnabled to false. {error}"
                    );
                }
                known.denied = true;
            }
            Err(error) => tracing::warn!(%stream, "the stream's shards are not known for now: {error}"),
        }
        known.map.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, start: u128, end: u128, closed: bool) -> Shard {
        Shard {
            id: id.into(),
            parents: Vec::new(),
            hash_start: start,
            hash_end: end,
            closed,
        }
    }

    #[test]
    fn a_hash_key_is_placed_in_the_open_shard_that_takes_it() {
        let map = ShardMap::of(vec![
            shard("c", 20, u128::MAX, false),
            shard("parent", 0, 19, true),
            shard("a", 0, 9, false),
            shard("b", 10, 15, false),
        ]);
        let places = [0, 9, 10, 15, 16, 19, 20, u128::MAX].map(|key| map.place(key));
        assert_eq!(
            places,
            [Some(0), Some(0), Some(1), Some(1), None, None, Some(2), Some(2)]
        );
        let span = |start, end| HashRange { start, end };
        assert!(map.knows(&"a".into()) && !map.knows(&"parent".into()));
        assert!(map.holds(&"b".into(), span(10, 15)));
        assert!(!map.holds(&"b".into(), span(9, 15)));
        assert!(!map.holds(&"parent".into(), span(1, 2)));
        assert_eq!(ShardMap::of(Vec::new()).place(7), None);
    }
}
