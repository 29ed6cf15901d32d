//! Enhanced fan-out against the sandbox: a query reads from subscriptions, which end, break and are taken over.

use std::time::Duration;

use kinesis_connector::ErrorKind;
use kinesis_sandbox::{ErrorCode, Fault, Operation, Schedule, ShardStats, Trim};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{FAN_OUT, NAMED, PATIENCE, Query, Row, STREAM, World, assert_exact, read_all, until};

const LATEST: (&str, &str) = ("kinesis.startingPosition", "LATEST");
const SHARD_0: &str = "shardId-000000000000";
const SHARD_1: &str = "shardId-000000000001";

async fn world(shards: i32) -> World {
    let world = World::with_shards(shards).await;
    world.hasten_subscriptions();
    world
}

async fn query(world: &World, more: &[(&str, &str)]) -> Query {
    world.query(&[&[FAN_OUT, NAMED], more].concat()).await
}

/// Reads batches until `count` rows have come; fails after [`PATIENCE`].
async fn rows(query: &mut Query, count: usize) -> Vec<Row> {
    tokio::time::timeout(PATIENCE, query.rows(count))
        .await
        .expect("the rows in time")
}

/// Reads batches until one fails; returns its error.
async fn failure(query: &mut Query) -> kinesis_connector::Error {
    let failing = async {
        loop {
            if let Err(error) = query.batch().await {
                return error;
            }
        }
    };
    tokio::time::timeout(PATIENCE, failing)
        .await
        .expect("a failure in time")
}

/// Replaces the checkpoint folder, so that the next query opened is another one. Returns the first query's folder,
/// which must be kept.
fn another_folder(world: &mut World) -> TempDir {
    std::mem::replace(&mut world.checkpoint, TempDir::new().expect("a folder"))
}

fn calls(world: &World, operation: &str) -> u64 {
    world.sandbox.stats().calls(operation)
}

/// Number of open subscriptions.
fn subscriptions(world: &World) -> u64 {
    let stats = world.sandbox.stats();
    let shards = stats.streams[STREAM].values();
    shards.map(ShardStats::subscriptions_active).sum()
}

async fn consumers(world: &World) -> Vec<String> {
    let arn = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}");
    let listed = world.client.list_stream_consumers().stream_arn(arn).send().await;
    let listed = listed.expect("listed");
    let consumers = listed.consumers().iter();
    consumers
        .map(|consumer| consumer.consumer_name().to_owned())
        .collect()
}

#[tokio::test]
async fn everything_comes_once_and_the_subscriptions_stay() {
    let world = world(4).await;
    world.put("r", 0..1_000).await;
    let mut query = query(&world, &[]).await;
    assert_exact(&rows(&mut query, 1_000).await, "r", 0..1_000);
    for round in 1..6 {
        let first = 900 + round * 100;
        world.put("r", first..first + 100).await;
        assert_exact(&rows(&mut query, 100).await, "r", first..first + 100);
    }
    assert_eq!(
        calls(&world, "SubscribeToShard"),
        4,
        "one subscription a shard for all batches"
    );
    let metrics = query.planner.metrics();
    assert_ne!(metrics["prefetchHits"], "0");
    assert_eq!(metrics["resubscriptions"], "0");
}

#[tokio::test]
async fn scans_of_one_batch_at_the_same_time_share_its_end_and_the_subscription() {
    let world = world(1).await;
    world.knobs(json!({"subscriptions": {"max_records_per_event": 7}}));
    world.put("r", 0..300).await;
    let small = [
        ("kinesis.maxFetchRecordsPerShard", "50"),
        ("kinesis.prefetch.maxBytesPerShard", "1k"),
    ];
    let mut query = query(&world, &small).await;
    let mut all = Vec::new();
    let reading = async {
        while all.len() < 300 {
            let planned = query.planner.latest_offset(&query.offset).await;
            let Some(offset) = planned.expect("planned") else {
                continue;
            };
            let tasks = query.planner.partitions(&offset).expect("tasks");
            let scans = [&tasks[0], &tasks[0]].map(|task| query.reader(task).expect("a reader"));
            let (first, second) = tokio::join!(read_all(&scans[0]), read_all(&scans[1]));
            let first = first.expect("rows");
            assert_eq!(first, second.expect("rows"));
            all.extend(first);
            for scan in &scans {
                let report = scan.finish(true).await.expect("finished").expect("a report");
                query.planner.report(&report).expect("reported");
            }
            query.planner.commit(&offset).await.expect("committed");
            query.offset = offset;
        }
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("the rows in time");
    assert_exact(&all, "r", 0..300);
    assert_eq!(calls(&world, "SubscribeToShard"), 1);
}

#[tokio::test]
async fn limits_cut_inside_what_was_pushed() {
    let world = world(2).await;
    world.put("r", 0..500).await;
    let mut query = query(&world, &[("kinesis.maxFetchRecordsPerShard", "30")]).await;
    let mut all = Vec::new();
    while all.len() < 500 {
        let batch = query.batch().await.expect("a batch").unwrap_or_default();
        assert!(batch.len() <= 60, "{} rows", batch.len());
        all.extend(batch);
    }
    assert_exact(&all, "r", 0..500);
    assert_eq!(calls(&world, "SubscribeToShard"), 2);
}

#[tokio::test]
async fn renewals_lose_nothing_and_repeat_nothing() {
    let world = world(2).await;
    world
        .knobs(json!({"subscriptions": {"lifetime_ms": 80, "exclusive_ms": 20, "max_records_per_event": 7}}));
    let mut query = query(&world, &[("kinesis.maxFetchRecordsPerShard", "50")]).await;
    let mut all = Vec::new();
    let renewing = async {
        while all.len() < 2_000 || calls(&world, "SubscribeToShard") <= 6 {
            let first = all.len();
            world.put("r", first..first + 100).await;
            all.extend(rows(&mut query, 100).await);
        }
    };
    tokio::time::timeout(PATIENCE, renewing)
        .await
        .expect("renewals in time");
    assert_exact(&all, "r", 0..all.len());
}

#[tokio::test]
async fn latest_on_an_idle_stream_misses_nothing() {
    let world = world(2).await;
    world.put("early", 0..10).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut query = query(&world, &[LATEST]).await;
    for _ in 0..3 {
        assert_eq!(query.batch().await.expect("a look"), None);
    }
    // Only one shard gets a record; the other one is also subscribed to.
    world.put("r", 0..1).await;
    assert_exact(&rows(&mut query, 1).await, "r", 0..1);
    world.put("r", 1..100).await;
    assert_exact(&rows(&mut query, 99).await, "r", 1..100);
}

#[tokio::test]
async fn splits_and_merges_lose_nothing_and_keep_order() {
    let world = world(2).await;
    let mut query = query(&world, &[("kinesis.maxFetchRecordsPerShard", "60")]).await;
    world.put("r", 0..300).await;
    let mut all = rows(&mut query, 50).await;
    world.split(SHARD_0).await;
    world.put("r", 300..500).await;
    all.extend(rows(&mut query, 300 - all.len() + 100).await);
    world.merge("shardId-000000000003", SHARD_1).await;
    world.put("r", 500..700).await;
    all.extend(rows(&mut query, 700 - all.len()).await);
    assert_exact(&all, "r", 0..700);
}

#[tokio::test]
async fn a_restart_goes_on_and_a_batch_that_runs_again_has_the_same_rows() {
    let world = world(2).await;
    world.put("r", 0..200).await;
    let limited = [("kinesis.maxFetchRecordsPerShard", "20")];
    let mut first = query(&world, &limited).await;
    let mut all = rows(&mut first, 40).await;
    let last = first.batch().await.expect("a batch").expect("rows");
    let offset = first.offset.clone();
    drop(first);
    let mut second = query(&world, &limited).await.from(&offset);
    assert_eq!(second.run(offset).await.expect("the batch again"), last);
    all.extend(last);
    all.extend(rows(&mut second, 200 - all.len()).await);
    assert_exact(&all, "r", 0..200);
    assert_eq!(consumers(&world).await, ["app"], "reused");
}

#[tokio::test]
async fn a_second_action_has_the_same_rows_and_leaves_the_subscription() {
    let world = world(1).await;
    let mut query = query(&world, &[]).await;
    let mut all = Vec::new();
    for first in (0..100).step_by(20) {
        world.put("r", first..first + 20).await;
        let mut batch = Vec::new();
        while batch.is_empty() {
            batch = query.batch().await.expect("a batch").unwrap_or_default();
        }
        let task = query.planner.partitions(&query.offset).expect("tasks").remove(0);
        let again = query.reader(&task).expect("a reader");
        assert_eq!(read_all(&again).await.expect("rows"), batch);
        all.extend(batch);
    }
    assert_exact(&all, "r", 0..100);
    assert_eq!(calls(&world, "SubscribeToShard"), 1);
}

#[tokio::test]
async fn a_task_that_failed_is_read_anew_from_its_start() {
    let world = world(1).await;
    world.put("r", 0..50).await;
    let mut query = query(&world, &[]).await;
    let mut all = rows(&mut query, 50).await;
    world.put("r", 50..80).await;
    let offset = loop {
        if let Some(offset) = query.planner.latest_offset(&query.offset).await.expect("a look") {
            break offset;
        }
    };
    let task = query.planner.partitions(&offset).expect("tasks").remove(0);
    let failed = query.reader(&task).expect("a reader");
    assert!(failed.next().await.expect("rows").is_some());
    failed.finish(false).await.expect("ended");
    drop(failed);
    all.extend(query.run(offset).await.expect("the retry"));
    all.extend(rows(&mut query, 80 - all.len()).await);
    assert_exact(&all, "r", 0..80);
}

#[tokio::test]
async fn refusals_throttles_and_failures_are_tried_again() {
    let world = world(1).await;
    world.put("r", 0..50).await;
    for fault in [
        Fault::Error(ErrorCode::InternalFailure),
        Fault::Error(ErrorCode::LimitExceededException),
        Fault::Error(ErrorCode::ResourceInUseException),
        Fault::DropConnection,
    ] {
        world
            .sandbox
            .fail(Operation::SubscribeToShard, fault, Schedule::Next(1));
    }
    let mut query = query(&world, &[]).await;
    assert_exact(&rows(&mut query, 50).await, "r", 0..50);
    let metrics = query.planner.metrics();
    assert_eq!(metrics["retries"], "4", "{metrics:?}");
    assert_eq!(metrics["throttles"], "1", "{metrics:?}");
}

#[tokio::test]
async fn whatever_befalls_an_open_subscription_nothing_is_lost_or_repeated() {
    let world = world(1).await;
    world.knobs(json!({"subscriptions": {"exclusive_ms": 20, "max_records_per_event": 10}}));
    let mut query = query(&world, &[("kinesis.maxFetchRecordsPerShard", "35")]).await;
    let mut first = 0;
    for fault in [
        json!("cut"),
        json!("reset"),
        json!("half_event"),
        json!({"drip": {"bytes": 50, "delay_ms": 1}}),
        json!({"exception": "InternalFailureException"}),
    ] {
        for (after, open) in [(0, false), (2, true)] {
            let fault = json!({"fault": fault, "after_events": after, "open": open, "count": 1});
            world.knobs(json!({"subscription_faults": [fault]}));
            // Ends the open subscription, so that a pending fault affects the next one.
            let cut = json!({"fault": "cut", "open": true, "count": 1});
            world.knobs(json!({"subscription_faults": [cut]}));
            world.put("r", first..first + 100).await;
            assert_exact(&rows(&mut query, 100).await, "r", first..first + 100);
            first += 100;
        }
    }
    assert!(calls(&world, "SubscribeToShard") > 10);
}

#[tokio::test]
async fn a_shard_that_is_being_subscribed_again_holds_up_no_other_and_its_part_stays_empty() {
    let world = world(2).await;
    let mut query = query(&world, &[]).await;
    world.put("r", 0..32).await;
    rows(&mut query, 32).await;
    let of_shard = |shard: &str| world.sandbox.stats().streams[STREAM][shard];
    let of_other = of_shard(SHARD_1).records_in as usize;
    assert!(0 < of_other && of_other < 32, "{of_other}");

    world.knobs(json!({"subscriptions": {"exclusive_ms": 60_000}}));
    let cut = json!({"fault": "cut", "open": true, "shard": SHARD_0, "count": 1});
    world.knobs(json!({"subscription_faults": [cut]}));
    until(|| of_shard(SHARD_0).subscribe_calls > 1).await;
    world.put("r", 32..64).await;
    let alone = rows(&mut query, of_other).await;
    assert_eq!(alone.len(), of_other, "the other shard's rows");
    assert_eq!(of_shard(SHARD_0).subscriptions, 1);

    world.knobs(json!({"subscriptions": {"exclusive_ms": 0}}));
    until(|| of_shard(SHARD_0).records_pushed == of_shard(SHARD_0).records_in).await;
    for task in query.planner.partitions(&query.offset).expect("tasks") {
        let again = query.reader(&task).expect("a reader");
        for row in read_all(&again).await.expect("rows") {
            assert!(
                alone.contains(&row),
                "a second action of the batch has {row:?}, too"
            );
        }
        again.finish(true).await.expect("finished");
    }
    let later = rows(&mut query, 32 - of_other).await;
    assert_exact(&[alone, later].concat(), "r", 32..64);
}

#[tokio::test]
async fn records_that_expire_unread_are_noticed() {
    let world = world(1).await;
    let options = [
        ("kinesis.maxFetchRecordsPerShard", "10"),
        ("kinesis.failOnDataLoss", "true"),
    ];
    world.put("r", 0..50).await;
    let mut first = query(&world, &options).await;
    assert_exact(&rows(&mut first, 10).await, "r", 0..10);
    let offset = first.offset.clone();
    drop(first);
    world.sandbox.trim(STREAM, None, Trim::All).expect("trimmed");
    world.put("r", 50..60).await;
    let mut failing = query(&world, &options).await.from(&offset);
    let error = failure(&mut failing).await;
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    assert!(error.message().contains("expired"), "{error}");
    drop(failing);
    let mut going_on = query(&world, &[options[0]]).await.from(&offset);
    assert_exact(&rows(&mut going_on, 10).await, "r", 50..60);
    assert_eq!(going_on.planner.metrics()["lostPositions"], "1");
}

#[tokio::test]
async fn a_subscription_that_never_succeeds_is_an_error_that_names_all() {
    let world = world(1).await;
    world.put("r", 0..5).await;
    let fault = Fault::Error(ErrorCode::InternalFailure);
    world
        .sandbox
        .fail(Operation::SubscribeToShard, fault, Schedule::Next(1_000));
    let mut query = query(&world, &[("kinesis.subscribeToShard.maxRetries", "3")]).await;
    let error = failure(&mut query).await;
    assert_eq!(error.kind(), ErrorKind::Transport);
    let text = error.to_string();
    for part in [
        "failed 4 times in a row (kinesis.subscribeToShard.maxRetries)",
        SHARD_0,
        "consumer/app",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(calls(&world, "SubscribeToShard"), 4);
}

#[tokio::test]
async fn available_now_reads_what_is_there_and_ends() {
    let world = world(2).await;
    world.put("r", 0..300).await;
    let mut query = query(&world, &[("kinesis.maxFetchRecordsPerShard", "40")]).await;
    query.planner.prepare_for_available_now();
    let mut all = Vec::new();
    while let Some(batch) = query.batch().await.expect("a batch") {
        all.extend(batch);
    }
    assert_exact(&all, "r", 0..300);
}

#[tokio::test]
async fn a_query_that_ends_leaves_no_subscription() {
    let mut world = world(2).await;
    world.put("r", 0..100).await;
    for (consumer, available_now) in [("one", false), ("other", true)] {
        let _kept = another_folder(&mut world);
        let options = [FAN_OUT, ("kinesis.consumerName", consumer)];
        let mut query = world.query(&options).await;
        if available_now {
            query.planner.prepare_for_available_now();
        }
        rows(&mut query, 10).await;
        assert_ne!(subscriptions(&world), 0);
        let Query { planner, engine, .. } = query;
        drop(planner);
        until(|| subscriptions(&world) == 0).await;
        drop(engine);
    }
}

#[tokio::test]
async fn two_queries_with_two_consumers_both_read_all() {
    let mut world = world(2).await;
    let mut one = query(&world, &[]).await;
    let _kept = another_folder(&mut world);
    let mut other = world.query(&[FAN_OUT, ("kinesis.consumerName", "other")]).await;
    for first in (0..200).step_by(50) {
        world.put("r", first..first + 50).await;
        assert_exact(&rows(&mut one, 50).await, "r", first..first + 50);
        assert_exact(&rows(&mut other, 50).await, "r", first..first + 50);
    }
}

#[tokio::test]
async fn the_same_consumer_twice_in_a_process_is_refused_at_the_start() {
    let world = world(1).await;
    let first = query(&world, &[]).await;
    let config = world.config(&[FAN_OUT, NAMED]);
    let files = std::sync::Arc::new(crate::support::LocalFiles);
    let error = first
        .engine
        .open_planner(config, files)
        .await
        .expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert!(
        error.message().contains("kinesis.consumerName of its own"),
        "{error}"
    );
    drop(first.planner);
}

#[tokio::test]
async fn the_same_consumer_in_two_processes_is_an_error_soon() {
    let mut world = world(1).await;
    world.knobs(json!({"subscriptions": {"exclusive_ms": 50}}));
    let mut one = query(&world, &[]).await;
    let _kept = another_folder(&mut world);
    // A separate engine stands for another process.
    let mut other = query(&world, &[]).await;
    let mut first = 0;
    let error = tokio::time::timeout(PATIENCE, async {
        loop {
            world.put("r", first..first + 1).await;
            first += 1;
            for query in [&mut one, &mut other] {
                let mut got = 0;
                while got == 0 {
                    match query.batch().await {
                        Ok(rows) => got = rows.unwrap_or_default().len(),
                        Err(error) => return error,
                    }
                }
            }
        }
    })
    .await
    .expect("an error in time");
    assert_eq!(error.kind(), ErrorKind::InUse);
    let text = error.to_string();
    for part in ["kinesis.consumerName of its own", SHARD_0, "consumer/app"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn what_the_query_registered_goes_with_it_and_nothing_else() {
    let world = world(1).await;
    let first = query(&world, &[]).await;
    drop(first);
    let again = query(&world, &[]).await;
    assert_eq!(consumers(&world).await, ["app"], "a restart reuses it");
    again.planner.release().await.expect("released");
    assert_eq!(consumers(&world).await, [""; 0], "registered at the first start");

    let arn = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}");
    let made = world.client.register_stream_consumer().stream_arn(arn);
    let made = made.consumer_name("app").send().await.expect("registered");
    let consumer = made.consumer.expect("a consumer").consumer_arn;
    let named = query(&world, &[]).await;
    named.planner.release().await.expect("released");
    drop(named);
    let by_arn = world.query(&[FAN_OUT, ("kinesis.consumerArn", &consumer)]).await;
    by_arn.planner.release().await.expect("released");
    assert_eq!(consumers(&world).await, ["app"], "somebody else's");
}

#[tokio::test]
async fn a_consumer_that_is_not_there_or_goes_away_is_named() {
    let world = world(1).await;
    let gone = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}/consumer/gone:1");
    let Err(error) = world.try_query(&[FAN_OUT, ("kinesis.consumerArn", &gone)]).await else {
        panic!("found")
    };
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("consumer/gone:1"), "{error}");

    world.put("r", 0..5).await;
    let mut query = query(&world, &[]).await;
    rows(&mut query, 5).await;
    let arn = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}");
    let goes = world.client.deregister_stream_consumer().stream_arn(arn);
    goes.consumer_name("app").send().await.expect("deregistered");
    world.put("r", 5..10).await;
    let error = failure(&mut query).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("consumer was deregistered"), "{error}");
}

#[tokio::test]
async fn an_idle_query_asks_at_most_once_a_second_and_not_at_all_with_its_subscriptions() {
    let world = world(2).await;
    world.put("r", 0..10).await;
    let mut query = query(&world, &[]).await;
    rows(&mut query, 10).await;
    let before = calls(&world, "GetRecords");
    for _ in 0..8 {
        assert_eq!(query.batch().await.expect("a look"), None);
    }
    assert_eq!(calls(&world, "GetRecords"), before);
}

/// A renewal in the middle of a batch gets one "not found", although shard and consumer exist.
#[tokio::test]
async fn a_shard_that_is_not_found_once_while_a_batch_reads_it_fails_no_task() {
    let world = World::with_shards(1).await;
    world.knobs(json!({
        "subscriptions": {"idle_event_ms": 50, "exclusive_ms": 3_000, "max_records_per_event": 7},
        "subscription_faults": [{"fault": "cut", "after_events": 2, "count": 1}]
    }));
    world.put("r", 0..100).await;
    let mut query = query(&world, &[]).await;
    let not_found = async {
        // The second call is refused because the first one was just now; the third gets "not found".
        until(|| calls(&world, "SubscribeToShard") >= 2).await;
        let fault = Fault::Error(ErrorCode::ResourceNotFoundException);
        world
            .sandbox
            .fail(Operation::SubscribeToShard, fault, Schedule::Next(1));
    };
    let (all, ()) = tokio::join!(rows(&mut query, 100), not_found);
    assert_exact(&all, "r", 0..100);
}
