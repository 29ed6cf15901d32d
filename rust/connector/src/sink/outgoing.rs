//! An entry on its way to the stream, with its rows and what determines its shard.

use std::sync::Arc;

use kinesis_aggregation::hash_key;

use super::SinkRecord;
use super::batch::counted_bytes;
use super::gate::Gate;
use crate::service::PutEntry;
use crate::stream::HashRange;

/// An entry of a future request.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    /// The entry to send.
    pub(super) entry: PutEntry,
    /// Number of rows in it: one, or those of an aggregate.
    pub(super) rows: u32,
    /// Range from the least to the greatest of its rows' hash keys, if that is needed.
    pub(super) span: Option<HashRange>,
    /// True if its rows were put before, in an aggregate that landed in the wrong shard.
    pub(super) again: bool,
    /// The hash key that determines its shard, if that is needed.
    pub(super) hash: Option<u128>,
    /// Gate of the shard that refused it last, or is expected to take it: that shard is at its limit.
    pub(super) gate: Option<Arc<Gate>>,
}

impl Outgoing {
    /// An entry of a single record, with its hash key if `hashed`.
    pub(super) fn of(record: SinkRecord, hashed: bool) -> Self {
        let entry = PutEntry::from(record);
        let hash = entry
            .partition_key
            .as_deref()
            .filter(|_| hashed)
            .and_then(|key| hash_key(key, entry.explicit_hash_key.as_deref()));
        Self {
            entry,
            rows: 1,
            span: hash.map(|hash| HashRange {
                start: hash,
                end: hash,
            }),
            again: false,
            hash,
            gate: None,
        }
    }

    /// Computes the hash key that determines its shard, unless it is known.
    pub(super) fn know_hash(&mut self) {
        let PutEntry {
            partition_key,
            explicit_hash_key,
            ..
        } = &self.entry;
        if let (None, Some(key)) = (self.hash, partition_key) {
            self.hash = hash_key(key, explicit_hash_key.as_deref());
        }
    }

    /// Bytes that the service counts, see [`counted_bytes`].
    pub(super) fn bytes(&self) -> usize {
        counted_bytes(self.entry.partition_key.as_deref(), &self.entry.data)
    }
}
