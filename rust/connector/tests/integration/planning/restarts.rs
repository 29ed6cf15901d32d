//! Restarts of a query, and batches that run again.
use super::{LATEST, half};
use crate::support::{BOTH_CONSUMERS, Row, World, assert_exact};

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
