//! What the source reads, and where its claims are kept.
use std::collections::BTreeMap;
use std::time::Duration;

use super::StreamId;
use super::access::{AccessOptions, RetryOptions, StoreAccess};
use crate::stream::{GivenPosition, ShardId};

/// Encoding of requests and responses, where there is a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WireProtocol {
    /// As JSON, with payloads in base64.
    #[default]
    Json,
    /// As CBOR, with binary payloads.
    Cbor,
}

/// How a shard is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerType {
    /// Polling with GetRecords.
    GetRecords,
    /// Enhanced fan-out.
    SubscribeToShard,
}

/// The registered consumer to read with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerChoice {
    /// By name: used if it exists, registered otherwise.
    Name(String),
    /// By ARN: used as it is.
    Arn(String),
}

/// The start of a new query or a batch read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartingPosition {
    /// The tip at the query's first start.
    Latest,
    /// The oldest retained record.
    TrimHorizon,
    /// The first record that arrived at this time or later.
    AtTimestamp {
        /// Milliseconds since 1970, UTC.
        millis: i64,
    },
}

/// The end of a batch read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndingPosition {
    /// The tip at the read's start.
    Latest,
    /// Before the first record that arrived at this time or later.
    AtTimestamp {
        /// Milliseconds since 1970, UTC.
        millis: i64,
    },
}

/// The store that keeps the claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committer {
    /// Files: in a Hadoop file system, or in S3, depending on the path's scheme.
    Hdfs,
    /// A DynamoDB table.
    DynamoDb,
}

/// Properties that a bucket's policy may require of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Puts {
    /// Encryption by S3: AES256, aws:kms or aws:kms:dsse; `None`: the bucket's default.
    pub encryption: Option<&'static str>,
    /// The KMS key for encryption: its ID, ARN or alias; `None`: the bucket's, or AWS's own.
    pub kms_key_id: Option<String>,
    /// A canned ACL.
    pub acl: Option<&'static str>,
}

/// The options of claims and their store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataOptions {
    /// The store.
    pub committer: Committer,
    /// The folder; `None`: beneath the query's checkpointLocation.
    pub path: Option<String>,
    /// Retries of requests to the store.
    pub retry: RetryOptions,
    /// Number of batches whose claims are kept; `None`: Spark's (`spark.sql.streaming.minBatchesToRetain`).
    pub min_batches_to_retain: Option<u32>,
    /// The region of the table or bucket: `kinesis.region`, otherwise the stream's unless `kinesis.kinesisRegion`
    /// sets that. `None`: the AWS default chain's.
    pub region: Option<String>,
    /// The table, with `Committer::DynamoDb` only.
    pub dynamodb_table: Option<String>,
    /// DynamoDB's address; `None`: the region's.
    pub dynamodb_endpoint_url: Option<String>,
    /// S3's address; `None`: the region's.
    pub s3_endpoint_url: Option<String>,
    /// Properties of the claims' objects.
    pub s3_puts: S3Puts,
}

/// A column to add to the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtraColumn {
    /// The shard from which the record was read.
    ShardId,
    /// The user record's index in its aggregate, from 0; 0 for a plain record, as in the KCL.
    SubSequenceNumber,
    /// The explicit hash key of a user record in an aggregate. Null if it has none, and for a plain record, whose
    /// explicit hash key GetRecords doesn't return.
    ExplicitHashKey,
    /// The record's encryption in the service; null if the service doesn't return it.
    EncryptionType,
}

impl ExtraColumn {
    /// All columns.
    pub const ALL: [Self; 4] = [
        Self::ShardId,
        Self::SubSequenceNumber,
        Self::ExplicitHashKey,
        Self::EncryptionType,
    ];

    /// The column's name in the schema.
    pub fn name(self) -> &'static str {
        match self {
            Self::ShardId => "shardId",
            Self::SubSequenceNumber => "subSequenceNumber",
            Self::ExplicitHashKey => "explicitHashKey",
            Self::EncryptionType => "encryptionType",
        }
    }

    /// The column's type in Spark's SQL.
    pub fn sql_type(self) -> &'static str {
        match self {
            Self::SubSequenceNumber => "bigint",
            Self::ShardId | Self::ExplicitHashKey | Self::EncryptionType => "string",
        }
    }
}

/// Handling of KPL aggregates that can't be delivered as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AggregationOptions {
    /// For an aggregate with a user record whose hash key is outside its shard.
    pub outside_shard: OutsideShard,
    /// For an aggregate that can't be taken apart.
    pub broken: BrokenAggregate,
}

/// Handling of an aggregate with a user record whose hash key is outside its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutsideShard {
    /// Delivers none of its user records: the KPL puts them again.
    Skip,
    /// Delivers all of them.
    Deliver,
    /// Fails the read.
    Fail,
}

/// Handling of an aggregate that can't be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenAggregate {
    /// Fails the read.
    Fail,
    /// Skips it.
    Skip,
}

/// Options of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceOptions {
    /// The stream.
    pub stream: StreamId,
    /// The service's address and the credentials for it.
    pub access: AccessOptions,
    /// How shards are read.
    pub consumer_type: ConsumerType,
    /// The consumer to read with; with `SubscribeToShard` only.
    pub consumer: Option<ConsumerChoice>,
    /// Longest wait for a subscription.
    pub subscribe_timeout: Duration,
    /// Consecutive failures of a subscription before the task that reads it fails.
    pub subscribe_max_retries: u32,
    /// The start of a new query.
    pub starting_position: StartingPosition,
    /// True if `starting_position` was given, false if it is the default.
    pub starting_position_given: bool,
    /// Starts of single shards of a new query or a batch read, in place of `starting_position`.
    pub starting_positions: BTreeMap<ShardId, GivenPosition>,
    /// Another connector's checkpoint from which a new query continues.
    pub import_checkpoint: Option<String>,
    /// The end of a batch read; `None` for a streaming query.
    pub ending_position: Option<EndingPosition>,
    /// True if the query fails when a shard expired or disappeared with unread records.
    pub fail_on_data_loss: bool,
    /// Shortest time between two ListShards calls.
    pub describe_shard_interval: Duration,
    /// Maximum number of records of a shard in a micro-batch.
    pub max_fetch_records_per_shard: u64,
    /// Maximum number of data bytes of a shard in a micro-batch.
    pub max_fetch_bytes_per_shard: Option<u64>,
    /// Longest time to read a shard in a micro-batch.
    pub max_fetch_time_per_shard: Option<Duration>,
    /// The limit of a GetRecords request, 1 to 10,000.
    pub records_per_fetch: u32,
    /// Shortest time between two GetRecords calls for a shard at the tip.
    pub fetch_interval: Duration,
    /// Encoding of GetRecords.
    pub protocol: WireProtocol,
    /// Retries of Kinesis requests.
    pub client_retry: RetryOptions,
    /// The options of claims and their store.
    pub metadata: MetadataOptions,
    /// Number of shards in a task, 1 to 1,000.
    pub shards_per_task: usize,
    /// Maximum number of shards that the driver probes at the same time.
    pub check_new_record_threads: usize,
    /// Maximum number of bytes that a shard's reader prefetches.
    pub prefetch_max_bytes_per_shard: u64,
    /// Maximum number of bytes that all readers of an executor prefetch together.
    pub prefetch_max_bytes_per_executor: u64,
    /// Columns to add to the schema, in this order.
    pub extra_columns: Vec<ExtraColumn>,
    /// Handling of aggregates that can't be delivered as they are.
    pub aggregation: AggregationOptions,
}

impl SourceOptions {
    /// Access to the claims' table or bucket, with the job's own credentials and [`MetadataOptions::region`]. The
    /// options' role and endpoint are for the stream only, and the options' keys are the last resort.
    pub fn store_access(&self) -> StoreAccess {
        StoreAccess {
            region: self.metadata.region.clone(),
            job_keys: None,
            stream_keys: self.access.static_keys.clone(),
            stream_provider: self.access.provider.clone(),
            proxy: self.access.proxy.clone(),
        }
    }
}
