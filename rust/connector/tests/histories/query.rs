//! A query as Spark would run it: it plans, logs, reads, commits, crashes and restarts as the history prescribes.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kinesis_connector::batch::RecordBatch;
use kinesis_connector::claims::backends::memory::MemoryStore;
use kinesis_connector::claims::{Claim, ClaimKey, ClaimStore, PutResult};
use kinesis_connector::plan::Planner;
use kinesis_connector::read::{FeedRegistry, ReadTask, ShardReader, ShardReport};
use kinesis_connector::service::FanOutApi;
use kinesis_connector::storage::FileSystem;
use kinesis_connector::stream::{Offset, ShardId};
use kinesis_connector::{ErrorKind, Result, SourceConfig};

use crate::fan_out::Pushing;
use crate::history::{Crash, EXECUTORS, Finish, History, Odd, Reading, Step};
use crate::ledger::{Ledger, Rows};
use crate::stream::{KEYS, Kinesis};

/// Number of probes of an idle stream.
const PROBES: usize = 6;
/// Number of probes for each shard until all shards of a stream were passed: a generation without records takes the
/// time between two listings.
const PROBES_PER_SHARD: usize = 8;
/// With subscriptions the driver probes less often than it is called, and a silent subscription is detected after 40
/// s.
const CALLS_PER_PROBE: usize = 15;
/// Maximum number of attempts at a task.
const ATTEMPTS: usize = 4;
/// Upper bound for the batches that the rest of a stream takes.
const BATCHES: u32 = 300;
/// Duration of a batch during which records arrive.
const A_BATCH: Duration = Duration::from_secs(5);
/// Number of runs of one batch each that may find nothing.
const IDLE_RUNS: usize = 3;
/// Number of empty responses that the driver follows itself: half as many where every other response makes no
/// progress.
const ANSWERS_FOLLOWED: usize = 40;
/// Number of calls that may find nothing although there are records.
const IDLE_CALLS: usize = 2;
/// Number of triggers in which a recreated stream must be detected: its iterators expire in that time.
const CALLS_TO_NOTICE: usize = 3_000;

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

    /// Reads the rest of the stream.
    pub async fn drain(&mut self, finish: Finish) -> Checked {
        match finish {
            Finish::Running => self.run().await,
            Finish::AvailableNow { puts } => {
                self.available_now(puts).await?;
                if puts == 0 {
                    return Ok(());
                }
                self.restart().await?;
                self.run().await
            }
            Finish::Once => self.run_by_batches().await,
            Finish::AnotherStream { shards } => self.notice_another_stream(shards).await,
        }
    }

    async fn run(&mut self) -> Checked {
        let (mut idle, mut batches) = (0, 0);
        let slices = self.kinesis.stream().ways.slice_millis.is_some();
        while idle < self.patience() {
            let before = self.come_so_far()?;
            let read = self.read_batch(&mut batches).await?;
            // A batch may only discover that a stretch leads to no records.
            let moved = read && (!slices || before != self.come_so_far()?);
            idle = if moved { 0 } else { idle + 1 };
        }
        Ok(())
    }

    /// Runs with Trigger.AvailableNow until it ends, and checks that all records from before its start were read.
    async fn available_now(&mut self, puts: u8) -> Checked {
        self.restart().await?;
        self.planner().prepare_for_available_now();
        let began = self.kinesis.stream().now;
        let mut batches = 0;
        while self.read_batch(&mut batches).await? {
            if puts > 0 {
                change(&self.kinesis, &Step::Put { key: 0, count: puts });
                tokio::time::sleep(A_BATCH).await;
            }
        }
        self.ledger.is_complete_until(began, &self.kinesis.stream())
    }

    /// Runs batches in a new process each.
    async fn run_by_batches(&mut self) -> Checked {
        let (mut idle, mut batches) = (0, 0);
        while idle < IDLE_RUNS {
            let before = self.come_so_far()?;
            self.memories = (0..EXECUTORS).map(|_| FeedRegistry::default()).collect();
            self.restart().await?;
            self.read_batch(&mut batches).await?;
            // A run may only discover that a stretch leads to no records.
            let moved = before != self.come_so_far()?;
            idle = if moved { 0 } else { idle + 1 };
        }
        Ok(())
    }

    /// Progress: the number of records read, and the shards of the last batch.
    fn come_so_far(&self) -> Checked<(usize, Vec<ShardId>)> {
        let shards = offset(&self.offset)?.shards.into_keys().collect();
        Ok((self.ledger.records(), shards))
    }

    /// Replaces the stream by another one of its name: the query must fail with that error, and deliver no record of
    /// the new stream.
    async fn notice_another_stream(&mut self, shards: u8) -> Checked {
        // A position before all records would be valid in the other stream too.
        self.run().await?;
        {
            let mut stream = self.kinesis.stream();
            stream.make_again(shards);
            (0..KEYS).for_each(|key| stream.put(key));
        }
        self.kinesis.notify_change();
        let last = self.kinesis.stream().before;
        for _ in 0..CALLS_TO_NOTICE {
            tokio::time::sleep(self.trigger).await;
            let next = match self.planner().latest_offset(&self.offset).await {
                Ok(Some(next)) => next,
                Ok(None) => continue,
                Err(error) if error.kind() == ErrorKind::StreamChanged => return Ok(()),
                Err(error) => return Err(format!("of another stream the driver says: {error}")),
            };
            for task in self
                .planner()
                .partitions(&next)
                .map_err(|error| error.to_string())?
            {
                let task = ReadTask::from_json(&task).map_err(|error| error.to_string())?;
                match self.whole(&task, 4, true).await {
                    Ok(rows) => {
                        let of_another =
                            |number: &String| number.parse().is_ok_and(|number: u64| number > last);
                        if rows.numbers.iter().any(of_another) {
                            return Err(format!("rows of another stream: {rows:?}"));
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::StreamChanged => return Ok(()),
                    Err(error) => return Err(format!("of another stream a task says: {error}")),
                }
            }
            let committed = self.planner().commit(&next).await;
            committed.map_err(|error| error.to_string())?;
            self.offset = next;
        }
        Err("another stream was not noticed".to_owned())
    }

    /// Requests a batch and reads it; false if there is none.
    async fn read_batch(&mut self, batches: &mut u32) -> Checked<bool> {
        let Some(next) = self.plan().await? else {
            return Ok(false);
        };
        *batches += 1;
        if *batches > BATCHES {
            return Err(format!("batches without end; the last is {next}"));
        }
        self.ledger.planned(&offset(&next)?, &self.kinesis.stream())?;
        self.read(&next, &[Reading::Whole { limit: 5 }]).await?;
        self.commit(next).await?;
        Ok(true)
    }

    /// Passes through all generations of an idle stream.
    pub async fn walk_through(&mut self) -> Checked {
        self.probe(self.probes_of_all()).await
    }

    /// Probes an idle stream for a while.
    pub async fn stay_idle(&mut self) -> Checked {
        self.probe(PROBES).await
    }

    /// Requests batches of an idle stream. Batches are allowed only where the set of shards changes, or where readers
    /// pass through stretches behind the last records that the driver does not know, or does not know to be that
    /// long.
    async fn probe(&mut self, times: usize) -> Checked {
        let slice = self.kinesis.stream().ways.slice_millis;
        let answers = |slice: u64| times * (self.trigger.as_millis() as u64 / slice + 1) as usize;
        // At most one batch for each shard's stretch.
        let shards = offset(&self.offset)?.shards.len();
        let mut walks = slice.map_or(0, |slice| shards + answers(slice) / ANSWERS_FOLLOWED);
        for _ in 0..times {
            let Some(next) = self.plan().await? else { continue };
            let (before, after) = (offset(&self.offset)?, offset(&next)?);
            if before.shards.keys().eq(after.shards.keys()) {
                walks = walks
                    .checked_sub(1)
                    .ok_or_else(|| format!("a batch of an idle stream: {next}"))?;
            }
            self.ledger.planned(&after, &self.kinesis.stream())?;
            self.read(&next, &[Reading::Whole { limit: 5 }]).await?;
            self.commit(next).await?;
        }
        Ok(())
    }

    /// Number of calls without a new batch after which the stream counts as read.
    fn patience(&self) -> usize {
        let complete = self.ledger.is_complete(&self.kinesis.stream());
        match complete {
            Ok(()) => PROBES,
            // Polling returns no batch only after all shards and their children were probed.
            Err(_) if self.fan_out.is_none() => IDLE_CALLS,
            Err(_) => self.probes_of_all(),
        }
    }

    fn probes_of_all(&self) -> usize {
        let calls = self.fan_out.as_ref().map_or(1, |_| CALLS_PER_PROBE);
        calls * PROBES_PER_SHARD * (self.kinesis.stream().shards.len() + 1)
    }

    async fn plan(&self) -> Checked<Option<String>> {
        tokio::time::sleep(self.trigger).await;
        let planned = self.planner().latest_offset(&self.offset).await;
        planned.map_err(|error| format!("planning failed: {error}"))
    }

    async fn read(&mut self, offset: &str, readings: &[Reading]) -> Checked {
        let tasks = self.planner().partitions(offset);
        let tasks = tasks.map_err(|error| error.to_string())?;
        for (task, reading) in tasks.iter().zip(readings.iter().cycle()) {
            let task = ReadTask::from_json(task).map_err(|error| error.to_string())?;
            let read = self.read_task(&task, reading).await;
            let rows = read.map_err(|error| format!("reading failed: {error}"))?;
            let claim = self.store.kept.get(&task.claim_key()).await;
            let claim = claim.map_err(|error| error.to_string())?;
            for rows in rows {
                self.ledger
                    .read(&task, &rows, claim.as_ref(), &self.kinesis.stream())?;
            }
        }
        Ok(())
    }

    async fn read_task(&self, task: &ReadTask, reading: &Reading) -> Result<Vec<Rows>> {
        match *reading {
            Reading::Unread => Ok(Vec::new()),
            Reading::Whole { limit } => Ok(vec![self.whole(task, limit, true).await?]),
            Reading::Unreported { limit } => Ok(vec![self.whole(task, limit, false).await?]),
            Reading::Twice {
                limits: [first, second],
            } => Ok(vec![
                self.whole(task, first, true).await?,
                self.whole(task, second, true).await?,
            ]),
            Reading::Raced { limits } => {
                let [left, right] = limits;
                let (left, right) = tokio::join!(self.whole(task, left, true), self.whole(task, right, true));
                Ok(vec![
                    self.or_again(task, limits, left).await?,
                    self.or_again(task, limits, right).await?,
                ])
            }
            Reading::Nested { limits } => {
                let [outer, inner] = limits;
                let outer = self.reader(task, outer);
                let begun = outer.next().await;
                let inner = self.attempt(task, inner, true).await;
                let outer = match begun {
                    Ok(begun) => self.rest(&outer, begun, true).await,
                    Err(error) => Err(error),
                };
                Ok(vec![
                    self.or_again(task, limits, outer).await?,
                    self.or_again(task, limits, inner).await?,
                ])
            }
            Reading::FailedFirst {
                limits: [first, second],
            } => {
                let failed = self.reader(task, first);
                failed.next().await?;
                failed.finish(false).await?;
                Ok(vec![self.whole(task, second, true).await?])
            }
            Reading::ClosedEarly { limit } => {
                let reader = self.reader(task, limit);
                let mut rows = Rows::default();
                if let Some(batch) = reader.next().await? {
                    rows.numbers
                        .extend(batch.sequence_number.iter().flatten().map(str::to_owned));
                }
                self.report(reader.finish(true).await?)?;
                Ok(vec![rows])
            }
        }
    }

    /// Attempts a task until it succeeds. An attempt may fail if its subscription breaks and can't resume at its
    /// place, or if another attempt takes over the shard repeatedly.
    async fn whole(&self, task: &ReadTask, limit: u64, reported: bool) -> Result<Rows> {
        for _ in 1..ATTEMPTS {
            match self.attempt(task, limit, reported).await {
                Err(error)
                    if error.is_retryable()
                        || matches!(error.kind(), ErrorKind::RefusedPosition | ErrorKind::InUse) => {}
                ended => return ended,
            }
        }
        self.attempt(task, limit, reported).await
    }

    /// Rows of one of two attempts with these limits, or of its retry. Attempts in one process have no reason to fail
    /// over the claim.
    async fn or_again(&self, task: &ReadTask, limits: [u64; 2], read: Result<Rows>) -> Result<Rows> {
        let one_process = match self.fan_out {
            Some(_) => self
                .executors
                .iter()
                .all(|executor| *executor == self.executors[0]),
            None => polling_process(limits[0]) == polling_process(limits[1]),
        };
        match read {
            Err(error) if error.kind() == ErrorKind::ClaimConflict && !one_process => {
                self.whole(task, 1, true).await
            }
            Err(error) if matches!(error.kind(), ErrorKind::RefusedPosition | ErrorKind::InUse) => {
                self.whole(task, 1, true).await
            }
            read => read,
        }
    }

    async fn attempt(&self, task: &ReadTask, limit: u64, reported: bool) -> Result<Rows> {
        let reader = self.reader(task, limit);
        let begun = reader.next().await?;
        self.rest(&reader, begun, reported).await
    }

    /// Rows of an attempt: the batch already read, and all that follow.
    async fn rest(&self, reader: &ShardReader, begun: Option<RecordBatch>, reported: bool) -> Result<Rows> {
        let mut rows = Rows {
            whole: true,
            ..Rows::default()
        };
        let mut next = begun;
        while let Some(batch) = next {
            rows.numbers
                .extend(batch.sequence_number.iter().flatten().map(str::to_owned));
            next = reader.next().await?;
        }
        let report = reader.finish(true).await?;
        self.report(report.filter(|_| reported))?;
        Ok(rows)
    }

    /// A reader with this limit. The limit also determines its process and its prefetch.
    fn reader(&self, task: &ReadTask, limit: u64) -> ShardReader {
        let mut options = self.config.options.clone();
        options.max_fetch_records_per_shard = limit;
        options.max_fetch_time_per_shard = self.fetch_time;
        let memory = match self.fan_out {
            Some(_) => {
                let turn = self.tasks.fetch_add(1, Ordering::Relaxed) % self.executors.len();
                &self.memories[self.executors[turn]]
            }
            None => {
                options.fetch_interval = Duration::from_millis(2);
                options.prefetch_max_bytes_per_shard = match limit % 4 {
                    0 => 1,
                    1 => 40,
                    _ => options.prefetch_max_bytes_per_shard,
                };
                &self.memories[polling_process(limit)]
            }
        };
        let (api, store) = (self.kinesis.clone(), self.store.clone());
        ShardReader::with_feeds(api, self.fan_out(), store, &options, task.clone(), memory)
    }

    fn report(&self, report: Option<String>) -> Result<()> {
        let Some(report) = report else { return Ok(()) };
        let hits = ShardReport::from_json(&report)?.prefetch_hits;
        self.prefetch_hits.fetch_add(hits, Ordering::Relaxed);
        self.planner().report(&report)
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

/// Process of a polling reader with this limit.
fn polling_process(limit: u64) -> usize {
    usize::from(limit.is_multiple_of(3))
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

/// A slow store, so that concurrent attempts interfere with each other.
#[derive(Debug, Default)]
struct SlowStore {
    kept: MemoryStore,
    requests: AtomicU64,
}

impl SlowStore {
    async fn take_time(&self) {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(request * 7 % 4)).await;
    }
}

#[async_trait]
impl ClaimStore for SlowStore {
    async fn put_if_absent(&self, key: &ClaimKey, claim: &Claim) -> Result<PutResult> {
        self.take_time().await;
        let result = self.kept.put_if_absent(key, claim).await;
        self.take_time().await;
        result
    }

    async fn get(&self, key: &ClaimKey) -> Result<Option<Claim>> {
        self.take_time().await;
        self.kept.get(key).await
    }

    async fn load(&self, source: &str, batch: u64) -> Result<BTreeMap<ShardId, Claim>> {
        self.kept.load(source, batch).await
    }

    async fn purge(&self, source: &str, before: u64) -> Result<()> {
        self.kept.purge(source, before).await
    }
}

/// Files of the checkpoint location.
#[derive(Default)]
struct Files(Mutex<HashMap<String, Vec<u8>>>);

impl Files {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<u8>>> {
        self.0.lock().expect("no test panics while it holds the files")
    }
}

#[async_trait]
impl FileSystem for Files {
    async fn put_if_absent(&self, path: &str, content: Vec<u8>) -> Result<bool> {
        match self.all().entry(path.to_owned()) {
            Entry::Occupied(_) => Ok(false),
            Entry::Vacant(free) => {
                free.insert(content);
                Ok(true)
            }
        }
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.all().get(path).cloned())
    }

    async fn list(&self, _: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.all().remove(path);
        Ok(())
    }
}
