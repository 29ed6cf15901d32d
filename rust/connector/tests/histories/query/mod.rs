//! A query as Spark would run it: it plans, logs, reads, commits, crashes and restarts as the history prescribes.

mod finish;
mod storage;
mod tasks;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use crate::fan_out::Pushing;
use crate::history::{Crash, EXECUTORS, History, Odd, Reading, Step};
use crate::ledger::Ledger;
use crate::stream::Kinesis;
use kinesis_connector::SourceConfig;
use kinesis_connector::claims::ClaimStore;
use kinesis_connector::plan::Planner;
use kinesis_connector::read::FeedRegistry;
use kinesis_connector::service::FanOutApi;
use kinesis_connector::stream::Offset;
use storage::{Files, SlowStore};

/// Result of a step; the error describes the violated invariant.
pub type Checked<T = ()> = std::result::Result<T, String>;

pub struct Query {
    pub kinesis: Arc<Kinesis>,
    store: Arc<SlowStore>,
    files: Arc<Files>,
    config: SourceConfig,
    fan_out: Option<Arc<Pushing>>,
    processes_stay: bool,
    trigger: Duration,
    fetch_time: Option<Duration>,
    /// Feeds of each executor.
    memories: Vec<FeedRegistry>,
    /// Executors that run successive tasks, in a cycle.
    executors: Vec<usize>,
    tasks: AtomicUsize,
    /// `None` while the query is down.
    planner: Option<Planner>,
    /// Number of tasks that continued with prefetched records.
    pub prefetch_hits: AtomicU64,
    /// Number of shards without a task, in all batches.
    pub skipped: u64,
    /// Last batch in Spark's offset log.
    pub offset: String,
    pub ledger: Ledger,
}

impl Query {
    /// Starts a new query.
    pub async fn start(kinesis: Arc<Kinesis>, position: &str, history: &History) -> Checked<Self> {
        let fan_out = history.fan_out.as_ref();
        let mut options = vec![
            ("kinesis.streamName", "events".to_owned()),
            ("kinesis.region", "us-east-1".to_owned()),
            ("kinesis.startingPosition", position.to_owned()),
        ];
        if let Some(fan_out) = fan_out {
            options.extend([
                ("kinesis.consumerType", "SubscribeToShard".to_owned()),
                ("kinesis.consumerName", "app".to_owned()),
                ("kinesis.prefetch.maxBytesPerShard", fan_out.room.to_string()),
            ]);
        }
        let json = serde_json::json!({
            "version": 1,
            "options": options.into_iter().collect::<BTreeMap<_, _>>(),
            "checkpointLocation": "/checkpoint",
            "minBatchesToRetain": 2,
            "fewShards": history.few_shards,
        });
        let config = SourceConfig::parse(&json.to_string()).map_err(|error| error.to_string())?;
        let (store, files) = (Arc::<SlowStore>::default(), Arc::<Files>::default());
        let mut query = Self {
            store,
            files,
            config,
            fan_out: fan_out.map(|fan_out| Pushing::new(kinesis.clone(), fan_out.clone())),
            processes_stay: fan_out.is_some_and(|fan_out| fan_out.processes_stay),
            memories: (0..EXECUTORS).map(|_| FeedRegistry::default()).collect(),
            executors: fan_out.map_or(vec![0], |fan_out| fan_out.executors.clone()),
            trigger: Duration::from_millis(history.trigger_millis),
            fetch_time: history.fetch_secs.map(Duration::from_secs),
            tasks: AtomicUsize::default(),
            prefetch_hits: AtomicU64::default(),
            skipped: 0,
            planner: None,
            offset: String::new(),
            ledger: Ledger::default(),
            kinesis,
        };
        query.restart().await?;
        let offset = query.planner().initial_offset().await;
        query.offset = offset.map_err(|error| error.to_string())?;
        Ok(query)
    }

    pub async fn restart(&mut self) -> Checked {
        self.planner = None;
        match self.fan_out {
            // The driver's process, which also reads, stays the same; the other executor is new.
            None => self.memories[1] = FeedRegistry::default(),
            Some(_) if self.processes_stay => {}
            Some(_) => self.memories = (0..EXECUTORS).map(|_| FeedRegistry::default()).collect(),
        }
        let opened = Planner::with_feeds(
            self.kinesis.clone(),
            self.fan_out(),
            self.store.clone(),
            self.config.clone(),
            self.files.clone(),
            &self.memories[self.executors[0]],
        );
        self.planner = Some(opened.await.map_err(|error| error.to_string())?);
        Ok(())
    }

    fn planner(&self) -> &Planner {
        self.planner.as_ref().expect("the query was started")
    }

    fn fan_out(&self) -> Option<Arc<dyn FanOutApi>> {
        self.fan_out.clone().map(|api| api as _)
    }

    pub async fn step(&mut self, step: &Step) -> Checked {
        self.kinesis.stream().now += 10;
        match step {
            Step::Restart => self.restart().await?,
            Step::Wait { millis } => tokio::time::sleep(Duration::from_millis(*millis)).await,
            Step::Batch { readings, crash, odd } => self.batch(readings, *crash, *odd).await?,
            Step::Expire => {
                change(&self.kinesis, step);
                self.ledger.expired(&self.kinesis.stream());
                self.restart().await?;
            }
            _ => change(&self.kinesis, step),
        }
        Ok(())
    }

    async fn batch(&mut self, readings: &[Reading], crash: Crash, odd: Option<Odd>) -> Checked {
        let Some(mut next) = self.plan().await? else {
            return Ok(());
        };
        if matches!(crash, Crash::BeforeTheBatch) {
            self.restart().await?;
            match self.plan().await? {
                Some(again) => next = again,
                None => return Ok(()),
            }
        }
        self.ledger.planned(&offset(&next)?, &self.kinesis.stream())?;
        if let Some(odd) = odd {
            self.kinesis.stream().answer_oddly(odd);
        }
        self.read(&next, readings).await?;
        if matches!(crash, Crash::BeforeTheCommit) {
            self.restart().await?;
            self.read(&next, &[Reading::Whole { limit: 3 }]).await?;
        }
        self.commit(next).await?;
        if matches!(crash, Crash::AfterTheCommit) {
            self.restart().await?;
        }
        Ok(())
    }
    async fn plan(&self) -> Checked<Option<String>> {
        tokio::time::sleep(self.trigger).await;
        let planned = self.planner().latest_offset(&self.offset).await;
        planned.map_err(|error| format!("planning failed: {error}"))
    }

    async fn commit(&mut self, next: String) -> Checked {
        let batch = offset(&next)?;
        let claims = self.store.kept.load(&batch.source, batch.batch).await;
        let claims = claims.map_err(|error| error.to_string())?;
        self.skipped += batch.skipped.len() as u64;
        self.ledger.ended(&batch, &claims, &self.kinesis.stream())?;
        if self.planner().metrics()["lostPositions"] != "0" {
            return Err(format!("a loss in batch {} that is none", batch.batch));
        }
        let committed = self.planner().commit(&next).await;
        committed.map_err(|error| error.to_string())?;
        self.offset = next;
        Ok(())
    }
}

/// Applies a change to the stream.
pub fn change(kinesis: &Kinesis, step: &Step) {
    let mut stream = kinesis.stream();
    match *step {
        Step::Put { key, count } => (0..count).for_each(|_| stream.put(key)),
        Step::Split { shard, shown } => stream.split(shard, shown),
        Step::Merge { shard, shown } => stream.merge(shard, shown),
        Step::Double => stream.double(),
        Step::Halve => stream.halve(),
        Step::Expire => stream.expire(),
        Step::Odd(odd) => stream.answer_oddly(odd),
        Step::Restart | Step::Wait { .. } | Step::Batch { .. } => {}
    }
    kinesis.notify_change();
}

pub fn offset(json: &str) -> Checked<Offset> {
    Offset::from_json(json).map_err(|error| error.to_string())
}
