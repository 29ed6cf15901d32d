//! A batch's columns while Java reads them in place.

use arrow_array::Array;
use jni::sys::jlong;
use kinesis_connector::Result;
use kinesis_connector::batch::RecordBatch;

use crate::errors::internal;

/// The number of rows, then the addresses: offsets and bytes of data, partition key and sequence number, and the
/// arrival times.
pub(crate) const ROWS_AND_ADDRESSES: usize = 8;

/// What freed memory is overwritten with in poison mode.
const POISON: u8 = 0xDD;

/// The memory that Java reads.
pub(crate) enum Columns {
    /// The batch as it came.
    Shared(Box<RecordBatch>),
    /// A copy that may be overwritten: Arrow's buffers can have other owners.
    Copied(Box<Copy>),
}

/// Offsets and bytes of a column.
type Text<'b> = (&'b [i32], &'b [u8]);

/// The buffers of a batch, all our own.
pub(crate) struct Copy {
    rows: usize,
    texts: [(Vec<i32>, Vec<u8>); 3],
    arrival: Vec<i64>,
}

impl Columns {
    /// The batch in place.
    pub(crate) fn shared(batch: RecordBatch) -> Self {
        Self::Shared(Box::new(batch))
    }

    /// A copy for poison mode.
    pub(crate) fn copied(batch: &RecordBatch) -> Self {
        let copy = |offsets: &[i32], bytes: &[u8]| (offsets.to_vec(), bytes.to_vec());
        Self::Copied(Box::new(Copy {
            rows: batch.rows(),
            texts: [
                copy(batch.data.value_offsets(), batch.data.value_data()),
                copy(
                    batch.partition_key.value_offsets(),
                    batch.partition_key.value_data(),
                ),
                copy(
                    batch.sequence_number.value_offsets(),
                    batch.sequence_number.value_data(),
                ),
            ],
            arrival: batch.arrival.values().to_vec(),
        }))
    }

    /// What Java needs to read the batch. Java trusts these numbers, so they are checked here.
    pub(crate) fn addresses(&self) -> Result<[jlong; ROWS_AND_ADDRESSES]> {
        let (rows, texts, arrival): (usize, [Text<'_>; 3], &[i64]) = match self {
            Self::Shared(batch) => (
                batch.rows(),
                [
                    (batch.data.value_offsets(), batch.data.value_data()),
                    (
                        batch.partition_key.value_offsets(),
                        batch.partition_key.value_data(),
                    ),
                    (
                        batch.sequence_number.value_offsets(),
                        batch.sequence_number.value_data(),
                    ),
                ],
                batch.arrival.values(),
            ),
            Self::Copied(copy) => (
                copy.rows,
                copy.texts
                    .each_ref()
                    .map(|(offsets, bytes)| (offsets.as_slice(), bytes.as_slice())),
                &copy.arrival,
            ),
        };
        let equally_long =
            texts.iter().all(|(offsets, _)| offsets.len() == rows + 1) && arrival.len() == rows;
        if !equally_long || i32::try_from(rows).is_err() {
            return Err(internal("the columns of a batch differ in length"));
        }
        if let Self::Shared(batch) = self
            && (batch.data.null_count()
                + batch.partition_key.null_count()
                + batch.sequence_number.null_count()
                + batch.arrival.null_count())
                > 0
        {
            return Err(internal("a column of a batch holds a null"));
        }
        let [(data, data_bytes), (key, key_bytes), (sequence, sequence_bytes)] = texts;
        Ok([
            rows as jlong,
            address(data),
            address(data_bytes),
            address(key),
            address(key_bytes),
            address(sequence),
            address(sequence_bytes),
            address(arrival),
        ])
    }

    /// Overwrites the memory, if it is our own.
    pub(crate) fn poison(&mut self) -> bool {
        let Self::Copied(copy) = self else { return false };
        for (offsets, bytes) in &mut copy.texts {
            offsets.fill(i32::from_ne_bytes([POISON; 4]));
            bytes.fill(POISON);
        }
        copy.arrival.fill(i64::from_ne_bytes([POISON; 8]));
        // The compiler sees no reader of what was just written.
        std::hint::black_box(copy);
        true
    }
}

fn address<T>(slice: &[T]) -> jlong {
    slice.as_ptr().expose_provenance() as jlong
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{BinaryArray, StringArray, TimestampMicrosecondArray};

    fn batch() -> RecordBatch {
        RecordBatch {
            data: BinaryArray::from(vec![b"a".as_slice(), b"", b"ccc"]),
            partition_key: StringArray::from(vec!["k", "ö", ""]),
            sequence_number: StringArray::from(vec!["1", "2", "3"]),
            arrival: TimestampMicrosecondArray::from(vec![1, 2, 3]),
        }
    }

    #[test]
    fn a_shared_batch_is_not_copied_and_not_poisoned() {
        let batch = batch();
        let expected = batch.data.value_data().as_ptr().addr() as jlong;
        let mut columns = Columns::shared(batch);
        let addresses = columns.addresses().unwrap();
        assert_eq!((addresses[0], addresses[2]), (3, expected));
        assert!(!columns.poison());
    }

    #[test]
    fn a_copied_batch_can_be_overwritten() {
        let mut columns = Columns::copied(&batch());
        assert_eq!(columns.addresses().unwrap()[0], 3);
        assert!(columns.poison());
        let Columns::Copied(copy) = columns else {
            panic!("it was copied")
        };
        assert_eq!(copy.texts[0].1, [0xDD; 4]);
        assert_eq!(copy.arrival[0] as u64, 0xDDDD_DDDD_DDDD_DDDD);
    }

    #[test]
    fn a_batch_with_short_columns_or_nulls_never_reaches_java() {
        let short = RecordBatch {
            arrival: TimestampMicrosecondArray::from(vec![1]),
            ..batch()
        };
        assert!(Columns::shared(short).addresses().is_err());
        let null = RecordBatch {
            partition_key: StringArray::from(vec![Some("a"), None, Some("c")]),
            ..batch()
        };
        assert!(Columns::shared(null).addresses().is_err());
    }
}
