//! The planner, on the driver: which shards there are, where the last batch ended, and what the next one reads. It
//! reads no records itself.

mod availability;
mod available_now;
mod batch_read;
mod clock;
mod ends;
mod fan_out;
mod mark;
mod next_batch;
mod planning;
mod probe;
mod shards;
mod start;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::claims::ClaimStore;
use crate::config::SourceConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::options::OutsideShard;
use crate::read::{FeedRegistry, PeerCallRate, ReadTask, ShardReport, TaskPlan};
use crate::service::{FanOutApi, KinesisApi, RequestCounters, stream_changed};
use crate::storage::FileSystem;
use crate::stream::{HashRange, Offset, Position, ShardId, offset_home};

pub use batch_read::batch_read_tasks;

use availability::{Availability, Polling, Subscriptions};
use clock::ServiceClock;
use fan_out::FanOut;
use planning::Planning;
use probe::{Prober, QUIET_INTERVAL, Stream};
use shards::Shards;
use start::initial_offset::INITIAL_OFFSET;
use state::{SharedState, State};

/// The driver probes four times a second: the shard's fifth call (AWS limit) belongs to its reader.
const READERS_SHARE: u32 = 4;
/// Number of batches between two removals of old claims; each removal lists a folder.
const PURGE_EVERY: u64 = 10;

/// Plans the micro-batches of one query source. Calls come one at a time, from the query's thread.
#[derive(Debug)]
pub struct Planner {
    api: Arc<dyn KinesisApi>,
    availability: Box<dyn Availability>,
    fan_out: Option<FanOut>,
    store: Arc<dyn ClaimStore>,
    files: Files,
    config: SourceConfig,
    stream: Arc<Stream>,
    clock: ServiceClock,
    /// Start positions given for the shards of a new query.
    given: Option<BTreeMap<ShardId, Position>>,
    counters: Arc<RequestCounters>,
    /// ID of this process.
    process: String,
    /// Unique ID of this start of the query.
    start: String,
    /// Runtime on which the planner was opened, for its background work.
    runtime: tokio::runtime::Handle,
    /// Feeds of the readers in this process.
    feeds: FeedRegistry,
    /// State that all calls share.
    state: SharedState,
    /// State of one planning call at a time; other calls wait for it.
    planning: tokio::sync::Mutex<Planning>,
}

struct Files(Arc<dyn FileSystem>);

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Files")
    }
}

impl Planner {
    /// A planner built from these parts.
    #[doc(hidden)]
    pub async fn on(
        api: Arc<dyn KinesisApi>,
        store: Arc<dyn ClaimStore>,
        config: SourceConfig,
        files: Arc<dyn FileSystem>,
    ) -> Result<Self> {
        Self::with_feeds(api, None, store, config, files, &FeedRegistry::default()).await
    }

    /// A planner built from these parts, in one process with the readers that use `feeds`. With a consumer it needs
    /// `fan_out`.
    #[doc(hidden)]
    pub async fn with_feeds(
        api: Arc<dyn KinesisApi>,
        fan_out: Option<Arc<dyn FanOutApi>>,
        store: Arc<dyn ClaimStore>,
        config: SourceConfig,
        files: Arc<dyn FileSystem>,
        feeds: &FeedRegistry,
    ) -> Result<Self> {
        let folder = config.checkpoint_location.as_deref().unwrap_or_default();
        let is_new = files.read(&format!("{folder}/{INITIAL_OFFSET}")).await?.is_none();
        if is_new {
            start::foreign::refuse(&*files, folder).await?;
        }
        store.prepare().await?;
        let (clock, summary) = ServiceClock::asked(&*api, &config.options.stream.name).await?;
        let state = SharedState::default();
        let mut shards = Shards::new(&config.options, state.clone());
        if config.options.aggregation.outside_shard != OutsideShard::Deliver {
            shards.open(&*api).await?;
        }
        let given = match is_new {
            true => start::given(&*api, &config, clock, &mut shards, &*files, &*store).await?,
            false => None,
        };
        let fan_out = match (fan_out, &config.options.consumer) {
            (Some(api), Some(choice)) => {
                let subscriptions = feeds.subscriptions().clone();
                Some(FanOut::prepare(api, subscriptions, &summary.arn, choice, &*files, folder).await?)
            }
            _ => None,
        };
        // With fan-out the readers don't poll, so the driver's probes need not leave room for them.
        let fetch_interval = config.options.fetch_interval;
        let (availability, interval): (Box<dyn Availability>, _) = match fan_out {
            Some(_) => {
                let subscriptions = Subscriptions(feeds.subscriptions().clone());
                (Box::new(subscriptions), fetch_interval.max(QUIET_INTERVAL))
            }
            None => (Box::new(Polling), fetch_interval + fetch_interval / READERS_SHARE),
        };
        let stream = Arc::new(Stream {
            name: config.options.stream.name.clone(),
            created_millis: summary.created_millis,
        });
        let counters = Arc::<RequestCounters>::default();
        let prober = Prober::new(
            api.clone(),
            stream.clone(),
            counters.clone(),
            interval,
            config.options.check_new_record_threads,
            config.few_shards,
        );
        let planning = Planning::new(api.clone(), stream.clone(), shards, prober);
        Ok(Self {
            api,
            availability,
            fan_out,
            store,
            files: Files(files),
            config,
            stream,
            clock,
            given,
            counters,
            process: feeds.subscriptions().process(),
            start: uuid::Uuid::new_v4().simple().to_string(),
            runtime: tokio::runtime::Handle::current(),
            feeds: feeds.clone(),
            state,
            planning: tokio::sync::Mutex::new(planning),
        })
    }

    /// The tasks of a batch: one JSON for each group of `shards_per_task` shards. They follow from the offset alone,
    /// which also lists the shards without a task, so a batch that runs again has the same tasks.
    pub fn partitions(&self, offset: &str) -> Result<Vec<String>> {
        let offset = self.own_offset(offset)?;
        let mut state = self.state.lock();
        let idle = match (&state.available_now, state.planned.batch == offset.batch) {
            (None, true) => state.planned.idle,
            _ => 0,
        };
        state.reports.plan(Some(offset.batch), idle);
        let previous_executors = state.reports.previous_executors(&offset);
        let state = &*state;
        self.mark_soon(&offset.source, state);
        let seen = |shard: &ShardId| {
            let read_to_tip = state.available_now.is_some();
            self.fan_out.is_some() && (read_to_tip || state.planned.saw_records(offset.batch, shard))
        };
        let task = |(shard, start): (&ShardId, &Position)| ReadTask {
            source: offset.source.clone(),
            batch: offset.batch,
            shard: shard.clone(),
            start: start.clone(),
            hash_range: self.hash_range_for_task(shard, state),
            created: Some(self.stream.created_millis),
            tip_seen_at: state.planned.tip_seen_at(offset.batch, shard),
            until: None,
            consumer: self.fan_out.as_ref().map(FanOut::consumer),
            records_seen: seen(shard),
            previous_executor: previous_executors.get(shard).cloned(),
            asked: PeerCallRate::lately(&self.process, &*self.api, shard),
            mark: Some(self.start.clone()),
        };
        TaskPlan::group(offset.read().map(task).collect(), offset.shards_per_task)
            .map(|plan| plan.to_json())
            .collect()
    }

    /// The shard's hash keys, if its reader needs them.
    fn hash_range_for_task(&self, shard: &ShardId, state: &State) -> Option<HashRange> {
        let asked = self.config.options.aggregation.outside_shard != OutsideShard::Deliver;
        asked.then(|| state.listed.hash_range(shard)).flatten()
    }

    /// Adds the report of a reader whose task succeeded.
    pub fn report(&self, report: &str) -> Result<()> {
        for report in ShardReport::all_from_json(report)? {
            if let Some(asked) = &report.asked {
                asked.count(&self.process, &*self.api, &report.shard);
            }
            let (shard, end) = (report.shard.clone(), report.end.clone());
            let lost = self.state.lock().reports.add(report)?;
            if let Some(lost) = lost {
                // The reader's more detailed warning is in its executor's log.
                tracing::warn!(
                    stream = %self.config.options.stream.name,
                    %shard,
                    %end,
                    "DATA LOSS: records before this end of a batch expired unread, or may have; going on without them, \
                     since kinesis.failOnDataLoss is false. So far that happened at {lost} position(s): \
                     lostPositions in the query's progress"
                );
            }
        }
        Ok(())
    }

    /// Completes the batch of this offset: removes claims that are no longer needed.
    pub async fn commit(&self, offset: &str) -> Result<()> {
        let offset = self.own_offset(offset)?;
        let mut planning = self.planning.lock().await;
        let before = (offset.batch + 1).saturating_sub(self.config.min_batches_to_retain);
        if before >= planning.purged + PURGE_EVERY {
            // A failed purge is no reason to end the query; the next one removes the claims.
            if let Err(error) = self.store.purge(&offset.source, before).await {
                tracing::warn!(stream = %offset.stream, "old claims could not be removed: {error}");
            }
            // A clean-up of old files may have removed the mark, and executors that start later look for it.
            if let Err(error) = self.store.leave_mark(&offset.source, &self.start).await {
                tracing::warn!(stream = %offset.stream, "the mark beside the claims could not be written: {error}");
            }
            planning.purged = before;
        }
        Ok(())
    }

    /// The source's metrics for the query's progress: those of the last batch's readers (none if there was nothing to
    /// read since), the shards of the last listing, and the driver's own requests since the query started. Unknown
    /// values are absent.
    pub fn metrics(&self) -> BTreeMap<String, String> {
        let state = self.state.lock();
        let mut metrics = state.reports.metrics();
        if self.fan_out.is_some() {
            let resubscriptions = state.reports.resubscriptions();
            metrics.insert("resubscriptions".into(), resubscriptions.to_string());
        }
        metrics.insert("driverRequests".into(), self.counters.requests().to_string());
        if let Some((total, closed)) = state.listed.counts() {
            metrics.insert("numTotalShards".into(), total.to_string());
            metrics.insert("numClosedShards".into(), closed.to_string());
        }
        metrics
    }

    /// Stops the query, for good or until its next start: ends the feeds that its readers left in this process, and
    /// frees its consumer for that start or another query.
    pub fn stop(&self) {
        self.close();
        if let Some(fan_out) = &self.fan_out {
            fan_out.stop();
        }
    }

    /// Ends the query for good, as opposed to a failure that it restarts after: deregisters the consumer if the query
    /// registered it and nobody has taken it since the query [stopped](Self::stop).
    pub async fn release(&self) -> Result<()> {
        self.stop();
        let folder = self.config.checkpoint_location.as_deref().unwrap_or_default();
        match &self.fan_out {
            Some(fan_out) => fan_out.release(&*self.files.0, folder).await,
            None => Ok(()),
        }
    }

    /// Identifies this checkpoint location among others: see [`Offset::home`].
    fn home(&self) -> String {
        offset_home(self.config.checkpoint_location.as_deref().unwrap_or_default())
    }

    /// Parses an offset and refuses one of another stream.
    fn own_offset(&self, json: &str) -> Result<Offset> {
        let offset = Offset::from_json(json)?;
        let name = &self.config.options.stream.name;
        let refuse = |message: String| {
            let cure = "start with a new checkpointLocation, and kinesis.startingPosition as wanted";
            Err(Error::new(ErrorKind::StreamChanged, format!("{message}: {cure}"))
                .with("stream", name.clone()))
        };
        if offset.stream != *name {
            return refuse(format!(
                "the checkpoint is one of the stream {}, not of {name}",
                offset.stream
            ));
        }
        // 0: unknown when the query first started.
        if offset.created != 0 && offset.created != self.stream.created_millis {
            return Err(stream_changed(name));
        }
        // Under the lock: `close` ends all sources served so far, and no source is served after it.
        let mut state = self.state.lock();
        if state.sources.insert(offset.source.clone())
            && !state.closed
            && let Some(fan_out) = &self.fan_out
        {
            fan_out.serve(&offset.source);
        }
        drop(state);
        Ok(offset)
    }

    /// Ends the feeds that the readers in this process left for the next batch. Runs once: later feeds may belong to
    /// the query's next start.
    fn close(&self) {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        for source in &state.sources {
            self.feeds.close(source);
        }
    }
}

impl Drop for Planner {
    fn drop(&mut self) {
        self.close();
    }
}
