//! Start-up configuration of a sandbox.

use crate::knobs::{ITERATOR_MAX_AGE_MS, ShardLimits};

/// Start-up configuration of a sandbox. The defaults are the service's, on any free port.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// HTTP port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// HTTPS port on 127.0.0.1, in addition to the plain one; 0 takes a free one, `None` disables HTTPS.
    pub tls_port: Option<u16>,
    /// Maximum number of concurrent requests on one HTTP/2 connection.
    pub http2_streams: u32,
    /// Maximum number of open shards in all streams together.
    pub shard_limit: usize,
    /// Maximum record size of streams created without `MaxRecordSizeInKiB`: 1024 to 10240, the service's 1024 if
    /// absent.
    pub max_record_kib: Option<i64>,
    /// Time that a stream is CREATING or UPDATING after a change. With 0, changes take effect at once.
    pub transition_ms: u64,
    /// Maximum age of a shard iterator.
    pub iterator_max_age_ms: u64,
    /// Throughput limits of each shard; none by default.
    pub shard_limits: Option<ShardLimits>,
    /// Access key ids whose requests get UnrecognizedClientException.
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
