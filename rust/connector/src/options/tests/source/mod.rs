//! Options of the read only.

mod claims;
mod fan_out;
mod positions;
use std::time::Duration;

use super::*;

#[test]
fn defaults() {
    let retry = RetryOptions {
        retries: 5,
        interval: Duration::from_secs(1),
        max_interval: Duration::from_secs(10),
    };
    let parsed = source(&with_name(&[])).unwrap();
    assert_eq!(
        parsed.options,
        SourceOptions {
            stream: StreamId {
                name: "orders".to_owned(),
                arn: None
            },
            access: write(&[]).access,
            consumer_type: ConsumerType::GetRecords,
            consumer: None,
            subscribe_timeout: Duration::from_secs(60),
            subscribe_max_retries: 10,
            starting_position: StartingPosition::Latest,
            starting_position_given: false,
            starting_positions: BTreeMap::new(),
            import_checkpoint: None,
            ending_position: None,
            fail_on_data_loss: false,
            describe_shard_interval: Duration::from_secs(1),
            max_fetch_records_per_shard: 100_000,
            max_fetch_bytes_per_shard: None,
            max_fetch_time_per_shard: None,
            records_per_fetch: 10_000,
            fetch_interval: Duration::from_millis(200),
            protocol: WireProtocol::Json,
            client_retry: retry,
            metadata: MetadataOptions {
                committer: Committer::Hdfs,
                path: None,
                retry,
                min_batches_to_retain: None,
                region: None,
                dynamodb_table: None,
                dynamodb_endpoint_url: None,
                s3_endpoint_url: None,
                s3_puts: S3Puts::default(),
            },
            shards_per_task: 1,
            check_new_record_threads: 8,
            prefetch_max_bytes_per_shard: 8 << 20,
            prefetch_max_bytes_per_executor: 256 << 20,
            extra_columns: vec![],
            aggregation: AggregationOptions {
                outside_shard: OutsideShard::Deliver,
                broken: BrokenAggregate::Fail,
            },
        }
    );
    let mut batch = batch_read(&with_name(&[])).unwrap().options;
    assert_eq!(batch.ending_position, Some(EndingPosition::Latest));
    assert_eq!(batch.starting_position, StartingPosition::TrimHorizon);
    (batch.starting_position, batch.ending_position) = (StartingPosition::Latest, None);
    assert_eq!(batch, parsed.options);
}

#[test]
fn every_key_is_read() {
    let options = read(&[
        ("kinesis.consumerType", "getrecords"),
        ("kinesis.startingPosition", "trim_horizon"),
        ("kinesis.failOnDataLoss", "true"),
        ("kinesis.describeShardInterval", "500ms"),
        ("kinesis.maxFetchRecordsPerShard", "7"),
        ("kinesis.maxFetchBytesPerShard", "64m"),
        ("kinesis.maxFetchTimePerShardSec", "1"),
        ("kinesis.getRecords.numberOfRecordsPerFetch", "500"),
        ("kinesis.getRecords.fetchIntervalMs", "1000"),
        ("kinesis.protocol", "cbor"),
        ("kinesis.clientNumRetries", "0"),
        ("kinesis.clientRetryIntervalsMs", "20"),
        ("kinesis.clientMaxRetryIntervalMs", "30"),
        ("kinesis.metadataCommitterType", "hdfs"),
        ("kinesis.metadataPath", "hdfs://name/claims"),
        ("kinesis.metadataNumRetries", "9"),
        ("kinesis.metadataRetryIntervalsMs", "21"),
        ("kinesis.metadataMaxRetryIntervalMs", "31"),
        ("kinesis.minBatchesToRetain", "12"),
        ("kinesis.checkNewRecordThreads", "3"),
        ("kinesis.shardsPerTask", "40"),
        ("kinesis.prefetch.maxBytesPerShard", "1m"),
        (
            "kinesis.extraColumns",
            "encryptionType, SHARDID,subSequenceNumber",
        ),
        ("kinesis.aggregation.outsideShard", "deliver"),
        ("kinesis.aggregation.broken", "skip"),
    ]);
    let ms = Duration::from_millis;
    assert_eq!(options.consumer_type, ConsumerType::GetRecords);
    assert_eq!(options.starting_position, StartingPosition::TrimHorizon);
    assert!(options.fail_on_data_loss);
    assert_eq!(options.describe_shard_interval, ms(500));
    assert_eq!(options.max_fetch_records_per_shard, 7);
    assert_eq!(options.max_fetch_bytes_per_shard, Some(64 << 20));
    assert_eq!(options.max_fetch_time_per_shard, Some(ms(1000)));
    assert_eq!(options.records_per_fetch, 500);
    assert_eq!(options.fetch_interval, ms(1000));
    assert_eq!(options.protocol, WireProtocol::Cbor);
    assert_eq!(
        options.client_retry,
        RetryOptions {
            retries: 0,
            interval: ms(20),
            max_interval: ms(30)
        }
    );
    assert_eq!(options.metadata.committer, Committer::Hdfs);
    assert_eq!(options.metadata.path.as_deref(), Some("hdfs://name/claims"));
    assert_eq!(
        options.metadata.retry,
        RetryOptions {
            retries: 9,
            interval: ms(21),
            max_interval: ms(31)
        }
    );
    assert_eq!(options.metadata.min_batches_to_retain, Some(12));
    assert_eq!(options.check_new_record_threads, 3);
    assert_eq!(options.shards_per_task, 40);
    assert_eq!(options.prefetch_max_bytes_per_shard, 1 << 20);
    assert_eq!(
        options.extra_columns,
        [
            ExtraColumn::EncryptionType,
            ExtraColumn::ShardId,
            ExtraColumn::SubSequenceNumber
        ]
    );
    assert_eq!(
        options.aggregation,
        AggregationOptions {
            outside_shard: OutsideShard::Deliver,
            broken: BrokenAggregate::Skip,
        }
    );
    let fail = [("kinesis.aggregation.outsideShard", "FAIL")];
    assert_eq!(read(&fail).aggregation.outside_shard, OutsideShard::Fail);
}

/// A bad value for every key of the read without a test of its own, and the whole message.
#[test]
fn bad_values_say_what_is_allowed() {
    const TIME: &str = "a time with one of the suffixes ms, s, m, min, h (such as 1s), from 0 to 3600000 ms";
    const SIZE: &str = "a number of bytes, 1 or more, or with one of the suffixes k, m, g (such as 8m)";
    const NAME: &str = "1 to 128 letters, digits, and the characters _ . -";
    const PATH: &str =
        "a path of a Hadoop file system, as hdfs://name/path or /path, or of S3, as s3://bucket/path";
    for (key, value, why, allowed) in [
        (
            "kinesis.consumerType",
            "Poll",
            "",
            "GetRecords or SubscribeToShard",
        ),
        ("kinesis.consumerName", "a b", ": it contains ' '", NAME),
        ("kinesis.failOnDataLoss", "yes", "", "true or false"),
        ("kinesis.describeShardInterval", "1", ": it has no suffix", TIME),
        (
            "kinesis.describeShardInterval",
            "1d",
            ": \"d\" is not a suffix",
            TIME,
        ),
        ("kinesis.describeShardInterval", "2h", ": it is too large", TIME),
        (
            "kinesis.maxFetchRecordsPerShard",
            "0",
            ": it is too small",
            "a whole number, 1 or more",
        ),
        (
            "kinesis.maxFetchRecordsPerShard",
            "many",
            ": it is not a whole number",
            "a whole number, 1 or more",
        ),
        (
            "kinesis.maxFetchRecordsPerShard",
            "-1",
            ": it is not a whole number",
            "a whole number, 1 or more",
        ),
        (
            "kinesis.maxFetchBytesPerShard",
            "1x",
            ": \"x\" is not a suffix",
            SIZE,
        ),
        (
            "kinesis.maxFetchTimePerShardSec",
            "0",
            ": it is too small",
            "a whole number from 1 to 2147483647",
        ),
        (
            "kinesis.maxFetchTimePerShardSec",
            "1.5",
            ": it is not a whole number",
            "a whole number from 1 to 2147483647",
        ),
        (
            "kinesis.getRecords.numberOfRecordsPerFetch",
            "10001",
            ": it is too large",
            "a whole number from 1 to 10000",
        ),
        (
            "kinesis.getRecords.fetchIntervalMs",
            "300000",
            ": it is too large",
            "a whole number from 0 to 240000",
        ),
        (
            "kinesis.subscribeToShard.timeoutSec",
            "x",
            ": it is not a whole number",
            "a whole number from 1 to 2147483647",
        ),
        (
            "kinesis.subscribeToShard.maxRetries",
            "x",
            ": it is not a whole number",
            "a whole number from 0 to 2147483647",
        ),
        (
            "kinesis.clientNumRetries",
            "1001",
            ": it is too large",
            "a whole number from 0 to 1000",
        ),
        (
            "kinesis.clientRetryIntervalsMs",
            "1s",
            ": it is not a whole number",
            "a whole number from 0 to 3600000",
        ),
        (
            "kinesis.clientMaxRetryIntervalMs",
            "3600001",
            ": it is too large",
            "a whole number from 0 to 3600000",
        ),
        ("kinesis.metadataCommitterType", "S3", "", "HDFS or DYNAMODB"),
        (
            "kinesis.metadataPath",
            "",
            ": it is empty; leave the option out instead",
            PATH,
        ),
        (
            "kinesis.metadataPath",
            "s3a:///claims",
            ": it names no bucket, as s3://bucket/path does",
            PATH,
        ),
        (
            "kinesis.metadataPath",
            "s3://b--use1-az4--x-s3/claims",
            ": directory buckets (S3 Express One Zone) are not supported",
            PATH,
        ),
        (
            "kinesis.s3.endpointUrl",
            "localhost:1",
            ": it does not start with http:// or https://",
            "an http:// or https:// URL with a host, such as https://vpce-1.example.com",
        ),
        (
            "kinesis.metadataNumRetries",
            "x",
            ": it is not a whole number",
            "a whole number from 0 to 1000",
        ),
        (
            "kinesis.metadataRetryIntervalsMs",
            "x",
            ": it is not a whole number",
            "a whole number from 0 to 3600000",
        ),
        (
            "kinesis.metadataMaxRetryIntervalMs",
            "x",
            ": it is not a whole number",
            "a whole number from 0 to 3600000",
        ),
        (
            "kinesis.minBatchesToRetain",
            "0",
            ": it is too small",
            "a whole number from 1 to 2147483647",
        ),
        (
            "kinesis.dynamodb.tableName",
            "ab",
            ": it has 2 characters",
            "3 to 255 letters, digits, and the characters _ . -",
        ),
        (
            "kinesis.dynamodb.endpointUrl",
            "x",
            ": it does not start with http:// or https://",
            "an http:// or https:// URL with a host, such as https://vpce-1.example.com",
        ),
        (
            "kinesis.checkNewRecordThreads",
            "0",
            ": it is too small",
            "a whole number from 1 to 1000",
        ),
        (
            "kinesis.shardsPerTask",
            "0",
            ": it is too small",
            "a whole number from 1 to 1000",
        ),
        (
            "kinesis.prefetch.maxBytesPerShard",
            "3g",
            ": it is too large",
            "a number of bytes from 1 to 2147483648, or with one of the suffixes k, m, g (such as 8m)",
        ),
        (
            "kinesis.prefetch.maxBytesPerExecutor",
            "0",
            ": it is too small",
            SIZE,
        ),
        (
            "kinesis.aggregation.outsideShard",
            "drop",
            "",
            "DELIVER or SKIP or FAIL",
        ),
        ("kinesis.aggregation.broken", "deliver", "", "FAIL or SKIP"),
        (
            "kinesis.extraColumns",
            "shardId,colour",
            ": \"colour\" is not one of the columns",
            "a comma-separated list of shardId, subSequenceNumber, explicitHashKey, encryptionType",
        ),
        (
            "kinesis.extraColumns",
            "shardId, SHARDID",
            ": \"SHARDID\" is named twice",
            "a comma-separated list of shardId, subSequenceNumber, explicitHashKey, encryptionType",
        ),
    ] {
        assert_refused(
            &read_error(&[(key, value)]),
            key,
            &format!("{key} is \"{value}\"{why}. Allowed: {allowed}"),
        );
    }
}
