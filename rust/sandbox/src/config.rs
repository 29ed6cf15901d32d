//! How a sandbox is started.

use crate::knobs::{ITERATOR_MAX_AGE_MS, ShardLimits};

/// How a sandbox is started. The defaults are the service's, on any free port.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The port on 127.0.0.1 that serves HTTPS beside; 0 takes a free one, and without one there is none.
    pub tls_port: Option<u16>,
    /// How many requests one HTTP/2 connection may have under way.
    pub http2_streams: u32,
    /// How many open shards all streams may have together.
    pub shard_limit: usize,
    /// Maximum record size of streams created without `MaxRecordSizeInKiB`: 1024 to 10240, the service's 1024 if
    /// absent.
    pub max_record_kib: Option<i64>,
    /// How long a stream is CREATING or UPDATING after a change. 0: changes show at once.
    pub transition_ms: u64,
    /// How old an iterator may grow.
    pub iterator_max_age_ms: u64,
    /// Throughput limits of each shard; none by default.
    pub shard_limits: Option<ShardLimits>,
    /// Access key ids that are answered with UnrecognizedClientException.
    pub rejected_keys: Vec<String>,
    /// Seed of random faults.
    pub seed: u64,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        SandboxConfig {
            port: 0,
            tls_port: None,
            http2_streams: 200,
            shard_limit: 10_000,
            max_record_kib: None,
            transition_ms: 0,
            iterator_max_age_ms: ITERATOR_MAX_AGE_MS,
            shard_limits: None,
            rejected_keys: Vec::new(),
            seed: 1,
        }
    }
}
