//! Listings and single responses that fail, are late or wrong when a query starts, resumes or reads: no record is
//! lost, and no query ends.

use std::sync::Arc;

use crate::support::altered::{Altered, service};
use crate::support::{LocalFiles, PATIENCE, SHARD_0, STREAM, World, assert_exact, fault};
use kinesis_connector::claims::backends::memory::MemoryStore;
use kinesis_connector::plan::Planner;
use kinesis_connector::service::KinesisApi;
use serde_json::json;

/// A fault of calls that concern no shard.
fn stream_fault(operation: &str, error: &str, count: u32) -> serde_json::Value {
    json!({"faults": [{"operation": operation, "error": error, "count": count, "stream": STREAM}]})
}

/// Like `probes_that_fail_for_a_while_end_no_query`, for the listing that should show the children of a closed shard.
#[tokio::test]
async fn listings_that_fail_for_a_while_end_no_query() {
    for error in ["throttle", "internal", "drop"] {
        let world = World::with_shards(1).await;
        world.put("r", 0..10).await;
        let mut query = world.query(&[]).await;
        query.rows(10).await;
        world.split(SHARD_0).await;
        world.put("r", 10..20).await;
        // More than the retries of one request.
        world.knobs(stream_fault("ListShards", error, 20));
        let rows = tokio::time::timeout(PATIENCE, query.rows(10)).await;
        assert_exact(&rows.expect("in time"), "r", 10..20);
    }
}

#[tokio::test]
async fn a_listing_that_fails_for_a_while_ends_no_query_at_its_start() {
    let world = World::with_shards(1).await;
    world.put("r", 0..10).await;
    let mut query = world.query(&[]).await;
    query.rows(10).await;
    world.put("r", 10..20).await;
    let mut restarted = world.query(&[]).await.from(&query.offset);
    world.knobs(stream_fault("ListShards", "internal", 20));
    let rows = tokio::time::timeout(PATIENCE, restarted.rows(10)).await;
    assert_exact(&rows.expect("in time"), "r", 10..20);
}

/// The listing or the description of an existing stream fails once with "not found".
#[tokio::test]
async fn a_live_stream_that_is_not_found_once_ends_no_query() {
    // Also together with "not found" for the shard's call that leads to the listing.
    for also in [None, Some("GetRecords")] {
        let world = World::with_shards(1).await;
        world.put("r", 0..10).await;
        let mut query = world.query(&[]).await;
        query.rows(10).await;
        world.split(SHARD_0).await;
        world.put("r", 10..20).await;
        if let Some(operation) = also {
            world.knobs(fault(operation, "ResourceNotFoundException", 1));
        }
        world.knobs(stream_fault("ListShards", "ResourceNotFoundException", 1));
        let rows = tokio::time::timeout(PATIENCE, query.rows(10)).await;
        assert_exact(&rows.expect("in time"), "r", 10..20);
    }
}

/// A refused position, and a description that fails temporarily: the probe has no result, and the query continues.
#[tokio::test]
async fn a_refusal_while_the_stream_can_not_be_described_ends_no_query() {
    let world = World::with_shards(1).await;
    world.put("r", 0..10).await;
    let mut query = world.query(&[]).await;
    query.rows(10).await;
    world.put("r", 10..20).await;
    let mut restarted = world.query(&[]).await.from(&query.offset);
    world.knobs(fault("GetShardIterator", "InvalidArgumentException", 1));
    // The number of tries of one request.
    world.knobs(stream_fault("DescribeStreamSummary", "internal", 6));
    let rows = tokio::time::timeout(PATIENCE, restarted.rows(10)).await;
    assert_exact(&rows.expect("in time"), "r", 10..20);
}

/// A stream of two shards, the first of which has been split, and a start position just after the split.
async fn just_split() -> (World, String) {
    let world = World::with_shards(2).await;
    world.split(SHARD_0).await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    // A time after the parent was closed, so that a listing from then on shows only its children.
    let start = chrono::Utc::now() - chrono::Duration::milliseconds(10);
    let start = format!(
        "AT_TIMESTAMP {}",
        start.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    );
    (world, start)
}

/// The children are missing in more than five listings, and are read all the same.
#[tokio::test]
async fn a_start_just_after_a_split_waits_for_the_children_that_are_listed_late() {
    let (world, start) = just_split().await;
    world.knobs(json!({"listings": [{"stream": STREAM, "show": "without_newest", "count": 10}]}));
    let mut query = world.query(&[("kinesis.startingPosition", start.as_str())]).await;
    world.put("r", 0..160).await;
    let rows = tokio::time::timeout(PATIENCE, query.rows(160)).await;
    assert_exact(&rows.expect("every shard's rows"), "r", 0..160);
}

/// One listing lags at the start, and shards are listed rarely: the start must not take an hour.
#[tokio::test]
async fn a_start_just_after_a_split_is_soon_though_shards_are_listed_rarely() {
    let (world, start) = just_split().await;
    world.knobs(json!({"listings": [{"stream": STREAM, "show": "without_newest", "count": 1}]}));
    let options = [
        ("kinesis.startingPosition", start.as_str()),
        ("kinesis.describeShardInterval", "1h"),
    ];
    let mut query = world.query(&options).await;
    world.put("r", 0..160).await;
    let rows = tokio::time::timeout(PATIENCE, query.rows(160)).await;
    assert_exact(&rows.expect("the rows in time"), "r", 0..160);
}

/// Records that were in the parent before the start are not part of the query, however incomplete the start's listing
/// was. A later listing shows the parent as an unknown shard, which must not be read from its oldest record.
#[tokio::test]
async fn a_restart_after_an_incomplete_start_delivers_nothing_of_before_it() {
    let world = World::with_shards(2).await;
    world.put("old", 0..50).await;
    world.split(SHARD_0).await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let start = chrono::Utc::now() - chrono::Duration::milliseconds(10);
    let start = format!(
        "AT_TIMESTAMP {}",
        start.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    );
    world.knobs(json!({"listings": [{"stream": STREAM, "show": "without_newest", "count": 10}]}));
    let options = [("kinesis.startingPosition", start.as_str())];
    let mut query = world.query(&options).await;
    world.put("r", 0..160).await;
    let mut rows = query.batch().await.expect("a batch").expect("rows");
    let mut restarted = world.query(&options).await.from(&query.offset);
    let reading = async {
        while rows.iter().filter(|row| row.data.starts_with('r')).count() < 160 {
            rows.extend(restarted.batch().await.expect("a batch").unwrap_or_default());
        }
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("the rows in time");
    assert_exact(&rows, "r", 0..160);
}

#[tokio::test]
async fn a_closed_shard_with_a_backlog_does_not_end_at_one_answer() {
    let world = World::with_shards(1).await;
    world.put("r", 0..100).await;
    world.split(SHARD_0).await;
    world.sandbox.set_max_records_per_get(Some(20));
    let config = world.config(&[]);
    // First the driver's probe, which finds records, then the reader's call.
    let api: Arc<dyn KinesisApi> = Arc::new(Altered::new(service(&config).await).with_false_ends(2));
    let store = Arc::new(MemoryStore::default());
    let planner = Planner::on(api.clone(), store.clone(), config.clone(), Arc::new(LocalFiles)).await;
    let planner = planner.expect("opens");
    let mut offset = planner.initial_offset().await.expect("an offset");
    let mut rows = Vec::new();
    while let Some(planned) = planner.latest_offset(&offset).await.expect("a look") {
        for task in planner.partitions(&planned).expect("tasks") {
            let task = kinesis_connector::read::TaskPlan::from_json(&task).expect("a task");
            let reader =
                kinesis_connector::read::ShardReader::on(api.clone(), store.clone(), &config.options, task);
            rows.extend(crate::support::read_all(&reader).await.expect("rows"));
            let report = reader.finish(true).await.expect("ended").expect("a report");
            planner.report(&report).expect("reported");
        }
        offset = planned;
    }
    assert_exact(&rows, "r", 0..100);
}

#[tokio::test]
async fn an_iterator_that_is_called_invalid_once_is_renewed() {
    // The driver's probe, and the reader's call that follows it.
    for count in [1, 2] {
        let world = World::with_shards(1).await;
        world.put("r", 0..10).await;
        let mut query = world.query(&[]).await;
        query.rows(10).await;
        assert_eq!(query.batch().await.expect("a look"), None);
        world.put("r", 10..20).await;
        world.knobs(fault("GetRecords", "InvalidArgumentException", count));
        let rows = tokio::time::timeout(PATIENCE, query.rows(10)).await;
        assert_exact(&rows.expect("in time"), "r", 10..20);
    }
}

/// A position is refused once, and the reader's check meets a listing that goes back.
#[tokio::test]
async fn a_refusal_beside_a_listing_that_goes_back_fails_no_task() {
    let world = World::with_shards(1).await;
    world.put("r", 0..50).await;
    world.split(SHARD_0).await;
    world.put("r", 50..100).await;
    let options = [("kinesis.maxFetchRecordsPerShard", "20")];
    let mut query = world.query(&options).await;
    let mut rows = query.rows(60).await;
    let mut restarted = world.query(&options).await.from(&query.offset);
    let planned = restarted.planner.latest_offset(&query.offset).await;
    let planned = planned.expect("a look").expect("news");
    world.knobs(json!({
        "faults": [{"operation": "GetShardIterator", "error": "InvalidArgumentException", "count": 1, "stream": STREAM}],
        "listings": [{"stream": STREAM, "show": "before_reshard", "count": 1}]
    }));
    rows.extend(restarted.run(planned).await.expect("no failed task"));
    rows.extend(restarted.rows(100 - rows.len()).await);
    assert_exact(&rows, "r", 0..100);
}
