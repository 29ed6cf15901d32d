//! The rate of a query's calls to a shard, in virtual time: in total, it stays within the service's limit.

mod service;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kinesis_connector::SourceConfig;
use kinesis_connector::claims::backends::memory::MemoryStore;
use kinesis_connector::plan::Planner;
use kinesis_connector::read::{FeedRegistry, ShardReader, TaskPlan};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::support::{LocalFiles, read_all};
use service::{LIMIT, Service};

/// Spark's overhead for a batch before its tasks read; `AFTER_TASKS` is that after them.
const BEFORE_TASKS: Duration = Duration::from_millis(40);
const AFTER_TASKS: Duration = Duration::from_millis(40);
/// Spark's interval for requesting a batch when there was none.
const POLLING: Duration = Duration::from_millis(10);

struct Query {
    /// Service that the executor reads from.
    service: Arc<Service>,
    config: SourceConfig,
    planner: Planner,
    store: Arc<MemoryStore>,
    memory: FeedRegistry,
    offset: String,
    rows: usize,
    _checkpoint: tempfile::TempDir,
}

impl Query {
    /// Starts a query whose driver and executor share one process, or have two.
    async fn start(driver: &Arc<Service>, processes: u32, options: &[(&str, &str)]) -> Self {
        let checkpoint = tempfile::TempDir::new().expect("a folder");
        let mut all = std::collections::BTreeMap::from([
            ("kinesis.streamName", "events"),
            ("kinesis.region", "us-east-1"),
            ("kinesis.startingPosition", "TRIM_HORIZON"),
        ]);
        all.extend(options.iter().copied());
        let json = serde_json::json!({
            "version": 1,
            "options": all,
            "checkpointLocation": checkpoint.path(),
            "minBatchesToRetain": 2,
            "fewShards": 0,
        });
        let config = SourceConfig::parse(&json.to_string()).expect("a configuration");
        let (store, memory) = (Arc::<MemoryStore>::default(), FeedRegistry::default());
        let (service, planners_memory) = match processes {
            1 => (driver.clone(), memory.clone()),
            _ => (driver.elsewhere(), FeedRegistry::default()),
        };
        let planner = Planner::with_feeds(
            driver.clone(),
            None,
            store.clone(),
            config.clone(),
            Arc::new(LocalFiles),
            &planners_memory,
        );
        let planner = planner.await.expect("opens");
        let offset = planner.initial_offset().await.expect("an offset");
        Self {
            service,
            config,
            planner,
            store,
            memory,
            offset,
            rows: 0,
            _checkpoint: checkpoint,
        }
    }

    /// Runs batches as Spark does, until `end`.
    async fn run_until(&mut self, end: Instant) {
        while Instant::now() < end {
            match self.planner.latest_offset(&self.offset).await.expect("a look") {
                Some(offset) => self.batch(offset).await,
                None => sleep(POLLING).await,
            }
        }
    }

    async fn batch(&mut self, offset: String) {
        sleep(BEFORE_TASKS).await;
        let tasks = self.planner.partitions(&offset).expect("tasks");
        let reading = tasks.iter().map(async |task| {
            let reader = ShardReader::with_feeds(
                self.service.clone(),
                None,
                self.store.clone(),
                &self.config.options,
                TaskPlan::from_json(task).expect("a task"),
                &self.memory,
            );
            let rows = read_all(&reader).await.expect("rows").len();
            (rows, reader.finish(true).await.expect("ended").expect("a report"))
        });
        for (rows, report) in join_all(reading).await {
            self.rows += rows;
            self.planner.report(&report).expect("reported");
        }
        sleep(AFTER_TASKS).await;
        self.planner.commit(&offset).await.expect("committed");
        self.offset = offset;
    }
}

/// Puts a record at a fixed interval, until dropped.
struct Producer(JoinHandle<()>);

impl Producer {
    fn start(service: &Arc<Service>, gap: Duration) -> Self {
        let service = service.clone();
        Self(tokio::spawn(async move {
            loop {
                sleep(gap).await;
                service.put();
            }
        }))
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn however_often_records_come_probes_and_readers_keep_to_the_limit_together() {
    for processes in [1, 2] {
        for gap in [10, 50, 150, 250, 300, 400, 500, 600, 700, 1_000, 3_000] {
            let service = Service::new();
            let mut query = Query::start(&service, processes, &[]).await;
            let producer = Producer::start(&service, Duration::from_millis(gap));
            query.run_until(Instant::now() + Duration::from_secs(60)).await;
            drop(producer);
            query.run_until(Instant::now() + Duration::from_secs(2)).await;
            let what = format!("{processes} processes, a record every {gap} ms");
            assert_eq!(query.rows, service.put_so_far(), "{what}");
            assert!(service.most_in_a_second() <= LIMIT, "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_read_within_the_limit_and_as_fast_as_it_allows() {
    for (batch, fetch, rows) in [
        ("100", "10000", 15_000),
        ("100", "10", 1_500),
        ("100000", "1000", 100_000),
    ] {
        for processes in [1, 2] {
            let service = Service::new();
            for _ in 0..100_000 {
                service.put();
            }
            let options = [
                ("kinesis.maxFetchRecordsPerShard", batch),
                ("kinesis.getRecords.numberOfRecordsPerFetch", fetch),
            ];
            let mut query = Query::start(&service, processes, &options).await;
            query.run_until(Instant::now() + Duration::from_secs(30)).await;
            let what = format!("{processes} processes, {fetch} records an answer, {batch} a batch");
            assert!(query.rows >= rows, "{what}: {} rows", query.rows);
            assert!(service.most_in_a_second() <= LIMIT, "{what}");
        }
    }
}
