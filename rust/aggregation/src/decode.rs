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

/// An aggregate whose digest is right, but which names a key that is not in its table: its producer is broken, and the
/// record's user records can't be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "malformed aggregated record: user record {record} of {records} has {table} index {index}, \
     but that table has {table_len} entries"
)]
pub struct MalformedAggregate {
    /// The user record's place in the aggregate, from 0.
    pub record: u32,
    /// How many user records the aggregate has.
    pub records: usize,
    /// Which table: `partition key` or `explicit hash key`.
    pub table: &'static str,
    /// The index given.
    pub index: u64,
    /// How many entries that table has.
    pub table_len: usize,
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
/// [`MalformedAggregate`] where digest and message are right and an index points outside its table.
pub fn decode(data: &Bytes) -> Result<Decoded, MalformedAggregate> {
    if !has_magic(data) || data.len() <= OVERHEAD {
        return Ok(Decoded::Plain);
    }
    let message = data.slice(MAGIC.len()..data.len() - DIGEST_LEN);
    if Md5::digest(&message)[..] != data[data.len() - DIGEST_LEN..] {
        return Ok(Decoded::Plain);
    }
    match AggregatedRecord::decode(message) {
        Ok(aggregate) if aggregate.is_initialized() => user_records(aggregate).map(Decoded::Aggregate),
        Ok(_) | Err(_) => Ok(Decoded::Plain),
    }
}

fn user_records(aggregate: AggregatedRecord) -> Result<Vec<UserRecord>, MalformedAggregate> {
    let partition_keys = table(&aggregate.partition_key_table);
    let explicit_hash_keys = table(&aggregate.explicit_hash_key_table);
    let records = aggregate.records.len();
    let mut user_records = Vec::with_capacity(records);
    // Counting can't overflow: a record takes six bytes at least, and the service takes no more than 10 MiB.
    for (sub_sequence, record) in (0_u32..).zip(aggregate.records) {
        let find = |keys: &[Arc<str>], table, index: u64| {
            usize::try_from(index)
                .ok()
                .and_then(|index| keys.get(index))
                .cloned()
                .ok_or(MalformedAggregate {
                    record: sub_sequence,
                    records,
                    table,
                    index,
                    table_len: keys.len(),
                })
        };
        user_records.push(UserRecord {
            // Both fields are there: the message was found initialized.
            partition_key: find(
                &partition_keys,
                "partition key",
                record.partition_key_index.unwrap_or_default(),
            )?,
            explicit_hash_key: record
                .explicit_hash_key_index
                .map(|index| find(&explicit_hash_keys, "explicit hash key", index))
                .transpose()?,
            data: record.data.unwrap_or_default(),
            sub_sequence,
        });
    }
    Ok(user_records)
}

/// The keys of a table. What isn't UTF-8 is replaced, as proto2 readers in Java do.
fn table(entries: &[Bytes]) -> Vec<Arc<str>> {
    entries
        .iter()
        .map(|entry| Arc::from(String::from_utf8_lossy(entry)))
        .collect()
}
