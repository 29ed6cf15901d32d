//! Batches of pushed records: their limits, restarts and second reads.
use super::{calls, consumers, query, rows, world};
use crate::support::{PATIENCE, assert_exact, read_all};
use serde_json::json;

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
