//! Records that expire before they are read, and positions that the service has stopped accepting.

use std::sync::Arc;

use crate::support::{BOTH_CONSUMERS, LocalFiles, Query, Row, STREAM, World, assert_exact, read_all};
use kinesis_connector::{Engine, Error, ErrorKind};
use kinesis_sandbox::Trim;

const SHARD_0: &str = "shardId-000000000000";
const SHARD_1: &str = "shardId-000000000001";
const FAIL: (&str, &str) = ("kinesis.failOnDataLoss", "true");
const TEN: (&str, &str) = ("kinesis.maxFetchRecordsPerShard", "10");
/// Room for no records other than the batch's.
const NO_PREFETCH: (&str, &str) = ("kinesis.prefetch.maxBytesPerShard", "1");

/// A stream of one shard with the records 0 to 99, and a query that has read the first ten.
async fn ten_of_a_hundred(options: &[(&str, &str)]) -> (World, Query, Vec<Row>) {
    let world = World::with_shards(1).await;
    world.hasten_subscriptions();
    world.put("r", 0..100).await;
    let mut query = world.query(&[&[TEN, NO_PREFETCH], options].concat()).await;
    let rows = query.batch().await.expect("a batch").expect("rows");
    assert_exact(&rows, "r", 0..10);
    (world, query, rows)
}

/// Expires records of a shard.
fn trim(world: &World, records: Trim) {
    world
        .sandbox
        .trim(STREAM, Some(SHARD_0), records)
        .expect("trimmed");
}

/// Expires records up to the one with this number.
async fn trim_through(world: &World, number: usize) {
    let wanted = format!("r{number}");
    let (_, sequence_number) = world
        .records(SHARD_0)
        .await
        .into_iter()
        .find(|(data, _)| *data == wanted)
        .expect("the record");
    trim(world, Trim::UpTo(sequence_number));
}

fn lost_positions(query: &Query) -> String {
    query.planner.metrics()["lostPositions"].clone()
}

fn assert_names_the_loss(error: &Error, last_read: &Row) {
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::DataLoss, false));
    let shown = error.to_string();
    let position = format!("position=AFTER {}", last_read.sequence_number);
    for part in [
        "have expired, or may have",
        "retention",
        "set kinesis.failOnDataLoss to false",
        &format!("stream={STREAM}"),
        &format!("shard={SHARD_0}"),
        &position,
    ] {
        assert!(shown.contains(part), "{part} in: {shown}");
    }
}

#[tokio::test]
async fn records_that_expire_between_two_batches_fail_the_query_if_wanted() {
    let (world, mut query, rows) = ten_of_a_hundred(&[FAIL]).await;
    trim_through(&world, 29).await;
    let error = query.batch().await.expect_err("records 10 to 29 are gone");
    assert_names_the_loss(&error, &rows[9]);
}

#[tokio::test]
async fn records_that_expire_between_two_batches_are_counted_otherwise() {
    let (world, mut query, _) = ten_of_a_hundred(&[]).await;
    trim_through(&world, 29).await;
    assert_exact(&query.rows(70).await, "r", 30..100);
    assert_eq!(lost_positions(&query), "1");
    world.put("r", 100..110).await;
    assert_exact(&query.rows(10).await, "r", 100..110);
    assert_eq!(lost_positions(&query), "1");
}

/// The task as it would be after waiting for more than a day since the tip was seen.
fn a_day_later(task: &str) -> String {
    let mut task: serde_json::Value = serde_json::from_str(task).expect("json");
    let seen = task["tipSeenAt"].as_i64().expect("the tip was seen");
    task["tipSeenAt"] = (seen - 25 * 3_600_000).into();
    task.to_string()
}

#[tokio::test]
async fn records_that_expire_while_a_task_waits_for_an_executor_fail_the_query_if_wanted() {
    for consumer in BOTH_CONSUMERS {
        let world = World::with_shards(1).await;
        world.hasten_subscriptions();
        world.put("r", 0..10).await;
        let mut query = world.query(&[&[FAIL], consumer].concat()).await;
        let mut last = query.rows(10).await.pop().expect("a row");
        // A probe or a batch sees the tip; then records arrive, and a batch is planned from there.
        while let Some(rows) = query.batch().await.expect("a batch") {
            last = rows.into_iter().next_back().unwrap_or(last);
        }
        world.put("r", 10..30).await;
        let offset = loop {
            let next = query.planner.latest_offset(&query.offset).await;
            if let Some(offset) = next.expect("a look") {
                break offset;
            }
        };
        let tasks = query.planner.partitions(&offset).expect("tasks");
        trim_through(&world, 19).await;
        // A new executor finally runs the task.
        let (engine, task) = (Engine::new(), a_day_later(&tasks[0]));
        let reader = engine.open_reader(query.config.clone(), &task, Arc::new(LocalFiles));
        let error = read_all(&reader.expect("a reader"))
            .await
            .expect_err("records 10 to 19 are gone");
        assert_names_the_loss(&error, &last);
    }
}

#[tokio::test]
async fn records_that_expire_while_the_query_is_down_fail_it_if_wanted() {
    for consumer in BOTH_CONSUMERS {
        let (world, query, rows) = ten_of_a_hundred(consumer).await;
        let offset = query.offset;
        trim_through(&world, 29).await;
        let mut restarted = world
            .query(&[&[TEN, FAIL], consumer].concat())
            .await
            .from(&offset);
        let error = restarted.batch().await.expect_err("records 10 to 29 are gone");
        assert_names_the_loss(&error, &rows[9]);
        let mut going_on = world.query(&[&[TEN], consumer].concat()).await.from(&offset);
        assert_exact(&going_on.rows(70).await, "r", 30..100);
        assert_eq!(lost_positions(&going_on), "1");
    }
}

#[tokio::test]
async fn a_backlog_that_is_all_there_costs_no_record_and_no_loss() {
    let (world, mut query, _) = ten_of_a_hundred(&[FAIL]).await;
    let before = world.sandbox.stats().operations["GetRecords"].calls;
    let rows = query.batch().await.expect("a batch").expect("rows");
    assert_exact(&rows, "r", 10..20);
    let metrics = query.planner.metrics();
    assert_eq!((&*metrics["records"], &*metrics["bytes"]), ("10", "30"));
    assert_eq!(
        world.sandbox.stats().operations["GetRecords"].calls,
        before + 1,
        "the record before the batch comes along with the others"
    );
    let offset = query.offset.clone();
    drop(query);
    let mut restarted = world.query(&[FAIL]).await.from(&offset);
    assert_exact(&restarted.rows(80).await, "r", 20..100);
    assert_eq!(lost_positions(&restarted), "0");
}

#[tokio::test]
async fn a_loss_is_found_behind_empty_answers_too() {
    let (world, mut query, rows) = ten_of_a_hundred(&[FAIL]).await;
    world.sandbox.answer_empty(3);
    assert_exact(&query.batch().await.expect("a batch").expect("rows"), "r", 10..20);
    let offset = query.offset.clone();
    trim_through(&world, 49).await;
    world.sandbox.answer_empty(3);
    let error = query.run(next(&query).await).await.expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    assert!(
        !error.to_string().contains(&rows[9].sequence_number),
        "{error}: {offset}"
    );
}

/// Offset of the next batch, without reading it.
async fn next(query: &Query) -> String {
    let planned = query.planner.latest_offset(&query.offset).await;
    planned.expect("planned").expect("news")
}

#[tokio::test]
async fn records_that_were_read_may_expire() {
    for consumer in BOTH_CONSUMERS {
        let world = World::with_shards(1).await;
        world.hasten_subscriptions();
        world.put("r", 0..10).await;
        let mut query = world.query(&[&[FAIL], consumer].concat()).await;
        query.rows(10).await;
        // The shard's tip was seen in this run, so no unread record can have expired.
        trim(&world, Trim::All);
        world.put("r", 10..20).await;
        assert_exact(&query.rows(10).await, "r", 10..20);
        assert_eq!(lost_positions(&query), "0");
        let offset = query.offset.clone();
        drop(query);
        // A restart that finds no record continues without a warning.
        trim(&world, Trim::All);
        let mut restarted = world.query(&[&[FAIL], consumer].concat()).await.from(&offset);
        assert_eq!(restarted.batch().await.expect("a look"), None);
        world.put("r", 20..30).await;
        assert_exact(&restarted.rows(10).await, "r", 20..30);
        assert_eq!(lost_positions(&restarted), "0");
    }
}

#[tokio::test]
async fn a_batch_that_runs_again_counts_a_loss_once_and_keeps_its_end() {
    let (world, mut query, _) = ten_of_a_hundred(&[]).await;
    let offset = next(&query).await;
    assert_exact(&query.run(offset.clone()).await.expect("runs"), "r", 10..20);
    trim_through(&world, 14).await;
    for _ in 0..2 {
        assert_exact(&query.run(offset.clone()).await.expect("runs again"), "r", 15..20);
    }
    assert_eq!(lost_positions(&query), "1");
    trim_through(&world, 29).await;
    assert_eq!(query.run(offset).await.expect("runs again"), Vec::new());
    assert_exact(&query.rows(70).await, "r", 30..100);
    assert_eq!(
        lost_positions(&query),
        "2",
        "the next batch starts with a gap, too"
    );
}

/// An offset that puts a shard after a record of another shard.
async fn misplaced(world: &World, query: &Query) -> String {
    world.split(SHARD_0).await;
    world.put("child", 0..16).await;
    let (_, foreign) = world.records(SHARD_1).await.remove(0);
    let mut offset: serde_json::Value = serde_json::from_str(&next(query).await).expect("json");
    offset["shards"][SHARD_0] = format!("AFTER {foreign}").into();
    offset.to_string()
}

#[tokio::test]
async fn a_sequence_number_that_the_service_refuses_is_a_lost_position() {
    for consumer in BOTH_CONSUMERS {
        let (world, query, _) = ten_of_a_hundred(consumer).await;
        let offset = misplaced(&world, &query).await;
        let mut failing = world.query(&[&[FAIL], consumer].concat()).await;
        let error = failing.run(offset.clone()).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::DataLoss);
        let shown = error.to_string();
        for part in [
            "can't be read on from where the query stood",
            "InvalidArgumentException",
            "set kinesis.failOnDataLoss to false",
            &format!("shard={SHARD_0}"),
            "position=AFTER ",
        ] {
            assert!(shown.contains(part), "{part} in: {shown}");
        }
        let mut going_on = world.query(consumer).await;
        assert_exact(&going_on.run(offset).await.expect("goes on"), "r", 0..100);
        assert_eq!(lost_positions(&going_on), "1");
        assert_exact(&going_on.rows(16).await, "child", 0..16);
    }
}

#[tokio::test]
async fn a_driver_that_probes_from_a_refused_position_leaves_it_to_a_reader() {
    let (world, query, _) = ten_of_a_hundred(&[]).await;
    let offset = misplaced(&world, &query).await;
    // The batch that starts there was never read.
    let mut restarted = world.query(&[]).await.from(&offset);
    let mut rows = restarted.rows(100).await;
    rows.retain(|row| row.data.starts_with('r'));
    assert_exact(&rows, "r", 0..100);
    assert!(!restarted.offset.contains(SHARD_1) || restarted.offset.contains("TRIM_HORIZON"));
}

#[tokio::test]
async fn a_batch_in_flight_whose_shard_is_gone_goes_on_with_the_shards_that_follow() {
    for consumer in BOTH_CONSUMERS {
        let (world, query, rows) = ten_of_a_hundred(consumer).await;
        let in_flight = next(&query).await;
        world.split(SHARD_0).await;
        world.put("child", 0..20).await;
        world.sandbox.forget_shard(STREAM, SHARD_0).expect("forgotten");
        let mut failing = world.query(&[&[FAIL], consumer].concat()).await;
        let error = failing.run(in_flight.clone()).await.expect_err("gone");
        assert_eq!(error.kind(), ErrorKind::DataLoss);
        let shown = error.to_string();
        let position = format!("position=AFTER {}", rows[9].sequence_number);
        for part in [
            "doesn't have the shard any more",
            "set kinesis.failOnDataLoss to false",
            &format!("stream={STREAM}"),
            &format!("shard={SHARD_0}"),
            &position,
        ] {
            assert!(shown.contains(part), "{part} in: {shown}");
        }
        let mut going_on = world.query(consumer).await;
        assert_eq!(going_on.run(in_flight).await.expect("goes on"), Vec::new());
        assert_eq!(lost_positions(&going_on), "1");
        assert_exact(&going_on.rows(20).await, "child", 0..20);
    }
}

#[tokio::test]
async fn a_stream_that_is_gone_is_no_lost_shard() {
    for consumer in BOTH_CONSUMERS {
        let (world, query, _) = ten_of_a_hundred(consumer).await;
        let in_flight = next(&query).await;
        let mut restarted = world.query(consumer).await;
        world
            .client
            .delete_stream()
            .stream_name(STREAM)
            .enforce_consumer_deletion(true)
            .send()
            .await
            .expect("deleted");
        let error = restarted.run(in_flight).await.expect_err("no stream");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("Check the stream's name"), "{error}");
    }
}

#[tokio::test]
async fn iterators_that_expire_between_two_batches_are_renewed() {
    let world = World::with_shards(2).await;
    world.put("r", 0..20).await;
    let mut query = world.query(&[FAIL]).await;
    query.rows(20).await;
    for round in 1..4 {
        world.sandbox.expire_iterators();
        world.put("r", round * 20..(round + 1) * 20).await;
        assert_exact(&query.rows(20).await, "r", round * 20..(round + 1) * 20);
    }
    assert_eq!(lost_positions(&query), "0");
}
