//! The writer with the AWS client against a sandbox. The written records are read back with a separate client and
//! compared completely.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Region};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::ShardIteratorType;
use bytes::Bytes;
use kinesis_connector::sink::{SinkRecord, StreamWriter, WriterMetrics};
use kinesis_connector::{Engine, ErrorKind, SinkConfig};
use kinesis_sandbox::{ErrorCode, Fault, Operation, Sandbox, SandboxConfig, Schedule};
use serde_json::json;

const STREAM: &str = "orders";
const MIB: usize = 1024 * 1024;

/// A sandbox with one stream, and a client independent of the connector.
struct World {
    sandbox: Sandbox,
    client: Client,
}

impl World {
    async fn start(shards: i32) -> Self {
        Self::with(shards, SandboxConfig::default()).await
    }

    async fn with(shards: i32, config: SandboxConfig) -> Self {
        let sandbox = Sandbox::start(config).await.unwrap();
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(sandbox.endpoint())
            .credentials_provider(Credentials::new("AKIATEST", "secret", None, None, "test"))
            .build();
        let client = Client::from_conf(config);
        client
            .create_stream()
            .stream_name(STREAM)
            .shard_count(shards)
            .send()
            .await
            .unwrap();
        Self { sandbox, client }
    }

    fn writer(&self, options: &[(&str, &str)]) -> StreamWriter {
        self.writer_of(STREAM, options)
    }

    fn writer_of(&self, stream: &str, options: &[(&str, &str)]) -> StreamWriter {
        self.writer_in(&Engine::new(), stream, options)
    }

    fn writer_in(&self, engine: &Engine, stream: &str, options: &[(&str, &str)]) -> StreamWriter {
        let endpoint = self.sandbox.endpoint();
        let mut all = BTreeMap::from([
            ("kinesis.streamName", stream),
            ("kinesis.endpointUrl", endpoint.as_str()),
            ("kinesis.region", "us-east-1"),
            ("kinesis.awsAccessKeyId", "AKIAWRITER"),
            ("kinesis.awsSecretKey", "secret"),
            ("kinesis.clientRetryIntervalsMs", "5"),
            ("kinesis.clientMaxRetryIntervalMs", "20"),
        ]);
        all.extend(options.iter().copied());
        let config = SinkConfig::parse(&json!({ "version": 1, "options": all }).to_string()).unwrap();
        engine.open_writer(config).unwrap()
    }

    /// All records of the stream, as partition key and data, by shard.
    async fn read_all(&self) -> BTreeMap<String, Vec<(String, Bytes)>> {
        let listed = self
            .client
            .list_shards()
            .stream_name(STREAM)
            .send()
            .await
            .unwrap();
        let mut all = BTreeMap::new();
        for shard in listed.shards() {
            let iterator = self
                .client
                .get_shard_iterator()
                .stream_name(STREAM)
                .shard_id(shard.shard_id())
                .shard_iterator_type(ShardIteratorType::TrimHorizon)
                .send()
                .await
                .unwrap();
            let mut next = iterator.shard_iterator().unwrap().to_owned();
            let records: &mut Vec<_> = all.entry(shard.shard_id().to_owned()).or_default();
            loop {
                let page = self
                    .client
                    .get_records()
                    .shard_iterator(next)
                    .send()
                    .await
                    .unwrap();
                records.extend(page.records.into_iter().map(|record| {
                    (
                        record.partition_key.unwrap(),
                        Bytes::from(Blob::into_inner(record.data)),
                    )
                }));
                next = page.next_shard_iterator.unwrap();
                if page.millis_behind_latest == Some(0) {
                    break;
                }
            }
        }
        all
    }

    async fn read_sorted(&self) -> Vec<(String, Bytes)> {
        let mut records: Vec<_> = self.read_all().await.into_values().flatten().collect();
        records.sort();
        records
    }

    fn put_calls(&self) -> u64 {
        self.sandbox.stats().calls("PutRecords")
    }

    /// Number of entries that the sandbox refused.
    fn refused(&self) -> u64 {
        let stats = self.sandbox.stats();
        stats
            .streams
            .values()
            .flat_map(BTreeMap::values)
            .map(|shard| shard.records_refused)
            .sum()
    }
}

/// Records with distinct keys and data of many lengths, including zero.
fn records(count: usize) -> Vec<SinkRecord> {
    (0..count)
        .map(|index| SinkRecord {
            partition_key: Some(format!("schlüssel-{index:06}")),
            data: Bytes::from(vec![index as u8; index * 7 % 1500]),
            explicit_hash_key: None,
        })
        .collect()
}

fn sorted(records: &[SinkRecord]) -> Vec<(String, Bytes)> {
    let mut all: Vec<_> = records
        .iter()
        .map(|record| (record.partition_key.clone().unwrap(), record.data.clone()))
        .collect();
    all.sort();
    all
}

async fn write_all(writer: &StreamWriter, records: &[SinkRecord]) {
    for some in records.chunks(333) {
        writer.write(some.to_vec()).await.unwrap();
    }
    writer.flush().await.unwrap();
}

#[tokio::test]
async fn every_record_is_written_once() {
    let world = World::start(3).await;
    let writer = world.writer(&[]);
    let records = records(5_000);
    write_all(&writer, &records).await;
    assert_eq!(world.read_sorted().await, sorted(&records));
    let WriterMetrics {
        records: count,
        bytes,
        requests,
        retries,
        throttles,
        ..
    } = writer.metrics();
    assert_eq!(count, 5_000);
    assert_eq!(
        bytes,
        records.iter().map(|record| record.data.len() as u64).sum::<u64>()
    );
    assert_eq!(requests, world.put_calls());
    assert_eq!((retries, throttles), (0, 0));
}

#[tokio::test]
async fn explicit_hash_keys_choose_the_shard() {
    let world = World::start(2).await;
    let writer = world.writer(&[]);
    let first = |key: &str| SinkRecord {
        partition_key: Some(key.into()),
        data: Bytes::from_static(b"x"),
        explicit_hash_key: Some("0".into()),
    };
    let last = |key: &str| SinkRecord {
        explicit_hash_key: Some(u128::MAX.to_string()),
        ..first(key)
    };
    writer
        .write(vec![first("a"), last("b"), first("c"), last("d")])
        .await
        .unwrap();
    writer.flush().await.unwrap();
    let keys: Vec<Vec<String>> = world
        .read_all()
        .await
        .into_values()
        .map(|records| records.into_iter().map(|(key, _)| key).collect())
        .collect();
    assert_eq!(keys, [["a", "c"], ["b", "d"]]);
}

#[tokio::test]
async fn failed_entries_are_put_again_and_no_others() {
    let world = World::start(3).await;
    world.sandbox.fail_entries(
        ErrorCode::ProvisionedThroughputExceededException,
        Schedule::Fraction(0.3),
    );
    world
        .sandbox
        .fail_entries(ErrorCode::InternalFailure, Schedule::Next(600));
    let writer = world.writer(&[("kinesis.clientNumRetries", "20")]);
    let records = records(5_000);
    write_all(&writer, &records).await;
    assert_eq!(world.read_sorted().await, sorted(&records), "exactly once");
    let metrics = writer.metrics();
    assert_eq!(metrics.records, 5_000);
    assert_eq!(metrics.retries, world.refused());
    assert!(
        metrics.throttles > 500 && metrics.throttles < metrics.retries,
        "{metrics:?}"
    );
    assert_eq!(metrics.requests, world.put_calls());
}

#[tokio::test]
async fn failed_requests_are_sent_again() {
    let world = World::start(2).await;
    let put = Operation::PutRecords;
    world
        .sandbox
        .fail(put, Fault::Error(ErrorCode::InternalFailure), Schedule::Next(3));
    world.sandbox.fail(
        put,
        Fault::Error(ErrorCode::ProvisionedThroughputExceededException),
        Schedule::Next(2),
    );
    world.sandbox.fail(put, Fault::DropConnection, Schedule::Next(2));
    world
        .sandbox
        .fail_entries(ErrorCode::InternalFailure, Schedule::Fraction(0.1));
    let writer = world.writer(&[("kinesis.clientNumRetries", "20")]);
    let records = records(3_000);
    write_all(&writer, &records).await;
    let written: BTreeSet<_> = world.read_sorted().await.into_iter().collect();
    assert_eq!(written, sorted(&records).into_iter().collect(), "at least once");
    let metrics = writer.metrics();
    assert_eq!(metrics.records, 3_000);
    assert_eq!(metrics.retries, world.refused() + 7);
    assert_eq!(metrics.throttles, 2);
    assert_eq!(metrics.requests, world.put_calls());
}

#[tokio::test]
async fn a_stream_that_throttles_for_more_rounds_than_there_are_retries_gets_every_record() {
    let world = World::start(1).await;
    world.sandbox.fail_entries(
        ErrorCode::ProvisionedThroughputExceededException,
        Schedule::Next(100),
    );
    let writer = world.writer(&[("kinesis.clientNumRetries", "2")]);
    let records = records(10);
    write_all(&writer, &records).await;
    assert_eq!(world.read_sorted().await, sorted(&records), "exactly once");
    assert_eq!(world.put_calls(), 11);
}

#[tokio::test]
async fn without_retries_a_throttled_entry_is_an_error_with_the_cure() {
    let world = World::start(1).await;
    world.sandbox.fail_entries(
        ErrorCode::ProvisionedThroughputExceededException,
        Schedule::Fraction(1.0),
    );
    let writer = world.writer(&[("kinesis.clientNumRetries", "0")]);
    writer.write(records(10)).await.unwrap();
    let error = writer.flush().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PutFailed);
    assert!(error.is_retryable());
    for part in [
        "Stream orders: 10 of 10 records",
        "ProvisionedThroughputExceededException",
        "add shards",
        "raise kinesis.clientNumRetries",
    ] {
        assert!(error.message().contains(part), "{part} in {error}");
    }
    assert_eq!(world.put_calls(), 1);
    world.sandbox.clear_faults();
    assert_eq!(
        writer.write(records(1)).await.unwrap_err().to_string(),
        error.to_string()
    );
    assert!(world.read_sorted().await.is_empty());
}

#[tokio::test]
async fn a_missing_stream_is_an_error_that_names_it() {
    let world = World::start(1).await;
    let writer = world.writer_of("nowhere", &[]);
    writer.write(records(1)).await.unwrap();
    let error = writer.flush().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!error.is_retryable());
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert_eq!(world.put_calls(), 1);
}

#[tokio::test]
async fn rejected_credentials_are_an_error_without_retries() {
    let world = World::start(1).await;
    world.sandbox.reject_key("AKIAWRITER");
    let writer = world.writer(&[]);
    writer.write(records(1)).await.unwrap();
    let error = writer.flush().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Access);
    assert!(!error.is_retryable());
    assert!(!error.to_string().contains("secret"), "{error}");
    assert_eq!(writer.metrics().requests, 1);
}

#[tokio::test]
async fn the_largest_record_passes_and_one_byte_more_is_refused() {
    let world = World::start(2).await;
    let writer = world.writer(&[]);
    let record = |data: usize| SinkRecord {
        partition_key: Some("key".into()),
        data: Bytes::from(vec![b'x'; data]),
        explicit_hash_key: None,
    };
    let fits: Vec<_> = (0..6).map(|_| record(MIB - 3)).collect();
    writer.write(fits.clone()).await.unwrap();
    let error = writer
        .write(vec![record(1), record(MIB - 2), record(2)])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRow);
    writer.flush().await.unwrap();
    assert_eq!(world.read_sorted().await, sorted(&fits));
    assert_eq!(writer.metrics().records, 6);
    assert_eq!(world.put_calls(), 2, "five of them are a full request");
}

#[tokio::test]
async fn records_of_ten_mebibytes_go_alone_where_the_stream_takes_them() {
    let config = SandboxConfig {
        max_record_kib: Some(10_240),
        ..SandboxConfig::default()
    };
    let world = World::with(1, config).await;
    let writer = world.writer(&[("kinesis.sink.maxRecordBytes", "10485760")]);
    let mut all = records(3);
    all[1].data = Bytes::from(vec![
        b'x';
        10 * MIB - all[1].partition_key.as_ref().unwrap().len()
    ]);
    writer.write(all.clone()).await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(world.read_sorted().await, sorted(&all));
    assert_eq!(world.put_calls(), 3);
}

#[tokio::test]
async fn a_lone_record_goes_out_without_a_flush() {
    let world = World::start(1).await;
    let writer = world.writer(&[("kinesis.sink.recordMaxBufferedTimeMs", "20")]);
    writer.write(records(1)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), async {
        while writer.metrics().records == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(world.read_sorted().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_requests_run_at_once_than_connections_allow() {
    let world = World::start(1).await;
    world
        .sandbox
        .delay(Operation::PutRecords, Duration::from_millis(20));
    let writer = world.writer(&[("kinesis.sink.maxConnections", "2")]);
    let records = records(5_000);
    let start = std::time::Instant::now();
    write_all(&writer, &records).await;
    // Ten requests of 20 ms, two at a time, take no less.
    assert!(
        start.elapsed() >= Duration::from_millis(100),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(world.put_calls(), 10);
    assert_eq!(world.read_sorted().await, sorted(&records));
}

/// The other tasks' requests pass all the time, with the same client.
#[tokio::test]
async fn a_request_that_can_never_pass_fails_at_once() {
    let world = World::start(1).await;
    let engine = Engine::new();
    // The stream's own limit is lower.
    let options = [("kinesis.sink.maxRecordBytes", "10485760")];
    let others = world.writer_in(&engine, STREAM, &options);
    write_all(&others, &records(10)).await;
    let writer = world.writer_in(&engine, STREAM, &options);
    let large = SinkRecord {
        partition_key: Some("k".into()),
        data: Bytes::from(vec![0; 2 * MIB]),
        explicit_hash_key: None,
    };
    let writing = async {
        writer.write(vec![large]).await?;
        writer.flush().await
    };
    let going_on = async {
        loop {
            write_all(&others, &records(1)).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let ended = tokio::select! {
        ended = writing => ended,
        () = going_on => Ok(()),
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("it waits for what can't come"),
    };
    assert_eq!(ended.expect_err("too large").kind(), ErrorKind::InvalidRequest);
    let puts = &world.sandbox.stats().operations["PutRecords"];
    assert_eq!(puts.errors.values().sum::<u64>(), 1, "{puts:?}");
}

#[tokio::test]
async fn a_stream_that_is_not_found_for_a_moment_is_written_to() {
    let world = World::start(1).await;
    let writer = world.writer(&[]);
    let rows = records(20);
    write_all(&writer, &rows[..10]).await;
    let missing = Fault::Error(ErrorCode::ResourceNotFoundException);
    world
        .sandbox
        .fail(Operation::PutRecords, missing, Schedule::Next(3));
    write_all(&writer, &rows[10..]).await;
    assert_eq!(world.read_sorted().await, sorted(&rows));
}
