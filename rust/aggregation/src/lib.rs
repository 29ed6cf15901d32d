//! The KPL aggregated-record format: many user records in one Amazon Kinesis record.
//!
//! ```text
//! F3 89 9A C2 | AggregatedRecord (protocol buffers, proto2) | MD5 of the message, 16 bytes
//! ```
//!
//! Source of the layout: `aggregation-format.md` of awslabs/amazon-kinesis-producer. That page doesn't define a
//! record with the right magic and an invalid rest. This crate takes it for a plain record, as does the Kinesis
//! Client Library's `AggregatorUtil`, which consumers of such streams are used to. Two cases are errors here
//! ([`MalformedAggregate`]): an index outside its table, where the KCL logs it and drops records; and keys or user
//! records beyond what any producer makes, which would cost a consumer its memory.
//!
//! The crate does no I/O and has no notion of shards. For the KCL's check of hash keys against the shard's range, a
//! consumer can use [`UserRecord::hash_key`].

mod decode;
mod encode;
mod message;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use md5::{Digest, Md5};

pub use decode::{Decoded, MAX_EXPANDED_BYTES, MAX_KEY_CHARS, MalformedAggregate, decode, has_magic};
pub use encode::{Aggregator, encode};

/// The first bytes of every aggregate.
pub const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

/// The length of the MD5 digest at the end of every aggregate.
pub const DIGEST_LEN: usize = 16;

/// Bytes of an aggregate in addition to its message: magic and digest.
pub const OVERHEAD: usize = MAGIC.len() + DIGEST_LEN;

/// A record within an aggregate. Clones share key and data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    /// The user record's own partition key; records with the same key share it.
    pub partition_key: Arc<str>,
    /// The decimal hash key that overrides the partition key's, if the producer set one.
    pub explicit_hash_key: Option<Arc<str>>,
    /// The payload: a slice of the Kinesis record it was decoded from.
    pub data: Bytes,
    /// Index of the record in its aggregate, from 0. Encoding ignores it and follows the order of the records.
    pub sub_sequence: u32,
}

impl UserRecord {
    /// The hash key that determines the record's shard: see [`hash_key`].
    pub fn hash_key(&self) -> Option<u128> {
        hash_key(&self.partition_key, self.explicit_hash_key.as_deref())
    }
}

/// The hash key that determines a record's shard: the explicit one, else the MD5 of the partition key as an unsigned
/// 128-bit number, highest byte first (PutRecord in the service's API reference). `None` if the explicit one is not
/// such a number: no shard takes it.
pub fn hash_key(partition_key: &str, explicit_hash_key: Option<&str>) -> Option<u128> {
    match explicit_hash_key {
        Some(key) if key.bytes().all(|byte| byte.is_ascii_digit()) => key.parse().ok(),
        Some(_) => None,
        None => Some(u128::from_be_bytes(Md5::digest(partition_key).into())),
    }
}
