//! The one door to Kinesis: the interface that the rest of the engine sees, and its AWS implementation.
//! No type of the AWS SDK for Kinesis leaves this module.

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
pub(crate) use failure::{chain, no_credentials, no_way, told};
pub use fan_out::{
    Consumer, ConsumerId, ConsumerStatus, FanOutApi, SubscribeAt, Subscription, SubscriptionConnection,
};
pub(crate) use network::NetworkFailure;
pub(crate) use patience::Patience;
pub(crate) use presence::{Ends, Presence, presence, same_stream, stream_changed};
pub use properties::{SYSTEM_PROPERTIES, SystemProperties};
pub use rate_limiter::RateLimiter;
pub use retry::RequestCounters;
pub(crate) use retry::{backoff, jittered, with_retries};

use crate::error::Result;
use crate::stream::{Position, SequenceNumber, Shard, ShardId};

/// What the service tells about a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSummary {
    /// The stream's ARN.
    pub arn: String,
    /// When it was created, milliseconds since the epoch: another value under the same name is another stream.
    pub created_millis: i64,
    /// Shards that take records now.
    pub open_shards: u32,
    /// True if the service takes no notice of partition keys (RecordDistributionStrategy AUTO).
    pub auto_distribution: bool,
    /// Most bytes of a record, where the answer tells.
    pub max_record_bytes: Option<usize>,
    /// What the service's clock said when it answered, milliseconds since the epoch with the fraction of the second
    /// cut off (the HTTP header `Date`); none where the answer doesn't tell.
    pub service_millis: Option<i64>,
}

/// Which shards to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardFilter {
    /// All that the stream still lists, closed ones too.
    All,
    /// Those that take records now.
    Open,
    /// Those that were open at this time (milliseconds since the epoch) or later.
    FromTimestamp(i64),
}

/// A shard iterator: valid for five minutes (AWS limit).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardIterator(pub String);

/// The answer to one GetRecords, or one event of a subscription.
#[derive(Debug)]
pub struct Page {
    /// The records, in order.
    pub records: RecordColumns,
    /// The iterator for what follows; none at the end of a closed shard. In a subscription's event it is the
    /// continuation sequence number.
    pub next: Option<ShardIterator>,
    /// How far the answer's end is behind the shard's tip; none where the service does not tell.
    pub millis_behind_latest: Option<i64>,
    /// The shards that follow a closed shard, at its end.
    pub child_shards: Vec<ShardId>,
    /// The service's id of the request, for its support.
    pub request_id: Option<String>,
    /// What the service's clock said when it answered, as in [`StreamSummary::service_millis`], but no later than this
    /// machine's clock; none in an event.
    pub service_millis: Option<i64>,
}

impl Page {
    /// What the answer tells beside its records.
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

/// What became of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The shard took it.
    Accepted {
        /// The shard it landed in.
        shard: ShardId,
        /// Its sequence number there.
        sequence_number: String,
    },
    /// The shard's throughput limit; worth putting again.
    Throttled {
        /// The service's words.
        message: String,
    },
    /// Another failure of this entry, worth putting again.
    Failed {
        /// The service's error code.
        code: String,
        /// The service's words.
        message: String,
    },
}

/// Kinesis for one stream. Every call retries what is worth it as the options say, counts that in
/// [`RequestCounters`], and fails with a classified error that names stream and request id. A throttled read of a shard
/// ([`Self::shard_iterator`], [`Self::get_records`]) isn't tried again here: its limit is shared with everybody who reads
/// the shard, so it is [`crate::ErrorKind::Throttled`] at once, and no failure.
#[async_trait]
pub trait KinesisApi: Debug + Send + Sync {
    /// DescribeStreamSummary.
    async fn describe_stream(&self) -> Result<StreamSummary>;

    /// ListShards, all pages.
    async fn list_shards(&self, filter: ShardFilter) -> Result<Vec<Shard>>;

    /// GetShardIterator. [`Position::ShardEnd`] has none: asking is an error. A sequence number that the service
    /// doesn't take is [`crate::ErrorKind::RefusedPosition`].
    async fn shard_iterator(
        &self,
        shard: &ShardId,
        at: &Position,
        counters: &Arc<RequestCounters>,
    ) -> Result<ShardIterator>;

    /// GetShardIterator for the record with this number itself (AT_SEQUENCE_NUMBER). If the record has expired, the
    /// iterator stands at the oldest one that is left.
    async fn shard_iterator_at_record(
        &self,
        shard: &ShardId,
        number: &SequenceNumber,
        counters: &Arc<RequestCounters>,
    ) -> Result<ShardIterator>;

    /// GetRecords, at most `limit` (1 to 10,000) records. An iterator that is too old is
    /// [`crate::ErrorKind::ExpiredIterator`].
    async fn get_records(
        &self,
        shard: &ShardId,
        iterator: &ShardIterator,
        limit: u32,
        counters: &Arc<RequestCounters>,
    ) -> Result<Page>;

    /// How often GetRecords was called for the shard within the last second. A service allows five calls, all told
    /// (AWS limit): [`Self::get_records`] waits for its turn.
    fn asked_lately(&self, _shard: &ShardId) -> u32 {
        0
    }

    /// Counts calls that another process of the query made for the shard just now.
    fn count_asked(&self, _shard: &ShardId, _times: u32) {}

    /// PutRecords, at most 500 entries (AWS limit); one outcome for each entry, in
    /// order. Only the request as a whole is retried here; failed entries are the caller's.
    async fn put_records(
        &self,
        entries: &[PutEntry],
        counters: &Arc<RequestCounters>,
    ) -> Result<Vec<PutOutcome>>;
}
