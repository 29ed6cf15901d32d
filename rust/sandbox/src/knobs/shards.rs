//! Throughput limits of a shard, and the trimming of its records.

use serde::{Deserialize, Serialize};

/// Throughput limits of one shard, per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShardLimits {
    /// Written payload and partition keys, in bytes.
    pub write_bytes: f64,
    /// Written records.
    pub write_records: f64,
    /// Read payload and partition keys, in bytes. One response may exceed the limit; then the shard refuses reads
    /// until the bucket has recovered.
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

/// Selects the records that a trim removes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trim {
    /// All records up to and including this sequence number.
    UpTo(String),
    /// All records that arrived more than this many milliseconds ago.
    OlderThanMs(i64),
    /// All records.
    All,
}
