//! Decodes a Kinesis record into its user records.

use std::sync::Arc;

use bytes::Bytes;
use md5::{Digest, Md5};
use prost::Message;

use crate::message::AggregatedRecord;
use crate::{DIGEST_LEN, MAGIC, OVERHEAD, UserRecord};

/// The content of a Kinesis record's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Not an aggregate: the data is the user's own.
    Plain,
    /// An aggregate, with its user records in order. The list is empty for an aggregate of keys without records,
    /// which is valid.
    Aggregate(Vec<UserRecord>),
}

/// Longest key, in characters: the service's limit for partition keys.
pub const MAX_KEY_CHARS: usize = 256;

/// Largest size of an aggregate's decoded user records, in bytes: their data, their keys (which the aggregate holds
/// only once, however many records share them), and [`RECORD_BYTES`] for each.
pub const MAX_EXPANDED_BYTES: usize = 64 * 1024 * 1024;

/// Bytes that a user record counts in addition to its keys and data.
pub(crate) const RECORD_BYTES: usize = 96;

/// An aggregate with the right digest whose user records can't be decoded, or exceed the bounds: its producer is
/// broken or hostile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedAggregate {
    /// A user record refers to a key outside its table.
    #[error(
        "malformed aggregated record: user record {record} of {records} has {table} index {index}, \
         but that table has {table_len} entries"
    )]
    Index {
        /// Index of the user record in the aggregate, from 0.
        record: u32,
        /// Number of user records in the aggregate.
        records: usize,
        /// Which table: `partition key` or `explicit hash key`.
        table: &'static str,
        /// The invalid index.
        index: u64,
        /// Number of entries in that table.
        table_len: usize,
    },
    /// A key has more than [`MAX_KEY_CHARS`] characters.
    #[error("malformed aggregated record: {table} {index} has more than {MAX_KEY_CHARS} characters")]
    LongKey {
        /// Which table: `partition key` or `explicit hash key`.
        table: &'static str,
        /// Index of the key in that table.
        index: usize,
    },
    /// The user records would take more than [`MAX_EXPANDED_BYTES`].
    #[error(
        "malformed aggregated record: its user records would take more than {} MiB",
        MAX_EXPANDED_BYTES / (1024 * 1024)
    )]
    TooLarge,
}

/// True if the data starts with [`MAGIC`]. For most plain records, decoding ends with this comparison of four bytes.
#[inline]
pub fn has_magic(data: &[u8]) -> bool {
    data.starts_with(&MAGIC)
}

/// Decodes a Kinesis record's data. The payloads are slices of `data`, not copies, and so keep it in memory.
///
/// Returns [`Decoded::Plain`] for everything that the KCL doesn't take for an aggregate: data with another magic,
/// with a wrong digest, too short, or with a message that can't be parsed (a missing required field included). As in
/// the KCL, an empty message counts as too short.
///
/// # Errors
///
/// [`MalformedAggregate`] if the digest is right, but an index points outside its table, a key is too long, or the
/// user records would exceed [`MAX_EXPANDED_BYTES`]. The cost of detecting this is bounded, too.
pub fn decode(data: &Bytes) -> Result<Decoded, MalformedAggregate> {
    if !has_magic(data) || data.len() <= OVERHEAD {
        return Ok(Decoded::Plain);
    }
    let message = data.slice(MAGIC.len()..data.len() - DIGEST_LEN);
    if Md5::digest(&message)[..] != data[data.len() - DIGEST_LEN..] {
        return Ok(Decoded::Plain);
    }
    if parts(&message, true) > MAX_EXPANDED_BYTES / RECORD_BYTES {
        return Err(MalformedAggregate::TooLarge);
    }
    match AggregatedRecord::decode(message) {
        Ok(aggregate) if aggregate.is_initialized() => user_records(aggregate).map(Decoded::Aggregate),
        Ok(_) | Err(_) => Ok(Decoded::Plain),
    }
}

const PARTITION_KEY: &str = "partition key";
const EXPLICIT_HASH_KEY: &str = "explicit hash key";

fn user_records(aggregate: AggregatedRecord) -> Result<Vec<UserRecord>, MalformedAggregate> {
    let partition_keys = table(&aggregate.partition_key_table, PARTITION_KEY)?;
    let explicit_hash_keys = table(&aggregate.explicit_hash_key_table, EXPLICIT_HASH_KEY)?;
    let mut expanded = 0_usize;
    let records = aggregate.records.len();
    let mut user_records = Vec::with_capacity(records);
    // The counter can't overflow: a record takes at least six bytes, and the service takes at most 10 MiB.
    for (sub_sequence, record) in (0_u32..).zip(aggregate.records) {
        let find = |keys: &[Arc<str>], table, index: u64| {
            usize::try_from(index)
                .ok()
                .and_then(|index| keys.get(index))
                .cloned()
                .ok_or(MalformedAggregate::Index {
                    record: sub_sequence,
                    records,
                    table,
                    index,
                    table_len: keys.len(),
                })
        };
        let user = UserRecord {
            // Both fields are present: the message is initialized.
            partition_key: find(
                &partition_keys,
                PARTITION_KEY,
                record.partition_key_index.unwrap_or_default(),
            )?,
            explicit_hash_key: record
                .explicit_hash_key_index
                .map(|index| find(&explicit_hash_keys, EXPLICIT_HASH_KEY, index))
                .transpose()?,
            data: record.data.unwrap_or_default(),
            sub_sequence,
        };
        let hash_key_len = user.explicit_hash_key.as_ref().map_or(0, |key| key.len());
        expanded += RECORD_BYTES + user.partition_key.len() + hash_key_len + user.data.len();
        if expanded > MAX_EXPANDED_BYTES {
            return Err(MalformedAggregate::TooLarge);
        }
        user_records.push(user);
    }
    Ok(user_records)
}

/// The keys of a table. Invalid UTF-8 is replaced, as proto2 readers in Java do.
fn table(entries: &[Bytes], table: &'static str) -> Result<Vec<Arc<str>>, MalformedAggregate> {
    let key = |(index, entry): (usize, &Bytes)| {
        // A character has at most four bytes.
        let long = || MalformedAggregate::LongKey { table, index };
        if entry.len() > 4 * MAX_KEY_CHARS {
            return Err(long());
        }
        let key = String::from_utf8_lossy(entry);
        match key.chars().count() {
            0..=MAX_KEY_CHARS => Ok(Arc::from(key)),
            _ => Err(long()),
        }
    };
    entries.iter().enumerate().map(key).collect()
}

/// Upper bound for the number of keys, user records and tags in a message, for each of which decoding allocates
/// memory. A message that can't be parsed is counted up to the first error.
fn parts(mut message: &[u8], top: bool) -> usize {
    const RECORDS: u64 = 3;
    const TAGS: u64 = 4;
    let mut count = 0;
    while let Some(tag) = varint(&mut message) {
        let skip = match tag & 7 {
            0 => varint(&mut message).map(|_| 0),
            1 => Some(8),
            2 => varint(&mut message),
            // Start or end of a group; its fields are counted like any other.
            3 | 4 => Some(0),
            5 => Some(4),
            _ => None,
        };
        let skip = skip.and_then(|skip| usize::try_from(skip).ok());
        let Some((skipped, rest)) = skip.and_then(|skip| message.split_at_checked(skip)) else {
            break;
        };
        message = rest;
        if tag & 7 != 2 {
            continue;
        }
        let field = tag >> 3;
        if top || field == TAGS {
            count += 1;
        }
        if top && field == RECORDS {
            count += parts(skipped, false);
        }
    }
    count
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (place, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7F) << (7 * place);
        if byte < 0x80 {
            *bytes = &bytes[place + 1..];
            return Some(value);
        }
    }
    None
}
