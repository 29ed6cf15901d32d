//! A query's batches against the sandbox: starts, limits, restarts, resharding and refusals.

use std::collections::BTreeMap;

use crate::support::{BOTH_CONSUMERS, Query, Row, STREAM, World, assert_exact};
use kinesis_connector::ErrorKind;

const LATEST: (&str, &str) = ("kinesis.startingPosition", "LATEST");
const SHARD_0: &str = "shardId-000000000000";
const SHARD_1: &str = "shardId-000000000001";

fn offset_batch(offset: &str) -> u64 {
    let parsed: serde_json::Value = serde_json::from_str(offset).expect("json");
    parsed["batch"].as_u64().expect("a batch")
}

#[tokio::test]
async fn everything_from_trim_horizon_comes_once() {
    let world = World::with_shards(4).await;
    world.put("r", 0..1_000).await;
    let mut query = world.query(&[]).await;
    assert_exact(&query.rows(1_000).await, "r", 0..1_000);
    world.put("r", 1_000..1_100).await;
    assert_exact(&query.rows(100).await, "r", 1_000..1_100);
}

#[tokio::test]
async fn an_idle_stream_makes_no_batch() {
    let world = World::with_shards(2).await;
    let mut query = world.query(&[]).await;
    for _ in 0..5 {
        assert_eq!(query.batch().await.expect("a look"), None);
    }
    world.put("r", 0..1).await;
    assert_eq!(query.rows(1).await.len(), 1);
    assert_eq!(
        offset_batch(&query.offset),
        1,
        "the first batch is the one with the record"
    );
    for _ in 0..5 {
        assert_eq!(
            query.batch().await.expect("a look"),
            None,
            "one burst is one batch"
        );
    }
}

#[tokio::test]
async fn latest_is_pinned_when_the_query_first_starts() {
    let world = World::with_shards(2).await;
    world.put("early", 0..50).await;
    // Arrival times are whole milliseconds, so the pin must fall into a later one.
    let put = std::time::Instant::now();
    while put.elapsed().as_millis() < 2 {
        tokio::task::yield_now().await;
    }
    let first = world.query(&[LATEST]).await;
    let pinned = first.offset.clone();
    world.put("r", 0..50).await;
    let mut again = world.query(&[LATEST]).await;
    assert_eq!(
        again.offset, pinned,
        "a restart before the first batch starts where the first start did"
    );
    assert_exact(&again.rows(50).await, "r", 0..50);
}

#[tokio::test]
async fn limits_hold_for_each_shard_and_batch() {
    let world = World::with_shards(2).await;
    world.put("r", 0..500).await;
    let mut query = world.query(&[("kinesis.maxFetchRecordsPerShard", "30")]).await;
    let mut rows = Vec::new();
    while rows.len() < 500 {
        let batch = query
            .batch()
            .await
            .expect("a batch")
            .expect("more is known to be there");
        assert!(batch.len() <= 60, "{} rows", batch.len());
        rows.extend(batch);
    }
    assert_exact(&rows, "r", 0..500);
}

#[tokio::test]
async fn bytes_are_limited_too() {
    let world = World::with_shards(1).await;
    world.put("r", 100..200).await;
    let mut query = world.query(&[("kinesis.maxFetchBytesPerShard", "10")]).await;
    let first = query.batch().await.expect("a batch").expect("rows");
    assert_eq!(first.len(), 2, "two records of four bytes");
    let mut rows = first;
    rows.extend(query.rows(98).await);
    assert_exact(&rows, "r", 100..200);
}

/// Runs three batches of a query, which don't reach the end; returns each one's offset and rows.
async fn half(query: &mut Query) -> Vec<(String, Vec<Row>)> {
    let mut batches = Vec::new();
    for _ in 0..3 {
        let rows = query.batch().await.expect("a batch").expect("rows");
        batches.push((query.offset.clone(), rows));
    }
    batches
}

#[tokio::test]
async fn a_restart_goes_on_where_the_last_batch_ended() {
    let world = World::with_shards(2).await;
    world.put("r", 0..400).await;
    let options = [("kinesis.maxFetchRecordsPerShard", "40")];
    let mut query = world.query(&options).await;
    let mut rows: Vec<Row> = half(&mut query)
        .await
        .into_iter()
        .flat_map(|(_, rows)| rows)
        .collect();
    let mut restarted = world.query(&options).await.from(&query.offset);
    drop(query);
    rows.extend(restarted.rows(400 - rows.len()).await);
    assert_exact(&rows, "r", 0..400);
}

#[tokio::test]
async fn the_first_probe_after_a_restart_finds_what_came_meanwhile() {
    for consumer in BOTH_CONSUMERS {
        let world = World::with_shards(1).await;
        world.hasten_subscriptions();
        world.put("r", 0..10).await;
        let mut query = world.query(consumer).await;
        query.rows(10).await;
        let offset = query.offset.clone();
        drop(query);
        world.put("r", 10..20).await;
        // Trigger.Once makes only one call.
        let slow = [consumer, &[("kinesis.getRecords.fetchIntervalMs", "60000")]].concat();
        let mut restarted = world.query(&slow).await.from(&offset);
        let rows = restarted.batch().await.expect("a look");
        assert_exact(&rows.expect("news"), "r", 10..20);
    }
}

#[tokio::test]
async fn a_batch_that_runs_again_has_the_same_rows() {
    let world = World::with_shards(2).await;
    world.put("r", 0..200).await;
    let mut query = world.query(&[("kinesis.maxFetchRecordsPerShard", "40")]).await;
    let batches = half(&mut query).await;
    world.put("r", 200..300).await;
    let lower = [("kinesis.maxFetchRecordsPerShard", "7")];
    let mut restarted = world.query(&lower).await;
    for (offset, rows) in batches {
        assert_eq!(restarted.run(offset).await.expect("runs again"), rows);
    }
}

#[tokio::test]
async fn wiped_claims_repeat_the_last_batch_and_lose_nothing() {
    let world = World::with_shards(2).await;
    world.put("r", 0..400).await;
    let options = [("kinesis.maxFetchRecordsPerShard", "40")];
    let mut query = world.query(&options).await;
    let batches = half(&mut query).await;
    std::fs::remove_dir_all(world.checkpoint.path().join("claims")).expect("claims were there");
    let (last, before) = batches.split_last().expect("batches");
    let mut rows: Vec<Row> = before.iter().flat_map(|(_, rows)| rows.clone()).collect();
    let mut restarted = world.query(&options).await.from(&last.0);
    rows.extend(restarted.rows(400 - rows.len()).await);
    assert_exact(&rows, "r", 0..400);
}

#[tokio::test]
async fn a_batch_that_nobody_read_is_covered_by_the_next() {
    let world = World::with_shards(2).await;
    world.put("r", 0..100).await;
    let mut query = world.query(&[]).await;
    query.offset = query
        .planner
        .latest_offset(&query.offset)
        .await
        .expect("planned")
        .expect("news");
    assert_exact(&query.rows(100).await, "r", 0..100);
}

#[tokio::test]
async fn old_claims_are_removed() {
    let world = World::with_shards(1).await;
    world.put("r", 0..40).await;
    let options = [
        ("kinesis.maxFetchRecordsPerShard", "1"),
        ("kinesis.minBatchesToRetain", "5"),
    ];
    let mut query = world.query(&options).await;
    query.rows(40).await;
    let source = std::fs::read_dir(world.checkpoint.path().join("claims"))
        .expect("claims")
        .next();
    let batches = std::fs::read_dir(source.expect("one source").expect("an entry").path()).expect("batches");
    let count = batches.count();
    assert!((5..=15).contains(&count), "{count} batches kept");
}

#[tokio::test]
async fn a_split_with_a_backlog_loses_nothing_and_keeps_order() {
    let world = World::with_shards(2).await;
    world.put("r", 0..800).await;
    world.split(SHARD_0).await;
    world.put("r", 800..1_000).await;
    let mut query = world.query(&[("kinesis.maxFetchRecordsPerShard", "100")]).await;
    assert_exact(&query.rows(1_000).await, "r", 0..1_000);
}

#[tokio::test]
async fn a_merge_of_two_backlogs_loses_nothing_and_keeps_order() {
    let world = World::with_shards(2).await;
    world.put("r", 0..800).await;
    world.merge(SHARD_0, SHARD_1).await;
    world.put("r", 800..1_000).await;
    let mut query = world.query(&[("kinesis.maxFetchRecordsPerShard", "100")]).await;
    assert_exact(&query.rows(1_000).await, "r", 0..1_000);
}

#[tokio::test]
async fn generations_of_shards_while_the_query_runs_and_while_it_is_down() {
    let world = World::with_shards(1).await;
    let mut query = world.query(&[LATEST]).await;
    assert_eq!(query.batch().await.expect("a look"), None);
    world.put("r", 0..100).await;
    let mut rows = query.rows(100).await;
    world.split(SHARD_0).await;
    world.put("r", 100..200).await;
    world.split(SHARD_1).await;
    world.put("r", 200..300).await;
    rows.extend(query.rows(200).await);
    let offset = query.offset.clone();
    drop(query);
    world.merge("shardId-000000000003", "shardId-000000000004").await;
    world.put("r", 300..400).await;
    let mut restarted = world.query(&[LATEST]).await.from(&offset);
    rows.extend(restarted.rows(100).await);
    assert_exact(&rows, "r", 0..400);
}

#[tokio::test]
async fn a_closed_shard_without_records_makes_one_batch_that_keeps_its_children() {
    let world = World::with_shards(1).await;
    let mut query = world.query(&[]).await;
    assert_eq!(query.batch().await.expect("a look"), None);
    world.split(SHARD_0).await;
    assert_eq!(query.batch().await.expect("a look"), Some(Vec::new()));
    assert!(
        !query.offset.contains(SHARD_0) && query.offset.contains(SHARD_1),
        "{}",
        query.offset
    );
    for _ in 0..5 {
        assert_eq!(query.batch().await.expect("a look"), None);
    }
    world.put("r", 0..50).await;
    assert_exact(&query.rows(50).await, "r", 0..50);
    assert!(
        !query.offset.contains(SHARD_0),
        "the finished shard left the offset: {}",
        query.offset
    );
}

#[tokio::test]
async fn closed_shards_that_were_read_make_no_batch_after_a_restart() {
    let world = World::with_shards(1).await;
    world.put("r", 0..50).await;
    world.split(SHARD_0).await;
    world.put("r", 50..100).await;
    world.split(SHARD_1).await;
    world.put("r", 100..150).await;
    let mut query = world.query(&[]).await;
    assert_exact(&query.rows(150).await, "r", 0..150);
    let offset = query.offset.clone();
    drop(query);
    let mut restarted = world.query(&[]).await.from(&offset);
    for _ in 0..5 {
        assert_eq!(restarted.batch().await.expect("a look"), None);
    }
    world.put("r", 150..170).await;
    assert_exact(&restarted.rows(20).await, "r", 150..170);
    for closed in [SHARD_0, SHARD_1] {
        assert!(!restarted.offset.contains(closed), "{}", restarted.offset);
    }
}

async fn lose_a_shard(world: &World) -> String {
    world.put("r", 0..100).await;
    let mut query = world.query(&[("kinesis.maxFetchRecordsPerShard", "10")]).await;
    query.batch().await.expect("a batch").expect("rows");
    world.split(SHARD_0).await;
    world.put("late", 0..20).await;
    world.sandbox.forget_shard(STREAM, SHARD_0).expect("forgotten");
    query.offset
}

#[tokio::test]
async fn a_shard_that_expired_unread_fails_the_query_if_wanted() {
    let world = World::with_shards(1).await;
    let offset = lose_a_shard(&world).await;
    let mut query = world
        .query(&[("kinesis.failOnDataLoss", "true")])
        .await
        .from(&offset);
    let error = query.batch().await.expect_err("data was lost");
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    let shown = error.to_string();
    for part in [
        STREAM,
        SHARD_0,
        "position=AFTER ",
        "kinesis.failOnDataLoss",
        "retention",
    ] {
        assert!(shown.contains(part), "{part} in: {shown}");
    }
}

#[tokio::test]
async fn a_shard_that_expired_unread_is_counted_otherwise() {
    let world = World::with_shards(1).await;
    let offset = lose_a_shard(&world).await;
    let mut query = world.query(&[]).await.from(&offset);
    assert_exact(&query.rows(20).await, "late", 0..20);
    assert_eq!(query.planner.metrics()["lostShards"], "1");
}

#[tokio::test]
async fn available_now_reads_what_is_there_and_ends() {
    let world = World::with_shards(2).await;
    world.put("r", 0..2_000).await;
    let mut query = world.query(&[("kinesis.maxFetchRecordsPerShard", "300")]).await;
    query.planner.prepare_for_available_now();
    let mut rows = Vec::new();
    let mut batches = 0;
    while let Some(batch) = query.batch().await.expect("a batch") {
        rows.extend(batch);
        batches += 1;
    }
    assert_exact(&rows, "r", 0..2_000);
    assert!(batches >= 4, "{batches} batches");
}

#[tokio::test]
async fn available_now_goes_over_a_reshard_and_ends_at_once_on_an_empty_stream() {
    let world = World::with_shards(1).await;
    let mut empty = world.query(&[]).await;
    empty.planner.prepare_for_available_now();
    assert_eq!(empty.batch().await.expect("a look"), None);
    world.put("r", 0..300).await;
    world.split(SHARD_0).await;
    world.put("r", 300..400).await;
    world.split(SHARD_1).await;
    let mut query = world.query(&[]).await;
    query.planner.prepare_for_available_now();
    let mut rows = Vec::new();
    while let Some(batch) = query.batch().await.expect("a batch") {
        rows.extend(batch);
    }
    assert_exact(&rows, "r", 0..400);
}

#[tokio::test]
async fn a_batch_of_available_now_is_the_same_in_a_later_run() {
    let world = World::with_shards(2).await;
    // All records have one key: the other shard is idle and finished in this run.
    for number in (0..160).step_by(16) {
        world.put("r", number..number + 1).await;
    }
    let mut query = world.query(&[("kinesis.maxFetchRecordsPerShard", "4")]).await;
    query.planner.prepare_for_available_now();
    let rows = query.batch().await.expect("a batch").expect("rows");
    assert_eq!(rows.len(), 4);
    world.put("new", 0..32).await;
    let mut later = world.query(&[]).await.from(&query.offset);
    assert_eq!(later.run(query.offset.clone()).await.expect("again"), rows);
    let (new, old): (Vec<_>, Vec<_>) = later
        .rows(6 + 32)
        .await
        .into_iter()
        .partition(|row| row.data.starts_with("new"));
    assert_eq!(old.len(), 6);
    assert_exact(&new, "new", 0..32);
}

#[tokio::test]
async fn available_now_goes_over_a_reshard_of_a_batch_that_runs_again() {
    let world = World::with_shards(1).await;
    world.put("r", 0..100).await;
    let mut query = world.query(&[]).await;
    let rows = query.batch().await.expect("a batch").expect("rows");
    world.split(SHARD_0).await;
    world.put("r", 100..200).await;
    let mut restarted = world.query(&[]).await;
    restarted.planner.prepare_for_available_now();
    let mut again = restarted.run(query.offset).await.expect("runs again");
    assert_eq!(again, rows);
    while let Some(batch) = restarted.batch().await.expect("a batch") {
        again.extend(batch);
    }
    assert_exact(&again, "r", 0..200);
}

#[tokio::test]
async fn another_stream_or_a_successor_of_the_same_name_is_refused() {
    let world = World::with_shards(1).await;
    world.put("r", 0..10).await;
    let mut query = world.query(&[]).await;
    query.rows(10).await;
    let other = query
        .offset
        .replace("\"stream\":\"events\"", "\"stream\":\"orders\"");
    let error = query
        .planner
        .latest_offset(&other)
        .await
        .expect_err("another stream's");
    assert_eq!(error.kind(), ErrorKind::StreamChanged);
    assert!(error.to_string().contains("new checkpointLocation"), "{error}");
    let mut offset: serde_json::Value = serde_json::from_str(&query.offset).expect("json");
    offset["created"] = 1.into();
    let error = query
        .planner
        .latest_offset(&offset.to_string())
        .await
        .expect_err("a successor");
    assert_eq!(error.kind(), ErrorKind::StreamChanged);
    assert!(error.to_string().contains("deleted and made again"), "{error}");
}

#[tokio::test]
async fn a_missing_stream_and_a_closed_port_say_so() {
    let world = World::with_shards(1).await;
    let missing = world
        .try_query(&[("kinesis.streamName", "nowhere")])
        .await
        .map(|_| ())
        .expect_err("missing");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let shown = missing.to_string();
    assert!(
        shown.contains("nowhere") && shown.contains("requestId="),
        "{shown}"
    );
    let closed = [
        ("kinesis.endpointUrl", "http://127.0.0.1:1"),
        ("kinesis.clientNumRetries", "1"),
    ];
    let unreachable = world
        .try_query(&closed)
        .await
        .map(|_| ())
        .expect_err("unreachable");
    assert_eq!(unreachable.kind(), ErrorKind::Transport);
    assert!(
        unreachable.to_string().contains("kinesis.endpointUrl"),
        "{unreachable}"
    );
}

#[tokio::test]
async fn rejected_keys_are_an_access_error_without_the_secret() {
    let world = World::with_shards(1).await;
    world.sandbox.reject_key("AKIDTEST");
    let error = world.try_query(&[]).await.map(|_| ()).expect_err("rejected");
    assert_eq!(error.kind(), ErrorKind::Access);
    assert!(
        error.to_string().contains("UnrecognizedClientException"),
        "{error}"
    );
    assert!(!error.to_string().contains("secret\""), "{error}");
}

#[tokio::test]
async fn metrics_are_of_the_last_batch() {
    let world = World::with_shards(2).await;
    world.put("r", 10..60).await;
    let mut query = world.query(&[]).await;
    query.rows(50).await;
    let metrics = query.planner.metrics();
    let expected = BTreeMap::from([
        ("records", "50"),
        ("bytes", "150"),
        ("shardsRead", "2"),
        ("minMillisBehindLatest", "0"),
        ("maxMillisBehindLatest", "0"),
        ("avgMillisBehindLatest", "0"),
        ("maxFetchedMillisBehindLatest", "0"),
        ("numTotalShards", "2"),
        ("numClosedShards", "0"),
        ("throttles", "0"),
        ("retries", "0"),
        ("lostShards", "0"),
        ("lostPositions", "0"),
    ]);
    for (name, value) in expected {
        assert_eq!(metrics[name], value, "{name}");
    }
    assert_ne!(metrics["requests"], "0");
    // After a call without records, the metrics are zero.
    while query.batch().await.expect("a look").is_some() {}
    let idle = query.planner.metrics();
    for name in ["records", "bytes", "shardsRead", "requests"] {
        assert_eq!(idle[name], "0", "{name}");
    }
    assert!(!idle.contains_key("maxMillisBehindLatest"), "{idle:?}");
    assert_eq!(idle["numTotalShards"], "2");
    world.split("shardId-000000000000").await;
    world.put("r", 60..70).await;
    query.rows(10).await;
    while query.planner.metrics()["numTotalShards"] != "4" {
        query.batch().await.expect("a look");
    }
    assert_eq!(query.planner.metrics()["numClosedShards"], "1");
}

#[tokio::test]
async fn the_lag_is_that_of_the_rows_which_were_delivered() {
    for consumer in BOTH_CONSUMERS {
        let world = World::with_shards(1).await;
        world.sandbox.set_arrival_offset_ms(-60_000);
        world.put("r", 0..50).await;
        world.sandbox.set_arrival_offset_ms(0);
        let mut options = consumer.to_vec();
        options.push(("kinesis.maxFetchRecordsPerShard", "10"));
        let mut query = world.query(&options).await;
        for batch in 0..5 {
            assert_eq!(query.rows(10).await.len(), 10);
            let metrics = query.planner.metrics();
            let lag: i64 = metrics["maxMillisBehindLatest"].parse().expect("a number");
            // From the second batch on, all records are prefetched.
            assert_eq!(
                lag >= 60_000,
                batch < 4,
                "{consumer:?}, batch {batch}: {metrics:?}"
            );
            assert_eq!(metrics["avgMillisBehindLatest"], metrics["minMillisBehindLatest"]);
        }
        assert_eq!(
            query.planner.metrics()["maxMillisBehindLatest"],
            "0",
            "{consumer:?}"
        );
    }
}

#[tokio::test]
async fn bursts_are_a_batch_each_without_empty_ones_between() {
    let world = World::with_shards(2).await;
    let mut query = world.query(&[]).await;
    for burst in 0..5 {
        world.put("r", burst * 10..(burst + 1) * 10).await;
        let rows = query.rows(10).await;
        assert_exact(&rows, "r", burst * 10..(burst + 1) * 10);
        // A complete probe, which may take more than one call.
        let asked = world.sandbox.stats().calls("GetRecords");
        while world.sandbox.stats().calls("GetRecords") < asked + 2 {
            assert_eq!(query.batch().await.expect("a look"), None);
        }
    }
    assert_eq!(offset_batch(&query.offset), 5);
}
