//! Packs rows into aggregates, with one open aggregate for each shard that the rows go to.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kinesis_aggregation::Aggregator;

use super::batch::MAX_REQUEST_BYTES;
use super::outgoing::Outgoing;
use super::shard_map::ShardMap;
use crate::service::PutEntry;
use crate::stream::HashRange;

/// Largest aggregate, in bytes: the KPL's maximum, which readers are used to.
pub(super) const MAX_AGGREGATE_BYTES: usize = 51_200;

/// Partition key of every aggregate, as with the KPL: an explicit hash key determines the shard.
const AGGREGATE_KEY: &str = "a";

/// Memory of an open row in addition to its bytes in the aggregate, in bytes.
const ROW_BYTES: usize = 64;

/// Collects rows in aggregates. Rows of one shard leave in the order in which they were added.
#[derive(Debug)]
pub(super) struct Packer {
    limit: usize,
    map: Arc<ShardMap>,
    open: BTreeMap<usize, Open>,
    weight: usize,
}

#[derive(Debug)]
struct Open {
    aggregator: Aggregator,
    /// The row while it is the only one: it is then sent without an aggregate.
    lone: Option<Outgoing>,
    first_hash: u128,
    span: HashRange,
    again: bool,
}

impl Open {
    fn weight(&self) -> usize {
        self.aggregator.encoded_len() + ROW_BYTES * self.aggregator.len()
    }

    fn finish(mut self) -> Outgoing {
        if let Some(lone) = self.lone {
            return lone;
        }
        // The aggregate has at most MAX_AGGREGATE_BYTES, so the number fits.
        let rows = self.aggregator.len() as u32;
        Outgoing {
            entry: PutEntry {
                partition_key: Some(AGGREGATE_KEY.to_owned()),
                data: self.aggregator.finish(),
                explicit_hash_key: Some(self.first_hash.to_string()),
            },
            rows,
            span: Some(self.span),
            again: self.again,
            hash: Some(self.first_hash),
            gate: None,
        }
    }
}

impl Packer {
    /// A packer for these shards, and for records of at most `max_record_bytes`.
    pub(super) fn new(map: Arc<ShardMap>, max_record_bytes: usize) -> Self {
        Self {
            limit: MAX_AGGREGATE_BYTES.min(max_record_bytes.saturating_sub(AGGREGATE_KEY.len())),
            map,
            open: BTreeMap::new(),
            weight: 0,
        }
    }

    /// True if it packs for this map.
    pub(super) fn is_for(&self, map: &Arc<ShardMap>) -> bool {
        Arc::ptr_eq(&self.map, map)
    }

    /// Adds a row, and appends completed entries to `out`.
    pub(super) fn add(&mut self, row: Outgoing, out: &mut Vec<Outgoing>) {
        let hash = row.span.map(|span| span.start);
        let PutEntry {
            partition_key,
            data,
            explicit_hash_key,
        } = &row.entry;
        // A row without a key can't be part of an aggregate.
        let placed = hash.and_then(|hash| Some((hash, self.map.place(hash)?, partition_key.as_deref()?)));
        let Some((hash, place, partition_key)) = placed else {
            out.push(row);
            return;
        };
        let explicit = explicit_hash_key.as_deref();
        let limit = self.limit;
        let fits = |aggregator: &Aggregator| {
            aggregator.encoded_len_with(partition_key, explicit, data.len()) <= limit
        };
        if self.open.get(&place).is_some_and(|open| !fits(&open.aggregator)) {
            self.close(place, out);
        }
        let Some(open) = self.open.get_mut(&place) else {
            if !fits(&Aggregator::new()) {
                out.push(row);
                return;
            }
            let mut aggregator = Aggregator::new();
            aggregator.push(partition_key, explicit, data);
            let mut lone = row;
            // Copied, so that the row doesn't keep the large buffer that it is a part of.
            lone.entry.data = Bytes::copy_from_slice(&lone.entry.data);
            let open = Open {
                aggregator,
                first_hash: hash,
                span: HashRange {
                    start: hash,
                    end: hash,
                },
                again: lone.again,
                lone: Some(lone),
            };
            self.weight += open.weight();
            self.open.insert(place, open);
            self.keep_bounds(out);
            return;
        };
        let before = open.weight();
        open.aggregator.push(partition_key, explicit, data);
        open.lone = None;
        open.span.start = open.span.start.min(hash);
        open.span.end = open.span.end.max(hash);
        self.weight += open.weight() - before;
        self.keep_bounds(out);
    }

    /// Completes all open aggregates.
    pub(super) fn drain(&mut self, out: &mut Vec<Outgoing>) {
        self.weight = 0;
        out.extend(std::mem::take(&mut self.open).into_values().map(Open::finish));
    }

    /// Approximate bytes of all open aggregates.
    pub(super) fn bytes(&self) -> usize {
        self.weight
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Completes the largest aggregates while all open ones together are too large, which happens with many shards.
    fn keep_bounds(&mut self, out: &mut Vec<Outgoing>) {
        while self.weight > MAX_REQUEST_BYTES {
            let largest = self.open.iter().max_by_key(|(_, open)| open.weight());
            let Some(place) = largest.map(|(place, _)| *place) else {
                return;
            };
            self.close(place, out);
        }
    }

    fn close(&mut self, place: usize, out: &mut Vec<Outgoing>) {
        if let Some(open) = self.open.remove(&place) {
            self.weight -= open.weight();
            out.push(open.finish());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SinkRecord;
    use super::*;
    use crate::stream::Shard;

    const MIB: usize = 1024 * 1024;

    fn packer(shards: u128) -> Packer {
        let width = u128::MAX / shards;
        let shard = |index| Shard {
            id: format!("shardId-{index:012}").as_str().into(),
            parents: Vec::new(),
            hash_start: width * index,
            hash_end: width * index + (width - 1),
            closed: false,
        };
        let map = ShardMap::of((0..shards).map(shard).collect());
        Packer::new(Arc::new(map), MIB)
    }

    fn row(hash: u128, size: usize) -> Outgoing {
        let record = SinkRecord {
            partition_key: Some("key".into()),
            data: vec![0; size].into(),
            explicit_hash_key: Some(hash.to_string()),
        };
        Outgoing::of(record, true)
    }

    #[test]
    fn an_aggregate_is_as_large_as_it_may_be_and_has_its_span() {
        let (mut packer, mut out) = (packer(1), Vec::new());
        for hash in (0..1_000).rev() {
            packer.add(row(hash, 100), &mut out);
        }
        let first = &out[0];
        assert!(first.entry.data.len() <= MAX_AGGREGATE_BYTES);
        assert!(first.entry.data.len() > MAX_AGGREGATE_BYTES - 200);
        assert_eq!(first.entry.partition_key.as_deref(), Some("a"));
        assert_eq!(
            first.entry.explicit_hash_key.as_deref(),
            Some("999"),
            "its first row's"
        );
        let least = 1_000 - u128::from(first.rows);
        assert_eq!(
            first.span,
            Some(HashRange {
                start: least,
                end: 999
            })
        );
        packer.drain(&mut out);
        assert!(packer.is_empty());
        assert_eq!(out.iter().map(|it| it.rows).sum::<u32>(), 1_000);
    }

    #[test]
    fn open_aggregates_of_many_shards_stay_within_bounds() {
        let (mut packer, mut out) = (packer(2_000), Vec::new());
        let width = u128::MAX / 2_000;
        for index in 0..20_000 {
            packer.add(row(width * (index % 2_000), 1_000), &mut out);
            assert!(packer.weight <= MAX_REQUEST_BYTES);
        }
        assert!(out.iter().all(|it| it.rows > 1), "the largest go first");
        packer.drain(&mut out);
        assert_eq!(out.iter().map(|it| it.rows).sum::<u32>(), 20_000);
        assert_eq!(packer.weight, 0);
    }

    #[test]
    fn a_hash_key_that_no_shard_takes_goes_plain() {
        let (mut packer, mut out) = (packer(3), Vec::new());
        packer.add(row(u128::MAX, 5), &mut out);
        assert_eq!((out.len(), packer.is_empty()), (1, true));
    }
}
