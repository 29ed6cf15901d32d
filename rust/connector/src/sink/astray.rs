//! Aggregates that landed in another shard than they were made for, since the shards changed.

use std::sync::Arc;

use kinesis_aggregation::{Decoded, decode};

use super::SinkRecord;
use super::outgoing::Outgoing;
use super::pack::Packer;
use super::shard_map::ShardMap;
use crate::stream::ShardId;

/// What an answer tells of shards that aren't as they are known.
#[derive(Debug, Default)]
pub(super) struct Astray {
    /// Aggregates, and where they landed.
    pub(super) aggregates: Vec<(Outgoing, ShardId)>,
    /// The shards as they were known.
    pub(super) map: Option<Arc<ShardMap>>,
    /// A record landed in a shard that isn't known to take it.
    records: bool,
}

impl Astray {
    /// Nothing yet, where shards are known to be as this map says.
    pub(super) fn of(map: Option<Arc<ShardMap>>) -> Self {
        Self {
            map,
            ..Self::default()
        }
    }

    /// The map that is out of date, as was seen.
    pub(super) fn outdated(&self) -> Option<&Arc<ShardMap>> {
        let seen = self.records || !self.aggregates.is_empty();
        self.map.as_ref().filter(|_| seen)
    }

    /// Gives an entry back unless it is an aggregate that landed in a shard which isn't known to take all of it.
    pub(super) fn unless_right(&mut self, outgoing: Outgoing, shard: ShardId) -> Option<Outgoing> {
        let (Some(map), Some(span)) = (&self.map, outgoing.span) else {
            return Some(outgoing);
        };
        if map.holds(&shard, span) {
            return Some(outgoing);
        }
        if outgoing.rows == 1 {
            self.records = true;
            return Some(outgoing);
        }
        self.aggregates.push((outgoing, shard));
        None
    }
}

/// The rows of an aggregate of ours as entries to put again: packed for these shards, or one by one. None if it can't be
/// taken apart, which no aggregate of ours is.
pub(super) fn rows_of(
    aggregate: &Outgoing,
    shards: Option<&Arc<ShardMap>>,
    max_record_bytes: usize,
) -> Option<Vec<Outgoing>> {
    let Ok(Decoded::Aggregate(rows)) = decode(&aggregate.entry.data) else {
        return None;
    };
    let rows = rows.into_iter().map(|row| {
        let record = SinkRecord {
            partition_key: Some(row.partition_key.to_string()),
            data: row.data,
            explicit_hash_key: row.explicit_hash_key.map(|key| key.to_string()),
        };
        Outgoing {
            again: true,
            ..Outgoing::of(record, true)
        }
    });
    let Some(shards) = shards else {
        return Some(rows.collect());
    };
    let (mut packer, mut packed) = (Packer::new(Arc::clone(shards), max_record_bytes), Vec::new());
    rows.for_each(|row| packer.add(row, &mut packed));
    packer.drain(&mut packed);
    Some(packed)
}
