//! From user records to a Kinesis record.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use md5::{Digest, Md5};
use prost::{Message, length_delimiter_len};

use crate::message::{AggregatedRecord, Record};
use crate::{MAGIC, OVERHEAD, UserRecord};

/// Collects user records, and knows at any time how long the aggregate would be.
///
/// A key that several records have stands in its table once, as the format allows.
#[derive(Debug, Default)]
pub struct Aggregator {
    partition_keys: KeyTable,
    explicit_hash_keys: KeyTable,
    records: Vec<Record>,
    message_len: usize,
}

impl Aggregator {
    /// An aggregate without records.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many records were added.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True where none was.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The length of what [`Self::finish`] would return now.
    pub fn encoded_len(&self) -> usize {
        OVERHEAD + self.message_len
    }

    /// The length it would have with one more record: for a caller that has a limit to keep.
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
        // A tag takes one byte: all field numbers are below 16.
        let record_len = 1
            + length_delimiter_len(partition_key_index)
            + explicit_hash_key_index.map_or(0, |index| 1 + length_delimiter_len(index))
            + delimited_len(data_len);
        self.encoded_len() + new_key_len + new_hash_key_len + delimited_len(record_len)
    }

    /// Adds a record behind the others.
    pub fn push(&mut self, partition_key: &str, explicit_hash_key: Option<&str>, data: Bytes) {
        self.message_len = self.encoded_len_with(partition_key, explicit_hash_key, data.len()) - OVERHEAD;
        self.records.push(Record {
            partition_key_index: Some(self.partition_keys.index_of(partition_key)),
            explicit_hash_key_index: explicit_hash_key.map(|key| self.explicit_hash_keys.index_of(key)),
            data: Some(data),
            tags: Vec::new(),
        });
    }

    /// The aggregate; afterwards this one is empty, and can be filled again.
    ///
    /// An aggregate of no records has a message of no bytes, which consumers take for a plain record of 20 bytes, and
    /// one of a single record only adds to its length: there the record itself is the better thing to put.
    pub fn finish(&mut self) -> Bytes {
        let len = self.encoded_len();
        let Self {
            partition_keys,
            explicit_hash_keys,
            records,
            ..
        } = std::mem::take(self);
        let message = AggregatedRecord {
            partition_key_table: partition_keys.entries,
            explicit_hash_key_table: explicit_hash_keys.entries,
            records,
        }
        .encode_to_vec();
        let mut data = BytesMut::with_capacity(len);
        data.put_slice(&MAGIC);
        data.put_slice(&message);
        data.put_slice(&Md5::digest(&message));
        data.freeze()
    }
}

/// One aggregate of all these records, in this order.
pub fn encode(records: &[UserRecord]) -> Bytes {
    let mut aggregator = Aggregator::new();
    for record in records {
        aggregator.push(
            &record.partition_key,
            record.explicit_hash_key.as_deref(),
            record.data.clone(),
        );
    }
    aggregator.finish()
}

/// The length of a length-delimited field: its tag, its length, and itself.
fn delimited_len(len: usize) -> usize {
    1 + length_delimiter_len(len) + len
}

#[derive(Debug, Default)]
struct KeyTable {
    entries: Vec<Bytes>,
    indices: HashMap<Arc<str>, usize>,
}

impl KeyTable {
    /// The index a key has or would get, and what the table would grow by.
    fn place(&self, key: &str) -> (usize, usize) {
        match self.indices.get(key) {
            Some(index) => (*index, 0),
            None => (self.entries.len(), delimited_len(key.len())),
        }
    }

    fn index_of(&mut self, key: &str) -> u64 {
        let index = match self.indices.get(key) {
            Some(index) => *index,
            None => {
                let index = self.entries.len();
                self.entries.push(Bytes::copy_from_slice(key.as_bytes()));
                self.indices.insert(Arc::from(key), index);
                index
            }
        };
        index as u64
    }
}
