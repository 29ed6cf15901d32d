//! Rows that name their streams.

use std::collections::BTreeMap;

use crate::support::{STREAM, World};
use bytes::Bytes;
use kinesis_connector::sink::{SinkRecord, SinkRow, TaskWriter};
use kinesis_connector::{Engine, Error, ErrorKind, SinkConfig};
use kinesis_sandbox::{ErrorCode, Schedule};
use serde_json::{Value, json};

const OTHER: &str = "clicks";
const MIB: usize = 1024 * 1024;

async fn two_streams() -> World {
    let world = World::with_shards(1).await;
    create(&world, OTHER).await;
    world
}

async fn create(world: &World, stream: &str) {
    let create = world.client.create_stream().stream_name(stream).shard_count(1);
    create.send().await.expect("created");
}

/// The driver's configuration of a sink for the world's own stream, with these options; null removes one.
fn asking(world: &World, options: Value) -> Value {
    let mut all = json!({
        "kinesis.streamName": STREAM,
        "kinesis.sink.allowedStreams": OTHER,
        "kinesis.endpointUrl": world.endpoint,
        "kinesis.region": "us-east-1",
        "kinesis.awsAccessKeyId": "AKIAWRITER",
        "kinesis.awsSecretKey": "secret",
        "kinesis.clientRetryIntervalsMs": "5",
        "kinesis.clientMaxRetryIntervalMs": "20",
    });
    let (into, from) = (all.as_object_mut().expect("an object"), options);
    into.extend(from.as_object().expect("an object").clone());
    into.retain(|_, value| !value.is_null());
    json!({ "version": 1, "options": all })
}

fn parsed(config: &Value) -> SinkConfig {
    SinkConfig::parse(&config.to_string()).expect("a configuration")
}

/// A writer as in a job: the driver requests the facts, its tasks get them.
async fn writer(world: &World, options: Value) -> TaskWriter {
    let (engine, mut config) = (Engine::new(), asking(world, options));
    let facts = engine.sink_facts(&parsed(&config)).await.expect("facts");
    config["facts"] = json!(facts);
    engine.open_task_writer(parsed(&config))
}

fn row(stream: Option<&str>, key: Option<&str>, data: impl Into<Bytes>) -> SinkRow {
    SinkRow {
        stream: stream.map(str::to_owned),
        record: SinkRecord {
            partition_key: key.map(str::to_owned),
            data: data.into(),
            explicit_hash_key: None,
        },
    }
}

/// Data of a stream's records, in order.
async fn data(world: &World, stream: &str) -> Vec<Bytes> {
    let written = world.written_to(stream).await;
    written.into_iter().map(|record| record.data).collect()
}

async fn refusal(writer: &TaskWriter, rows: Vec<SinkRow>) -> Error {
    let error = writer.write(rows).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::InvalidRow);
    error
}

#[tokio::test]
async fn rows_go_to_the_streams_that_they_name_each_keys_in_order() {
    let world = two_streams().await;
    let throttled = ErrorCode::ProvisionedThroughputExceededException;
    world.sandbox.fail_entries(throttled, Schedule::Fraction(0.05));
    let writer = writer(&world, json!({"kinesis.sink.ordering": "key"})).await;
    let mut expected = BTreeMap::<&str, Vec<Bytes>>::new();
    for start in (0..300).step_by(100) {
        let rows = (start..start + 100).map(|number| {
            let (named, stream) = [(None, STREAM), (Some(OTHER), OTHER), (Some(STREAM), STREAM)][number % 3];
            let data = Bytes::from(format!("{number}"));
            expected.entry(stream).or_default().push(data.clone());
            row(named, Some("key"), data)
        });
        writer.write(rows.collect()).await.expect("taken");
    }
    writer.flush().await.expect("accepted");
    for stream in [STREAM, OTHER] {
        assert_eq!(data(&world, stream).await, expected[stream], "{stream}");
    }
    let metrics = writer.metrics();
    assert_eq!(
        (metrics.records, metrics.requests),
        (300, world.calls("PutRecords"))
    );
    assert!(metrics.max_buffered_bytes > 0, "{metrics:?}");
}

#[tokio::test]
async fn a_row_that_names_another_stream_is_refused_and_what_came_before_is_written() {
    let world = two_streams().await;
    create(&world, "secrets").await;
    let writer = writer(&world, json!({})).await;
    let good = |data: &'static str| row(Some(OTHER), Some("k"), data);
    writer.write(vec![good("before")]).await.expect("taken");
    let error = refusal(
        &writer,
        vec![good("beside"), row(Some("secrets"), Some("k"), "x")],
    )
    .await;
    assert!(
        error.message().contains("kinesis.sink.allowedStreams is clicks"),
        "{error}"
    );
    assert!(!error.to_string().contains("secrets"), "{error}");
    let later = refusal(&writer, vec![good("later")]).await;
    assert_eq!(later.message(), error.message());
    writer.flush().await.expect("accepted");
    assert_eq!(data(&world, OTHER).await, ["before"]);
    assert_eq!(data(&world, "secrets").await, [""; 0]);
}

#[tokio::test]
async fn a_row_that_one_of_the_streams_cannot_take_keeps_the_call_from_all() {
    let world = two_streams().await;
    let writer = writer(&world, json!({})).await;
    let large = row(Some(STREAM), Some("k"), vec![0; MIB]);
    let error = refusal(&writer, vec![row(Some(OTHER), Some("k"), "fits"), large]).await;
    assert!(
        error.context().contains(&("stream", STREAM.to_owned())),
        "{error}"
    );
    writer.flush().await.expect("nothing waits");
    assert_eq!(world.calls("PutRecords"), 0);
}

#[tokio::test]
async fn rows_must_name_a_stream_where_no_option_does() {
    let world = two_streams().await;
    let options = json!({"kinesis.streamName": null, "kinesis.sink.allowedStreams": "clicks, events"});
    let writer = writer(&world, options).await;
    let named = vec![
        row(Some(STREAM), Some("k"), "a"),
        row(Some(OTHER), Some("k"), "b"),
    ];
    writer.write(named).await.expect("taken");
    let error = refusal(&writer, vec![row(None, Some("k"), "x")]).await;
    assert!(error.message().contains("streamName is null"), "{error}");
    writer.flush().await.expect("accepted");
    assert_eq!(data(&world, STREAM).await, ["a"]);
    assert_eq!(data(&world, OTHER).await, ["b"]);
}

#[tokio::test]
async fn a_row_names_no_stream_where_no_option_allows_it() {
    let world = two_streams().await;
    let writer = writer(&world, json!({"kinesis.sink.allowedStreams": null})).await;
    let error = refusal(&writer, vec![row(Some(OTHER), Some("k"), "x")]).await;
    assert!(error.message().contains("kinesis.sink.allowedStreams"), "{error}");
}

#[tokio::test]
async fn every_stream_is_asked_for_at_the_start_and_keeps_its_own_limits() {
    let world = two_streams().await;
    let missing = asking(&world, json!({"kinesis.sink.allowedStreams": "clicks,nowhere"}));
    let error = Engine::new()
        .sink_facts(&parsed(&missing))
        .await
        .expect_err("missing");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("nowhere"), "{error}");

    let described = world.client.describe_stream_summary().stream_name(OTHER).send();
    let summary = described.await.expect("described").stream_description_summary;
    let arn = summary.expect("a summary").stream_arn;
    let update = world.client.update_max_record_size().stream_arn(arn);
    update
        .max_record_size_in_kib(2 * 1024)
        .send()
        .await
        .expect("updated");
    let writer = writer(&world, json!({})).await;
    writer
        .write(vec![row(Some(OTHER), Some("k"), vec![0; MIB])])
        .await
        .expect("taken");
    refusal(&writer, vec![row(None, Some("k"), vec![0; MIB])]).await;
    writer.flush().await.expect("accepted");
    assert_eq!(data(&world, OTHER).await.len(), 1);
}

#[tokio::test]
async fn a_stream_that_fails_for_good_fails_the_task() {
    let world = two_streams().await;
    let writer = writer(&world, json!({})).await;
    world
        .client
        .delete_stream()
        .stream_name(OTHER)
        .send()
        .await
        .expect("deleted");
    let rows = vec![row(None, Some("k"), "a"), row(Some(OTHER), Some("k"), "b")];
    writer.write(rows).await.expect("taken");
    let error = writer.flush().await.expect_err("the stream is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let more = writer.write(vec![row(None, Some("k"), "c")]).await;
    assert_eq!(more.expect_err("the task has failed").kind(), ErrorKind::NotFound);
    assert!(data(&world, STREAM).await.len() < 2);
}

#[tokio::test]
async fn all_streams_together_hold_no_more_than_one_may() {
    let world = two_streams().await;
    let names = ["a", "b", "c", "d"];
    for name in names {
        create(&world, name).await;
    }
    // No stream accepts records for a while.
    let throttled = ErrorCode::ProvisionedThroughputExceededException;
    world.sandbox.fail_entries(throttled, Schedule::Next(30));
    let options = json!({"kinesis.sink.allowedStreams": names.join(","), "kinesis.sink.maxConnections": "1"});
    let writer = writer(&world, options).await;
    let size = MIB / 2;
    for number in 0..32 {
        let stream = names[number % names.len()];
        let row = row(Some(stream), Some("k"), vec![0; size]);
        writer.write(vec![row]).await.expect("taken");
    }
    writer.flush().await.expect("accepted");
    let metrics = writer.metrics();
    assert_eq!(metrics.records, 32);
    let most = 10 * MIB + size + 1;
    assert!(metrics.max_buffered_bytes <= most as u64, "{metrics:?}");
    assert!(metrics.wait_millis > 0, "{metrics:?}");
}
