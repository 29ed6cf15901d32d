//! The types of parsed options.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::GivesCredentials;
use crate::stream::{GivenPosition, ShardId};

/// Parsed options, and warnings for their user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed<T> {
    /// The options.
    pub options: T,
    /// Sentences for the log: keys without effect, and combinations that are probably a mistake.
    pub warnings: Vec<String>,
}

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for signing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// Text shown in place of a secret value.
pub(super) const HIDDEN: &str = "*********(redacted)";

/// The stream's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamId {
    /// The stream's name; if only the ARN was given, the name in it.
    pub name: String,
    /// The stream's ARN if it was given: requests then name the stream by its ARN.
    pub arn: Option<String>,
}

/// The service's address and the credentials for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessOptions {
    /// The stream's region: the one in the endpoint's host if that is AWS's, otherwise `kinesis.kinesisRegion`,
    /// `kinesis.region`, or the one in the stream's ARN. `None`: the AWS default chain's.
    pub region: Option<String>,
    /// The service's address; `None`: the region's.
    pub endpoint_url: Option<String>,
    /// The role to assume, with `static_keys` or the `provider` if given, otherwise with the AWS default chain.
    pub sts_role_arn: Option<String>,
    /// The role session's name; `None`: a generated one.
    pub sts_session_name: Option<String>,
    /// STS's address, to assume the role; `None`: the region's STS.
    pub sts_endpoint_url: Option<String>,
    /// The region in `sts_endpoint_url` if its host is AWS's, for which STS requests are signed; `None`: `region`.
    pub sts_region: Option<String>,
    /// The external ID for AssumeRole.
    pub sts_external_id: Option<String>,
    /// Keys to use instead of the AWS default chain.
    pub static_keys: Option<StaticKeys>,
    /// The job's credentials class, to use instead of the AWS default chain.
    pub provider: Option<ProviderClass>,
    /// The proxy to use; `None`: the environment's, if it names one.
    pub proxy: Option<ProxyOptions>,
}

/// A class of the job that provides credentials.
#[derive(Clone)]
pub struct ProviderClass {
    /// Name of the class.
    pub name: String,
    /// Argument for its construction.
    pub param: Option<Secret>,
    /// Access to the class, which differs between processes: set by [`Self::bind`].
    pub(crate) given_by: Option<Arc<dyn GivesCredentials>>,
}

impl ProviderClass {
    /// A class that can't be called yet.
    pub fn new(name: impl Into<String>, param: Option<Secret>) -> Self {
        Self {
            name: name.into(),
            param,
            given_by: None,
        }
    }

    /// Sets the access to the class.
    pub fn bind(&mut self, given_by: Arc<dyn GivesCredentials>) {
        self.given_by = Some(given_by);
    }

    fn id(&self) -> Option<u64> {
        self.given_by.as_ref().map(|given_by| given_by.id())
    }
}

impl PartialEq for ProviderClass {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.param == other.param && self.id() == other.id()
    }
}

impl Eq for ProviderClass {}

impl fmt::Debug for ProviderClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderClass")
            .field("name", &self.name)
            .field("param", &self.param)
            .finish_non_exhaustive()
    }
}

/// An HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyOptions {
    /// The host; an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its credentials, if it requires some.
    pub login: Option<ProxyLogin>,
    /// The options that set it, for messages.
    pub keys: ProxyKeys,
}

impl ProxyOptions {
    /// The URL of scheme, host and port.
    pub fn url(&self) -> String {
        match self.host.contains(':') {
            true => format!("http://[{}]:{}", self.host, self.port),
            false => format!("http://{}:{}", self.host, self.port),
        }
    }
}

/// A proxy's user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyLogin {
    /// The name, which is not shown either.
    pub username: Secret,
    /// The password.
    pub password: Secret,
}

/// The options of a proxy, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyKeys {
    /// The option with the address.
    pub address: &'static str,
    /// The options with name and password.
    pub login: &'static str,
}

/// Region, credentials and proxy for the stores of claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreAccess {
    /// The stores' region; `None`: the AWS default chain's.
    pub region: Option<String>,
    /// The job's own keys from the JVM's system properties, to use instead of the AWS default chain.
    pub job_keys: Option<StaticKeys>,
    /// The options' keys, which are the stream's: used if the AWS default chain has no credentials.
    pub stream_keys: Option<StaticKeys>,
    /// The options' class, which is the stream's: used if the AWS default chain has no credentials.
    pub stream_provider: Option<ProviderClass>,
    /// The proxy to use; `None`: the environment's, if it names one.
    pub proxy: Option<ProxyOptions>,
}

/// Static AWS keys.
#[derive(Clone, PartialEq, Eq)]
pub struct StaticKeys {
    /// The key's ID, which is not shown either, as in Spark.
    pub access_key_id: String,
    /// The secret key.
    pub secret: Secret,
    /// The session token of temporary keys.
    pub session_token: Option<Secret>,
}

impl fmt::Debug for StaticKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticKeys")
            .field("access_key_id", &format_args!("{HIDDEN}"))
            .field("secret", &self.secret)
            .field("session_token", &self.session_token)
            .finish()
    }
}

/// Retries of a failed request. The wait between them doubles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOptions {
    /// Maximum number of attempts after the first.
    pub retries: u32,
    /// The first wait; not above `max_interval`.
    pub interval: Duration,
    /// The longest wait.
    pub max_interval: Duration,
}

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

/// The records of a task that must arrive in the order of their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkOrdering {
    /// No records.
    None,
    /// The records of each key.
    Key,
}

/// The streams that rows may name in their column `streamName`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowStreams {
    /// Names of streams besides the options' own one.
    pub names: Vec<String>,
    /// True if rows may leave the stream out.
    pub optional: bool,
}

/// Options of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkOptions {
    /// The stream of rows that name none. If all rows must name one, the first that they may name.
    pub stream: StreamId,
    /// The streams that rows may name. `None`: rows name no stream.
    pub row_streams: Option<RowStreams>,
    /// The service's address and the credentials for it.
    pub access: AccessOptions,
    /// True if records are aggregated in the KPL format.
    pub aggregation: bool,
    /// The records that must arrive in the order of their rows.
    pub ordering: SinkOrdering,
    /// Longest time for which a record waits to be sent together with others.
    pub max_buffered_time: Duration,
    /// Maximum number of PutRecords requests that a task has in flight.
    pub max_connections: usize,
    /// Maximum size of a record, data and partition key together. `None`: the stream's limit.
    pub max_record_bytes: Option<usize>,
    /// Time for which the stream may accept nothing from a process before the waiting records fail.
    pub max_retry_time: Duration,
    /// Retries of Kinesis requests.
    pub client_retry: RetryOptions,
}
