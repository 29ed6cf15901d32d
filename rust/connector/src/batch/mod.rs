//! Records as Arrow columns: the form in which they cross to the JVM, read there in place.

use arrow_array::{Array, BinaryArray, StringArray, TimestampMicrosecondArray};

/// Rows of one shard, in the order of their sequence numbers. No column holds a null.
#[derive(Clone, Debug)]
pub struct RecordBatch {
    /// Payloads.
    pub data: BinaryArray,
    /// Partition keys.
    pub partition_key: StringArray,
    /// Sequence numbers; the rows of an aggregate share their record's.
    pub sequence_number: StringArray,
    /// Approximate arrival times, microseconds since the epoch (the service gives milliseconds).
    pub arrival: TimestampMicrosecondArray,
}

impl RecordBatch {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.data.len()
    }
}
