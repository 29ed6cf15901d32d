//! The only access to Kinesis: the interface for the rest of the engine, and its AWS implementation. No type of the
//! AWS SDK for Kinesis leaves this module.

mod access;
mod aws;
mod clock;
mod columns;
mod credentials;
#[cfg(test)]
pub(crate) mod dark;
mod failure;
mod fan_out;
mod guard;
mod network;
mod patience;
mod presence;
mod properties;
mod rate_limiter;
mod refusals;
mod retry;
mod wire;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use access::resolve_region;
pub(crate) use access::{Access, guarded, store_access};
pub use aws::AwsKinesis;
pub(crate) use aws::Connection;
pub use columns::{Encryption, RecordColumns};
pub(crate) use credentials::LoadFailure;
pub(crate) use failure::{chain, code_and_message, no_credentials, no_way};
pub use fan_out::{
    Consumer, ConsumerId, ConsumerStatus, FanOutApi, SubscribeAt, Subscription, SubscriptionConnection,
};
pub(crate) use network::NetworkFailure;
pub(crate) use patience::Patience;
pub(crate) use presence::{Ends, Presence, presence, same_stream, stream_changed};
pub use properties::{SYSTEM_PROPERTIES, SystemProperties};
pub use rate_limiter::RateLimiter;
pub(crate) use refusals::Refusals;
pub use retry::RequestCounters;
pub(crate) use retry::{backoff, jittered, with_retries};
#[doc(hidden)]
pub use wire::measured;

use crate::error::Result;
use crate::stream::{Position, SequenceNumber, Shard, ShardId};

/// Summary of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSummary {
    /// The stream's ARN.
    pub arn: String,
    /// When the stream was created, milliseconds since the epoch. A different value under the same name means a
    /// different stream.
    pub created_millis: i64,
    /// True while the service creates the stream: it takes and has no records yet.
    pub creating: bool,
    /// Number of shards that accept records.
    pub open_shards: u32,
    /// True if the service ignores partition keys (RecordDistributionStrategy AUTO).
    pub auto_distribution: bool,
    /// Maximum bytes of a record; none if unknown.
    pub max_record_bytes: Option<usize>,
    /// The service's clock at the time of the answer (HTTP header `Date`), milliseconds since the epoch without the
    /// fraction of the second; none if unknown.
    pub service_millis: Option<i64>,
}

/// Selects the shards to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardFilter {
    /// All shards that the stream still lists, including closed ones.
    All,
    /// Shards that accept records.
    Open,
    /// Shards open at this time (milliseconds since the epoch) or later.
    FromTimestamp(i64),
}

/// A shard iterator, valid for five minutes (AWS limit).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardIterator(pub String);

/// The answer to one GetRecords, or one event of a subscription.
#[derive(Debug)]
pub struct Page {
    /// The records, in order.
    pub records: RecordColumns,
    /// The iterator for what follows; none at the end of a closed shard. In a subscription's event: the continuation
    /// sequence number.
    pub next: Option<ShardIterator>,
    /// How far the answer's end is behind the shard's tip, in milliseconds; none if the service doesn't report it.
    pub millis_behind_latest: Option<i64>,
    /// The closed shard's children, at its end.
    pub child_shards: Vec<ShardId>,
    /// The service's request id, for support cases.
    pub request_id: Option<String>,
    /// The service's clock as in [`StreamSummary::service_millis`], but no later than this machine's clock; none in
    /// an event.
    pub service_millis: Option<i64>,
}

impl Page {
    /// A copy of the page without its records.
    pub(crate) fn without_records(&self) -> Self {
        Self {
            records: RecordColumns::with_capacity(0, 0),
            next: self.next.clone(),
            millis_behind_latest: self.millis_behind_latest,
            child_shards: self.child_shards.clone(),
            request_id: self.request_id.clone(),
            service_millis: self.service_millis,
        }
    }
}

/// One entry of a PutRecords request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutEntry {
    /// 1 to 256 characters; none on streams with AUTO record distribution only.
    pub partition_key: Option<String>,
    /// The payload.
    pub data: Bytes,
    /// Replaces the partition key's hash.
    pub explicit_hash_key: Option<String>,
}

/// Outcome of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The shard accepted the entry.
    Accepted {
        /// The shard that received the entry.
        shard: ShardId,
        /// The entry's sequence number in that shard.
        sequence_number: String,
    },
    /// Rejected by the shard's throughput limit; retryable.
    Throttled {
        /// The service's message.
        message: String,
    },
    /// Another failure of this entry; retryable.
    Failed {
        /// The service's error code.
        code: String,
        /// The service's message.
        message: String,
    },
}

/// Kinesis for one stream. Every call retries transient failures according to the options, counts them in
/// [`RequestCounters`], and fails with a classified error that contains stream and request id. A throttled read of a
/// shard ([`Self::shard_iterator`], [`Self::get_records`]) isn't retried: all readers of the shard share its limit,
/// so it returns [`crate::ErrorKind::Throttled`] at once, which isn't a failure.
#[async_trait]
pub trait KinesisApi: Debug + Send + Sync {
    /// DescribeStreamSummary.
    async fn describe_stream(&self) -> Result<StreamSummary>;

    /// ListShards, all pages.
    async fn list_shards(&self, filter: ShardFilter) -> Result<Vec<Shard>>;

    /// GetShardIterator. [`Position::ShardEnd`] is an error: it has no iterator. Fails with
    /// [`crate::ErrorKind::RefusedPosition`] if the service rejects the sequence number.
    async fn shard_iterator(
        &self,
        shard: &ShardId,
        at: &Position,
        counters: &Arc<RequestCounters>,
    ) -> Result<ShardIterator>;

    /// GetShardIterator at the record with this number (AT_SEQUENCE_NUMBER). If the record has expired, the iterator
    /// is at the oldest remaining one.
    async fn shard_iterator_at_record(
        &self,
        shard: &ShardId,
        number: &SequenceNumber,
        counters: &Arc<RequestCounters>,
    ) -> Result<ShardIterator>;

    /// GetRecords, at most `limit` (1 to 10,000) records. Fails with [`crate::ErrorKind::ExpiredIterator`] if the
    /// iterator is too old.
    async fn get_records(
        &self,
        shard: &ShardId,
        iterator: &ShardIterator,
        limit: u32,
        counters: &Arc<RequestCounters>,
    ) -> Result<Page>;

    /// Number of this process's GetRecords calls for the shard within the last second. The service allows five a
    /// second in total (AWS limit): [`Self::get_records`] waits for its turn.
    fn recent_calls(&self, _shard: &ShardId) -> u32 {
        0
    }

    /// Counts calls that another process of the query has just made for the shard.
    fn count_peer_calls(&self, _shard: &ShardId, _times: u32) {}

    /// PutRecords, at most 500 entries (AWS limit); returns one outcome per entry, in order. Only whole requests are
    /// retried here; failed entries are up to the caller.
    async fn put_records(
        &self,
        entries: &[PutEntry],
        counters: &Arc<RequestCounters>,
    ) -> Result<Vec<PutOutcome>>;
}
