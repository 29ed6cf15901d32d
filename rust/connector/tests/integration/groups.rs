//! Tasks of several shards against the sandbox: one claim for all, and the rules of claims for each shard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::support::late::LateStore;
use crate::support::{Query, Row, World, assert_exact, read_all};
use kinesis_connector::ErrorKind;
use kinesis_connector::claims::backends::memory::MemoryStore;
use kinesis_connector::claims::{Claim, ClaimStore};
use kinesis_connector::read::{ReadTask, ShardReader, ShardReport, TaskPlan};
use kinesis_connector::service::{AwsKinesis, KinesisApi};
use kinesis_connector::stream::{Position, ShardId};

const SHARDS: [&str; 3] = [
    "shardId-000000000000",
    "shardId-000000000001",
    "shardId-000000000002",
];

fn task(shard: &str) -> ReadTask {
    ReadTask::new("q", 1, shard.into(), Position::TrimHorizon)
}

fn plan() -> TaskPlan {
    TaskPlan::new(SHARDS.map(task).to_vec()).expect("a plan")
}

async fn reader<S>(
    world: &World,
    store: &Arc<S>,
    plan: impl Into<TaskPlan>,
    options: &[(&str, &str)],
) -> ShardReader
where
    S: ClaimStore + 'static,
{
    let options = world.config(options).options;
    let client = AwsKinesis::connect(&options.access, options.stream.clone(), options.client_retry).await;
    let api: Arc<dyn KinesisApi> = Arc::new(client.expect("a client"));
    ShardReader::on(api, store.clone(), &options, plan)
}

fn memory() -> Arc<MemoryStore> {
    Arc::default()
}

/// All rows, by shard.
async fn rows_by_shard(world: &World) -> [Vec<Row>; 3] {
    let mut rows = [Vec::new(), Vec::new(), Vec::new()];
    for (shard, rows) in SHARDS.iter().zip(&mut rows) {
        *rows = read_all(&reader(world, &memory(), task(shard), &[]).await)
            .await
            .expect("rows");
        assert!(rows.len() > 20, "{shard} has {} rows", rows.len());
    }
    rows
}

fn after(row: &Row) -> Position {
    Position::After(row.sequence_number.parse().expect("a sequence number"))
}

fn claim(ends: [Position; 3]) -> Claim {
    Claim::of_group(SHARDS.into_iter().map(ShardId::from).zip(ends).collect())
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by(|left, right| left.data.cmp(&right.data));
    rows
}

async fn reports(reader: &ShardReader) -> Vec<ShardReport> {
    let json = reader.finish(true).await.expect("finished").expect("reports");
    serde_json::from_str(&json).expect("a list")
}

#[tokio::test]
async fn forty_shards_in_groups_of_eight_take_five_claims_a_batch() {
    let world = World::with_shards(40).await;
    world.put("r", 0..400).await;
    let mut query = world.query(&[("kinesis.shardsPerTask", "8")]).await;
    assert_exact(&query.rows(400).await, "r", 0..400);
    let tasks = query.planner.partitions(&query.offset).expect("tasks");
    assert_eq!(tasks.len(), 5);
    let claims = claims(&world, 1);
    assert_eq!(claims.len(), 5);
    assert!(
        claims.contains("group-shardId-000000000032-8"),
        "the fifth group's: {claims:?}"
    );
    // The planner needs no store, because every shard was reported.
    std::fs::remove_dir_all(world.checkpoint.path().join("claims")).expect("claims were there");
    world.put("r", 400..500).await;
    assert_exact(&query.rows(100).await, "r", 400..500);
}

/// Names of a batch's claims.
fn claims(world: &World, batch: u64) -> BTreeSet<String> {
    let source = std::fs::read_dir(world.checkpoint.path().join("claims"))
        .expect("claims")
        .next();
    let source = source.expect("one source").expect("an entry").path();
    std::fs::read_dir(source.join(batch.to_string()))
        .expect("a batch")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

#[tokio::test]
async fn one_shard_in_a_task_is_on_disk_as_ever() {
    let world = World::with_shards(3).await;
    world.put("r", 0..100).await;
    let mut query = world.query(&[("kinesis.shardsPerTask", "2")]).await;
    query.rows(100).await;
    assert!(query.offset.contains(r#""shardsPerTask":2"#), "{}", query.offset);
    let names = ["group-shardId-000000000000-2", SHARDS[2]].map(str::to_owned);
    assert_eq!(claims(&world, 1), BTreeSet::from(names));
    let other = World::with_shards(2).await;
    other.put("r", 0..100).await;
    let mut query = other.query(&[]).await;
    query.rows(100).await;
    assert!(!query.offset.contains("shardsPerTask"), "{}", query.offset);
    assert_eq!(
        claims(&other, 1),
        BTreeSet::from([SHARDS[0], SHARDS[1]].map(str::to_owned))
    );
}

async fn some_batches(query: &mut Query) -> Vec<(String, Vec<Row>)> {
    let mut batches = Vec::new();
    for _ in 0..3 {
        let rows = query.batch().await.expect("a batch").expect("rows");
        batches.push((query.offset.clone(), rows));
    }
    batches
}

#[tokio::test]
async fn a_restart_with_another_number_runs_batches_again_with_their_own_groups() {
    let world = World::with_shards(5).await;
    world.put("r", 0..400).await;
    let limited = |number| {
        [
            ("kinesis.shardsPerTask", number),
            ("kinesis.maxFetchRecordsPerShard", "10"),
        ]
    };
    let mut query = world.query(&limited("3")).await;
    let batches = some_batches(&mut query).await;
    world.put("r", 400..500).await;
    let mut rows = Vec::new();
    let mut restarted = world.query(&limited("2")).await;
    for (offset, before) in batches {
        assert_eq!(restarted.planner.partitions(&offset).expect("tasks").len(), 2);
        assert_eq!(restarted.run(offset).await.expect("runs again"), before);
        rows.extend(before);
    }
    // Without running the last batch again: its claims are found in the store.
    let last = restarted.offset.clone();
    let mut restarted = world.query(&limited("1")).await.from(&last);
    rows.extend(restarted.rows(500 - rows.len()).await);
    assert_eq!(
        restarted
            .planner
            .partitions(&restarted.offset)
            .expect("tasks")
            .len(),
        5
    );
    assert_exact(&rows, "r", 0..500);
}

#[tokio::test]
async fn a_split_while_groups_are_read_loses_nothing_and_keeps_order() {
    let world = World::with_shards(3).await;
    world.put("r", 0..300).await;
    let options = [
        ("kinesis.shardsPerTask", "2"),
        ("kinesis.maxFetchRecordsPerShard", "20"),
    ];
    let mut query = world.query(&options).await;
    let mut rows = query.batch().await.expect("a batch").expect("rows");
    world.split(SHARDS[1]).await;
    world.put("r", 300..600).await;
    rows.extend(query.rows(600 - rows.len()).await);
    assert_exact(&rows, "r", 0..600);
}

#[tokio::test]
async fn with_available_now_finished_shards_are_in_no_group_after_a_restart_either() {
    let world = World::with_shards(3).await;
    world.put("r", 0..300).await;
    let options = [
        ("kinesis.shardsPerTask", "3"),
        ("kinesis.maxFetchRecordsPerShard", "95"),
    ];
    let sizes: Vec<usize> = rows_by_shard(&world).await.iter().map(Vec::len).collect();
    assert!(
        sizes.iter().any(|size| *size < 95) && sizes.iter().any(|size| *size > 95),
        "{sizes:?}"
    );
    let mut query = world.query(&options).await;
    query.planner.prepare_for_available_now();
    let mut rows = query.batch().await.expect("a batch").expect("rows");
    let offset = query.planner.latest_offset(&query.offset).await;
    let second = offset.expect("planned").expect("more was left");
    let tasks = query.planner.partitions(&second).expect("tasks");
    let left = TaskPlan::from_json(&tasks[0]).expect("a task");
    assert!(left.tasks().len() < 3, "finished shards are not read");
    let rest = query.run(second.clone()).await.expect("the rest");
    rows.extend(rest.clone());
    assert_exact(&rows, "r", 0..300);
    assert_eq!(claims(&world, 2).len(), 1);
    world.put("r", 300..400).await;
    let mut restarted = world.query(&options).await;
    restarted.planner.prepare_for_available_now();
    let again = restarted.planner.partitions(&second).expect("tasks");
    let shards = |plan: &TaskPlan| {
        plan.tasks()
            .iter()
            .map(|task| task.shard.clone())
            .collect::<Vec<_>>()
    };
    let found = TaskPlan::from_json(&again[0]).expect("a task");
    assert_eq!((again.len(), shards(&found)), (tasks.len(), shards(&left)));
    assert_eq!(restarted.run(second).await.expect("again"), rest);
    assert_exact(&restarted.rows(100).await, "r", 300..400);
}

#[tokio::test]
async fn each_shard_of_a_group_follows_an_earlier_claim_by_its_own_rule() {
    let world = World::with_shards(3).await;
    world.put("r", 0..150).await;
    let all = rows_by_shard(&world).await;
    // Ends nearer than the limit, farther, and equal to it.
    let ends = [after(&all[0][2]), after(&all[1][8]), after(&all[2][4])];
    let store = LateStore::with_claim(plan().claim_key(), &claim(ends.clone())).await;
    let attempt = reader(
        &world,
        &store,
        plan(),
        &[("kinesis.maxFetchRecordsPerShard", "5")],
    )
    .await;
    store.claiming.notified().await;
    let rows = read_all(&attempt).await.expect("rows");
    let expected = [&all[0][..3], &all[1][..9], &all[2][..5]].concat();
    assert_eq!(sorted(rows), sorted(expected));
    let actual: BTreeMap<ShardId, (Position, u64)> = reports(&attempt)
        .await
        .into_iter()
        .map(|report| (report.shard, (report.end, report.records)))
        .collect();
    let expected = SHARDS
        .into_iter()
        .map(ShardId::from)
        .zip(ends.into_iter().zip([3, 9, 5]));
    assert_eq!(actual, expected.collect());
}

#[tokio::test]
async fn rows_delivered_past_one_shard_s_claim_fail_the_task_and_its_retry_is_exact() {
    let world = World::with_shards(3).await;
    world.put("r", 0..150).await;
    let all = rows_by_shard(&world).await;
    let ends = [after(&all[0][9]), Position::TrimHorizon, after(&all[2][9])];
    let store = LateStore::with_claim(plan().claim_key(), &claim(ends)).await;
    // Pages of five with room for one in each lane, so that some rows are delivered long before the ends are claimed.
    world.sandbox.set_max_records_per_get(Some(5));
    let small = [("kinesis.prefetch.maxBytesPerShard", "1")];
    let error = read_all(&reader(&world, &store, plan(), &small).await)
        .await
        .expect_err("a conflict");
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::ClaimConflict, true)
    );
    assert!(error.to_string().contains("shard=shardId-"), "{error}");
    let retry = read_all(&reader(&world, &store, plan(), &small).await)
        .await
        .expect("rows");
    assert_eq!(sorted(retry), sorted([&all[0][..10], &all[2][..10]].concat()));
}

#[tokio::test]
async fn an_early_end_claims_what_was_fetched_of_each_shard() {
    let world = World::with_shards(3).await;
    world.put("r", 0..150).await;
    world.sandbox.set_max_records_per_get(Some(5));
    let store = memory();
    let small = [("kinesis.prefetch.maxBytesPerShard", "1")];
    let first = reader(&world, &store, plan(), &small).await;
    first.next().await.expect("rows").expect("a batch");
    let mut ends: Vec<(ShardId, Position)> = reports(&first)
        .await
        .into_iter()
        .map(|report| (report.shard, report.end))
        .collect();
    ends.sort_by(|left, right| left.0.cmp(&right.0));
    let second = reader(&world, &store, plan(), &[]).await;
    let rows = read_all(&second).await.expect("rows");
    assert!(!rows.is_empty() && rows.len() < 150, "{} rows", rows.len());
    let mut same: Vec<(ShardId, Position)> = reports(&second)
        .await
        .into_iter()
        .map(|report| (report.shard, report.end))
        .collect();
    same.sort_by(|left, right| left.0.cmp(&right.0));
    assert_eq!(same, ends);
    for (shard, all) in ends.iter().zip(rows_by_shard(&world).await) {
        let read: Vec<&Row> = all.iter().filter(|row| rows.contains(row)).collect();
        let end = read.last().map_or(Position::TrimHorizon, |row| after(row));
        assert_eq!((shard.1.clone(), read.len()), (end, read.len()));
        assert!(
            read.iter().zip(&all).all(|(read, row)| *read == row),
            "from the start, without a hole"
        );
    }
}

#[tokio::test]
async fn a_failed_task_of_a_group_claims_nothing() {
    let world = World::with_shards(3).await;
    world.put("r", 0..150).await;
    world.sandbox.set_max_records_per_get(Some(5));
    let store = memory();
    let small = [("kinesis.prefetch.maxBytesPerShard", "1")];
    let failed = reader(&world, &store, plan(), &small).await;
    failed.next().await.expect("rows").expect("a batch");
    assert_eq!(failed.finish(false).await.expect("finished"), None);
    assert_eq!(store.load("q", 1).await.expect("claims"), BTreeMap::new());
}

#[tokio::test]
async fn one_shard_s_failure_fails_the_task_and_names_the_shard() {
    let world = World::with_shards(3).await;
    world.put("r", 0..150).await;
    let tasks = vec![task(SHARDS[0]), task("shardId-000000000099")];
    let plan = TaskPlan::new(tasks).expect("a plan");
    let store = memory();
    let strict = [("kinesis.failOnDataLoss", "true")];
    let error = read_all(&reader(&world, &store, plan, &strict).await)
        .await
        .expect_err("no such shard");
    assert!(
        error.to_string().contains("shard=shardId-000000000099"),
        "{error}"
    );
    assert_eq!(store.load("q", 1).await.expect("claims"), BTreeMap::new());
}
