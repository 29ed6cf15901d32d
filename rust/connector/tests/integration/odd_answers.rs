//! Responses of the service that are odd, late or wrong once, and drivers that probe rarely: no record is lost or
//! repeated, and no query stalls.

use std::sync::Arc;

use crate::support::altered::{Altered, service};
use crate::support::{LocalFiles, PATIENCE, Query, Row, SHARD_0, STREAM, World, assert_exact, fault};
use kinesis_connector::ErrorKind;
use kinesis_connector::claims::backends::memory::MemoryStore;
use kinesis_connector::plan::Planner;
use kinesis_connector::service::KinesisApi;
use kinesis_connector::stream::Offset;
use serde_json::json;

const SHARD_1: &str = "shardId-000000000001";
const SHARD_2: &str = "shardId-000000000002";

/// One run of a query with `Trigger.Once`: a new process, one call and one batch.
async fn run_once(world: &World, offset: &mut Option<String>) -> Vec<Row> {
    let mut query = world.query(&[]).await;
    if let Some(kept) = offset.take() {
        query = query.from(&kept);
    }
    let rows = query.batch().await.expect("a batch").unwrap_or_default();
    *offset = Some(query.offset.clone());
    rows
}

#[tokio::test]
async fn a_live_shard_that_is_not_found_once_is_read_on() {
    for operation in ["GetRecords", "GetShardIterator"] {
        let world = World::with_shards(1).await;
        world.put("r", 0..200).await;
        let options = [("kinesis.maxFetchRecordsPerShard", "50")];
        let mut query = world.query(&options).await;
        let mut rows = query.rows(50).await;
        // First the driver's probe, then the readers' calls.
        world.knobs(fault(operation, "ResourceNotFoundException", 2));
        let mut restarted = world.query(&options).await.from(&query.offset);
        rows.extend(restarted.rows(150).await);
        assert_exact(&rows, "r", 0..200);
        assert_eq!(restarted.planner.metrics()["lostPositions"], "0", "{operation}");
        assert!(!restarted.offset.contains("SHARD_END"), "{}", restarted.offset);
    }
}

#[tokio::test]
async fn a_position_that_is_refused_once_is_no_loss() {
    let world = World::with_shards(1).await;
    world.put("r", 0..100).await;
    let options = [
        ("kinesis.maxFetchRecordsPerShard", "50"),
        ("kinesis.failOnDataLoss", "true"),
    ];
    let mut query = world.query(&options).await;
    let mut rows = query.rows(50).await;
    let mut restarted = world.query(&options).await.from(&query.offset);
    world.knobs(fault("GetShardIterator", "InvalidArgumentException", 2));
    rows.extend(restarted.rows(50).await);
    assert_exact(&rows, "r", 0..100);
}

#[tokio::test]
async fn an_open_shard_has_no_end() {
    let world = World::with_shards(1).await;
    world.put("r", 0..50).await;
    let config = world.config(&[]);
    let api: Arc<dyn KinesisApi> = Arc::new(Altered::new(service(&config).await).with_false_ends(3));
    let files = Arc::new(LocalFiles);
    let store = Arc::new(MemoryStore::default());
    let planner = Planner::on(api.clone(), store.clone(), config.clone(), files).await;
    let planner = planner.expect("opens");
    let offset = planner.initial_offset().await.expect("an offset");
    let mut rows = Vec::new();
    let planned = planner
        .latest_offset(&offset)
        .await
        .expect("a look")
        .expect("news");
    for task in planner.partitions(&planned).expect("tasks") {
        let task = kinesis_connector::read::TaskPlan::from_json(&task).expect("a task");
        let reader =
            kinesis_connector::read::ShardReader::on(api.clone(), store.clone(), &config.options, task);
        rows.extend(crate::support::read_all(&reader).await.expect("rows"));
        let report = reader.finish(true).await.expect("ended").expect("a report");
        assert!(report.contains("AFTER"), "{report}");
    }
    assert_exact(&rows, "r", 0..50);
}

#[tokio::test]
async fn a_shard_that_ended_and_is_open_is_named() {
    let world = World::with_shards(1).await;
    world.put("r", 0..50).await;
    let mut query = world.query(&[]).await;
    query.rows(50).await;
    let mut offset = Offset::from_json(&query.offset).expect("ours");
    offset.batch += 1;
    for position in offset.shards.values_mut() {
        *position = "SHARD_END".parse().expect("a position");
    }
    let restarted = world.query(&[]).await;
    let planned = restarted
        .planner
        .latest_offset(&offset.to_json().expect("writes"))
        .await;
    let error = planned.expect_err("a contradiction");
    assert_eq!(error.kind(), ErrorKind::CorruptCheckpoint, "{error}");
    assert!(
        error.to_string().contains(SHARD_0) && error.message().contains("AT_TIMESTAMP"),
        "{error}"
    );
}

#[tokio::test]
async fn a_run_with_one_batch_gets_through_shards_without_records() {
    let world = World::with_shards(1).await;
    world.split(SHARD_0).await;
    world.split(SHARD_1).await;
    world.split(SHARD_2).await;
    world.put("r", 0..100).await;
    let mut offset = None;
    assert_exact(&run_once(&world, &mut offset).await, "r", 0..100);
    assert_eq!(run_once(&world, &mut offset).await, [], "nothing new");
    let kept = offset.clone();
    for shard in 3..=6 {
        world.split(&format!("shardId-{shard:012}")).await;
    }
    assert_eq!(run_once(&world, &mut offset).await, [], "the old shards end");
    assert_ne!(offset, kept, "the batch keeps the new ones");
    world.put("r", 100..200).await;
    assert_exact(&run_once(&world, &mut offset).await, "r", 100..200);
}

#[tokio::test]
async fn a_run_with_one_batch_waits_for_children_that_are_listed_late() {
    let world = World::with_shards(1).await;
    let mut offset = None;
    run_once(&world, &mut offset).await;
    world.split(SHARD_0).await;
    world.put("r", 0..50).await;
    world.knobs(json!({"listings": [{"stream": STREAM, "show": "without_newest", "count": 3}]}));
    assert_exact(&run_once(&world, &mut offset).await, "r", 0..50);
}

#[tokio::test]
async fn triggers_longer_than_an_iterator_lives_find_every_record() {
    let world = World::with_shards(1).await;
    world.put("r", 0..10).await;
    let mut query = world.query(&[]).await;
    query.rows(10).await;
    world.knobs(json!({"stretches": [{"stream": STREAM, "shard": SHARD_0, "answers": 5}]}));
    for trigger in 0..10 {
        world.knobs(json!({"expire_iterators": true}));
        let batch = query.batch().await.expect("a look");
        assert!(batch.unwrap_or_default().is_empty(), "trigger {trigger}");
    }
    world.put("r", 10..20).await;
    let mut rows = Vec::new();
    for _ in 0..3 {
        world.knobs(json!({"expire_iterators": true}));
        rows.extend(query.batch().await.expect("a look").unwrap_or_default());
    }
    assert_exact(&rows, "r", 10..20);
}

#[tokio::test]
async fn iterators_that_expire_again_and_again_end_no_probe() {
    let world = World::with_shards(1).await;
    world.put("r", 0..10).await;
    let mut query = world.query(&[]).await;
    query.rows(10).await;
    assert_eq!(query.batch().await.expect("a look"), None);
    world.put("r", 10..20).await;
    world.knobs(fault("GetRecords", "ExpiredIteratorException", 4));
    assert_exact(&query.rows(10).await, "r", 10..20);
}

#[tokio::test]
async fn a_run_for_what_is_there_ends_though_records_go_on_coming() {
    let world = World::with_shards(1).await;
    // The records of two batches, so that none of them reaches the tip.
    world.put("r", 0..20).await;
    let mut query = world.query(&[("kinesis.maxFetchRecordsPerShard", "10")]).await;
    query.planner.prepare_for_available_now();
    let mut put = 20;
    let running = async {
        while query.batch().await.expect("a batch").is_some() {
            world.put("r", put..put + 10).await;
            put += 10;
        }
    };
    tokio::time::timeout(PATIENCE, running).await.expect("it ends");
}

#[tokio::test]
async fn a_run_for_what_is_there_waits_for_children_that_are_listed_late() {
    let world = World::with_shards(1).await;
    world.put("r", 0..50).await;
    world.split(SHARD_0).await;
    world.put("r", 50..100).await;
    let mut query = world.query(&[]).await;
    query.planner.prepare_for_available_now();
    let mut rows = query.batch().await.expect("a batch").expect("rows");
    world.knobs(json!({"listings": [{"stream": STREAM, "show": "without_newest", "count": 2}]}));
    while let Some(more) = query.batch().await.expect("a batch") {
        rows.extend(more);
    }
    assert_exact(&rows, "r", 0..100);
}

#[tokio::test]
async fn a_stream_that_is_made_again_is_noticed() {
    for (records, expired) in [(50, false), (0, false), (50, true), (0, true)] {
        let world = World::with_shards(1).await;
        world.put("r", 0..records).await;
        let mut query = world.query(&[]).await;
        query.rows(records).await;
        assert_eq!(query.batch().await.expect("a look"), None);
        world
            .client
            .delete_stream()
            .stream_name(STREAM)
            .send()
            .await
            .expect("deleted");
        world
            .client
            .create_stream()
            .stream_name(STREAM)
            .shard_count(1)
            .send()
            .await
            .expect("made");
        world.put("new", 0..50).await;
        if expired {
            world.knobs(json!({"expire_iterators": true}));
        }
        let noticed = tokio::time::timeout(PATIENCE, noticed(&mut query)).await;
        let error = noticed.unwrap_or_else(|_| panic!("not in time: {records} records, expired: {expired}"));
        assert_eq!(
            error.kind(),
            ErrorKind::StreamChanged,
            "{records} {expired}: {error}"
        );
    }
}

/// The error with which one of the query's next batches fails.
async fn noticed(query: &mut Query) -> kinesis_connector::Error {
    loop {
        if let Err(error) = query.batch().await {
            return error;
        }
    }
}

#[tokio::test]
async fn a_listing_that_goes_back_repeats_nothing() {
    let world = World::with_shards(1).await;
    world.put("r", 0..50).await;
    world.split(SHARD_0).await;
    world.put("r", 50..100).await;
    let mut query = world.query(&[]).await;
    let mut rows = query.rows(100).await;
    world.knobs(json!({"listings": [{"stream": STREAM, "show": "before_reshard", "count": 2}]}));
    let mut restarted = world.query(&[]).await.from(&query.offset);
    world.put("r", 100..150).await;
    rows.extend(restarted.rows(50).await);
    for _ in 0..3 {
        rows.extend(restarted.batch().await.expect("a look").unwrap_or_default());
    }
    assert_exact(&rows, "r", 0..150);
    assert_eq!(restarted.planner.metrics()["lostShards"], "0");
}

#[tokio::test]
async fn probes_that_fail_for_a_while_end_no_query() {
    for error in ["throttle", "internal", "drop"] {
        let world = World::with_shards(1).await;
        world.put("r", 0..10).await;
        let mut query = world.query(&[]).await;
        query.rows(10).await;
        // More than the retries of one request.
        world.knobs(fault("GetRecords", error, 20));
        world.put("r", 10..20).await;
        assert_exact(&query.rows(10).await, "r", 10..20);
    }
}

#[tokio::test]
async fn nothing_new_is_reported_only_after_a_probe() {
    let world = World::with_shards(1).await;
    let mut query = world
        .query(&[("kinesis.getRecords.fetchIntervalMs", "500")])
        .await;
    for number in 0..3 {
        assert_eq!(query.batch().await.expect("a look"), None);
        world.put("r", number..number + 1).await;
        let rows = query
            .batch()
            .await
            .expect("a look")
            .expect("it was put before the call");
        assert_exact(&rows, "r", number..number + 1);
        // The next batch may be empty, because its readers also call the service.
        while query.batch().await.expect("a look").is_some() {}
    }
}

/// With the same iterator the service would refuse every further request, too.
#[tokio::test]
async fn an_iterator_that_is_refused_is_not_used_again() {
    let world = World::with_shards(1).await;
    let api = service(&world.config(&[("kinesis.clientNumRetries", "5")])).await;
    let (shard, counters) = (SHARD_0.into(), Arc::default());
    let start = kinesis_connector::stream::Position::TrimHorizon;
    let iterator = api
        .shard_iterator(&shard, &start, &counters)
        .await
        .expect("an iterator");
    api.get_records(&shard, &iterator, 10, &counters)
        .await
        .expect("a page");
    let before = world.sandbox.stats().calls("GetRecords");
    let nonsense = kinesis_connector::service::ShardIterator("nonsense".to_owned());
    let refused = api.get_records(&shard, &nonsense, 10, &counters).await;
    assert_eq!(refused.expect_err("refused").kind(), ErrorKind::InvalidRequest);
    assert_eq!(world.sandbox.stats().calls("GetRecords") - before, 1);
}

#[tokio::test]
async fn a_refusal_of_a_moment_ends_no_query() {
    for operation in ["GetRecords", "GetShardIterator"] {
        for error in [
            "AccessDeniedException",
            "KMSDisabledException",
            "ValidationException",
        ] {
            let world = World::with_shards(1).await;
            world.put("r", 0..10).await;
            let mut query = world.query(&[]).await;
            query.rows(10).await;
            assert_eq!(query.batch().await.expect("a look"), None);
            // More than a call is repeated, and than a probe requests iterators.
            world.knobs(fault(operation, error, 8));
            if operation == "GetShardIterator" {
                world.knobs(json!({"expire_iterators": true}));
            }
            world.put("r", 10..20).await;
            assert_exact(&query.rows(10).await, "r", 10..20);
        }
    }
}
