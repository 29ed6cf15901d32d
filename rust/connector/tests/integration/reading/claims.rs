//! Several attempts at a batch, and its claim.
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{after, memory, reader, report, task};
use crate::support::late::LateStore;
use crate::support::{Row, World, assert_exact, read_all};
use kinesis_connector::ErrorKind;
use kinesis_connector::claims::{Claim, ClaimStore};
use kinesis_connector::read::Backlog;
use kinesis_connector::stream::Position;

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
