//! Streams, shards and records, in memory and independent of HTTP and JSON requests.
//!
//! Records are kept until a trim removes them. The retention period is stored and returned, but no clock enforces it,
//! so that a test decides when data expires.

mod change_signal;
mod consumer;
mod hash_key;
mod limits;
mod record;
mod reshard;
mod sequence;
mod shard;
mod stream;
mod streams;
mod stretch;

use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use consumer::{Consumer, Control, Ending, SubscribeLimits};
pub(crate) use hash_key::{HashRange, hash_of, parse_hash_key};
pub(crate) use record::Record;
pub(crate) use sequence::SequenceNumber;
pub(crate) use shard::{Shard, ShardState, shard_id};
pub(crate) use stream::{ListingUntil, Stream, StreamState};
pub(crate) use streams::{NewStream, Streams, check_shard_limit};
pub(crate) use stretch::Stretch;

/// Milliseconds since 1970 by the real clock.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as i64)
}
