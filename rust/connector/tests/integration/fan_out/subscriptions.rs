//! What happens to open subscriptions: renewals, failures, resharding, records that expire.
use std::time::Duration;

use super::{LATEST, SHARD_0, SHARD_1, calls, failure, query, rows, world};
use crate::support::{PATIENCE, STREAM, World, assert_exact, read_all, until};
use kinesis_connector::ErrorKind;
use kinesis_sandbox::{ErrorCode, Fault, Operation, Schedule, Trim};
use serde_json::json;

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

/// Of an open subscription, the refusal is an event.
#[tokio::test]
async fn a_refusal_of_a_moment_ends_no_query() {
    let world = world(1).await;
    world.knobs(json!({"subscriptions": {"exclusive_ms": 20}}));
    let mut query = query(&world, &[]).await;
    world.put("r", 0..50).await;
    assert_exact(&rows(&mut query, 50).await, "r", 0..50);
    let mut first = 50;
    for error in [
        "KMSAccessDeniedException",
        "KMSDisabledException",
        "KMSInvalidStateException",
    ] {
        // The subscription between two batches, and the next batch.
        let refusal = json!({"fault": {"exception": error}, "count": 2});
        let cut = json!({"fault": "cut", "open": true, "count": 1});
        world.knobs(json!({"subscription_faults": [refusal]}));
        world.knobs(json!({"subscription_faults": [cut]}));
        world.put("r", first..first + 50).await;
        assert_exact(&rows(&mut query, 50).await, "r", first..first + 50);
        first += 50;
    }
}
