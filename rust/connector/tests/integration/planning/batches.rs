//! Batches of a running query: what they hold, and their metrics.
use std::collections::BTreeMap;

use super::offset_batch;
use crate::support::{BOTH_CONSUMERS, World, assert_exact};

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
