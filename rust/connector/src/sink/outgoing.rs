//! An entry on its way to the stream, and what it stands for.

use std::sync::Arc;

use kinesis_aggregation::hash_key;

use super::SinkRecord;
use super::batch::counted_bytes;
use super::gate::Gate;
use crate::service::PutEntry;
use crate::stream::HashRange;

/// An entry of a request to come.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    /// What is sent.
    pub(super) entry: PutEntry,
    /// The rows in it: one, or those of an aggregate.
    pub(super) rows: u32,
    /// From the least to the greatest of its rows' hash keys, where somebody has to know.
    pub(super) span: Option<HashRange>,
    /// True if its rows were put before, in an aggregate that went astray.
    pub(super) again: bool,
    /// The hash key that decides on its shard, where somebody has to know.
    pub(super) hash: Option<u128>,
    /// Of the shard that refused it last, or that will: it is at its limit.
    pub(super) gate: Option<Arc<Gate>>,
}

impl Outgoing {
    /// A record by itself, with its hash key if `hashed`.
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

    /// Finds out the hash key that decides on its shard.
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

    /// What the service counts of it.
    pub(super) fn bytes(&self) -> usize {
        counted_bytes(self.entry.partition_key.as_deref(), &self.entry.data)
    }
}
