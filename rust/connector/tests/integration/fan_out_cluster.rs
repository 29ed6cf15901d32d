//! Enhanced fan-out with the driver and an executor in two processes; the executor reports on its subscriptions to
//! the driver.

use std::sync::Arc;

use kinesis_connector::Engine;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::{LocalFiles, PATIENCE, Query, STREAM, World, assert_exact, until};

const OPTIONS: [(&str, &str); 2] = [
    ("kinesis.consumerType", "SubscribeToShard"),
    ("kinesis.consumerName", "app"),
];

/// A query and its one executor, each with its own engine.
struct Cluster {
    world: World,
    driver: Engine,
    query: Query,
}

impl Cluster {
    async fn start() -> Self {
        let world = World::with_shards(2).await;
        let mut query = world.query(&OPTIONS).await;
        let driver = std::mem::replace(&mut query.engine, Engine::new());
        Self { world, driver, query }
    }

    /// Transfers one report and its acknowledgement; returns the report.
    async fn report(executor: &Engine, driver: &Engine) -> String {
        let message = executor.next_subscription_report().await.expect("news");
        let answer = driver.on_subscription_report(&message).expect("heard");
        executor.on_report_ack(&answer).expect("an answer");
        message
    }

    /// Stands for the thread of the executor's plugin.
    fn reporter(&self) -> JoinHandle<()> {
        let (executor, driver) = (self.query.engine.clone(), self.driver.clone());
        tokio::spawn(async move {
            loop {
                Self::report(&executor, &driver).await;
            }
        })
    }

    async fn rows(&mut self, numbers: std::ops::Range<usize>) {
        self.world.put("r", numbers.clone()).await;
        let rows = tokio::time::timeout(PATIENCE, self.query.rows(numbers.len())).await;
        assert_exact(&rows.expect("the rows in time"), "r", numbers);
    }

    fn probes(&self) -> u64 {
        self.world.sandbox.stats().calls("GetRecords")
    }

    /// Number of open subscriptions, and of all opened so far.
    fn subscriptions(&self) -> (u64, u64) {
        let stats = self.world.sandbox.stats();
        let shards = stats.streams[STREAM].values();
        shards.fold((0, 0), |(active, opened), shard| {
            (
                active + shard.subscriptions_active(),
                opened + shard.subscriptions,
            )
        })
    }

    /// Requests batches until the driver has probed the service.
    async fn await_a_probe(&mut self) {
        let before = self.probes();
        let probing = async {
            while self.probes() == before {
                assert_eq!(self.query.batch().await.expect("a look"), None);
            }
        };
        tokio::time::timeout(PATIENCE, probing)
            .await
            .expect("a look in time");
    }
}

#[tokio::test]
async fn executors_that_report_spare_the_driver_its_probes() {
    let mut cluster = Cluster::start().await;
    let reporter = cluster.reporter();
    cluster.rows(0..20).await;
    let before = cluster.probes();
    for first in (20..80).step_by(20) {
        for _ in 0..8 {
            assert_eq!(cluster.query.batch().await.expect("none"), None);
        }
        cluster.rows(first..first + 20).await;
    }
    assert_eq!(cluster.probes(), before);
    // An executor that stops reporting may be dead.
    reporter.abort();
    cluster.await_a_probe().await;
    cluster.rows(80..100).await;
}

#[tokio::test]
async fn without_reports_the_driver_probes() {
    let mut cluster = Cluster::start().await;
    cluster.rows(0..20).await;
    cluster.await_a_probe().await;
    cluster.rows(20..40).await;
}

#[tokio::test]
async fn what_the_driver_saw_is_read_by_get_records_while_the_subscription_is_refused() {
    let mut cluster = Cluster::start().await;
    cluster.rows(0..20).await;
    cluster
        .world
        .knobs(json!({"subscriptions": {"exclusive_ms": 60_000}}));
    let cut = json!({"fault": "cut", "open": true, "shard": "shardId-000000000000", "count": 1});
    cluster.world.knobs(json!({"subscription_faults": [cut]}));
    let opened = || cluster.world.sandbox.stats().calls("SubscribeToShard");
    let before = opened();
    until(|| opened() > before).await;
    cluster.rows(20..40).await;
    cluster.world.knobs(json!({"subscriptions": {"exclusive_ms": 0}}));
    cluster.rows(40..60).await;
}

#[tokio::test]
async fn a_shards_end_is_reported_and_its_children_follow() {
    let mut cluster = Cluster::start().await;
    let _reporter = cluster.reporter();
    cluster.rows(0..20).await;
    cluster.world.split("shardId-000000000000").await;
    cluster.rows(20..60).await;
    cluster
        .world
        .merge("shardId-000000000003", "shardId-000000000001")
        .await;
    cluster.rows(60..100).await;
}

#[tokio::test]
async fn another_consumer_reads_by_subscriptions_of_its_own_and_those_of_the_first_end() {
    for reporting in [false, true] {
        let mut cluster = Cluster::start().await;
        let reporter = reporting.then(|| cluster.reporter());
        cluster.rows(0..20).await;
        assert_eq!(cluster.subscriptions(), (2, 2));
        let config = cluster
            .world
            .config(&[OPTIONS[0], ("kinesis.consumerName", "other")]);
        let planner = cluster
            .driver
            .open_planner(config.clone(), Arc::new(LocalFiles))
            .await;
        (cluster.query.planner, cluster.query.config) = (planner.expect("opens"), config);
        cluster.rows(20..40).await;
        assert_eq!(cluster.subscriptions().1, 4, "each shard is subscribed to anew");
        until(|| cluster.subscriptions().0 == 2).await;
        cluster.rows(40..60).await;
        assert_eq!(cluster.subscriptions(), (2, 4));
        if let Some(reporter) = reporter {
            reporter.abort();
        }
    }
}

#[tokio::test]
async fn subscriptions_end_with_their_query() {
    let mut cluster = Cluster::start().await;
    cluster.rows(0..20).await;
    let (executor, driver) = (cluster.query.engine.clone(), cluster.driver.clone());
    let report = Cluster::report(&executor, &driver).await;
    assert!(report.contains("shardId-000000000001"), "{report}");
    drop(cluster.query);
    let ending = async { while Cluster::report(&executor, &driver).await.contains("shardId") {} };
    tokio::time::timeout(PATIENCE, ending)
        .await
        .expect("an end in time");
}
