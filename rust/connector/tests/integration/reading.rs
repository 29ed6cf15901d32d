//! The reader of one shard against the sandbox: claims of several attempts, early ends, and unusual responses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::support::altered::{Altered, service};
use crate::support::late::LateStore;
use crate::support::{BOTH_CONSUMERS, Row, STREAM, World, assert_exact, read_all};
use aws_sdk_kinesis::config::Config;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType};
use bytes::Bytes;
use kinesis_aggregation::UserRecord;
use kinesis_connector::ErrorKind;
use kinesis_connector::claims::backends::memory::MemoryStore;
use kinesis_connector::claims::{Claim, ClaimStore};
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

/// A store that already has this claim for the task, which the reader does not find at first.
async fn late_store(end: Position) -> Arc<LateStore> {
    LateStore::with_claim(&task().claim_key(), &Claim::new(end)).await
}

#[tokio::test]
async fn a_second_reader_of_a_batch_has_the_same_rows() {
    let world = World::with_shards(1).await;
    world.put("r", 0..100).await;
    let store = memory();
    let first = reader(&world, &store, &[]).await;
    let rows = read_all(&first).await.expect("rows");
    assert_exact(&rows, "r", 0..100);
    world.put("r", 100..200).await;
    let second = reader(&world, &store, &[("kinesis.maxFetchRecordsPerShard", "3")]).await;
    assert_eq!(read_all(&second).await.expect("rows"), rows);
    assert_eq!(report(&first).await.end, report(&second).await.end);
}

#[tokio::test]
async fn a_record_without_a_partition_key_has_a_null_one() {
    for consumer in BOTH_CONSUMERS {
        let world = World::with_shards(1).await;
        world.knobs(serde_json::json!({"auto_distribution": true}));
        for key in [Some("a"), None, Some("c")] {
            let entry = PutRecordsRequestEntry::builder()
                .data(Blob::new("x"))
                .set_partition_key(key.map(str::to_owned));
            let put = world.client.put_records().stream_name(STREAM);
            let put = put.records(entry.build().expect("an entry")).send().await;
            assert_eq!(put.expect("put").failed_record_count(), Some(0));
        }
        let mut query = world.query(consumer).await;
        let offset = query.planner.latest_offset(&query.offset).await.expect("a look");
        let offset = offset.expect("news");
        let tasks = query.planner.partitions(&offset).expect("planned");
        let reader = query.reader(&tasks[0]).expect("a reader");
        let batch = reader.next().await.expect("rows").expect("rows");
        let keys: Vec<_> = batch.partition_key.iter().collect();
        assert_eq!(keys, [Some("a"), None, Some("c")]);
        reader.finish(true).await.expect("finished");
        query.offset = offset;
    }
}

#[tokio::test]
async fn an_empty_batch_is_claimed_too() {
    let world = World::with_shards(1).await;
    let store = memory();
    let first = reader(&world, &store, &[]).await;
    assert_eq!(read_all(&first).await.expect("rows"), Vec::<Row>::new());
    let ended = report(&first).await;
    assert_eq!(
        (ended.end, ended.backlog, ended.millis_behind_latest),
        (Position::TrimHorizon, Backlog::Empty, Some(0))
    );
    world.put("r", 0..10).await;
    assert_eq!(
        read_all(&reader(&world, &store, &[]).await).await.expect("rows"),
        Vec::<Row>::new()
    );
}

#[tokio::test]
async fn an_attempt_reads_on_to_a_claim_that_is_farther() {
    let world = World::with_shards(1).await;
    world.put("r", 0..100).await;
    let store = late_store(after(&world, 59).await).await;
    let rows = read_all(&reader(&world, &store, &[("kinesis.maxFetchRecordsPerShard", "20")]).await).await;
    assert_exact(&rows.expect("rows"), "r", 0..60);
}

#[tokio::test]
async fn an_attempt_stops_at_a_claim_that_is_nearer() {
    let world = World::with_shards(1).await;
    world.put("r", 0..100).await;
    let store = late_store(after(&world, 59).await).await;
    let attempt = reader(&world, &store, &[]).await;
    store.claiming.notified().await;
    assert_exact(&read_all(&attempt).await.expect("rows"), "r", 0..60);
    let ended = report(&attempt).await;
    assert_eq!((ended.records, ended.bytes), (60, 2 * 10 + 3 * 50));
    let empty = late_store(Position::TrimHorizon).await;
    let attempt = reader(&world, &empty, &[]).await;
    empty.claiming.notified().await;
    assert_eq!(read_all(&attempt).await.expect("rows"), Vec::<Row>::new());
}

#[tokio::test]
async fn an_attempt_that_delivered_more_than_the_claim_fails_and_its_retry_is_exact() {
    let world = World::with_shards(1).await;
    world.put("r", 0..100).await;
    let store = late_store(after(&world, 9).await).await;
    // Pages of 20 with room for one, so that the first is delivered long before the end is claimed.
    world.sandbox.set_max_records_per_get(Some(20));
    let small = [("kinesis.prefetch.maxBytesPerShard", "1k")];
    let error = read_all(&reader(&world, &store, &small).await)
        .await
        .expect_err("a conflict");
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::ClaimConflict, true)
    );
    let retry = read_all(&reader(&world, &store, &small).await)
        .await
        .expect("rows");
    assert_exact(&retry, "r", 0..10);
}

#[tokio::test]
async fn an_early_end_claims_what_was_fetched() {
    let world = World::with_shards(1).await;
    world.put("r", 0..100).await;
    let store = memory();
    world.sandbox.set_max_records_per_get(Some(20));
    let first = reader(&world, &store, &[("kinesis.prefetch.maxBytesPerShard", "1k")]).await;
    let taken = first.next().await.expect("rows").expect("a batch").rows();
    let end = report(&first).await.end;
    let rows = read_all(&reader(&world, &store, &[]).await).await.expect("rows");
    assert!(rows.len() >= taken && rows.len() < 100, "{} rows", rows.len());
    assert_exact(&rows, "r", 0..rows.len());
    assert_eq!(
        end.to_string(),
        format!("AFTER {}", rows[rows.len() - 1].sequence_number)
    );
}

#[tokio::test]
async fn a_failed_task_claims_nothing() {
    let world = World::with_shards(1).await;
    world.put("r", 0..100).await;
    let store = memory();
    let failed = reader(&world, &store, &[("kinesis.prefetch.maxBytesPerShard", "1k")]).await;
    world.sandbox.set_max_records_per_get(Some(20));
    failed.next().await.expect("rows").expect("a batch");
    assert_eq!(failed.finish(false).await.expect("finished"), None);
    assert_eq!(store.load("q", 1).await.expect("claims"), BTreeMap::new());
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

async fn put_raw(world: &World, data: Bytes) {
    let put = world
        .client
        .put_record()
        .stream_name(STREAM)
        .partition_key("outer");
    put.data(aws_sdk_kinesis::primitives::Blob::new(data))
        .send()
        .await
        .expect("put");
}

fn user(key: &str, data: &str) -> UserRecord {
    UserRecord {
        partition_key: key.into(),
        explicit_hash_key: None,
        data: Bytes::copy_from_slice(data.as_bytes()),
        sub_sequence: 0,
    }
}

#[tokio::test]
async fn aggregates_are_rows_and_limits_never_cut_one() {
    let world = World::with_shards(1).await;
    for start in [0, 3, 6] {
        let users: Vec<UserRecord> = (start..start + 3)
            .map(|number| user("k", &format!("r{number}")))
            .collect();
        put_raw(&world, kinesis_aggregation::encode(&users)).await;
    }
    let mut query = world.query(&[("kinesis.maxFetchRecordsPerShard", "4")]).await;
    let first = query.batch().await.expect("a batch").expect("rows");
    assert_exact(&first, "r", 0..3);
    assert_eq!(first[0].key, "k");
    assert_exact(&query.rows(6).await, "r", 3..9);
}

#[tokio::test]
async fn an_aggregate_that_cannot_be_taken_apart_is_an_error_that_names_it() {
    let world = World::with_shards(1).await;
    let mut broken = kinesis_aggregation::encode(&[user("k", "x")]).to_vec();
    // Sets partition_key_index (field 1 of the record in field 3) from 0 to 9, with a matching digest.
    let index = broken
        .windows(2)
        .position(|pair| pair == [0x08, 0x00])
        .expect("the index")
        + 1;
    broken[index] = 9;
    let message_end = broken.len() - 16;
    let digest = md5(&broken[4..message_end]);
    broken[message_end..].copy_from_slice(&digest);
    put_raw(&world, broken.into()).await;
    let error = read_all(&reader(&world, &memory(), &[]).await)
        .await
        .expect_err("malformed");
    assert_eq!(error.kind(), ErrorKind::MalformedRecord);
    assert!(error.to_string().contains("sequence number 49"), "{error}");
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    use md5::{Digest, Md5};
    Md5::digest(bytes).into()
}

#[tokio::test]
async fn a_put_entry_that_failed_is_not_in_the_stream() {
    let world = World::with_shards(1).await;
    world.sandbox.fail_entries(
        ErrorCode::ProvisionedThroughputExceededException,
        Schedule::Next(1),
    );
    let entries = [0, 1].map(|number| kinesis_connector::service::PutEntry {
        partition_key: Some("k".into()),
        data: Bytes::from(format!("r{number}")),
        explicit_hash_key: None,
    });
    let outcomes = api(&world)
        .await
        .put_records(&entries, &Arc::default())
        .await
        .expect("an answer");
    assert!(
        matches!(
            outcomes[0],
            kinesis_connector::service::PutOutcome::Throttled { .. }
        ),
        "{outcomes:?}"
    );
    let rows = read_all(&reader(&world, &memory(), &[]).await)
        .await
        .expect("rows");
    assert_exact(&rows, "r", 1..2);
}

/// Records given up for a nearer claim must not count as the last ones read: a run with AvailableNow would consider
/// the shard done.
#[tokio::test]
async fn an_attempt_that_is_cut_back_reports_no_arrival_of_what_it_gave_up() {
    let world = World::with_shards(1).await;
    world.sandbox.set_arrival_offset_ms(-60_000);
    world.put("r", 0..10).await;
    world.sandbox.set_arrival_offset_ms(0);
    world.put("r", 10..20).await;
    let store = late_store(after(&world, 9).await).await;
    let attempt = reader(&world, &store, &[]).await;
    store.claiming.notified().await;
    assert_exact(&read_all(&attempt).await.expect("rows"), "r", 0..10);
    assert_eq!(
        report(&attempt).await.last_arrival,
        None,
        "that of what it kept is the other's to tell"
    );
}
