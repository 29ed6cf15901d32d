//! The executors' side: a shard's records of one batch, and where the batch ends.

mod budget;
mod cursor;
mod fanout;
mod memory;
pub(crate) mod polling;
mod queue;
mod rows;
mod task;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::batch::RecordBatch;
use crate::checkpoint::CheckpointStore;
use crate::checkpoint::hadoop::FileSystem;
use crate::config::SourceConfig;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::options::SourceOptions;
use crate::service::{FanOutApi, KinesisApi, RequestCounters};

pub(crate) use fanout::{InUseByQuery, Residents, Standing};
pub use memory::ShardMemory;
pub use task::{ReadTask, ShardReport};

use polling::{Fetcher, Progress};
use queue::Queue;

/// What a reader did so far.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReaderMetrics {
    /// Rows fetched.
    pub records: u64,
    /// Bytes of their data.
    pub bytes: u64,
    /// Requests sent to Kinesis.
    pub requests: u64,
    /// Requests sent again.
    pub retries: u64,
    /// Requests that the service throttled.
    pub throttles: u64,
    /// How far behind the shard's tip the last answer was; none before the first answer.
    pub millis_behind_latest: Option<i64>,
}

/// What the fetching and the consuming side of a reader share.
#[derive(Debug)]
pub(crate) struct Shared {
    task: ReadTask,
    queue: Queue,
    progress: Mutex<Progress>,
    /// Names this process in reports.
    process: String,
    counters: Arc<RequestCounters>,
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads one shard's part of one batch. It fetches ahead of its consumer, within the memory bound.
#[derive(Debug)]
pub struct ShardReader {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    fetching: Mutex<Option<JoinHandle<()>>>,
}

impl ShardReader {
    /// Starts reading what `task` (from [`crate::plan::Planner::partitions`], or
    /// [`crate::plan::batch_read_tasks`] where the configuration is one of a batch read) says. Must run in the
    /// runtime.
    pub fn open(
        engine: &Engine,
        config: SourceConfig,
        task: &str,
        files: Arc<dyn FileSystem>,
    ) -> Result<Self> {
        let task = ReadTask::from_json(task)?;
        let store = engine.store(&config, files)?;
        let engine = engine.clone();
        let options = config.options.clone();
        let memory = engine.memory().clone();
        Ok(Self::start(task, &options, &memory, |shared, stop| async move {
            let api = engine.source_client(&config).await?;
            let fan_out = match shared.task.consumer {
                Some(_) => Some(engine.fan_out_client(&config).await?),
                None => None,
            };
            Fetcher {
                api,
                fan_out,
                store,
                memory: engine.memory(),
                options: &config.options,
                shared,
                stop,
            }
            .run()
            .await
        }))
    }

    /// A reader on these parts.
    #[doc(hidden)]
    pub fn on(
        api: Arc<dyn KinesisApi>,
        store: Arc<dyn CheckpointStore>,
        options: &SourceOptions,
        task: ReadTask,
    ) -> Self {
        Self::with_memory(api, None, store, options, task, &ShardMemory::default())
    }

    /// A reader on these parts, for tasks that follow one another in a process: a task with a consumer reads by
    /// `fan_out`.
    #[doc(hidden)]
    pub fn with_memory(
        api: Arc<dyn KinesisApi>,
        fan_out: Option<Arc<dyn FanOutApi>>,
        store: Arc<dyn CheckpointStore>,
        options: &SourceOptions,
        task: ReadTask,
        memory: &ShardMemory,
    ) -> Self {
        let (fetching, kept) = (options.clone(), memory.clone());
        Self::start(task, options, memory, |shared, stop| async move {
            Fetcher {
                api,
                fan_out,
                store: Some(store),
                memory: &kept,
                options: &fetching,
                shared,
                stop,
            }
            .run()
            .await
        })
    }

    fn start<F, Fut>(task: ReadTask, options: &SourceOptions, memory: &ShardMemory, fetch: F) -> Self
    where
        F: FnOnce(Arc<Shared>, watch::Receiver<bool>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send,
    {
        let bytes = |option: u64| usize::try_from(option).unwrap_or(usize::MAX);
        let queue = Queue::new(
            bytes(options.prefetch_max_bytes_per_shard),
            bytes(options.prefetch_max_bytes_per_executor),
            memory.budget().clone(),
        );
        let shared = Arc::new(Shared {
            progress: Mutex::new(Progress::at(task.start.clone())),
            task,
            queue,
            process: memory.residents().process(),
            counters: Arc::default(),
        });
        let (stop, stopped) = watch::channel(false);
        let fetched = shared.clone();
        let fetching = tokio::spawn(async move {
            let result = AssertUnwindSafe(fetch(fetched.clone(), stopped))
                .catch_unwind()
                .await;
            let result = result.unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorKind::Internal,
                    "the reading of a shard panicked; the log has its message",
                ))
            });
            fetched.queue.end(result.map_err(|error| {
                let task = &fetched.task;
                error
                    .with("shard", task.shard.to_string())
                    .with("batch", task.batch.to_string())
            }));
        });
        Self {
            shared,
            stop,
            fetching: Mutex::new(Some(fetching)),
        }
    }

    /// The next rows, or none at the batch's end, once its claim is stored. Dropping the future loses nothing.
    pub async fn next(&self) -> Result<Option<RecordBatch>> {
        self.shared.queue.pop().await
    }

    /// Ends the reading. After the end, or when the task succeeded without reading to the end, answers the
    /// report for [`crate::plan::Planner::report`]; an early end claims what was fetched, and nothing if nothing
    /// was. A failed or killed task (`succeeded` false) claims nothing and has no report.
    pub async fn finish(&self, succeeded: bool) -> Result<Option<String>> {
        let fetching = self
            .fetching
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if !succeeded {
            if let Some(fetching) = fetching {
                fetching.abort();
            }
            return Ok(None);
        }
        self.stop.send_replace(true);
        if let Some(fetching) = fetching {
            fetching.await.map_err(|error| {
                Error::new(
                    ErrorKind::Internal,
                    format!("a shard's reading ended unexpectedly: {error}"),
                )
                .with("shard", self.shared.task.shard.to_string())
            })?;
        }
        // What was not consumed is of no use any more, but how the fetching ended is.
        while self.shared.queue.pop().await?.is_some() {}
        self.report()
    }

    fn report(&self) -> Result<Option<String>> {
        let metrics = self.metrics();
        let progress = self.shared.progress();
        let Some(end) = progress.claimed.clone() else {
            return Ok(None);
        };
        let task = &self.shared.task;
        let report = ShardReport {
            source: task.source.clone(),
            batch: task.batch,
            shard: task.shard.clone(),
            end,
            tip: progress.tip,
            left: progress.left,
            lost: progress.lost,
            records: metrics.records,
            bytes: metrics.bytes,
            requests: metrics.requests,
            retries: metrics.retries,
            throttles: metrics.throttles,
            resubscriptions: self.shared.counters.resubscriptions(),
            prefetch_hits: progress.prefetch_hit.into(),
            buffered_bytes: progress.buffered_bytes,
            last_arrival: progress.last_arrival,
            process: progress.subscribed.then(|| self.shared.process.clone()),
            millis_behind_latest: metrics.millis_behind_latest,
        };
        report.to_json().map(Some)
    }

    /// What the reader did so far.
    pub fn metrics(&self) -> ReaderMetrics {
        let progress = self.shared.progress();
        let counters = &self.shared.counters;
        ReaderMetrics {
            records: progress.rows,
            bytes: progress.bytes,
            requests: counters.requests(),
            retries: counters.retries(),
            throttles: counters.throttles(),
            millis_behind_latest: progress.millis_behind_latest,
        }
    }
}

impl Drop for ShardReader {
    fn drop(&mut self) {
        if let Some(fetching) = self
            .fetching
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            fetching.abort();
        }
    }
}
