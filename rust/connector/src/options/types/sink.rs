//! What the sink writes.
use std::time::Duration;

use super::StreamId;
use super::access::{AccessOptions, RetryOptions};

/// The records of a task that must arrive in the order of their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkOrdering {
    /// No records.
    None,
    /// The records of each key.
    Key,
}

/// The streams that rows may name in their column `streamName`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowStreams {
    /// Names of streams besides the options' own one.
    pub names: Vec<String>,
    /// True if rows may leave the stream out.
    pub optional: bool,
}

/// Options of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkOptions {
    /// The stream of rows that name none. If all rows must name one, the first that they may name.
    pub stream: StreamId,
    /// The streams that rows may name. `None`: rows name no stream.
    pub row_streams: Option<RowStreams>,
    /// The service's address and the credentials for it.
    pub access: AccessOptions,
    /// True if records are aggregated in the KPL format.
    pub aggregation: bool,
    /// The records that must arrive in the order of their rows.
    pub ordering: SinkOrdering,
    /// Longest time for which a record waits to be sent together with others.
    pub max_buffered_time: Duration,
    /// Maximum number of PutRecords requests that a task has in flight.
    pub max_connections: usize,
    /// Maximum size of a record, data and partition key together. `None`: the stream's limit.
    pub max_record_bytes: Option<usize>,
    /// Time for which the stream may accept nothing from a process before the waiting records fail.
    pub max_retry_time: Duration,
    /// Retries of Kinesis requests.
    pub client_retry: RetryOptions,
}
