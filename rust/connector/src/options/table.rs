//! The table of options: one row for each key, and the only place with facts about keys.
//!
//! Names, defaults and meanings are those of the connector from which users come
//! (awslabs/spark-sql-kinesis-connector), so that their jobs run unchanged; rows that it lacks are marked "new" in
//! the documentation. A default is the text that a user would write, and goes through the same parser.

use std::fmt::Write as _;

use super::spec::{Group, Kind, NO_LIMIT, OptionSpec, Support, Users};

/// The largest value of an `Int`, in which Spark and the reference connector keep such numbers.
const INT_MAX: u64 = i32::MAX as u64;
const HOUR_MS: u64 = 3_600_000;
const GIB: u64 = 1 << 30;

const POSITIVE: Kind = Kind::Whole {
    min: 1,
    max: NO_LIMIT,
};
const RETRIES: Kind = Kind::Whole { min: 0, max: 1_000 };
const RETRY_MS: Kind = Kind::Whole { min: 0, max: HOUR_MS };
const URL: Kind = Kind::Text("an http:// or https:// URL with a host, such as https://vpce-1.example.com");
const REGION_NAME: Kind = Kind::Text("a region's name, such as us-east-1");
const ANY_TEXT: Kind = Kind::Text("any text");
const PROXY: Kind =
    Kind::Text("the name or address of a host, such as proxy.example.com or http://proxy.example.com:3128");
const PORT: Kind = Kind::Whole { min: 1, max: 65_535 };

/// Creates the constants of all rows and the table together, so that neither can lack a row.
macro_rules! rows {
    ($($name:ident = ($key:literal, $($field:expr),+ $(,)?) $(.$with:ident($($value:expr)?))*;)+) => {
        $(
            #[doc = concat!("The row of `", $key, "`.")]
            pub const $name: OptionSpec = OptionSpec::new($key, $($field),+)$(.$with($($value)?))*;
        )+
        static TABLE: &[OptionSpec] = &[$($name),+];
    };
}

rows! {
    STREAM_NAME = ("kinesis.streamName", Group::Stream, Users::All,
        Kind::Text("1 to 128 letters, digits, and the characters _ . -"), "the stream")
        .default_note("required, or streamArn");
    STREAM_ARN = ("kinesis.streamArn", Group::Stream, Users::All,
        Kind::Text("arn:aws:kinesis:<region>:<account>:stream/<name>"),
        "new: the stream by ARN, which also allows another account by resource policy");
    REGION = ("kinesis.region", Group::Stream, Users::All, REGION_NAME, "the region")
        .default_note("from the endpoint or the ARN, else the AWS default chain");
    KINESIS_REGION = ("kinesis.kinesisRegion", Group::Stream, Users::All, REGION_NAME,
        "the stream's region where it differs from that of the claims' DynamoDB table or S3 bucket; an endpointUrl \
         of AWS has the stream's region already")
        .default_note("= kinesis.region");
    ENDPOINT_URL = ("kinesis.endpointUrl", Group::Stream, Users::All, URL,
        "the service's address; any host and port, also localhost")
        .default_note("from the region");

    STS_ROLE_ARN = ("kinesis.stsRoleArn", Group::Access, Users::All,
        Kind::Text("arn:aws:iam::<account>:role/<name>"),
        "the role to assume, with the static keys or the provider class if given, else with the AWS default chain; its \
         session is renewed before it expires");
    STS_SESSION_NAME = ("kinesis.stsSessionName", Group::Access, Users::All,
        Kind::Text("2 to 64 letters, digits, and the characters _ + = , . @ -"), "the name of the role's session")
        .default_note("a generated name");
    STS_ENDPOINT_URL = ("kinesis.stsEndpointUrl", Group::Access, Users::All, URL,
        "the address of STS; if the host is AWS's, requests are signed for its region")
        .default_note("from the region");
    STS_EXTERNAL_ID = ("kinesis.stsExternalId", Group::Access, Users::All,
        Kind::Text("2 to 1224 letters, digits, and the characters _ + = , . @ : / -"),
        "new: the external id that the role's trust policy requires");
    AWS_ACCESS_KEY_ID = ("kinesis.awsAccessKeyId", Group::Access, Users::All,
        Kind::Text("text without white space"), "static keys, together with kinesis.awsSecretKey")
        .secret();
    AWS_SECRET_KEY = ("kinesis.awsSecretKey", Group::Access, Users::All, ANY_TEXT,
        "static keys, together with kinesis.awsAccessKeyId")
        .secret();
    SESSION_TOKEN = ("kinesis.sessionToken", Group::Access, Users::All, ANY_TEXT,
        "the session token of temporary static keys")
        .secret();
    CREDENTIAL_PROVIDER_CLASS = ("kinesis.credentialProviderClass", Group::Access, Users::All,
        Kind::Text("the full name of a class, such as com.example.Provider"),
        "a class on the class path of driver and executors that provides the credentials, also those that assume the \
         role: any AwsCredentialsProvider of AWS's SDK for Java 2, or an io.sparkkinesis.KinesisCredentialsProvider \
         (access.md)");
    CREDENTIAL_PROVIDER_PARAM = ("kinesis.credentialProviderParam", Group::Access, Users::All,
        ANY_TEXT, "the argument with which that class is constructed")
        .secret();

    CLIENT_NUM_RETRIES = ("kinesis.clientNumRetries", Group::Client, Users::All, RETRIES,
        "how often a failed Kinesis request is retried. Records that a throttled stream refused don't count: they \
         are put again until the stream has accepted nothing from the process for kinesis.sink.maxRetryTimeSec. With 0 \
         nothing is put again: the first throttled record fails the task")
        .default("5");
    CLIENT_RETRY_INTERVAL = ("kinesis.clientRetryIntervalsMs", Group::Client, Users::All, RETRY_MS,
        "the wait before the first retry, in milliseconds; it doubles with each one")
        .default("1000");
    CLIENT_MAX_RETRY_INTERVAL = ("kinesis.clientMaxRetryIntervalMs", Group::Client, Users::All,
        RETRY_MS, "the longest wait before a retry, in milliseconds")
        .default("10000");

    PROXY_ADDRESS = ("kinesis.proxyAddress", Group::Client, Users::All, PROXY,
        "new: the HTTP proxy for all services: https through a tunnel (CONNECT), http with absolute URLs. Calls to the \
         credentials' endpoints of instances and containers bypass it (access.md)")
        .default_note("HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the environment");
    PROXY_PORT = ("kinesis.proxyPort", Group::Client, Users::All, PORT,
        "new: the proxy's port, if the address has none");
    PROXY_USERNAME = ("kinesis.proxyUsername", Group::Client, Users::All, ANY_TEXT,
        "new: the user, if the proxy requires one")
        .secret();
    PROXY_PASSWORD = ("kinesis.proxyPassword", Group::Client, Users::All, ANY_TEXT,
        "new: the user's password")
        .secret();

    CONSUMER_TYPE = ("kinesis.consumerType", Group::Source, Users::Reads,
        Kind::OneOf(&["GetRecords", "SubscribeToShard"]),
        "how shards are read: by polling with GetRecords, or by push with SubscribeToShard (enhanced fan-out; \
         streaming queries only)")
        .default("GetRecords");
    CONSUMER_NAME = ("kinesis.consumerName", Group::Source, Users::Reads,
        Kind::Text("1 to 128 letters, digits, and the characters _ . -"),
        "the enhanced fan-out consumer of this query alone: used if the stream has it, otherwise registered, and \
         deregistered when the query is stopped")
        .default_note("required for SubscribeToShard, or consumerArn");
    CONSUMER_ARN = ("kinesis.consumerArn", Group::Source, Users::Reads,
        Kind::Text("arn:aws:kinesis:<region>:<account>:stream/<name>/consumer/<consumer>:<number>"),
        "new: a registered enhanced fan-out consumer, which is used and never deregistered");
    STARTING_POSITION = ("kinesis.startingPosition", Group::Source, Users::Reads,
        Kind::Text("LATEST, TRIM_HORIZON, EARLIEST, or AT_TIMESTAMP with a time and its offset \
                    as in AT_TIMESTAMP 2026-08-30T19:00:05Z or AT_TIMESTAMP 2026-08-30T21:00:05+02:00"),
        "where a new query starts; a restarted query resumes from its checkpoint. A batch read starts at \
         TRIM_HORIZON by default, and never at LATEST. No time in the future")
        .default("LATEST");
    STARTING_POSITIONS = ("kinesis.startingPositions", Group::Source, Users::Reads,
        Kind::Text("a JSON object with a position for each shard's id: AFTER_SEQUENCE_NUMBER or AT_SEQUENCE_NUMBER \
                    with a number, AT_TIMESTAMP with a time and its offset, TRIM_HORIZON, LATEST or SHARD_END, as in \
                    {\"shardId-000000000000\": \"AFTER_SEQUENCE_NUMBER 4957\", \"shardId-000000000001\": \
                    \"TRIM_HORIZON\"}"),
        "new: where single shards of a new query, or of a batch read, start. Shards that aren't named start at \
         kinesis.startingPosition; those from which a named one descends count as read, and those that descend from it \
         follow it (migrating.md)");
    IMPORT_CHECKPOINT = ("kinesis.importCheckpoint", Group::Source, Users::Streaming,
        Kind::Text("a path of a Hadoop file system, as s3://bucket/path or hdfs://name/path"),
        "new: the checkpointLocation of a query of the AWS connector (awslabs/spark-sql-kinesis-connector) that has \
         stopped: a new query, with a checkpointLocation of its own, starts where that one was, instead of at \
         kinesis.startingPosition. Without effect once the query has started (migrating.md)");
    ENDING_POSITION = ("kinesis.endingPosition", Group::Source, Users::BatchRead,
        Kind::Text("LATEST, or AT_TIMESTAMP with a time and its offset as in AT_TIMESTAMP 2026-08-30T19:00:05Z"),
        "new, batch reads: where to end; LATEST is the tip when the read starts. No time in the future")
        .default("LATEST");
    FAIL_ON_DATA_LOSS = ("kinesis.failOnDataLoss", Group::Source, Users::Reads, Kind::Flag,
        "true: the query fails if records or a shard expired unread; false: they are lost, with a warning and a count \
         (shards.md)")
        .default("false");
    DESCRIBE_SHARD_INTERVAL = ("kinesis.describeShardInterval", Group::Source, Users::Streaming,
        Kind::Time { min_ms: 0, max_ms: HOUR_MS }, "minimum time between two ListShards calls")
        .default("1s");
    MAX_FETCH_RECORDS_PER_SHARD = ("kinesis.maxFetchRecordsPerShard", Group::Source,
        Users::Streaming, POSITIVE, "maximum records of a shard in a micro-batch; the rest of a KPL \
         aggregate, which is never divided, may exceed it")
        .default("100000");
    MAX_FETCH_BYTES_PER_SHARD = ("kinesis.maxFetchBytesPerShard", Group::Source, Users::Streaming,
        Kind::Bytes { min: 1, max: NO_LIMIT }, "new: maximum bytes of data of a shard in a micro-batch, with \
         the same exception");
    MAX_FETCH_TIME_PER_SHARD = ("kinesis.maxFetchTimePerShardSec", Group::Source, Users::Streaming,
        Kind::Whole { min: 1, max: INT_MAX }, "maximum seconds for which a shard is read in a micro-batch; at \
         least one record is read, or the shard's newest is reached");
    RECORDS_PER_FETCH = ("kinesis.getRecords.numberOfRecordsPerFetch", Group::Source, Users::Reads,
        Kind::Whole { min: 1, max: 10_000 }, "the limit of a GetRecords request")
        .default("10000");
    // An iterator lives for five minutes, so the interval stays well below that.
    FETCH_INTERVAL = ("kinesis.getRecords.fetchIntervalMs", Group::Source, Users::Reads,
        Kind::Whole { min: 0, max: 240_000 }, "least milliseconds between two GetRecords of a shard at its tip or in \
         a part without records, and of what is fetched ahead between batches. A task that reads a backlog doesn't \
         wait for it. Less than 200 also raises the bound of five GetRecords per second and shard")
        .default("200");
    PROTOCOL = ("kinesis.protocol", Group::Source, Users::Reads, Kind::OneOf(&["json", "cbor"]),
        "new: the format of GetRecords' requests and answers: JSON with payloads in base64, or CBOR \
         (application/x-amz-cbor-1.1) with payloads as bytes. All other calls, SubscribeToShard and writes included, \
         use JSON")
        .default("json");
    SUBSCRIBE_TIMEOUT = ("kinesis.subscribeToShard.timeoutSec", Group::Source, Users::Reads,
        Kind::Whole { min: 1, max: INT_MAX }, "how long to wait for a subscription, in seconds")
        .default("60");
    SUBSCRIBE_MAX_RETRIES = ("kinesis.subscribeToShard.maxRetries", Group::Source, Users::Reads,
        Kind::Whole { min: 0, max: INT_MAX }, "consecutive failures without an event before the task fails")
        .default("10");
    METADATA_COMMITTER_TYPE = ("kinesis.metadataCommitterType", Group::Source, Users::Streaming,
        Kind::OneOf(&["HDFS", "DYNAMODB"]),
        "where claims are kept. HDFS: in kinesis.metadataPath, any Hadoop file system or S3. DYNAMODB: in the table \
         kinesis.dynamodb.tableName, as the job itself (the JVM's system properties, else the AWS default chain, else \
         the static keys or kinesis.credentialProviderClass), never as kinesis.stsRoleArn")
        .default("HDFS");
    METADATA_PATH = ("kinesis.metadataPath", Group::Source, Users::Streaming,
        Kind::Text("a path of a Hadoop file system, as hdfs://name/path or /path, or of S3, as s3://bucket/path"),
        "the folder of the claims. With the schemes s3, s3a and s3n, also of a checkpointLocation, claims are kept \
         in S3 itself, without Hadoop, as the job itself (the JVM's system properties, else the AWS default chain, \
         else the static keys or kinesis.credentialProviderClass), never as kinesis.stsRoleArn")
        .default_note("beneath checkpointLocation");
    METADATA_NUM_RETRIES = ("kinesis.metadataNumRetries", Group::Source, Users::Streaming, RETRIES,
        "how often a failed request to the claims' store is retried")
        .default("5");
    METADATA_RETRY_INTERVAL = ("kinesis.metadataRetryIntervalsMs", Group::Source, Users::Streaming,
        RETRY_MS, "the wait before the first retry, in milliseconds; it doubles with each one")
        .default("1000");
    METADATA_MAX_RETRY_INTERVAL = ("kinesis.metadataMaxRetryIntervalMs", Group::Source,
        Users::Streaming, RETRY_MS, "the longest wait before a retry, in milliseconds")
        .default("10000");
    MIN_BATCHES_TO_RETAIN = ("kinesis.minBatchesToRetain", Group::Source, Users::Streaming,
        Kind::Whole { min: 1, max: INT_MAX }, "batches whose claims are kept")
        .default_note("spark.sql.streaming.minBatchesToRetain");
    DYNAMODB_TABLE_NAME = ("kinesis.dynamodb.tableName", Group::Source, Users::Streaming,
        Kind::Text("3 to 255 letters, digits, and the characters _ . -"),
        "the table of the claims, which any number of queries may share; created if it is missing")
        .default_note("required for DYNAMODB");
    DYNAMODB_ENDPOINT_URL = ("kinesis.dynamodb.endpointUrl", Group::Source, Users::Streaming, URL,
        "new: DynamoDB's address")
        .default_note("from the region");
    S3_ENDPOINT_URL = ("kinesis.s3.endpointUrl", Group::Source, Users::Streaming, URL,
        "new: the address of S3, or of a store with its protocol, for claims kept there")
        .default_note("from the region");
    S3_ENCRYPTION = ("kinesis.s3.serverSideEncryption", Group::Source, Users::Streaming,
        Kind::OneOf(&["AES256", "aws:kms", "aws:kms:dsse"]),
        "new: the server-side encryption to request for claims in S3, for a bucket whose policy demands one")
        .default_note("the bucket's");
    S3_KMS_KEY_ID = ("kinesis.s3.kmsKeyId", Group::Source, Users::Streaming,
        Kind::Text("the id, the ARN or the alias of a KMS key"),
        "new: the KMS key for the encryption by aws:kms or aws:kms:dsse")
        .default_note("the bucket's, or AWS's own");
    S3_ACL = ("kinesis.s3.acl", Group::Source, Users::Streaming,
        Kind::OneOf(&[
            "private", "authenticated-read", "aws-exec-read", "bucket-owner-read", "bucket-owner-full-control",
        ]),
        "new: the canned ACL of claims in S3, for a bucket whose policy demands one, such as another account's")
        .default_note("none");
    CHECK_NEW_RECORD_THREADS = ("kinesis.checkNewRecordThreads", Group::Source, Users::Streaming,
        Kind::Whole { min: 1, max: 1_000 }, "most shards that the driver checks for new records in parallel")
        .default("8");
    SHARDS_PER_TASK = ("kinesis.shardsPerTask", Group::Source, Users::Reads,
        Kind::Whole { min: 1, max: 1_000 },
        "new: how many shards a Spark task reads at once, with one claim: for streams with more shards than cores \
         (reading.md)")
        .default("1");
    PREFETCH_BYTES_PER_SHARD = ("kinesis.prefetch.maxBytesPerShard", Group::Source, Users::Reads,
        Kind::Bytes { min: 1, max: 2 * GIB },
        "new: maximum bytes that a shard's reader fetches ahead, within a batch and between batches (reading.md)")
        .default("8m");
    PREFETCH_BYTES_PER_EXECUTOR = ("kinesis.prefetch.maxBytesPerExecutor", Group::Source,
        Users::Reads, Kind::Bytes { min: 1, max: NO_LIMIT },
        "new: the same for all readers of an executor; each may hold one answer beyond the bound")
        .default("256m");
    EXTRA_COLUMNS = ("kinesis.extraColumns", Group::Source, Users::Reads,
        Kind::Text("a comma-separated list of shardId, subSequenceNumber, explicitHashKey, encryptionType"),
        "new: columns to add to the schema after its own, in the order given (reading.md)");
    AGGREGATION_OUTSIDE_SHARD = ("kinesis.aggregation.outsideShard", Group::Source, Users::Reads,
        Kind::OneOf(&["DELIVER", "SKIP", "FAIL"]),
        "new: the treatment of a KPL aggregate with a user record whose hash key is outside its shard's range. \
         DELIVER: like any other. SKIP: skip and count the whole aggregate, as the KCL does, for streams whose \
         producers all use the KPL, which puts the records again. FAIL: fail the query (reading.md)")
        .default("DELIVER");
    AGGREGATION_BROKEN = ("kinesis.aggregation.broken", Group::Source, Users::Reads,
        Kind::OneOf(&["FAIL", "SKIP"]),
        "new: the treatment of a KPL aggregate with a correct digest that can't be taken apart, or only beyond \
         bounds. FAIL: fail the query. SKIP: skip and count it (reading.md)")
        .default("FAIL");

    AGGREGATION_ENABLED = ("kinesis.sink.aggregationEnabled", Group::Sink, Users::Sink, Kind::Flag,
        "true: rows go into aggregates in the KPL's format (writing.md). The AWS connector's default is true; \
         readers that don't take aggregates apart, such as Lambda functions, need false")
        .default("false");
    ORDERING = ("kinesis.sink.ordering", Group::Sink, Users::Sink, Kind::OneOf(&["none", "key"]),
        "new: with key, the records of one key arrive in the order of a task's rows, through retries too (writing.md)")
        .default("none");
    MAX_BUFFERED_TIME = ("kinesis.sink.recordMaxBufferedTimeMs", Group::Sink, Users::Sink,
        Kind::Whole { min: 0, max: HOUR_MS },
        "the longest time that a record waits to be batched with others, in milliseconds")
        .default("1000");
    MAX_CONNECTIONS = ("kinesis.sink.maxConnections", Group::Sink, Users::Sink,
        Kind::Whole { min: 1, max: 256 }, "most PutRecords requests in flight in a task")
        .default("8");
    // The service accepts records of up to 10 MiB if the stream is configured so.
    MAX_RECORD_BYTES = ("kinesis.sink.maxRecordBytes", Group::Sink, Users::Sink,
        Kind::Bytes { min: 1, max: 10_485_760 },
        "new: the largest record, data and partition key together; more than 1 MiB only if the stream allows it")
        .default_note("the stream's limit; 1 MiB without permission to read it");
    MAX_RETRY_TIME = ("kinesis.sink.maxRetryTimeSec", Group::Sink, Users::Sink, Kind::Whole { min: 1, max: 86_400 },
        "new: how long, in seconds, the stream may accept nothing from an executor's tasks before they fail")
        .default("600");
    ALLOWED_STREAMS = ("kinesis.sink.allowedStreams", Group::Sink, Users::Sink,
        Kind::Text("a comma-separated list of up to 32 stream names"),
        "new: the streams that rows may name in their column streamName, besides kinesis.streamName, to which rows \
         without a name go (writing.md)");
    FLUSH_WAIT_TIME = ("kinesis.sink.flushWaitTimeMs", Group::Sink, Users::Sink,
        Kind::Whole { min: 0, max: NO_LIMIT }, "accepted; flushing waits for the answers, not for a clock")
        .default("100")
        .no_effect("flushing waits for the answers, not for a clock");
    RECORD_TTL = ("kinesis.sink.recordTtl", Group::Sink, Users::Sink,
        Kind::Whole { min: 0, max: NO_LIMIT },
        "accepted; records are never dropped, and a put that can't succeed fails the task")
        .default("30000")
        .no_effect("records are never dropped, and a put that can't succeed fails the task");
    SINK_PROXY_ADDRESS = ("kinesis.sink.proxyAddress", Group::Sink, Users::Sink, PROXY,
        "the HTTP proxy for writing; with it, the four kinesis.sink.proxy… replace the four kinesis.proxy…");
    SINK_PROXY_PORT = ("kinesis.sink.proxyPort", Group::Sink, Users::Sink, PORT, "the proxy's port, if the address \
     has none");
    SINK_PROXY_USERNAME = ("kinesis.sink.proxyUsername", Group::Sink, Users::Sink, ANY_TEXT,
        "the user, if the proxy requires one")
        .secret();
    SINK_PROXY_PASSWORD = ("kinesis.sink.proxyPassword", Group::Sink, Users::Sink, ANY_TEXT,
        "the user's password")
        .secret();
}

/// All keys, in the documentation's order within each group.
pub fn table() -> &'static [OptionSpec] {
    TABLE
}

/// The row of a key, which may be written in any case.
pub fn find(key: &str) -> Option<&'static OptionSpec> {
    TABLE.iter().find(|spec| spec.key.eq_ignore_ascii_case(key))
}

/// The table for the documentation: one Markdown table for each group.
pub fn markdown() -> String {
    let mut text = String::new();
    for group in Group::ALL {
        // Writing to a String can't fail, so the results are ignored.
        let _ = writeln!(text, "### {}\n", group.title());
        let _ = writeln!(
            text,
            "| key | for | default | allowed | meaning |\n|---|---|---|---|---|"
        );
        for spec in TABLE.iter().filter(|spec| spec.group == group) {
            let default = spec
                .default
                .map_or_else(|| spec.default_note.to_owned(), |text| format!("`{text}`"));
            let remark = match spec.support {
                Support::NoEffect(_) => " (no effect in this version)",
                Support::Full => "",
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {}{remark} |",
                spec.key,
                spec.users.text(),
                cell(&default),
                cell(&spec.allowed()),
                cell(spec.doc),
            );
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Escapes a cell: `<name>` would count as HTML, and `|` as the cell's end.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('>', "&gt;")
}
