//! Writes records to streams: batches them for PutRecords and retries what was not accepted.

mod astray;
mod batch;
mod chance;
mod config;
mod connect;
mod facts;
mod gate;
mod metrics;
mod opening;
mod ordered;
mod outgoing;
mod pack;
mod progress;
mod put;
mod rate;
mod round;
mod routes;
mod shard_map;
mod shared_waits;
mod spans;
mod task;
mod validate;
mod waiting;
mod waits;
mod writer;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod limited;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

pub use batch::{MAX_ENTRIES, MAX_REQUEST_BYTES, counted_bytes};
pub use config::SinkConfig;
pub(crate) use connect::SinkHost;
pub use facts::{SinkFacts, StreamFacts};
pub(crate) use facts::{sink_facts, stream_facts};
pub use metrics::{WriterMetrics, metrics_together};
pub use task::{SinkRow, TaskWriter};
pub use writer::WriterSettings;

use connect::Connection;
pub(crate) use progress::{SinkKey, SinkStream, SinkStreams};

use crate::error::Result;
use crate::service::{KinesisApi, PutEntry};

/// A record to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkRecord {
    /// 1 to 256 characters; `None` only on streams with AUTO record distribution.
    pub partition_key: Option<String>,
    /// The payload.
    pub data: Bytes,
    /// A decimal number below 2^128 that replaces the partition key's hash.
    pub explicit_hash_key: Option<String>,
}

impl From<SinkRecord> for PutEntry {
    fn from(record: SinkRecord) -> Self {
        let SinkRecord {
            partition_key,
            data,
            explicit_hash_key,
        } = record;
        Self {
            partition_key,
            data,
            explicit_hash_key,
        }
    }
}

/// Writes the rows of one task, at least once and without silent drops.
///
/// Records collect in a batch, which is sent when it is full ([`MAX_ENTRIES`], [`MAX_REQUEST_BYTES`]), when its first
/// record has waited for `max_buffered_time`, or on [`flush`](Self::flush). Up to `max_connections` requests run at
/// once, each until all its records are accepted. The writer holds at most these requests, one full batch, the open
/// batch and the records of one call of [`write`](Self::write). Requests overtake one another, and within a request
/// the service may accept a later record before an earlier one is put again: the stream's order is not the order of
/// the calls, unless `ordering` keeps it for each key.
///
/// If a stream takes less than is written, the writer waits as long as the stream takes anything from this process's
/// writers. Records that were not accepted are put again with growing waits, and fail after `max_retry_time` in which
/// the stream took nothing from any of these writers. Only permanent errors fail at once.
///
/// The first failure is final: after it the writer takes nothing more. Dropping the writer ends everything at once;
/// records that were not flushed before may or may not reach the stream.
pub struct StreamWriter {
    writer: Arc<writer::Writer>,
}

impl StreamWriter {
    /// Opens a writer without I/O. The first request makes the client, and fails the writer if that fails. Must run
    /// in the runtime.
    pub(crate) fn open(host: Arc<dyn SinkHost>, config: SinkConfig) -> Result<Self> {
        let settings = WriterSettings::of(&config);
        let shared = host.sink_stream(&config);
        let connection = Connection::on_demand(host, config);
        Ok(Self {
            writer: writer::Writer::start(connection, settings, shared, Arc::default())?,
        })
    }

    /// Opens a writer with an existing client. Must run in the runtime.
    pub fn new(api: Arc<dyn KinesisApi>, settings: WriterSettings) -> Result<Self> {
        Self::sharing(api, settings, Arc::default())
    }

    fn sharing(api: Arc<dyn KinesisApi>, settings: WriterSettings, shared: Arc<SinkStream>) -> Result<Self> {
        Ok(Self {
            writer: writer::Writer::start(Connection::Made(api), settings, shared, Arc::default())?,
        })
    }

    /// Takes records, and waits while all connections are busy and a full batch waits for one. If the future is
    /// dropped before it is ready, no record is taken.
    ///
    /// All records are checked before the first is taken. If one can't be a Kinesis record, this call and all later
    /// ones fail with [`InvalidRow`](crate::ErrorKind::InvalidRow), and none of their records are sent. Records taken
    /// before are still sent, and [`flush`](Self::flush) waits for them.
    ///
    /// After a put has failed for good, during any call, this and every later call returns its error.
    pub async fn write(&self, records: Vec<SinkRecord>) -> Result<()> {
        self.writer.write(records).await
    }

    /// Sends all waiting records and returns when every record taken is accepted. A record that
    /// [`write`](Self::write) refused was not taken: after such an error, a flush completes the records before it and
    /// fails only if one of them fails.
    ///
    /// After a put that failed for good, waits until the requests under way end, without further retries, so that
    /// nothing of this writer reaches the stream after the return. Then returns the first failure.
    pub async fn flush(&self) -> Result<()> {
        self.writer.flush().await
    }

    /// The writer's metrics so far.
    pub fn metrics(&self) -> WriterMetrics {
        self.writer.metrics()
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.writer.close();
    }
}

impl fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamWriter")
            .field("metrics", &self.metrics())
            .finish_non_exhaustive()
    }
}
