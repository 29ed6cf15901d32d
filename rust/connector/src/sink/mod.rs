//! Writing records: batches for PutRecords, retry of what was not accepted.

use bytes::Bytes;
use serde::Serialize;

use crate::config::SinkConfig;
use crate::engine::Engine;
use crate::error::Result;

/// A record to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkRecord {
    /// 1 to 256 characters.
    pub partition_key: String,
    /// The payload.
    pub data: Bytes,
    /// A decimal number below 2^128 that replaces the partition key's hash.
    pub explicit_hash_key: Option<String>,
}

/// What a writer did so far.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WriterMetrics {
    /// Records accepted.
    pub records: u64,
    /// Bytes of their data.
    pub bytes: u64,
    /// PutRecords requests sent.
    pub requests: u64,
    /// Entries put again.
    pub retries: u64,
    /// Entries and requests that the service throttled.
    pub throttles: u64,
}

/// Writes the rows of one task. At least once; never a silent drop.
pub struct StreamWriter {}

impl StreamWriter {
    /// Opens a writer. Must run in the runtime.
    pub fn open(_engine: &Engine, _config: SinkConfig) -> Result<Self> {
        unimplemented!()
    }

    /// Takes records over, waiting while the buffer is full. Fails if an earlier put failed for good. Dropping
    /// the future before it is ready leaves the records with the caller's clone.
    pub async fn write(&self, _records: Vec<SinkRecord>) -> Result<()> {
        unimplemented!()
    }

    /// Returns when every record was accepted.
    pub async fn flush(&self) -> Result<()> {
        unimplemented!()
    }

    /// What the writer did so far.
    pub fn metrics(&self) -> WriterMetrics {
        unimplemented!()
    }
}
