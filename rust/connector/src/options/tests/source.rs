//! Options of the read only.

use std::time::Duration;

use super::*;
use crate::stream::{GivenPosition, SequenceNumber};

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
    const TIME: &str = "a time with one of the suffixes ms, s, m, min, h (as 1s), from 0 to 3600000 ms";
    const SIZE: &str = "a number of bytes, 1 or more, or with one of the suffixes k, m, g (as 8m)";
    const NAME: &str = "1 to 128 letters, digits, and the signs _ . -";
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
            "an http:// or https:// URL with a host, as https://kinesis.us-east-1.amazonaws.com",
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
            "3 to 255 letters, digits, and the signs _ . -",
        ),
        (
            "kinesis.dynamodb.endpointUrl",
            "x",
            ": it does not start with http:// or https://",
            "an http:// or https:// URL with a host, as https://kinesis.us-east-1.amazonaws.com",
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
            "a number of bytes from 1 to 2147483648, or with one of the suffixes k, m, g (as 8m)",
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

#[test]
fn a_consumer_arn_is_checked() {
    let good = format!("{ARN}/consumer/app:1525898737");
    assert_eq!(
        read(&[FAN_OUT, ("kinesis.consumerArn", &good)]).consumer,
        Some(ConsumerChoice::Arn(good))
    );
    for (bad, why) in [
        (ARN.to_owned(), "it names no consumer"),
        (format!("{ARN}/consumer/app"), "it does not end with a number"),
        (format!("{ARN}/consumer/app:x"), "it does not end with a number"),
        (
            format!("{ARN}/consumer/:1"),
            "the consumer's name is not one: it has 0 characters",
        ),
        ("x/consumer/app:1".to_owned(), "it does not start with arn:aws"),
    ] {
        assert_refused(
            &read_error(&[("kinesis.consumerArn", &bad)]),
            "kinesis.consumerArn",
            &format!(
                "kinesis.consumerArn is \"{bad}\": {why}. \
                 Allowed: arn:aws:kinesis:<region>:<account>:stream/<name>/consumer/<consumer>:<number>"
            ),
        );
    }
}

const FAN_OUT: (&str, &str) = ("kinesis.consumerType", "subscribetoshard");

#[test]
fn fan_out_needs_one_consumer() {
    let options = read(&[
        FAN_OUT,
        ("kinesis.consumerName", "app"),
        ("kinesis.subscribeToShard.timeoutSec", "7"),
        ("kinesis.subscribeToShard.maxRetries", "3"),
        ("kinesis.prefetch.maxBytesPerExecutor", "1g"),
    ]);
    assert_eq!(options.consumer_type, ConsumerType::SubscribeToShard);
    assert_eq!(options.consumer, Some(ConsumerChoice::Name("app".to_owned())));
    assert_eq!(
        (options.subscribe_timeout, options.subscribe_max_retries),
        (Duration::from_secs(7), 3)
    );
    assert_eq!(options.prefetch_max_bytes_per_executor, 1 << 30);
    assert_refused(
        &read_error(&[FAN_OUT]),
        "kinesis.consumerName",
        "kinesis.consumerName is missing: kinesis.consumerType SubscribeToShard needs the name of a consumer, which is \
         registered if the stream has none of that name, or kinesis.consumerArn",
    );
    let arn = format!("{ARN}/consumer/app:1525898737");
    assert_refused(
        &read_error(&[
            FAN_OUT,
            ("kinesis.consumerName", "app"),
            ("kinesis.consumerArn", &arn),
        ]),
        "kinesis.consumerArn",
        "kinesis.consumerName and kinesis.consumerArn both name a consumer: remove one of them",
    );
    assert_refused(
        &batch_read(&with_name(&[FAN_OUT, ("kinesis.consumerName", "app")])).unwrap_err(),
        "kinesis.consumerType",
        "kinesis.consumerType SubscribeToShard is for streaming queries: a batch read is over before a subscription \
         would pay. Read with GetRecords, the default",
    );
}

const DYNAMODB: [(&str, &str); 2] = [
    ("kinesis.metadataCommitterType", "DynamoDB"),
    ("kinesis.dynamodb.tableName", "claims"),
];

#[test]
fn claims_are_kept_in_dynamodb() {
    let options = read(&[
        DYNAMODB[0],
        DYNAMODB[1],
        ("kinesis.dynamodb.endpointUrl", "http://localhost:1"),
    ]);
    assert_eq!(options.metadata.committer, Committer::DynamoDb);
    assert_eq!(options.metadata.dynamodb_table.as_deref(), Some("claims"));
    assert_eq!(
        options.metadata.dynamodb_endpoint_url.as_deref(),
        Some("http://localhost:1")
    );
    let with_path = [DYNAMODB[0], DYNAMODB[1], ("kinesis.metadataPath", "/claims")];
    assert_eq!(
        source(&with_name(&with_path)).unwrap().warnings,
        [
            "kinesis.metadataPath has no effect: with kinesis.metadataCommitterType DYNAMODB, claims are kept in the \
             table"
        ]
    );
}

#[test]
fn claims_are_kept_in_s3_by_the_path_s_scheme() {
    for path in [
        "s3://bucket/x",
        "S3A://bucket/x",
        "s3n://bucket",
        "/s3/x",
        "hdfs://s3/x",
    ] {
        let options = read(&[("kinesis.metadataPath", path)]);
        assert_eq!(options.metadata.path.as_deref(), Some(path));
        assert_eq!(options.metadata.committer, Committer::Hdfs);
    }
    let endpoint = ("kinesis.s3.endpointUrl", "http://localhost:1");
    // The checkpointLocation may be in S3, too.
    for path in [
        &[endpoint][..],
        &[endpoint, ("kinesis.metadataPath", "s3://bucket/x")],
    ] {
        assert_eq!(
            read(path).metadata.s3_endpoint_url.as_deref(),
            Some("http://localhost:1")
        );
    }
}

#[test]
fn options_of_one_store_do_not_go_with_another() {
    let table = "kinesis.dynamodb.tableName";
    let s3 = ("kinesis.s3.endpointUrl", "http://localhost:1");
    for (options, key, message) in [
        (
            &DYNAMODB[..1],
            table,
            "kinesis.dynamodb.tableName is missing: kinesis.metadataCommitterType DYNAMODB needs the name of a table, \
             which is made if it does not exist",
        ),
        (
            &DYNAMODB[1..],
            table,
            "kinesis.dynamodb.tableName is given without kinesis.metadataCommitterType DYNAMODB: set that too, or \
             remove it",
        ),
        (
            &[("kinesis.dynamodb.endpointUrl", "http://localhost:1")],
            "kinesis.dynamodb.endpointUrl",
            "kinesis.dynamodb.endpointUrl is given without kinesis.metadataCommitterType DYNAMODB: set that too, or \
             remove it",
        ),
        (
            &[DYNAMODB[0], DYNAMODB[1], s3],
            s3.0,
            "kinesis.s3.endpointUrl has no use with kinesis.metadataCommitterType DYNAMODB: remove one of them",
        ),
        (
            &[("kinesis.metadataPath", "hdfs://name/x"), s3],
            s3.0,
            "kinesis.s3.endpointUrl is given without a kinesis.metadataPath with the scheme s3, s3a or s3n: set that \
             too, or remove it",
        ),
    ] {
        assert_refused(&read_error(options), key, message);
    }
}

/// The stream's region may differ from the store's, which is the job's.
#[test]
fn the_store_s_region() {
    let region = |options: &[(&str, &str)]| {
        let options = read(options);
        (options.access.region, options.metadata.region)
    };
    let (home, away) = (Some("eu-west-1".to_owned()), Some("us-east-2".to_owned()));
    assert_eq!(
        region(&[("kinesis.region", "eu-west-1")]),
        (home.clone(), home.clone())
    );
    assert_eq!(
        region(&[
            ("kinesis.region", "eu-west-1"),
            ("kinesis.kinesisRegion", "us-east-2")
        ]),
        (away.clone(), home)
    );
    assert_eq!(
        region(&[("kinesis.kinesisRegion", "us-east-2")]),
        (away.clone(), None)
    );
    let of_host = [("kinesis.endpointUrl", "https://kinesis.us-east-2.amazonaws.com")];
    assert_eq!(region(&of_host), (away.clone(), away));
    assert_eq!(region(&[]), (None, None));
}

#[test]
fn a_mistake_is_reported_before_what_is_not_built() {
    let error = read_error(&[
        ("kinesis.extraColumns", "shardId"),
        ("kinesis.prefetch.maxBytesPerShard", "x"),
    ]);
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
}

#[test]
fn starting_positions() {
    let at = |text: &str| read(&[("kinesis.startingPosition", text)]).starting_position;
    assert_eq!(at("Latest"), StartingPosition::Latest);
    assert_eq!(at("earliest"), StartingPosition::TrimHorizon);
    let expected = StartingPosition::AtTimestamp {
        millis: 1_788_116_405_000,
    };
    for text in [
        "AT_TIMESTAMP 2026-08-30T19:00:05Z",
        "at_timestamp 2026-08-30t19:00:05z",
        "AT_TIMESTAMP   2026-08-30T21:00:05+02:00",
        "AT_TIMESTAMP 2026-08-30T21:00:05+0200",
        "AT_TIMESTAMP 2026-08-30T21:00:05+02",
        "AT_TIMESTAMP 2026-08-30T13:30:05-05:30",
        "AT_TIMESTAMP 2026-08-30T19:00:05.000Z",
    ] {
        assert_eq!(at(text), expected, "{text}");
    }
    assert_eq!(
        at("AT_TIMESTAMP 2026-08-30T19:00Z"),
        StartingPosition::AtTimestamp {
            millis: 1_788_116_400_000
        }
    );
    assert_eq!(
        at("AT_TIMESTAMP 2026-08-30T19:00:05.678Z"),
        StartingPosition::AtTimestamp {
            millis: 1_788_116_405_678
        }
    );
    for (bad, why) in [
        ("NEWEST", ""),
        ("AT_TIMESTAMPS", ""),
        (
            "{\"shardId-000000000000\":{}}",
            ": positions of single shards, as JSON, go into kinesis.startingPositions",
        ),
        ("AT_TIMESTAMP", ": it names no time"),
        (
            "AT_TIMESTAMP 2026-08-30T19:00:05",
            ": \"2026-08-30T19:00:05\" has no offset (Z for UTC, or as +02:00)",
        ),
        (
            "AT_TIMESTAMP 2026-02-30T19:00:05Z",
            ": \"2026-02-30T19:00:05Z\" is not a time",
        ),
        (
            "AT_TIMESTAMP 2026-08-30",
            ": \"2026-08-30\" has no offset (Z for UTC, or as +02:00)",
        ),
        ("AT_TIMESTAMP 1960-01-01T00:00:00Z", ": it is before 1970"),
    ] {
        assert_refused(
            &read_error(&[("kinesis.startingPosition", bad)]),
            "kinesis.startingPosition",
            &format!(
                "kinesis.startingPosition is \"{bad}\"{why}. Allowed: LATEST, TRIM_HORIZON, EARLIEST, or AT_TIMESTAMP \
                 with a time and its offset as in AT_TIMESTAMP 2026-08-30T19:00:05Z or \
                 AT_TIMESTAMP 2026-08-30T21:00:05+02:00"
            ),
        );
    }
}

#[test]
fn ending_positions_of_batch_reads() {
    let start = ("kinesis.startingPosition", "AT_TIMESTAMP 2026-08-30T19:00:05Z");
    let parsed = batch_read(&with_name(&[
        start,
        ("kinesis.endingPosition", "AT_TIMESTAMP 2026-08-30T19:00:06Z"),
    ]))
    .unwrap();
    assert_eq!(
        parsed.options.ending_position,
        Some(EndingPosition::AtTimestamp {
            millis: 1_788_116_406_000
        })
    );
    assert_eq!(parsed.warnings, Vec::<String>::new());
    assert_refused(
        &batch_read(&with_name(&[start, ("kinesis.endingPosition", start.1)])).unwrap_err(),
        "kinesis.endingPosition",
        "kinesis.endingPosition is not after kinesis.startingPosition: nothing would be read",
    );
    assert_refused(
        &batch_read(&with_name(&[("kinesis.endingPosition", "TRIM_HORIZON")])).unwrap_err(),
        "kinesis.endingPosition",
        "kinesis.endingPosition is \"TRIM_HORIZON\". Allowed: LATEST, or AT_TIMESTAMP with a time and its offset as in \
         AT_TIMESTAMP 2026-08-30T19:00:05Z",
    );
    let default = batch_read(&with_name(&[])).unwrap();
    assert_eq!(default.options.starting_position, StartingPosition::TrimHorizon);
    assert_eq!(default.warnings, Vec::<String>::new());
    assert_refused(
        &batch_read(&with_name(&[("kinesis.startingPosition", "latest")])).unwrap_err(),
        "kinesis.startingPosition",
        "kinesis.startingPosition is LATEST: a batch read would read nothing. Set it to TRIM_HORIZON, the default of batch \
         reads, or to AT_TIMESTAMP …",
    );
}

#[test]
fn a_batch_read_warns_of_options_of_micro_batches() {
    let pairs = [
        ("kinesis.startingPosition", "EARLIEST"),
        ("kinesis.maxFetchRecordsPerShard", "10"),
    ];
    assert_eq!(
        batch_read(&with_name(&pairs)).unwrap().warnings,
        [
            "kinesis.maxFetchRecordsPerShard has no effect: a batch read has no micro-batches and no checkpoint"
        ]
    );
    assert!(batch_read(&with_name(&[("kinesis.maxFetchRecordsPerShard", "x")])).is_err());
    assert_eq!(source(&with_name(&pairs)).unwrap().warnings, Vec::<String>::new());
}

#[test]
fn options_of_fan_out_without_it_have_no_effect() {
    let pairs = [
        ("kinesis.consumerName", "app"),
        ("kinesis.subscribeToShard.timeoutSec", "10"),
        ("kinesis.subscribeToShard.maxRetries", "2"),
    ];
    assert_eq!(
        source(&with_name(&pairs)).unwrap().warnings,
        [
            "kinesis.consumerName has no effect: it belongs to kinesis.consumerType SubscribeToShard",
            "kinesis.subscribeToShard.timeoutSec has no effect: it belongs to kinesis.consumerType SubscribeToShard",
            "kinesis.subscribeToShard.maxRetries has no effect: it belongs to kinesis.consumerType SubscribeToShard",
        ]
    );
}

#[test]
fn a_first_wait_above_the_longest_is_bounded_with_a_warning() {
    let parsed = source(&with_name(&[("kinesis.clientRetryIntervalsMs", "20000")])).unwrap();
    assert_eq!(parsed.options.client_retry.interval, Duration::from_secs(10));
    assert_eq!(
        parsed.warnings,
        [
            "kinesis.clientRetryIntervalsMs (20000) is above kinesis.clientMaxRetryIntervalMs (10000): each wait lasts the \
          latter"
        ]
    );
}

#[test]
fn objects_of_claims_have_what_a_bucket_s_policy_demands() {
    let path = ("kinesis.metadataPath", "s3://bucket/claims");
    assert_eq!(read(&[path]).metadata.s3_puts, S3Puts::default());
    let (kms, key) = (
        ("kinesis.s3.serverSideEncryption", "AWS:KMS"),
        ("kinesis.s3.kmsKeyId", "alias/claims"),
    );
    let acl = ("kinesis.s3.acl", "Bucket-Owner-Full-Control");
    assert_eq!(
        read(&[path, kms, key, acl]).metadata.s3_puts,
        S3Puts {
            encryption: Some("aws:kms"),
            kms_key_id: Some("alias/claims".to_owned()),
            acl: Some("bucket-owner-full-control"),
        }
    );
    let without = "kinesis.s3.kmsKeyId is given without kinesis.s3.serverSideEncryption aws:kms or aws:kms:dsse: set that \
                   too, or remove it";
    assert_refused(&read_error(&[path, key]), key.0, without);
    assert_refused(&read_error(&[path, key, (kms.0, "AES256")]), key.0, without);
    assert_refused(
        &read_error(&[path, ("kinesis.s3.acl", "everybody")]),
        "kinesis.s3.acl",
        "kinesis.s3.acl is \"everybody\". Allowed: private or authenticated-read or aws-exec-read or bucket-owner-read or \
         bucket-owner-full-control",
    );
    for one in [kms, acl] {
        let hdfs = format!(
            "{} is given without a kinesis.metadataPath with the scheme s3, s3a or s3n: set that too, or remove it",
            one.0
        );
        assert_refused(
            &read_error(&[("kinesis.metadataPath", "hdfs://n/c"), one]),
            one.0,
            &hdfs,
        );
        let table = [
            ("kinesis.metadataCommitterType", "DYNAMODB"),
            ("kinesis.dynamodb.tableName", "claims"),
        ];
        let dynamodb = format!(
            "{} has no use with kinesis.metadataCommitterType DYNAMODB: remove one of them",
            one.0
        );
        assert_refused(&read_error(&[&table[..], &[one]].concat()), one.0, &dynamodb);
    }
}

fn number(text: &str) -> SequenceNumber {
    text.parse().unwrap()
}

const POSITIONS: &str = "kinesis.startingPositions";

#[test]
fn single_shards_start_at_their_given_positions() {
    let positions = |json: &str| read(&[(POSITIONS, json)]).starting_positions;
    let expected = BTreeMap::from([
        (
            "shardId-000000000000".into(),
            GivenPosition::After(number("4957")),
        ),
        ("shardId-000000000001".into(), GivenPosition::At(number("4958"))),
        (
            "shardId-000000000002".into(),
            GivenPosition::AtTimestamp(1_788_116_405_000),
        ),
        ("shardId-000000000003".into(), GivenPosition::TrimHorizon),
        ("shardId-000000000004".into(), GivenPosition::Latest),
        ("shardId-000000000005".into(), GivenPosition::ShardEnd),
    ]);
    let ours = r#"{"shardId-000000000000": "AFTER_SEQUENCE_NUMBER 4957", "shardId-000000000001": "at_sequence_number 4958",
        "shardId-000000000002": "AT_TIMESTAMP 2026-08-30T21:00:05+02:00", "shardId-000000000003": "EARLIEST",
        "shardId-000000000004": "LATEST", "shardId-000000000005": "SHARD_END"}"#;
    assert_eq!(positions(ours), expected);
    // In the form that the AWS connector's users write.
    let theirs = r#"{"shardId-000000000000": {"iteratorType": "AFTER_SEQUENCE_NUMBER", "iteratorPosition": "4957",
        "subSequenceNumber": "-1", "isLast": "true"}, "metadata": {"streamName": "orders", "batchId": "7"}}"#;
    let expected = BTreeMap::from([(
        "shardId-000000000000".into(),
        GivenPosition::After(number("4957")),
    )]);
    assert_eq!(positions(theirs), expected);
}

#[test]
fn positions_that_are_none_are_refused_by_name() {
    for (json, why) in [
        ("[]", "it is no JSON object"),
        ("{", "it is no JSON object"),
        ("{}", "it names no shard"),
        (
            r#"{"shardId-0": 17}"#,
            "shardId-0: its position is not a JSON string",
        ),
        (
            r#"{"shardId-0": "AFTER 17"}"#,
            "shardId-0: \"AFTER 17\" is not a position",
        ),
        (r#"{"shardId-0": "AFTER_SEQUENCE_NUMBER"}"#, "is not a position"),
        (
            r#"{"shardId-0": "AFTER_SEQUENCE_NUMBER 1x"}"#,
            "'1x' is not a sequence number",
        ),
        (
            r#"{"shardId-0": "AT_TIMESTAMP 2026-08-30T21:00:05"}"#,
            "has no offset",
        ),
        (
            r#"{"shardId-0": "LATEST", "shardId-0": "LATEST"}"#,
            "it names shardId-0 twice",
        ),
        (r#"{"a b": "LATEST"}"#, "is not a shard's id"),
        (
            r#"{"shardId-0": {"iteratorType": "LATEST"}, "metadata": {"streamName": "others"}}"#,
            "has the positions of the stream others, but orders is read",
        ),
    ] {
        let error = read_error(&[(POSITIONS, json)]);
        assert!(
            error.message().contains(why) && error.message().contains(POSITIONS),
            "{json}: {error}"
        );
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{json}");
    }
    let error = read_error(&[("kinesis.startingPosition", r#"{"shardId-0": "LATEST"}"#)]);
    assert!(
        error.message().contains("go into kinesis.startingPositions"),
        "{error}"
    );
    let error = batch_read(&with_name(&[(POSITIONS, r#"{"shardId-0": "LATEST"}"#)])).unwrap_err();
    assert!(
        error.message().contains("a batch read would read nothing of it"),
        "{error}"
    );
}

#[test]
fn a_checkpoint_to_import_says_where_all_shards_start() {
    let import = ("kinesis.importCheckpoint", "s3://bucket/old/");
    assert_eq!(
        read(&[import]).import_checkpoint.as_deref(),
        Some("s3://bucket/old")
    );
    let error = read_error(&[import, (POSITIONS, r#"{"shardId-0": "LATEST"}"#)]);
    assert!(error.message().contains("both say where shards start"), "{error}");
    let batch = batch_read(&with_name(&[import])).unwrap();
    assert_eq!(batch.options.import_checkpoint, None);
    assert!(
        batch.warnings.iter().any(|warning| warning.contains(import.0)),
        "{:?}",
        batch.warnings
    );
}
