//! The executors' side: reads a task's records of one batch and decides where the batch ends. Planning is the
//! driver's.

mod batch;
mod feed;
mod lag;
mod memory_pool;
mod progress;
mod queue;
mod rows;
mod stretch;
mod task;
mod turns;

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};

use futures_util::FutureExt;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

use crate::batch::{Column, RecordBatch};
use crate::claims::ClaimStore;
use crate::error::{Error, ErrorKind, Result};
use crate::options::SourceOptions;
use crate::service::{FanOutApi, KinesisApi, RequestCounters};
use crate::stream::Position;

pub use feed::FeedRegistry;
pub(crate) use feed::{Availability, Busy, InUseByQuery, SubscriptionReports, remove_read};
#[doc(hidden)]
pub use rows::rows_of;
pub use task::{Backlog, PeerCallRate, ReadTask, ShardReport, TaskPlan};

use batch::Attempt;
use lag::Lag;
use memory_pool::MemoryLimits;
use progress::Progress;
use queue::Queue;
use rows::RowRules;

/// Counters of a reader.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReaderMetrics {
    /// Rows fetched.
    pub records: u64,
    /// Bytes of data fetched.
    pub bytes: u64,
    /// Requests sent to Kinesis.
    pub requests: u64,
    /// Requests repeated.
    pub retries: u64,
    /// Requests that the service throttled.
    pub throttles: u64,
    /// Subscriptions reopened.
    pub resubscriptions: u64,
    /// Shards that continued from prefetched records or from a subscription of this process.
    pub prefetch_hits: u64,
    /// Bytes fetched ahead that the reader left for the next batch.
    pub buffered_bytes: u64,
    /// How far the last row is behind the shard's tip, in milliseconds: the maximum over all shards. None before the
    /// first answer.
    pub millis_behind_latest: Option<i64>,
}

/// State of one shard that the reader's fetching and consuming sides share.
#[derive(Debug)]
pub(crate) struct Shared {
    task: ReadTask,
    rules: RowRules,
    /// The reader's queue, shared by all its shards.
    queue: Arc<Queue>,
    /// The shard's lane in the queue.
    lane: usize,
    progress: Mutex<Progress>,
    /// Where the reader parks what it leaves for the next one.
    feeds: FeedRegistry,
    counters: Arc<RequestCounters>,
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end of what was fetched; the batch's start if nothing was.
    fn fetched_to(&self) -> Position {
        let progress = self.progress();
        match progress.fetched {
            true => progress.position.clone(),
            false => self.task.start.clone(),
        }
    }

    /// Adds the shard and the batch to an error's context.
    fn named(&self, error: Error) -> Error {
        error
            .with("shard", self.task.shard.to_string())
            .with("batch", self.task.batch.to_string())
    }

    /// The report of a successful task on the shard; none without a claim.
    fn report(&self) -> Option<ShardReport> {
        let progress = self.progress();
        let counters = &self.counters;
        let end = progress.claimed.clone()?;
        Some(ShardReport {
            source: self.task.source.clone(),
            batch: self.task.batch,
            shard: self.task.shard.clone(),
            buffered_bytes: self.buffered_bytes(&progress),
            end,
            backlog: progress.backlog,
            lost: progress.lost,
            records: progress.rows,
            bytes: progress.bytes,
            skipped_aggregates: progress.skipped.count,
            requests: counters.requests(),
            retries: counters.retries(),
            throttles: counters.throttles(),
            resubscriptions: counters.resubscriptions(),
            prefetch_hits: progress.prefetch_hit.into(),
            last_arrival: progress.last_arrival,
            process: progress.subscribed.then(|| self.feeds.subscriptions().process()),
            millis_behind_latest: progress.lag.map(Lag::millis),
            fetched_behind: progress.fetched_behind,
            asked: progress.asked.clone(),
        })
    }

    /// Bytes left for the next batch's reader, once the batch's end is sure.
    fn buffered_bytes(&self, progress: &Progress) -> u64 {
        match &progress.claimed {
            Some(_) if progress.subscribed => progress.buffered_bytes,
            Some(end) => self.feeds.bytes(&self.task, end) as u64,
            None => 0,
        }
    }

    /// Logs one warning per shard and batch if aggregates were left out.
    fn warn_of_left_out(&self) {
        let skipped = self.progress().skipped.clone();
        if let Some(first) = skipped.first {
            tracing::warn!(
                shard = %self.task.shard,
                batch = self.task.batch,
                "{} KPL aggregate(s) were left out, as kinesis.aggregation.outsideShard and \
                 kinesis.aggregation.broken say; the first is that with {first}",
                skipped.count
            );
        }
    }
}

/// The services that a reader uses.
pub(crate) struct ReaderParts {
    pub api: Arc<dyn KinesisApi>,
    /// Present for tasks with a consumer.
    pub fan_out: Option<Arc<dyn FanOutApi>>,
    /// Holds the claims; none in a batch read, whose end is known beforehand.
    pub store: Option<Arc<dyn ClaimStore>>,
}

/// Reads a task's part of one batch: one shard's, or concurrently those of a group of shards. It fetches ahead of its
/// consumer, within the memory bounds.
#[derive(Debug)]
pub struct ShardReader {
    plan: Arc<TaskPlan>,
    shards: Arc<[Arc<Shared>]>,
    queue: Arc<Queue>,
    stop: watch::Sender<bool>,
    fetching: Mutex<Option<JoinHandle<()>>>,
}

impl ShardReader {
    /// A reader with these parts.
    #[doc(hidden)]
    pub fn on(
        api: Arc<dyn KinesisApi>,
        store: Arc<dyn ClaimStore>,
        options: &SourceOptions,
        plan: impl Into<TaskPlan>,
    ) -> Self {
        Self::with_feeds(api, None, store, options, plan, &FeedRegistry::default())
    }

    /// A reader with these parts, for consecutive tasks of a process. Tasks with a consumer read by `fan_out`.
    #[doc(hidden)]
    pub fn with_feeds(
        api: Arc<dyn KinesisApi>,
        fan_out: Option<Arc<dyn FanOutApi>>,
        store: Arc<dyn ClaimStore>,
        options: &SourceOptions,
        plan: impl Into<TaskPlan>,
        feeds: &FeedRegistry,
    ) -> Self {
        let parts = ReaderParts {
            api,
            fan_out,
            store: Some(store),
        };
        let columns = Column::all(options);
        Self::start(plan.into(), options, &columns, feeds, async { Ok(parts) })
    }

    /// Starts reading rows of these columns as soon as `parts` are available.
    pub(crate) fn start(
        plan: TaskPlan,
        options: &SourceOptions,
        columns: &[Column],
        feeds: &FeedRegistry,
        parts: impl Future<Output = Result<ReaderParts>> + Send + 'static,
    ) -> Self {
        let limits = MemoryLimits::new(options, feeds.pool());
        let queue = Arc::new(Queue::new(plan.tasks().len(), limits));
        let shared = |(lane, task): (usize, &ReadTask)| {
            Arc::new(Shared {
                progress: Mutex::new(Progress::at(task.start.clone())),
                rules: RowRules::new(options, columns, task),
                task: task.clone(),
                queue: queue.clone(),
                lane,
                feeds: feeds.clone(),
                counters: Arc::default(),
            })
        };
        let shards: Arc<[Arc<Shared>]> = plan.tasks().iter().enumerate().map(shared).collect();
        let plan = Arc::new(plan);
        let (stop, stopped) = watch::channel(false);
        let (fetched, into, what) = (shards.clone(), queue.clone(), plan.clone());
        let (options, feeds) = (options.clone(), feeds.clone());
        let fetching = tokio::spawn(async move {
            let attempt = async {
                let ReaderParts { api, fan_out, store } = parts.await?;
                Attempt {
                    api,
                    fan_out,
                    store,
                    feeds: &feeds,
                    options: &options,
                    plan: &what,
                    shards: &fetched,
                    stop: stopped,
                }
                .run()
                .await
            };
            let result = AssertUnwindSafe(attempt).catch_unwind().await;
            let result = result.unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorKind::Internal,
                    "the reading of a shard panicked; the log has its message",
                ))
            });
            fetched.iter().for_each(|shard| shard.warn_of_left_out());
            into.end(result.map_err(|error| named(error, &what)));
        });
        Self {
            plan,
            shards,
            queue,
            stop,
            fetching: Mutex::new(Some(fetching)),
        }
    }

    /// The next rows; none at the batch's end, once its claim is stored. Cancel-safe: dropping the future loses
    /// nothing.
    pub async fn next(&self) -> Result<Option<RecordBatch>> {
        self.queue.pop().await
    }

    /// Ends the reading. Returns the reports for `Planner::report` if the reader is at its end or the task succeeded
    /// early; an early end claims what was fetched, if anything was. A failed or killed task (`succeeded` false)
    /// claims nothing and has no report. Dropping the future leaves the end open: the reading continues until the
    /// reader is finished again, or dropped, which ends it without a claim.
    pub async fn finish(&self, succeeded: bool) -> Result<Option<String>> {
        if !succeeded {
            if let Some(fetching) = self.fetching().take() {
                fetching.abort();
            }
            return Ok(None);
        }
        self.stop.send_replace(true);
        self.fetched().await.map_err(|error| {
            let error = Error::new(
                ErrorKind::Internal,
                format!("a shard's reading ended unexpectedly: {error}"),
            );
            named(error, &self.plan)
        })?;
        // Unconsumed rows are discarded, but the outcome of the fetching matters.
        while self.queue.pop().await?.is_some() {}
        self.report()
    }

    /// Waits for the end of the fetching. The reader can abort it meanwhile.
    async fn fetched(&self) -> Result<(), JoinError> {
        poll_fn(|context| {
            let mut fetching = self.fetching();
            let Some(handle) = fetching.as_mut() else {
                return Poll::Ready(Ok(()));
            };
            let ended = ready!(Pin::new(handle).poll(context));
            *fetching = None;
            Poll::Ready(ended)
        })
        .await
    }

    fn fetching(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self) -> Result<Option<String>> {
        let reports: Vec<ShardReport> = self.shards.iter().filter_map(|shard| shard.report()).collect();
        match reports.is_empty() {
            true => Ok(None),
            false => ShardReport::all_to_json(&reports).map(Some),
        }
    }

    /// The reader's counters, over all its shards.
    pub fn metrics(&self) -> ReaderMetrics {
        let mut sum = ReaderMetrics::default();
        for shard in self.shards.iter() {
            let progress = shard.progress();
            sum.records += progress.rows;
            sum.bytes += progress.bytes;
            sum.requests += shard.counters.requests();
            sum.retries += shard.counters.retries();
            sum.throttles += shard.counters.throttles();
            sum.resubscriptions += shard.counters.resubscriptions();
            sum.prefetch_hits += u64::from(progress.prefetch_hit);
            sum.buffered_bytes += shard.buffered_bytes(&progress);
            sum.millis_behind_latest = sum.millis_behind_latest.max(progress.lag.map(Lag::millis));
        }
        sum
    }
}

/// Adds the plan's shard and batch to the context of an error that lacks them.
fn named(error: Error, plan: &TaskPlan) -> Error {
    let key = plan.claim_key();
    error
        .with("shard", key.shard.to_string())
        .with("batch", key.batch.to_string())
}

impl Drop for ShardReader {
    fn drop(&mut self) {
        if let Some(fetching) = self.fetching().take() {
            fetching.abort();
        }
    }
}
