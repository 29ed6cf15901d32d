//! Aggregates that landed in another shard than the one they were made for, because the shards changed.

use std::sync::Arc;

use kinesis_aggregation::{Decoded, decode};

use super::SinkRecord;
use super::outgoing::Outgoing;
use super::pack::Packer;
use super::shard_map::ShardMap;
use crate::stream::ShardId;

/// Evidence in a response that the known shards are out of date.
#[derive(Debug, Default)]
pub(super) struct Astray {
    /// Misplaced aggregates and the shards in which they landed.
    pub(super) aggregates: Vec<(Outgoing, ShardId)>,
    /// The known shards.
    pub(super) map: Option<Arc<ShardMap>>,
    /// True if a single record landed in a shard that doesn't take it according to the map.
    records: bool,
}

impl Astray {
    /// Without evidence so far against this map.
    pub(super) fn of(map: Option<Arc<ShardMap>>) -> Self {
        Self {
            map,
            ..Self::default()
        }
    }

    /// The map, if there is evidence that it is out of date.
    pub(super) fn outdated(&self) -> Option<&Arc<ShardMap>> {
        let seen = self.records || !self.aggregates.is_empty();
        self.map.as_ref().filter(|_| seen)
    }

    /// Returns the entry, unless it is an aggregate with rows for other shards than the one in which it landed. Such
    /// an aggregate is kept in `aggregates`.
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

/// The rows of an aggregate as entries to put again: packed for these shards, or one by one. `None` if it can't be
/// decoded, which doesn't happen with aggregates of this sink.
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
