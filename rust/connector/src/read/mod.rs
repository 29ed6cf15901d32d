//! The executors' side: a shard's records of one batch, and where the batch ends.

use std::sync::Arc;

use serde::Serialize;

use crate::batch::RecordBatch;
use crate::checkpoint::hadoop::FileSystem;
use crate::config::SourceConfig;
use crate::engine::Engine;
use crate::error::Result;

/// What a reader did so far.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReaderMetrics {
    /// Rows fetched.
    pub records: u64,
    /// Bytes of their data.
    pub bytes: u64,
    /// Requests sent to Kinesis.
    pub requests: u64,
    /// Requests sent again.
    pub retries: u64,
    /// Requests that the service throttled.
    pub throttles: u64,
    /// How far behind the shard's tip the last answer was; none before the first answer.
    pub millis_behind_latest: Option<i64>,
}

/// Reads one shard's part of one batch. It fetches ahead of its consumer, within the memory bound.
pub struct ShardReader {}

impl ShardReader {
    /// Starts reading what `task` (from [`crate::plan::Planner::partitions`]) says. Must run in the runtime.
    pub fn open(
        _engine: &Engine,
        _config: SourceConfig,
        _task: &str,
        _files: Arc<dyn FileSystem>,
    ) -> Result<Self> {
        unimplemented!()
    }

    /// The next rows, or none at the batch's end, once its claim is stored. Dropping the future loses nothing.
    pub async fn next(&self) -> Result<Option<RecordBatch>> {
        unimplemented!()
    }

    /// Ends the reading. After the end, or when the task succeeded without reading to the end, answers the
    /// report for [`crate::plan::Planner::report`]; an early end claims what was fetched. A failed or killed
    /// task (`succeeded` false) claims nothing and has no report.
    pub async fn finish(&self, _succeeded: bool) -> Result<Option<String>> {
        unimplemented!()
    }

    /// What the reader did so far.
    pub fn metrics(&self) -> ReaderMetrics {
        unimplemented!()
    }
}
