//! The protocol buffer messages of `aggregation-format.md`, annotated by hand so that the build needs no protoc.
//!
//! Two deviations from the page's declarations, which don't change the wire format:
//! - Required fields are `optional` here, because prost replaces a missing required field by its default value, and
//!   messages that lack one must be recognized.
//! - The key tables are `bytes`, because prost rejects a `string` that isn't UTF-8, unlike proto2 readers such as the
//!   KCL's.

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

/// Not used by the KPL or the KCL so far; declared so that a malformed one is detected.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tag {
    /// Required.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(crate) key: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(crate) value: Option<Bytes>,
}

impl AggregatedRecord {
    /// False if a required field is missing; a proto2 reader can't parse such a message.
    pub(crate) fn is_initialized(&self) -> bool {
        self.records.iter().all(|record| {
            record.partition_key_index.is_some()
                && record.data.is_some()
                && record.tags.iter().all(|tag| tag.key.is_some())
        })
    }
}
