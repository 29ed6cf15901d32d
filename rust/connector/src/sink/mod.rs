//! Writing records: batches for PutRecords, retry of what was not accepted.

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
    /// 1 to 256 characters; none on streams with AUTO record distribution only.
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

/// Writes the rows of one task. At least once; never a silent drop.
///
/// Records collect in a batch that goes out when it is full ([`MAX_ENTRIES`], [`MAX_REQUEST_BYTES`]), when its
/// first record has waited `max_buffered_time`, or with [`flush`](Self::flush). `max_connections` requests run at
/// once, each until all its records are accepted; what the writer holds is bounded by them, one full batch, the
/// open one and what one call of [`write`](Self::write) brought. Requests overtake one another, and within a
/// request the service may accept a later record before an earlier one is put again: the stream's order is not
/// the order of the calls.
///
/// A stream that takes less than is written makes the writer wait, as long as it takes anything from this process's
/// writers: what it didn't take is put again with growing waits, and given up after `max_retry_time` in which it took
/// nothing from any of them. Only what can't pass fails at once.
///
/// The first failure stays: after it nothing more is taken. Dropping the writer ends everything at once; what
/// was not flushed before may or may not reach the stream.
pub struct StreamWriter {
    writer: Arc<writer::Writer>,
}

impl StreamWriter {
    /// Opens a writer, without I/O: the first request makes the client, and fails the writer if it can't. Must run
    /// in the runtime.
    pub(crate) fn open(host: Arc<dyn SinkHost>, config: SinkConfig) -> Result<Self> {
        let settings = WriterSettings::of(&config);
        let shared = host.sink_stream(&config);
        let connection = Connection::on_demand(host, config);
        Ok(Self {
            writer: writer::Writer::start(connection, settings, shared, Arc::default())?,
        })
    }

    /// A writer over an interface to the stream. Must run in the runtime.
    pub fn new(api: Arc<dyn KinesisApi>, settings: WriterSettings) -> Result<Self> {
        Self::sharing(api, settings, Arc::default())
    }

    fn sharing(api: Arc<dyn KinesisApi>, settings: WriterSettings, shared: Arc<SinkStream>) -> Result<Self> {
        Ok(Self {
            writer: writer::Writer::start(Connection::Made(api), settings, shared, Arc::default())?,
        })
    }

    /// Takes records over, waiting while all connections are busy and a full batch waits for one. Dropping the
    /// future before it is ready leaves all records with the caller's clone, none is taken.
    ///
    /// All records are checked before the first is taken: one that can't be a Kinesis record is
    /// [`InvalidRow`](crate::ErrorKind::InvalidRow), and none of this call's records are sent. Later calls are
    /// answered alike. What was taken before is still sent, and [`flush`](Self::flush) waits for it.
    ///
    /// A put that failed for good, in whatever call's time, is this and every later call's error.
    pub async fn write(&self, records: Vec<SinkRecord>) -> Result<()> {
        self.writer.write(records).await
    }

    /// Sends what waits and returns when every record that was taken was accepted. A record that
    /// [`write`](Self::write) refused was not taken: after such an error a flush lets the records before it settle,
    /// and fails only if one of those does.
    ///
    /// After a put that failed for good it lets the requests under way end first, without further retries, so that
    /// nothing of this writer reaches the stream after the return; then it answers the first failure.
    pub async fn flush(&self) -> Result<()> {
        self.writer.flush().await
    }

    /// What the writer did so far.
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
