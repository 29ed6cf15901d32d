//! From a Kinesis record to the user records in it.

use std::sync::Arc;

use bytes::Bytes;
use md5::{Digest, Md5};
use prost::Message;

use crate::message::AggregatedRecord;
use crate::{DIGEST_LEN, MAGIC, OVERHEAD, UserRecord};

/// What a Kinesis record's data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Not an aggregate: the data is the user's own.
    Plain,
    /// An aggregate, with its user records in order. The list can be empty: an aggregate of keys and no records is
    /// sound, and holds no rows.
    Aggregate(Vec<UserRecord>),
}

/// Most characters of a key (the service's own limit for partition keys).
pub const MAX_KEY_CHARS: usize = 256;

/// Most bytes that an aggregate's user records may take once they are taken apart: their data, their keys (which the
/// aggregate has only once, however many records have them), and [`RECORD_BYTES`] for each.
pub const MAX_EXPANDED_BYTES: usize = 64 * 1024 * 1024;

/// What a user record counts for beside its keys and data.
pub(crate) const RECORD_BYTES: usize = 96;

/// An aggregate whose digest is right, but whose user records can't be told, or not within bounds: its producer is
/// broken, or hostile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedAggregate {
    /// It names a key that is not in its table.
    #[error(
        "malformed aggregated record: user record {record} of {records} has {table} index {index}, \
         but that table has {table_len} entries"
    )]
    Index {
        /// The user record's place in the aggregate, from 0.
        record: u32,
        /// How many user records the aggregate has.
        records: usize,
        /// Which table: `partition key` or `explicit hash key`.
        table: &'static str,
        /// The index given.
        index: u64,
        /// How many entries that table has.
        table_len: usize,
    },
    /// A key is longer than a key can be.
    #[error("malformed aggregated record: {table} {index} has more than {MAX_KEY_CHARS} characters")]
    LongKey {
        /// Which table: `partition key` or `explicit hash key`.
        table: &'static str,
        /// The key's place in it.
        index: usize,
    },
    /// The user records would take more than [`MAX_EXPANDED_BYTES`].
    #[error(
        "malformed aggregated record: its user records would take more than {} MiB",
        MAX_EXPANDED_BYTES / (1024 * 1024)
    )]
    TooLarge,
}

/// True where the data starts as an aggregate does. Four bytes are compared; most plain records end here.
#[inline]
pub fn has_magic(data: &[u8]) -> bool {
    data.starts_with(&MAGIC)
}

/// Takes a Kinesis record's data apart. The payloads are slices of `data`, not copies, and so keep it in memory.
///
/// [`Decoded::Plain`] is the answer for everything that isn't an aggregate in the KCL's eyes: another magic, too short,
/// a digest that doesn't fit, or a message that can't be parsed (a missing required field included). A message of no
/// bytes counts as too short there, and so here.
///
/// # Errors
///
/// [`MalformedAggregate`] where the digest is right, and an index points outside its table, a key is longer than keys
/// are, or the user records would take more memory than is sound. What it costs to find out is bounded, too.
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
    // Counting can't overflow: a record takes six bytes at least, and the service takes no more than 10 MiB.
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
            // Both fields are there: the message was found initialized.
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

/// The keys of a table. What isn't UTF-8 is replaced, as proto2 readers in Java do.
fn table(entries: &[Bytes], table: &'static str) -> Result<Vec<Arc<str>>, MalformedAggregate> {
    let key = |(index, entry): (usize, &Bytes)| {
        // A character has four bytes at most.
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

/// How many keys, user records and tags a message has, at least: what decoding it allocates memory for. A message that
/// can't be parsed is counted as far as it can.
fn parts(mut message: &[u8], top: bool) -> usize {
    const RECORDS: u64 = 3;
    const TAGS: u64 = 4;
    let mut count = 0;
    while let Some(tag) = varint(&mut message) {
        let skip = match tag & 7 {
            0 => varint(&mut message).map(|_| 0),
            1 => Some(8),
            2 => varint(&mut message),
            // The bounds of a group, whose fields count as any.
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
