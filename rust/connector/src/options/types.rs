//! What the options mean, once they are parsed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::GivesCredentials;
use crate::stream::{GivenPosition, ShardId};

/// Options that were understood, and what their user should know about them.
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

    /// The value itself, for whoever signs with it.
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

/// What stands where a secret value would.
pub(super) const HIDDEN: &str = "*********(redacted)";

/// Which stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamId {
    /// The stream's name; where only the ARN was given, the name in it.
    pub name: String,
    /// The stream's ARN where it was given: requests then name the stream by it.
    pub arn: Option<String>,
}

/// Where the service is, and as whom to call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessOptions {
    /// The stream's region: the one in the endpoint's host where that is AWS's, else `kinesis.kinesisRegion`, else
    /// `kinesis.region`, else the one in the stream's ARN. `None`: the AWS default chain's.
    pub region: Option<String>,
    /// The service's address; `None`: the region's.
    pub endpoint_url: Option<String>,
    /// The role to assume, with `static_keys` or the `provider` if there are some, else with the AWS default chain.
    pub sts_role_arn: Option<String>,
    /// The role session's name; `None`: make one.
    pub sts_session_name: Option<String>,
    /// Where to ask for the role; `None`: the region's STS.
    pub sts_endpoint_url: Option<String>,
    /// The region in that address where its host is AWS's, for which such requests are signed; `None`: `region`.
    pub sts_region: Option<String>,
    /// The external id to give when asking for the role.
    pub sts_external_id: Option<String>,
    /// Keys to use instead of the AWS default chain.
    pub static_keys: Option<StaticKeys>,
    /// A class of the job that gives credentials, to use instead of the AWS default chain.
    pub provider: Option<ProviderClass>,
    /// The proxy to go by; `None`: the environment's, if it names one.
    pub proxy: Option<ProxyOptions>,
}

/// A class of the job that gives credentials.
#[derive(Clone)]
pub struct ProviderClass {
    /// Its name.
    pub name: String,
    /// What it is made with.
    pub param: Option<Secret>,
    /// How it is called, which depends on who asks: set by [`Self::bind`].
    pub(crate) given_by: Option<Arc<dyn GivesCredentials>>,
}

impl ProviderClass {
    /// A class that nobody can call yet.
    pub fn new(name: impl Into<String>, param: Option<Secret>) -> Self {
        Self {
            name: name.into(),
            param,
            given_by: None,
        }
    }

    /// Says how the class is called.
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
    /// Its host, an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What it asks for, if anything.
    pub login: Option<ProxyLogin>,
    /// The options that say so, for messages.
    pub keys: ProxyKeys,
}

impl ProxyOptions {
    /// Scheme, host and port.
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
    /// The name. Not shown either.
    pub username: Secret,
    /// The password.
    pub password: Secret,
}

/// How messages name the options of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyKeys {
    /// The one with the address.
    pub address: &'static str,
    /// Those with name and password.
    pub login: &'static str,
}

/// Where, and as whom, to call the stores of claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreAccess {
    /// The stores' region; `None`: the AWS default chain's.
    pub region: Option<String>,
    /// Keys of the job itself, to use instead of the AWS default chain: the JVM's system properties.
    pub job_keys: Option<StaticKeys>,
    /// The options' keys, which are the stream's: to use where the AWS default chain has nothing.
    pub stream_keys: Option<StaticKeys>,
    /// The same for the options' class.
    pub stream_provider: Option<ProviderClass>,
    /// The proxy to go by; `None`: the environment's, if it names one.
    pub proxy: Option<ProxyOptions>,
}

/// Static AWS keys.
#[derive(Clone, PartialEq, Eq)]
pub struct StaticKeys {
    /// The key's id. Not shown either: Spark hides it too.
    pub access_key_id: String,
    /// The secret.
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

/// How often, and how long apart, a failed request is made again. The wait doubles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOptions {
    /// Tries after the first.
    pub retries: u32,
    /// The first wait; not above `max_interval`.
    pub interval: Duration,
    /// The longest wait.
    pub max_interval: Duration,
}

/// How a shard is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerType {
    /// Polling with GetRecords.
    GetRecords,
    /// Enhanced fan-out.
    SubscribeToShard,
}

/// The registered consumer of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerChoice {
    /// By name: used if it is there, registered otherwise.
    Name(String),
    /// By ARN: used as it is.
    Arn(String),
}

/// Where a new query, or a batch read, starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartingPosition {
    /// At the tip as of the query's first start.
    Latest,
    /// At the oldest record kept.
    TrimHorizon,
    /// At the first record that arrived then or later.
    AtTimestamp {
        /// Milliseconds since 1970, UTC.
        millis: i64,
    },
}

/// Where a batch read ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndingPosition {
    /// At the tip as of the read's start.
    Latest,
    /// Before the first record that arrived then or later.
    AtTimestamp {
        /// Milliseconds since 1970, UTC.
        millis: i64,
    },
}

/// Which store keeps the claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committer {
    /// Files: of a Hadoop file system, or of S3 by the path's scheme.
    Hdfs,
    /// A DynamoDB table.
    DynamoDb,
}

/// What a bucket's policy may demand of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Puts {
    /// How S3 encrypts them: AES256, aws:kms or aws:kms:dsse; `None`: as the bucket says.
    pub encryption: Option<&'static str>,
    /// The KMS key to encrypt with: its id, ARN or alias; `None`: the bucket's, or AWS's own.
    pub kms_key_id: Option<String>,
    /// A canned ACL.
    pub acl: Option<&'static str>,
}

/// Where and how claims are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataOptions {
    /// Which store.
    pub committer: Committer,
    /// The folder; `None`: beneath the query's checkpointLocation.
    pub path: Option<String>,
    /// Requests to the store.
    pub retry: RetryOptions,
    /// Batches whose claims are kept; `None`: as many as Spark keeps (`spark.sql.streaming.minBatchesToRetain`).
    pub min_batches_to_retain: Option<u32>,
    /// The region of the table or bucket: `kinesis.region`, else the stream's where `kinesis.kinesisRegion` does
    /// not set it apart. `None`: the AWS default chain's.
    pub region: Option<String>,
    /// The table of `Committer::DynamoDb`, and only there.
    pub dynamodb_table: Option<String>,
    /// DynamoDB's address; `None`: the region's.
    pub dynamodb_endpoint_url: Option<String>,
    /// S3's address; `None`: the region's.
    pub s3_endpoint_url: Option<String>,
    /// Objects of claims there.
    pub s3_puts: S3Puts,
}

/// A column to add to the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtraColumn {
    /// The shard the record was read from.
    ShardId,
    /// The user record's place in its aggregate, from 0; 0 for a plain record, as in the KCL.
    SubSequenceNumber,
    /// The explicit hash key of a user record of an aggregate; null where it has none, and for a plain record, whose
    /// explicit hash key GetRecords doesn't return.
    ExplicitHashKey,
    /// How the service kept the record; null where it doesn't tell.
    EncryptionType,
}

impl ExtraColumn {
    /// All there are.
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

    /// Its type, as Spark's SQL names it.
    pub fn sql_type(self) -> &'static str {
        match self {
            Self::SubSequenceNumber => "bigint",
            Self::ShardId | Self::ExplicitHashKey | Self::EncryptionType => "string",
        }
    }
}

/// What becomes of KPL aggregates that can't be delivered as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AggregationOptions {
    /// One with a user record whose hash key is none of its shard's.
    pub outside_shard: OutsideShard,
    /// One that can't be taken apart.
    pub broken: BrokenAggregate,
}

/// What becomes of an aggregate with a user record whose hash key is none of its shard's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutsideShard {
    /// None of its user records is delivered: the KPL puts them again.
    Skip,
    /// All of them are delivered.
    Deliver,
    /// The read fails.
    Fail,
}

/// What becomes of an aggregate that can't be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenAggregate {
    /// The read fails.
    Fail,
    /// It is passed over.
    Skip,
}

/// Options of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceOptions {
    /// Which stream.
    pub stream: StreamId,
    /// Where, and as whom.
    pub access: AccessOptions,
    /// How shards are read.
    pub consumer_type: ConsumerType,
    /// The consumer to read with, and only for `SubscribeToShard`.
    pub consumer: Option<ConsumerChoice>,
    /// Longest wait for a subscription.
    pub subscribe_timeout: Duration,
    /// Failures of a subscription in a row before the task that reads it fails.
    pub subscribe_max_retries: u32,
    /// Where a new query starts.
    pub starting_position: StartingPosition,
    /// Whether that was said, or is the default.
    pub starting_position_given: bool,
    /// Where single shards of a new query, or of a batch read, start instead.
    pub starting_positions: BTreeMap<ShardId, GivenPosition>,
    /// The checkpoint of another connector that a new query goes on from.
    pub import_checkpoint: Option<String>,
    /// Where a batch read ends; `None` for a streaming query.
    pub ending_position: Option<EndingPosition>,
    /// Whether an expired or missing shard with unread records fails the query.
    pub fail_on_data_loss: bool,
    /// Least time between two ListShards.
    pub describe_shard_interval: Duration,
    /// Most records of a shard in a micro-batch.
    pub max_fetch_records_per_shard: u64,
    /// Most bytes of data of a shard in a micro-batch.
    pub max_fetch_bytes_per_shard: Option<u64>,
    /// Longest that a shard is read in a micro-batch.
    pub max_fetch_time_per_shard: Option<Duration>,
    /// The limit of a GetRecords request, 1 to 10,000.
    pub records_per_fetch: u32,
    /// Least time between two GetRecords of a shard at the tip.
    pub fetch_interval: Duration,
    /// Kinesis requests.
    pub client_retry: RetryOptions,
    /// Where and how claims are kept.
    pub metadata: MetadataOptions,
    /// Shards in a task, 1 to 1,000.
    pub shards_per_task: usize,
    /// Most shards that the driver asks for news at once.
    pub check_new_record_threads: usize,
    /// Most bytes that a shard's reader fetches ahead.
    pub prefetch_max_bytes_per_shard: u64,
    /// The same for all readers of an executor.
    pub prefetch_max_bytes_per_executor: u64,
    /// Columns to add to the schema, in this order.
    pub extra_columns: Vec<ExtraColumn>,
    /// Aggregates that can't be delivered as they are.
    pub aggregation: AggregationOptions,
}

impl SourceOptions {
    /// Where the claims' table or bucket is, and as whom to call it: as the job itself, see
    /// [`MetadataOptions::region`]. A role and an address are the stream's alone, its keys the last resort.
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

/// Which records of a task must arrive in the order of their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkOrdering {
    /// None.
    None,
    /// Those of one key.
    Key,
}

/// The streams that rows may name in their column `streamName`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowStreams {
    /// Their names, beside the options' own stream.
    pub names: Vec<String>,
    /// True if rows may name none.
    pub optional: bool,
}

/// Options of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkOptions {
    /// The stream of rows that name none. Where all rows must name one, the first that they may name.
    pub stream: StreamId,
    /// The streams that rows may name. `None`: rows name no stream.
    pub row_streams: Option<RowStreams>,
    /// Where, and as whom.
    pub access: AccessOptions,
    /// Whether records are aggregated in the KPL format.
    pub aggregation: bool,
    /// Which records must arrive in the order of their rows.
    pub ordering: SinkOrdering,
    /// Longest that a record waits for company.
    pub max_buffered_time: Duration,
    /// Most PutRecords requests in flight in a task.
    pub max_connections: usize,
    /// The largest record, data and partition key together. `None`: what the stream takes.
    pub max_record_bytes: Option<usize>,
    /// How long the stream may take nothing from a process before what waits for it fails.
    pub max_retry_time: Duration,
    /// Kinesis requests.
    pub client_retry: RetryOptions,
}
