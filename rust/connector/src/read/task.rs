//! What a task is told to read, and what it reports.

use serde::{Deserialize, Serialize};

use crate::checkpoint::ClaimKey;
use crate::error::{Error, ErrorKind, Result};
use crate::stream::{Position, ShardId};

/// One shard's part of one batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadTask {
    /// The query source.
    pub source: String,
    /// The source's batch.
    pub batch: u64,
    /// The shard.
    pub shard: ShardId,
    /// Where the batch starts.
    pub start: Position,
    /// True if the shard's tip was seen at `start`, so lately that what came after it can't have expired. Otherwise
    /// the reader makes sure of it.
    #[serde(default)]
    pub tip_seen: bool,
    /// In a batch read: records that arrived later (milliseconds since the epoch) don't belong to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// The ARN of the enhanced fan-out consumer to read with; GetRecords without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// The driver has seen a record after the start, so a subscription that has none yet is not at the tip.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub news: bool,
    /// The process that read the shard in the last batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
}

impl ReadTask {
    /// Names the task's claim.
    pub fn claim_key(&self) -> ClaimKey {
        ClaimKey {
            source: self.source.clone(),
            batch: self.batch,
            shard: self.shard.clone(),
        }
    }

    /// Reads what [`Self::to_json`] wrote.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| {
            Error::new(
                ErrorKind::InvalidArgument,
                format!("a task is malformed: {error}"),
            )
        })
    }

    /// The task as it travels to its executor.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("a task can't be written: {error}")))
    }
}

/// What a task that succeeded tells the planner. All attempts at a batch report the same end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardReport {
    /// The query source.
    pub source: String,
    /// The source's batch.
    pub batch: u64,
    /// The shard.
    pub shard: ShardId,
    /// The claimed end.
    pub end: Position,
    /// True if nothing more was there to be read when the task ended.
    pub tip: bool,
    /// True if more is known to be there. Neither is true where the last answer was as large as was asked for.
    pub left: bool,
    /// True if records expired before they were read, with `kinesis.failOnDataLoss` false.
    pub lost: bool,
    /// Rows in the batch.
    pub records: u64,
    /// Bytes of their data.
    pub bytes: u64,
    /// Requests sent to Kinesis.
    pub requests: u64,
    /// Requests sent again.
    pub retries: u64,
    /// Requests that the service throttled.
    pub throttles: u64,
    /// Subscriptions opened again.
    #[serde(default)]
    pub resubscriptions: u64,
    /// 1 if the task took over a subscription of this process.
    #[serde(default)]
    pub prefetch_hits: u64,
    /// Bytes that the subscription held when the task left it.
    #[serde(default)]
    pub buffered_bytes: u64,
    /// When the last record read arrived, milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_arrival: Option<i64>,
    /// The process that read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// How far behind the tip the last answer was.
    pub millis_behind_latest: Option<i64>,
}

impl ShardReport {
    /// Reads what [`Self::to_json`] wrote.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| {
            Error::new(
                ErrorKind::InvalidArgument,
                format!("a report is malformed: {error}"),
            )
        })
    }

    /// The report as it travels to the driver.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("a report can't be written: {error}")))
    }
}
