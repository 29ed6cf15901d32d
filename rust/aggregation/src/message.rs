//! The messages of `aggregation-format.md`, annotated by hand so that building needs no protoc.
//!
//! Two deviations from the page's declarations that don't show on the wire:
//! - Required fields are `optional` here, because prost takes a missing required field for its default value, and a
//!   message without one has to be told from a sound one.
//! - The key tables are `bytes`, because prost refuses a `string` that isn't UTF-8, and proto2 readers such as the KCL's
//!   don't.

use bytes::Bytes;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AggregatedRecord {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) partition_key_table: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(crate) explicit_hash_key_table: Vec<Bytes>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) records: Vec<Record>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Record {
    /// Required.
    #[prost(uint64, optional, tag = "1")]
    pub(crate) partition_key_index: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) explicit_hash_key_index: Option<u64>,
    /// Required.
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(crate) data: Option<Bytes>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) tags: Vec<Tag>,
}

/// Not used by the KPL or the KCL so far; declared so that a broken one is noticed.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tag {
    /// Required.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(crate) key: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(crate) value: Option<Bytes>,
}

impl AggregatedRecord {
    /// False where a required field is missing: to a proto2 reader such a message can't be parsed.
    pub(crate) fn is_initialized(&self) -> bool {
        self.records.iter().all(|record| {
            record.partition_key_index.is_some()
                && record.data.is_some()
                && record.tags.iter().all(|tag| tag.key.is_some())
        })
    }
}
