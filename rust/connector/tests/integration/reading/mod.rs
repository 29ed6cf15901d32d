//! The reader of one shard against the sandbox: claims of several attempts, early ends, and unusual responses.

mod claims;
mod records;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::support::altered::{Altered, service};
use crate::support::{STREAM, World, assert_exact, read_all};
use aws_sdk_kinesis::config::Config;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::types::ShardIteratorType;
use kinesis_connector::ErrorKind;
use kinesis_connector::claims::ClaimStore;
use kinesis_connector::claims::backends::memory::MemoryStore;
use kinesis_connector::read::{Backlog, FeedRegistry, ReadTask, ShardReader, ShardReport};
use kinesis_connector::service::{AwsKinesis, KinesisApi};
use kinesis_connector::stream::Position;
use kinesis_sandbox::{ErrorCode, Fault, Operation, Schedule};

const SHARD: &str = "shardId-000000000000";

fn task() -> ReadTask {
    ReadTask::new("q", 1, SHARD.into(), Position::TrimHorizon)
}

async fn api(world: &World) -> Arc<dyn KinesisApi> {
    let options = world.config(&[]).options;
    let client = AwsKinesis::connect(&options.access, options.stream, options.client_retry).await;
    Arc::new(client.expect("a client"))
}

async fn reader<S>(world: &World, store: &Arc<S>, options: &[(&str, &str)]) -> ShardReader
where
    S: ClaimStore + 'static,
{
    ShardReader::on(
        api(world).await,
        store.clone(),
        &world.config(options).options,
        task(),
    )
}

fn memory() -> Arc<MemoryStore> {
    Arc::default()
}

async fn report(reader: &ShardReader) -> ShardReport {
    let json = reader.finish(true).await.expect("finished").expect("a report");
    ShardReport::from_json(&json).expect("a report")
}

/// Position after the row at this index.
async fn after(world: &World, number: usize) -> Position {
    let rows = read_all(&reader(world, &memory(), &[]).await)
        .await
        .expect("rows");
    Position::After(rows[number].sequence_number.parse().expect("a sequence number"))
}

#[tokio::test]
async fn an_iterator_that_expires_in_a_batch_is_renewed() {
    let world = World::with_shards(1).await;
    world.put("r", 0..100).await;
    world.sandbox.set_max_records_per_get(Some(10));
    let reading = reader(&world, &memory(), &[("kinesis.prefetch.maxBytesPerShard", "1k")]).await;
    let mut rows = reading.next().await.expect("rows").expect("a batch").rows();
    world.sandbox.expire_iterators();
    while let Some(batch) = reading.next().await.expect("rows") {
        rows += batch.rows();
    }
    assert_eq!(rows, 100);
    let errors = world.sandbox.stats().operations["GetRecords"].errors.clone();
    assert_eq!(
        errors,
        BTreeMap::from([("ExpiredIteratorException".to_owned(), 1)])
    );
}

#[tokio::test]
async fn an_empty_answer_behind_the_tip_is_not_the_tip() {
    let world = World::with_shards(1).await;
    world.put("r", 0..10).await;
    world.sandbox.answer_empty(4);
    let rows = read_all(&reader(&world, &memory(), &[]).await)
        .await
        .expect("rows");
    assert_exact(&rows, "r", 0..10);
}

#[tokio::test]
async fn an_answer_as_large_as_was_asked_for_is_not_the_tip_whatever_it_says() {
    let world = World::with_shards(1).await;
    world.put("r", 0..25).await;
    let read = async |option: (&str, &str), store: Arc<MemoryStore>| {
        let config = world.config(&[option]);
        let api = Altered::new(service(&config).await).always_at_tip();
        let reading = ShardReader::on(Arc::new(api), store, &config.options, task());
        let rows = read_all(&reading).await.expect("rows");
        let ended = report(&reading).await;
        (rows, ended.backlog)
    };
    let (rows, backlog) = read(("kinesis.getRecords.numberOfRecordsPerFetch", "10"), memory()).await;
    assert_exact(&rows, "r", 0..25);
    assert_eq!(backlog, Backlog::Empty);
    let (rows, backlog) = read(("kinesis.maxFetchRecordsPerShard", "10"), memory()).await;
    assert_exact(&rows, "r", 0..10);
    assert_eq!(backlog, Backlog::Unknown, "the driver has to ask");
}

#[tokio::test]
async fn a_batch_keeps_its_end_when_its_shard_is_closed_there_afterwards() {
    let world = World::with_shards(1).await;
    world.put("r", 0..10).await;
    let (store, fail) = (memory(), [("kinesis.failOnDataLoss", "true")]);
    let first = reader(&world, &store, &fail).await;
    let rows = read_all(&first).await.expect("rows");
    world.split(SHARD).await;
    let again = reader(&world, &store, &fail).await;
    assert_eq!(read_all(&again).await.expect("rows"), rows);
    assert_eq!(report(&again).await.end, report(&first).await.end);
}

#[tokio::test]
async fn a_closed_shard_ends_the_batch_with_its_end() {
    let world = World::with_shards(1).await;
    world.put("r", 0..10).await;
    world.split(SHARD).await;
    let store = memory();
    for _ in 0..2 {
        let reading = reader(&world, &store, &[]).await;
        assert_exact(&read_all(&reading).await.expect("rows"), "r", 0..10);
        assert_eq!(report(&reading).await.end, Position::ShardEnd);
    }
}

#[tokio::test]
async fn throttles_and_failures_of_the_service_are_retried_and_counted() {
    let world = World::with_shards(1).await;
    world.put("r", 0..10).await;
    let throttle = Fault::Error(ErrorCode::ProvisionedThroughputExceededException);
    let failure = Fault::Error(ErrorCode::InternalFailure);
    world
        .sandbox
        .fail(Operation::GetRecords, throttle, Schedule::Next(2));
    world
        .sandbox
        .fail(Operation::GetShardIterator, failure, Schedule::Next(1));
    let reading = reader(&world, &memory(), &[]).await;
    assert_exact(&read_all(&reading).await.expect("rows"), "r", 0..10);
    let metrics = reading.metrics();
    assert_eq!((metrics.retries, metrics.throttles, metrics.requests), (3, 2, 5));
}

#[tokio::test]
async fn more_throttles_than_failures_are_allowed_end_no_task() {
    let world = World::with_shards(1).await;
    world.put("r", 0..10).await;
    let throttle = Fault::Error(ErrorCode::ProvisionedThroughputExceededException);
    world
        .sandbox
        .fail(Operation::GetRecords, throttle, Schedule::Next(8));
    let reading = reader(&world, &memory(), &[]).await;
    assert_exact(&read_all(&reading).await.expect("rows"), "r", 0..10);
    assert_eq!(reading.metrics().throttles, 8);
}

/// Another application, which calls GetRecords on the shard this many times a second.
struct Neighbour(tokio::task::JoinHandle<()>);

impl Neighbour {
    async fn of(world: &World, calls_a_second: u64) -> Self {
        let client = world.client.clone();
        let iterator = client
            .get_shard_iterator()
            .stream_name(STREAM)
            .shard_id(SHARD)
            .shard_iterator_type(ShardIteratorType::TrimHorizon);
        let iterator = iterator.send().await.expect("an iterator").shard_iterator;
        Self(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(1_000 / calls_a_second));
            loop {
                ticks.tick().await;
                let once = Config::builder().retry_config(RetryConfig::disabled());
                let asking = client.get_records().set_shard_iterator(iterator.clone()).limit(1);
                // The call may be throttled or not.
                let _ = asking.customize().config_override(once).send().await;
            }
        }))
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads four batches of ten new records each while a neighbour calls the shard at this rate. With `until_throttled`,
/// continues until a request was throttled.
async fn read_beside_a_neighbour(calls_a_second: u64, until_throttled: bool) {
    let world = World::with_shards(1).await;
    world.knobs(serde_json::json!({"shard_limits": true}));
    let defaults = [
        ("kinesis.clientRetryIntervalsMs", "1000"),
        ("kinesis.clientMaxRetryIntervalMs", "10000"),
        ("kinesis.getRecords.fetchIntervalMs", "200"),
    ];
    let options = world.config(&defaults).options;
    let api = service(&world.config(&defaults)).await;
    let (api, store, memory) = (Arc::new(api), memory(), FeedRegistry::default());
    let _neighbour = Neighbour::of(&world, calls_a_second).await;
    let (mut task, mut rows, mut throttles) = (task(), Vec::new(), 0);
    let mut batch = 0;
    while batch < 4 || (until_throttled && throttles == 0) {
        world.put("r", batch * 10..batch * 10 + 10).await;
        while rows.len() < batch * 10 + 10 {
            let (api, store) = (api.clone(), store.clone());
            let reading = ShardReader::with_feeds(api, None, store, &options, task.clone(), &memory);
            rows.extend(read_all(&reading).await.expect("rows"));
            let ended = report(&reading).await;
            throttles += ended.throttles;
            task.batch += 1;
            task.start = ended.end;
        }
        batch += 1;
    }
    assert_exact(&rows, "r", 0..batch * 10);
}

#[tokio::test]
async fn a_neighbour_that_takes_a_shard_s_calls_makes_no_task_fail() {
    read_beside_a_neighbour(6, false).await;
}

#[tokio::test]
async fn nor_does_one_that_takes_nearly_all_of_them() {
    read_beside_a_neighbour(20, true).await;
}

#[tokio::test]
async fn failures_without_end_are_an_error_that_names_the_shard() {
    let world = World::with_shards(1).await;
    let failure = Fault::Error(ErrorCode::InternalFailure);
    world
        .sandbox
        .fail(Operation::GetRecords, failure, Schedule::Next(1_000));
    let error = read_all(&reader(&world, &memory(), &[]).await)
        .await
        .expect_err("failing");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Transport, true));
    let shown = error.to_string();
    for part in [SHARD, STREAM, "GetRecords", "requestId=", "batch=1"] {
        assert!(shown.contains(part), "{part} in: {shown}");
    }
}
