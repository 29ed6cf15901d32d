//! What a shard takes, gives and keeps.

use serde::{Deserialize, Serialize};

/// What one shard takes and gives in a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShardLimits {
    /// Payload and partition keys put, in bytes.
    pub write_bytes: f64,
    /// Records put.
    pub write_records: f64,
    /// Payload and partition keys read, in bytes. One answer may exceed it; then the shard rests.
    pub read_bytes: f64,
    /// GetRecords calls.
    pub read_calls: f64,
}

impl Default for ShardLimits {
    /// The service's own limits.
    fn default() -> Self {
        ShardLimits {
            write_bytes: 1_048_576.0,
            write_records: 1000.0,
            read_bytes: 2.0 * 1_048_576.0,
            read_calls: 5.0,
        }
    }
}

/// Which records a trim removes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trim {
    /// All up to and including this sequence number.
    UpTo(String),
    /// All that arrived more than this many milliseconds ago.
    OlderThanMs(i64),
    /// Everything.
    All,
}
