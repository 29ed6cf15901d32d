//! A shard of which a long part has no records: the service leads through it answer by answer.

// Helpers of tests fail as tests do.
#![allow(clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;

use kinesis_connector::checkpoint::memory::MemoryStore;
use kinesis_connector::plan::Planner;
use kinesis_connector::read::{ShardReader, TaskPlan};
use kinesis_connector::service::KinesisApi;
use support::altered::{Altered, service};
use support::{LocalFiles, Row, World, assert_exact, read_all};

/// Answers without records that each new iterator gives first.
const STRETCH: u32 = 5;

struct Query {
    api: Arc<dyn KinesisApi>,
    store: Arc<MemoryStore>,
    world: World,
    planner: Planner,
    offset: String,
}

impl Query {
    async fn start(world: World) -> Self {
        let config = world.config(&[]);
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
        }
    }

    async fn restart(&mut self) {
        let (api, store) = (self.api.clone(), self.store.clone());
        let planner = Planner::on(api, store, self.world.config(&[]), Arc::new(LocalFiles)).await;
        self.planner = planner.expect("opens");
    }

    /// The next batch, whose readers are in another process than the ones before.
    async fn batch(&mut self) -> Option<Vec<Row>> {
        let offset = self.planner.latest_offset(&self.offset).await.expect("a look")?;
        let mut rows = Vec::new();
        for task in self.planner.partitions(&offset).expect("tasks") {
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

    /// The batches of so many calls.
    async fn batches(&mut self, calls: u32) -> Vec<Vec<Row>> {
        let mut batches = Vec::new();
        for _ in 0..calls {
            batches.extend(self.batch().await);
        }
        batches
    }

    /// Batches until there is one with records.
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
    // Beyond the part without records, at the end of an iterator that leads through it.
    query.world.put("r", 10..11).await;
    assert_exact(&query.rows().await, "r", 10..11);
    assert_eq!(query.batches(3 * STRETCH).await, [[]; 0]);
}
