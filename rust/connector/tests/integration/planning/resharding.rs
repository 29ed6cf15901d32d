//! Shards that split, merge, end and expire.
use super::{LATEST, SHARD_0, SHARD_1};
use crate::support::{STREAM, World, assert_exact};
use kinesis_connector::ErrorKind;

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
