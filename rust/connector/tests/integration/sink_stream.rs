//! Stream properties that a sink requests before it writes, and streams with AUTO record distribution.

use std::time::Duration;

use crate::support::written::{Written, write_all};
use crate::support::{STREAM, World};
use bytes::Bytes;
use kinesis_connector::sink::{SinkRecord, StreamFacts, StreamWriter};
use kinesis_connector::{Engine, ErrorKind, SinkConfig};
use kinesis_sandbox::{ErrorCode, Fault, Operation, Schedule};
use serde_json::{Value, json};

const MIB: usize = 1024 * 1024;

fn config(world: &World, stream: &str, options: Value, facts: &StreamFacts) -> SinkConfig {
    let mut all = json!({
        "kinesis.streamName": stream,
        "kinesis.endpointUrl": world.endpoint,
        "kinesis.region": "us-east-1",
        "kinesis.awsAccessKeyId": "AKIAWRITER",
        "kinesis.awsSecretKey": "secret",
        "kinesis.clientRetryIntervalsMs": "5",
    });
    let (into, from) = (all.as_object_mut().expect("an object"), options);
    into.extend(from.as_object().expect("an object").clone());
    SinkConfig::parse(&json!({ "version": 1, "options": all, "facts": { "stream": facts } }).to_string())
        .expect("a configuration")
}

fn nothing_known(world: &World, stream: &str) -> SinkConfig {
    config(world, stream, json!({}), &StreamFacts::default())
}

/// A writer as in a job: the driver requests the facts, its tasks get them.
async fn writer(world: &World, engine: &Engine, options: Value) -> StreamWriter {
    let asking = config(world, STREAM, options.clone(), &StreamFacts::default());
    let facts = engine.stream_facts(&asking).await.expect("facts");
    engine
        .open_writer(config(world, STREAM, options, &facts))
        .expect("opened")
}

fn row(key: Option<&str>, size: usize) -> SinkRecord {
    SinkRecord {
        partition_key: key.map(str::to_owned),
        data: Bytes::from(vec![b'x'; size]),
        explicit_hash_key: None,
    }
}

#[tokio::test]
async fn a_missing_stream_is_an_error_before_any_row() {
    let world = World::with_shards(1).await;
    let engine = Engine::new();
    let error = engine
        .stream_facts(&nothing_known(&world, "nowhere"))
        .await
        .expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert_eq!(world.calls("PutRecords"), 0);
}

#[tokio::test]
async fn a_stream_that_may_not_be_described_is_written_to_all_the_same() {
    let world = World::with_shards(1).await;
    let engine = Engine::new();
    world.sandbox.fail(
        Operation::DescribeStreamSummary,
        Fault::Error(ErrorCode::AccessDeniedException),
        Schedule::Fraction(1.0),
    );
    let writer = writer(&world, &engine, json!({})).await;
    write_all(&writer, &[row(Some("k"), MIB - 1)]).await;
    let error = writer
        .write(vec![row(Some("k"), MIB)])
        .await
        .expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::InvalidRow);
    let config = nothing_known(&world, STREAM);
    engine.stream_facts(&config).await.expect("facts");
    assert_eq!(
        world.calls("DescribeStreamSummary"),
        1,
        "asked once, not for every batch"
    );
}

#[tokio::test]
async fn records_may_be_as_large_as_the_stream_takes() {
    let world = World::with_shards(1).await;
    let engine = Engine::new();
    let arn = stream_arn(&world).await;
    let update = world.client.update_max_record_size();
    update
        .stream_arn(arn)
        .max_record_size_in_kib(4 * 1024)
        .send()
        .await
        .expect("updated");
    let all = writer(&world, &engine, json!({})).await;
    write_all(&all, &[row(Some("k"), 4 * MIB - 1)]).await;
    assert!(all.write(vec![row(Some("k"), 4 * MIB)]).await.is_err());
    let less = writer(&world, &engine, json!({"kinesis.sink.maxRecordBytes": "2m"})).await;
    assert!(
        less.write(vec![row(Some("k"), 3 * MIB)]).await.is_err(),
        "the option says so"
    );
}

async fn stream_arn(world: &World) -> String {
    let described = world.client.describe_stream_summary().stream_name(STREAM).send();
    let summary = described.await.expect("described").stream_description_summary;
    summary.expect("a summary").stream_arn
}

#[tokio::test]
async fn rows_need_no_key_where_the_service_distributes_them() {
    let world = World::with_shards(2).await;
    world.knobs(json!({"auto_distribution": true}));
    let engine = Engine::new();
    let writer = writer(&world, &engine, json!({})).await;
    write_all(&writer, &[row(None, 5), row(Some("k"), 6), row(None, 7)]).await;
    let mut sizes: Vec<_> = world.written().await.iter().map(|it| it.data.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [5, 6, 7]);
}

#[tokio::test]
async fn rows_without_a_key_are_refused_elsewhere() {
    let world = World::with_shards(1).await;
    let writer = writer(&world, &Engine::new(), json!({})).await;
    let error = writer.write(vec![row(None, 5)]).await.expect_err("no key");
    assert_eq!(error.kind(), ErrorKind::InvalidRow);
    assert!(error.message().contains("AUTO record distribution"), "{error}");
}

#[tokio::test]
async fn aggregates_that_were_asked_for_go_to_any_shard_there_and_once() {
    let world = World::with_shards(4).await;
    world.knobs(json!({"auto_distribution": true}));
    let options = json!({"kinesis.sink.aggregationEnabled": "true"});
    let writer = writer(&world, &Engine::new(), options).await;
    let rows: Vec<_> = (0..2_000)
        .map(|key| row(Some(&format!("key-{key}")), 100))
        .collect();
    write_all(&writer, &rows).await;
    let written = world.written().await;
    assert_eq!(written.iter().map(|it| it.rows().len()).sum::<usize>(), 2_000);
    assert!(written.iter().all(Written::is_aggregate));
    assert_eq!(world.calls("ListShards"), 1, "the test's own");
}

#[tokio::test]
async fn order_that_the_stream_does_not_keep_is_refused() {
    let world = World::with_shards(1).await;
    world.knobs(json!({"auto_distribution": true}));
    let options = json!({"kinesis.sink.ordering": "key"});
    let config = config(&world, STREAM, options, &StreamFacts::default());
    let error = Engine::new().stream_facts(&config).await.expect_err("no order");
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
    assert!(error.message().contains("AUTO record distribution"), "{error}");
}

/// What was known of the stream is truer than what is assumed of any.
#[tokio::test]
async fn a_stream_that_can_not_be_described_any_more_is_as_it_was() {
    let world = World::with_shards(1).await;
    let engine = Engine::new();
    world.knobs(json!({"auto_distribution": true}));
    let config = nothing_known(&world, STREAM);
    let known = engine.stream_facts(&config).await.expect("facts");
    assert!(known.auto_distribution);
    for (error, answers) in [
        (ErrorCode::InternalFailure, 10),
        (ErrorCode::AccessDeniedException, 10),
        (ErrorCode::ResourceNotFoundException, 2),
    ] {
        // Longer than an answer is reused.
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(601)).await;
        tokio::time::resume();
        let before = world.calls("DescribeStreamSummary");
        world.sandbox.fail(
            Operation::DescribeStreamSummary,
            Fault::Error(error),
            Schedule::Next(answers),
        );
        let facts = engine.stream_facts(&config).await.expect("facts");
        assert!(world.calls("DescribeStreamSummary") > before, "asked again");
        assert_eq!(facts, known, "{error:?}");
    }
}
