//! Records as Arrow columns: the form in which they cross to the JVM, which reads them in place.

mod columns;

use arrow_array::{Array, BinaryArray, Int64Array, StringArray, TimestampMicrosecondArray};

pub use columns::Column;
pub(crate) use columns::Held;

/// Maximum number of payload bytes in one batch that crosses to the JVM; a single larger record is a batch of its
/// own.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Rows of one shard, in the order of their sequence numbers. Columns have no nulls, except where noted. Those that
/// nobody asked for are left out, except for the sequence numbers; a reader that makes claims keeps the payloads, too.
#[derive(Clone, Debug)]
pub struct RecordBatch {
    /// Payloads.
    pub data: Option<BinaryArray>,
    /// Partition keys; null for records without one.
    pub partition_key: Option<StringArray>,
    /// Sequence numbers; the rows of an aggregate have the number of its record.
    pub sequence_number: StringArray,
    /// Approximate arrival times, in microseconds since the epoch (the service's precision is milliseconds).
    pub arrival: Option<TimestampMicrosecondArray>,
    /// The extra columns asked for, in the order of the request.
    pub extra: Vec<ExtraValues>,
}

/// The values of one of the `kinesis.extraColumns`.
#[derive(Clone, Debug)]
pub enum ExtraValues {
    /// An array with one text, which is the value of every row.
    Same(StringArray),
    /// Numbers, none of them null.
    Numbers(Int64Array),
    /// Texts or nulls.
    Texts(StringArray),
    /// Null in every row.
    Nulls,
}

impl ExtraValues {
    fn slice(&self, start: usize, rows: usize) -> Self {
        match self {
            Self::Same(text) => Self::Same(text.clone()),
            Self::Numbers(numbers) => Self::Numbers(numbers.slice(start, rows)),
            Self::Texts(texts) => Self::Texts(texts.slice(start, rows)),
            Self::Nulls => Self::Nulls,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Same(_) | Self::Nulls => 0,
            Self::Numbers(numbers) => numbers.len() * size_of::<i64>(),
            Self::Texts(texts) => span(texts.value_offsets()),
        }
    }
}

impl RecordBatch {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.sequence_number.len()
    }

    /// The number of payload bytes; 0 without payloads.
    pub fn data_bytes(&self) -> usize {
        self.data.as_ref().map_or(0, |data| span(data.value_offsets()))
    }

    /// The number of bytes in all columns.
    pub fn bytes(&self) -> usize {
        let keys = self.partition_key.as_ref();
        let arrivals = self.arrival.as_ref();
        self.data_bytes()
            + keys.map_or(0, |keys| span(keys.value_offsets()))
            + span(self.sequence_number.value_offsets())
            + arrivals.map_or(0, |arrivals| arrivals.len() * size_of::<i64>())
            + self.extra.iter().map(ExtraValues::bytes).sum::<usize>()
    }

    /// A range of the rows, without copying.
    pub fn slice(&self, start: usize, rows: usize) -> Self {
        Self {
            data: self.data.as_ref().map(|data| data.slice(start, rows)),
            partition_key: self.partition_key.as_ref().map(|keys| keys.slice(start, rows)),
            sequence_number: self.sequence_number.slice(start, rows),
            arrival: self.arrival.as_ref().map(|arrivals| arrivals.slice(start, rows)),
            extra: self
                .extra
                .iter()
                .map(|values| values.slice(start, rows))
                .collect(),
        }
    }

    /// Splits the rows into batches of at most [`MAX_BATCH_BYTES`] of payload, and as much of keys and sequence
    /// numbers, without copying.
    pub fn split(self) -> Vec<Self> {
        if self.data_bytes() <= MAX_BATCH_BYTES && self.bytes() - self.data_bytes() <= MAX_BATCH_BYTES {
            return if self.rows() == 0 { Vec::new() } else { vec![self] };
        }
        let mut parts = Vec::new();
        let (mut start, mut bytes, mut others) = (0, 0, 0);
        for row in 0..self.rows() {
            let size = self.data.as_ref().map_or(0, |data| data.value(row).len());
            let key = self
                .partition_key
                .as_ref()
                .map_or(0, |keys| keys.value(row).len());
            let other = key + self.sequence_number.value(row).len();
            if row > start && (bytes + size > MAX_BATCH_BYTES || others + other > MAX_BATCH_BYTES) {
                parts.push(self.slice(start, row - start));
                (start, bytes, others) = (row, 0, 0);
            }
            bytes += size;
            others += other;
        }
        parts.push(self.slice(start, self.rows() - start));
        parts
    }
}

fn span(offsets: &[i32]) -> usize {
    match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => (last - first) as usize,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::RecordColumns;

    fn batch(sizes: &[usize]) -> RecordBatch {
        let mut columns = RecordColumns::with_capacity(sizes.len(), 0);
        for (row, size) in sizes.iter().enumerate() {
            columns
                .push(&vec![row as u8; *size], "key", &(row + 1).to_string(), 7)
                .expect("fits");
        }
        columns.into_batch().expect("columns")
    }

    #[test]
    fn batches_are_split_at_the_bound_and_keep_every_row() {
        let mib = 1024 * 1024;
        let parts = batch(&[3 * mib, mib, 1, 5 * mib, 2]).split();
        let rows: Vec<usize> = parts.iter().map(RecordBatch::rows).collect();
        assert_eq!(rows, [2, 1, 1, 1]);
        let numbers: Vec<&str> = parts
            .iter()
            .flat_map(|part| part.sequence_number.iter().flatten())
            .collect();
        assert_eq!(numbers, ["1", "2", "3", "4", "5"]);
        let data = parts[3].data.as_ref().expect("payloads");
        assert!(data.value(0) == [4, 4]);
    }

    #[test]
    fn rows_without_payload_are_split_by_their_keys() {
        let rows = 10_000;
        let mut columns = RecordColumns::with_capacity(rows, 0);
        for row in 0..rows {
            columns
                .push(b"", &"k".repeat(1_000), &row.to_string(), 7)
                .expect("fits");
        }
        let parts = columns.into_batch().expect("columns").split();
        assert_eq!(parts.len(), 3);
        assert_eq!(parts.iter().map(RecordBatch::rows).sum::<usize>(), rows);
        assert!(
            parts
                .iter()
                .all(|part| part.bytes() <= MAX_BATCH_BYTES + 8 * part.rows())
        );
    }

    #[test]
    fn no_rows_make_no_batch() {
        assert!(batch(&[]).split().is_empty());
    }

    #[test]
    fn extra_columns_are_sliced_with_the_rows() {
        let extra = vec![
            ExtraValues::Same(StringArray::from(vec!["shardId-000000000000"])),
            ExtraValues::Numbers(Int64Array::from(vec![0, 1, 2])),
            ExtraValues::Texts(StringArray::from(vec![Some("1"), None, Some("333")])),
            ExtraValues::Nulls,
        ];
        let whole = RecordBatch {
            extra,
            ..batch(&[1, 1, 1])
        };
        assert_eq!(whole.bytes(), batch(&[1, 1, 1]).bytes() + 3 * 8 + 4);
        let part = whole.slice(1, 2);
        let [
            ExtraValues::Same(same),
            ExtraValues::Numbers(numbers),
            ExtraValues::Texts(texts),
            ExtraValues::Nulls,
        ] = part.extra.as_slice()
        else {
            panic!("other columns: {:?}", part.extra)
        };
        assert_eq!((same.len(), numbers.values().as_ref()), (1, [1, 2].as_slice()));
        assert_eq!(texts.iter().collect::<Vec<_>>(), [None, Some("333")]);
    }

    #[test]
    fn a_slice_counts_only_its_own_bytes() {
        let part = batch(&[10, 20, 30]).slice(1, 1);
        assert_eq!((part.data_bytes(), part.bytes()), (20, 20 + 3 + 1 + 8));
    }

    #[test]
    fn columns_that_are_left_out_take_no_bytes_and_split_no_batch() {
        let mib = 1024 * 1024;
        let whole = RecordBatch {
            data: None,
            partition_key: None,
            arrival: None,
            ..batch(&[3 * mib, 3 * mib, 3 * mib])
        };
        assert_eq!((whole.rows(), whole.data_bytes(), whole.bytes()), (3, 0, 3));
        let part = whole.slice(1, 2);
        assert_eq!((part.rows(), part.bytes()), (2, 2));
        assert!(part.data.is_none() && part.partition_key.is_none() && part.arrival.is_none());
        let parts = whole.split();
        assert_eq!(parts.iter().map(RecordBatch::rows).collect::<Vec<_>>(), [3]);
    }
}
