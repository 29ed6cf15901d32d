//! Encodes user records as a Kinesis record.

use std::collections::HashMap;

use bytes::{BufMut, Bytes, BytesMut};
use md5::{Digest, Md5};
use prost::encoding::{encode_varint, encoded_len_varint};

use crate::{DIGEST_LEN, MAGIC, OVERHEAD, UserRecord};

/// Protocol buffer tags of the fields of an aggregate and of a record: field number and wire type.
mod tag {
    const TEXT: u8 = 2;
    const NUMBER: u8 = 0;
    pub(super) const PARTITION_KEY: u8 = (1 << 3) | TEXT;
    pub(super) const EXPLICIT_HASH_KEY: u8 = (2 << 3) | TEXT;
    pub(super) const RECORD: u8 = (3 << 3) | TEXT;
    pub(super) const PARTITION_KEY_INDEX: u8 = (1 << 3) | NUMBER;
    pub(super) const EXPLICIT_HASH_KEY_INDEX: u8 = (2 << 3) | NUMBER;
    pub(super) const DATA: u8 = (3 << 3) | TEXT;
}

/// Builds an aggregate from user records. The aggregate's encoded length is known at any time.
///
/// Records with the same key share one entry of the key table, as the format allows. Records are encoded when they
/// are added, so that only their bytes in the aggregate and the keys' indices are kept.
#[derive(Debug, Default)]
pub struct Aggregator {
    partition_keys: KeyTable,
    explicit_hash_keys: KeyTable,
    records: BytesMut,
    count: usize,
}

impl Aggregator {
    /// An aggregate without records.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of records added.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True if no record was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Length in bytes of what [`Self::finish`] would return.
    pub fn encoded_len(&self) -> usize {
        OVERHEAD
            + self.partition_keys.written.len()
            + self.explicit_hash_keys.written.len()
            + self.records.len()
    }

    /// Length in bytes with one more record, for a caller with a size limit.
    pub fn encoded_len_with(
        &self,
        partition_key: &str,
        explicit_hash_key: Option<&str>,
        data_len: usize,
    ) -> usize {
        let (partition_key_index, new_key_len) = self.partition_keys.place(partition_key);
        let (explicit_hash_key_index, new_hash_key_len) = match explicit_hash_key {
            Some(key) => {
                let (index, len) = self.explicit_hash_keys.place(key);
                (Some(index), len)
            }
            None => (None, 0),
        };
        let record_len = record_len(partition_key_index, explicit_hash_key_index, data_len);
        self.encoded_len() + new_key_len + new_hash_key_len + delimited_len(record_len)
    }

    /// Appends a record.
    pub fn push(&mut self, partition_key: &str, explicit_hash_key: Option<&str>, data: &[u8]) {
        let partition_key = self.partition_keys.index_of(partition_key, tag::PARTITION_KEY);
        let explicit_hash_key =
            explicit_hash_key.map(|key| self.explicit_hash_keys.index_of(key, tag::EXPLICIT_HASH_KEY));
        let records = &mut self.records;
        records.put_u8(tag::RECORD);
        encode_varint(
            record_len(partition_key, explicit_hash_key, data.len()) as u64,
            records,
        );
        records.put_u8(tag::PARTITION_KEY_INDEX);
        encode_varint(partition_key as u64, records);
        if let Some(index) = explicit_hash_key {
            records.put_u8(tag::EXPLICIT_HASH_KEY_INDEX);
            encode_varint(index as u64, records);
        }
        put_delimited(tag::DATA, data, records);
        self.count += 1;
    }

    /// Returns the aggregate. Afterwards, this aggregator is empty and can be filled again.
    ///
    /// Put fewer than two records without an aggregate. The message of an aggregate without records is empty, and
    /// consumers take it for a plain record of 20 bytes; around a single record, an aggregate only adds length.
    pub fn finish(&mut self) -> Bytes {
        let len = self.encoded_len();
        let Self {
            partition_keys,
            explicit_hash_keys,
            records,
            ..
        } = std::mem::take(self);
        let mut data = BytesMut::with_capacity(len);
        data.put_slice(&MAGIC);
        data.put_slice(&partition_keys.written);
        data.put_slice(&explicit_hash_keys.written);
        data.put_slice(&records);
        let digest: [u8; DIGEST_LEN] = Md5::digest(&data[MAGIC.len()..]).into();
        data.put_slice(&digest);
        data.freeze()
    }
}

/// Encodes all records, in this order, as one aggregate.
pub fn encode(records: &[UserRecord]) -> Bytes {
    let mut aggregator = Aggregator::new();
    for record in records {
        aggregator.push(
            &record.partition_key,
            record.explicit_hash_key.as_deref(),
            &record.data,
        );
    }
    aggregator.finish()
}

/// Length of a record's fields, in bytes.
fn record_len(partition_key: usize, explicit_hash_key: Option<usize>, data_len: usize) -> usize {
    let number = |index| 1 + encoded_len_varint(index as u64);
    number(partition_key) + explicit_hash_key.map_or(0, number) + delimited_len(data_len)
}

/// Length of a length-delimited field: its tag, its length, and its content.
fn delimited_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

fn put_delimited(tag: u8, bytes: &[u8], buffer: &mut BytesMut) {
    buffer.put_u8(tag);
    encode_varint(bytes.len() as u64, buffer);
    buffer.put_slice(bytes);
}

#[derive(Debug, Default)]
struct KeyTable {
    written: BytesMut,
    indices: HashMap<Box<str>, usize>,
}

impl KeyTable {
    /// The index that a key has or would get, and the number of bytes by which it would extend the table.
    fn place(&self, key: &str) -> (usize, usize) {
        match self.indices.get(key) {
            Some(index) => (*index, 0),
            None => (self.indices.len(), delimited_len(key.len())),
        }
    }

    fn index_of(&mut self, key: &str, tag: u8) -> usize {
        if let Some(index) = self.indices.get(key) {
            return *index;
        }
        let index = self.indices.len();
        put_delimited(tag, key.as_bytes(), &mut self.written);
        self.indices.insert(key.into(), index);
        index
    }
}
