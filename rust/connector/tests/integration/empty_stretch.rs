//! A shard with a long part without records, through which the service leads response by response.

use std::sync::Arc;

use crate::support::altered::{Altered, service};
use crate::support::{LocalFiles, Row, STREAM, World, assert_exact, read_all};
use aws_sdk_kinesis::primitives::Blob;
use kinesis_connector::claims::backends::memory::MemoryStore;
use kinesis_connector::plan::Planner;
use kinesis_connector::read::{ShardReader, TaskPlan};
use kinesis_connector::service::KinesisApi;
use serde_json::json;

/// Number of empty responses that each new iterator returns first.
const STRETCH: u32 = 5;

struct Query {
    api: Arc<dyn KinesisApi>,
    store: Arc<MemoryStore>,
    world: World,
    planner: Planner,
    offset: String,
    /// Number of tasks of the last batch.
    tasks: usize,
}

impl Query {
    async fn start(world: World) -> Self {
        let mut config = world.config(&[]);
        config.few_shards = 0;
        let api: Arc<dyn KinesisApi> = Arc::new(Altered::new(service(&config).await).with_stretch(STRETCH));
        let store = Arc::new(MemoryStore::default());
        let planner = Planner::on(api.clone(), store.clone(), config, Arc::new(LocalFiles)).await;
        let planner = planner.expect("opens");
        let offset = planner.initial_offset().await.expect("an offset");
        Self {
            api,
            store,
            world,
            planner,
            offset,
            tasks: 0,
        }
    }

    async fn restart(&mut self) {
        let (api, store) = (self.api.clone(), self.store.clone());
        let planner = Planner::on(api, store, self.world.config(&[]), Arc::new(LocalFiles)).await;
        self.planner = planner.expect("opens");
    }

    /// The next batch. Its readers are in a new process.
    async fn batch(&mut self) -> Option<Vec<Row>> {
        let offset = self.planner.latest_offset(&self.offset).await.expect("a look")?;
        let mut rows = Vec::new();
        let tasks = self.planner.partitions(&offset).expect("tasks");
        self.tasks = tasks.len();
        for task in tasks {
            let options = self.world.config(&[]).options;
            let task = TaskPlan::from_json(&task).expect("a task");
            let reader = ShardReader::on(self.api.clone(), self.store.clone(), &options, task);
            rows.extend(read_all(&reader).await.expect("rows"));
            let report = reader.finish(true).await.expect("ended").expect("a report");
            self.planner.report(&report).expect("reported");
        }
        self.offset = offset;
        Some(rows)
    }

    /// The batches of this number of calls.
    async fn batches(&mut self, calls: u32) -> Vec<Vec<Row>> {
        let mut batches = Vec::new();
        for _ in 0..calls {
            batches.extend(self.batch().await);
        }
        batches
    }

    /// The rows of the next batch that has any.
    async fn rows(&mut self) -> Vec<Row> {
        loop {
            match self.batch().await {
                Some(rows) if !rows.is_empty() => return rows,
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn makes_one_empty_batch_at_most() {
    let world = World::with_shards(1).await;
    world.put("r", 0..10).await;
    let mut query = Query::start(world).await;
    assert_exact(&query.rows().await, "r", 0..10);
    assert_eq!(
        query.batches(3 * STRETCH).await,
        [[]; 0],
        "a reader came to the tip"
    );
    query.restart().await;
    let empty: Vec<Row> = Vec::new();
    assert_eq!(query.batches(3 * STRETCH).await, [empty], "a reader sees to it");
    // Behind the part without records, which its iterator must pass first.
    query.world.put("r", 10..11).await;
    assert_exact(&query.rows().await, "r", 10..11);
    assert_eq!(query.batches(3 * STRETCH).await, [[]; 0]);
}

/// Puts a record into the shard that has this hash key.
async fn put_at(world: &World, hash_key: u128, data: &str) {
    let put = world.client.put_record().stream_name(STREAM);
    let put = put.partition_key("key").explicit_hash_key(hash_key.to_string());
    let put = put.data(Blob::new(data)).send().await;
    put.expect("put");
}

#[tokio::test]
async fn a_batch_of_another_shard_gets_through_it() {
    let world = World::with_shards(2).await;
    put_at(&world, 0, "r0").await;
    put_at(&world, u128::MAX, "r1").await;
    let mut query = Query::start(world).await;
    assert_exact(&query.rows().await, "r", 0..2);
    put_at(&query.world, 0, "r2").await;
    assert_exact(&query.rows().await, "r", 2..3);
    assert_eq!(query.tasks, 2, "the probe went through the other one's");
    while query.batch().await.is_some() {}
    put_at(&query.world, 0, "r3").await;
    assert_exact(&query.rows().await, "r", 3..4);
    assert_eq!(query.tasks, 1, "no probe has to go through it again");
}

/// Puts ten records, and two hours without records between them and all later ones.
async fn two_quiet_hours(world: &World, answers: u32) {
    world.knobs(json!({"arrival_offset_ms": -7_200_000}));
    world.put("r", 0..10).await;
    world.knobs(json!({"arrival_offset_ms": 0}));
    let rows = world.query(&[]).await.rows(10).await;
    let last = &rows.last().expect("rows").sequence_number;
    world.knobs(json!({
        "stretches": [{"stream": STREAM, "shard": "shardId-000000000000", "answers": answers, "after": last}]
    }));
}

/// One batch of a restarted query on new executors; returns its rows and offset.
async fn batch_elsewhere(world: &World, options: &[(&str, &str)], offset: &str) -> (Vec<Row>, String) {
    let mut query = world.query(options).await.from(offset);
    let rows = query.batch().await.expect("a batch").unwrap_or_default();
    (rows, query.offset)
}

#[tokio::test]
async fn a_time_limit_ends_no_batch_inside_it() {
    let world = World::with_shards(1).await;
    // Passing through it takes longer than the limit, at the speed of these tests.
    two_quiet_hours(&world, 400).await;
    world.put("r", 10..20).await;
    let options = [("kinesis.maxFetchTimePerShardSec", "1")];
    let mut offset = world.query(&options).await.offset;
    let mut rows = Vec::new();
    for _ in 0..3 {
        let (more, next) = batch_elsewhere(&world, &options, &offset).await;
        rows.extend(more);
        offset = next;
    }
    assert_exact(&rows, "r", 0..20);
}

#[tokio::test]
async fn is_not_walked_through_again_by_the_next_reader() {
    const ANSWERS: u32 = 100;
    let world = World::with_shards(1).await;
    two_quiet_hours(&world, ANSWERS).await;
    let (rows, offset) = batch_elsewhere(&world, &[], &world.query(&[]).await.offset).await;
    assert_exact(&rows, "r", 0..10);
    // Reads to the tip; the batch's end then shows how far the stretch was passed.
    let (rows, offset) = batch_elsewhere(&world, &[], &offset).await;
    assert_eq!(rows, []);
    let calls = || world.sandbox.stats().calls("GetRecords");
    let before = calls();
    let (rows, offset) = batch_elsewhere(&world, &[], &offset).await;
    assert_eq!(rows, []);
    assert!(offset.contains("NOT_BEFORE"), "{offset}");
    let walked = calls() - before;
    assert!(walked < u64::from(ANSWERS / 4), "{walked} answers of {ANSWERS}");
    world.put("r", 10..20).await;
    let (rows, _) = batch_elsewhere(&world, &[], &offset).await;
    assert_exact(&rows, "r", 10..20);
}

#[tokio::test]
async fn a_wrong_answer_hides_no_record() {
    let world = World::with_shards(1).await;
    world.knobs(json!({"arrival_offset_ms": -7_200_000}));
    world.put("r", 0..10).await;
    // These responses have no records, and claim to be nearly at the tip.
    world.knobs(json!({"empty_answers": 7}));
    let options = [("kinesis.maxFetchRecordsPerShard", "4")];
    let mut offset = world.query(&options).await.offset;
    let mut rows = Vec::new();
    for _ in 0..6 {
        let (more, next) = batch_elsewhere(&world, &options, &offset).await;
        rows.extend(more);
        offset = next;
        world.knobs(json!({"empty_answers": 3}));
    }
    assert_exact(&rows, "r", 0..10);
}

/// The response header `Date` is four minutes ahead of the clock for arrival times; signatures are still accepted.
#[tokio::test]
async fn a_date_that_is_ahead_makes_no_position_in_the_future() {
    let world = World::with_shards(1).await;
    // Each response covers about 18 s: the last three are closer to the tip than the date is off.
    two_quiet_hours(&world, 400).await;
    world.knobs(json!({"clock_offset_ms": 240_000}));
    let options = [("kinesis.failOnDataLoss", "true")];
    let mut offset = world.query(&options).await.offset;
    let mut rows = Vec::new();
    for batch in 0..6 {
        if batch == 3 {
            world.put("r", 10..20).await;
        }
        let (more, next) = batch_elsewhere(&world, &options, &offset).await;
        rows.extend(more);
        offset = next;
    }
    assert_exact(&rows, "r", 0..20);
}
