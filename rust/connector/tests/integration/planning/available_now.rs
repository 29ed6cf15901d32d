//! `Trigger.AvailableNow`.
use super::{SHARD_0, SHARD_1};
use crate::support::{World, assert_exact};

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
