//! Prefetching by a query's polling readers between its batches, against the sandbox.

use std::sync::Arc;

use crate::support::{LocalFiles, Query, Row, World, assert_exact, until};

const THIRTY: (&str, &str) = ("kinesis.maxFetchRecordsPerShard", "30");
const NO_PREFETCH: (&str, &str) = ("kinesis.prefetch.maxBytesPerShard", "1");

/// A stream with records 0 to 599, of which a response has at most twenty.
async fn backlog(shards: i32) -> World {
    let world = World::with_shards(shards).await;
    world.put("r", 0..600).await;
    world.sandbox.set_max_records_per_get(Some(20));
    world
}

fn calls(world: &World, operation: &str) -> u64 {
    world.sandbox.stats().calls(operation)
}

/// Waits for this number of GetRecords calls.
async fn asked(world: &World, gets: u64) {
    until(|| calls(world, "GetRecords") >= gets).await;
}

fn metric(query: &Query, name: &str) -> u64 {
    query.planner.metrics()[name].parse().expect("a number")
}

async fn batch(query: &mut Query) -> Vec<Row> {
    query.batch().await.expect("a batch").expect("rows")
}

/// Reads the backlog of a shard in twenty batches; returns the number of GetRecords and of GetShardIterator calls.
async fn cost(options: &[(&str, &str)]) -> [u64; 2] {
    let world = backlog(1).await;
    let mut query = world.query(options).await;
    assert_exact(&query.rows(600).await, "r", 0..600);
    ["GetRecords", "GetShardIterator"].map(|operation| calls(&world, operation))
}

#[tokio::test]
async fn a_backlog_costs_one_request_a_page_and_few_iterators() {
    let [gets, iterators] = cost(&[THIRTY]).await;
    // 600 records are thirty pages; the others are the driver's probe, with its own iterator, and the tip.
    assert!((31..=33).contains(&gets), "{gets} GetRecords");
    // A batch that begins before its first record is prefetched needs an iterator after the record before.
    assert!(iterators < 10, "{iterators} GetShardIterator");
    let [gets, iterators] = cost(&[THIRTY, NO_PREFETCH]).await;
    assert!(gets > 40, "{gets} GetRecords");
    assert!(iterators > 20, "{iterators} GetShardIterator");
}

#[tokio::test]
async fn progress_shows_what_was_fetched_ahead() {
    let world = backlog(1).await;
    let mut query = world.query(&[THIRTY]).await;
    assert_exact(&batch(&mut query).await, "r", 0..30);
    assert_eq!(metric(&query, "prefetchHits"), 0);
    let probes = metric(&query, "driverRequests");
    asked(&world, 31).await;
    let before = calls(&world, "GetRecords");
    assert_exact(&batch(&mut query).await, "r", 30..60);
    assert_eq!(metric(&query, "prefetchHits"), 1);
    assert!(metric(&query, "bufferedBytes") > 540 * 2);
    assert!(metric(&query, "requests") > 25, "those between the batches");
    assert_eq!(calls(&world, "GetRecords"), before, "all was there");
    assert_eq!(
        metric(&query, "driverRequests"),
        probes,
        "the driver didn't ask meanwhile"
    );
    assert!(!query.planner.metrics().contains_key("resubscriptions"));
    assert_exact(&query.rows(540).await, "r", 60..600);
}

#[tokio::test]
async fn it_ends_with_its_query() {
    let world = backlog(1).await;
    let mut query = world.query(&[THIRTY]).await;
    assert_exact(&batch(&mut query).await, "r", 0..30);
    asked(&world, 31).await;
    let opened = query
        .engine
        .open_planner(query.config.clone(), Arc::new(LocalFiles))
        .await;
    drop(std::mem::replace(&mut query.planner, opened.expect("opens")));
    assert_exact(&batch(&mut query).await, "r", 30..60);
    assert_eq!(metric(&query, "prefetchHits"), 0);
}

#[tokio::test]
async fn available_now_asks_no_shard_that_is_known_to_have_more() {
    let world = backlog(1).await;
    let mut query = world.query(&[THIRTY]).await;
    query.planner.prepare_for_available_now();
    assert_exact(&batch(&mut query).await, "r", 0..30);
    let probes = metric(&query, "driverRequests");
    assert_exact(&batch(&mut query).await, "r", 30..60);
    assert_exact(&batch(&mut query).await, "r", 60..90);
    assert_eq!(metric(&query, "driverRequests"), probes);
    // Later records may be read or not.
    assert_exact(&query.rows(510).await, "r", 90..600);
    while let Some(rows) = query.batch().await.expect("a look") {
        assert_eq!(rows, Vec::new());
    }
}

#[tokio::test]
async fn groups_of_shards_fetch_ahead_too() {
    let world = backlog(4).await;
    let mut query = world
        .query(&[
            ("kinesis.shardsPerTask", "3"),
            ("kinesis.maxFetchRecordsPerShard", "7"),
            // The first response ends with the first batch: the next one is requested before the next batch begins.
            ("kinesis.getRecords.fetchIntervalMs", "0"),
        ])
        .await;
    assert_exact(&query.rows(600).await, "r", 0..600);
    assert!(
        calls(&world, "GetShardIterator") <= 8,
        "{}",
        calls(&world, "GetShardIterator")
    );
}
