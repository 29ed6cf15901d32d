//! The driver's side: which shards there are, where the last batch ended, what the next one reads.

mod available;
mod batch_read;
mod clock;
mod consumer;
mod ends;
mod fan_out;
mod news;
mod push;
mod shards;
mod tips;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::checkpoint::CheckpointStore;
use crate::checkpoint::hadoop::FileSystem;
use crate::config::SourceConfig;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{OutsideShard, StartingPosition};
use crate::read::{Asked, ReadTask, ShardMemory, ShardReport, TaskPlan};
use crate::service::{FanOutApi, KinesisApi, RequestCounters, StreamSummary};
use crate::stream::{HashRange, Offset, Position, ShardId};

pub use batch_read::batch_read_tasks;

use available::AvailableNow;
use clock::ServiceClock;
use ends::{Ends, Reports};
use fan_out::FanOut;
use news::{Looked, News, QUIET_INTERVAL};
use shards::{HashRanges, Shards};

/// The file in the checkpoint location that keeps where the query started.
const INITIAL_OFFSET: &str = "initial-offset";
/// Of so many questions that a shard allows the driver leaves one to the shard's reader, which has to fetch what the
/// driver found.
const READERS_SHARE: u32 = 4;
/// Longest that [`Planner::latest_offset`] waits before it answers that nothing is new.
const LONGEST_WAIT: Duration = Duration::from_millis(200);
/// Old claims are removed once in so many batches: each removal lists a folder.
const PURGE_EVERY: u64 = 10;

/// Plans the micro-batches of one query source. Calls come one at a time, from the query's thread.
#[derive(Debug)]
pub struct Planner {
    api: Arc<dyn KinesisApi>,
    fan_out: Option<FanOut>,
    store: Arc<dyn CheckpointStore>,
    files: Files,
    config: SourceConfig,
    summary: StreamSummary,
    clock: ServiceClock,
    counters: Arc<RequestCounters>,
    /// Names this process.
    process: String,
    reports: Mutex<Reports>,
    hash_ranges: HashRanges,
    available: Mutex<Option<AvailableNow>>,
    /// The shards of the batch planned last that start where their tip was seen, with the batch's number.
    at_tip: Mutex<(u64, BTreeSet<ShardId>)>,
    state: tokio::sync::Mutex<State>,
    /// Of the readers in this process.
    memory: ShardMemory,
    /// The query source, once an offset told.
    source: OnceLock<String>,
}

/// What the planner remembers from one call to the next. All of it can be found again after a restart.
#[derive(Debug)]
struct State {
    shards: Shards,
    news: News,
    /// Where the batch of this number ended.
    resolved: Option<(u64, BTreeMap<ShardId, Position>)>,
    /// Batches in a row that delivered records, without a look in between that found nothing.
    busy: u32,
    pace: Pace,
    /// Shards in which the last batch left records. Its readers fetch them, so nobody else asks.
    left: BTreeSet<ShardId>,
    purged: u64,
}

/// What comes before the next batch is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// The last batch left records behind: the next follows at once.
    Backlog,
    /// The stream goes on delivering: the next follows without a question, as soon as its shards may be asked.
    Busy,
    /// Nothing may be there: the driver asks. After a single burst too, since a question is cheaper than an empty
    /// batch.
    Ask,
}

struct Files(Arc<dyn FileSystem>);

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Files")
    }
}

impl Planner {
    /// Opens the planner: looks at the stream, makes nothing. `files` reaches the checkpoint location.
    pub async fn open(engine: &Engine, config: SourceConfig, files: Arc<dyn FileSystem>) -> Result<Self> {
        let api = engine.source_client(&config).await?;
        let store = engine.store(&config, files.clone())?.ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidArgument,
                "a streaming query without a checkpoint location",
            )
        })?;
        store.prepare().await?;
        let fan_out = match config.options.consumer {
            Some(_) => Some(engine.fan_out_client(&config).await?),
            None => None,
        };
        Self::with_memory(api, fan_out, store, config, files, engine.memory()).await
    }

    /// A planner on these parts.
    #[doc(hidden)]
    pub async fn on(
        api: Arc<dyn KinesisApi>,
        store: Arc<dyn CheckpointStore>,
        config: SourceConfig,
        files: Arc<dyn FileSystem>,
    ) -> Result<Self> {
        Self::with_memory(api, None, store, config, files, &ShardMemory::default()).await
    }

    /// A planner on these parts, in the process of readers with this memory. With a consumer it needs `fan_out`.
    #[doc(hidden)]
    pub async fn with_memory(
        api: Arc<dyn KinesisApi>,
        fan_out: Option<Arc<dyn FanOutApi>>,
        store: Arc<dyn CheckpointStore>,
        config: SourceConfig,
        files: Arc<dyn FileSystem>,
        memory: &ShardMemory,
    ) -> Result<Self> {
        let summary = api.describe_stream().await?;
        let clock = ServiceClock::compare(&config.options.stream.name, &summary);
        let mut shards = Shards::new(config.options.describe_shard_interval);
        let hash_ranges = shards.hash_ranges();
        if config.options.aggregation.outside_shard != OutsideShard::Deliver {
            shards.open(&*api).await?;
        }
        let folder = config.checkpoint_location.as_deref().unwrap_or_default();
        let fan_out = match (fan_out, &config.options.consumer) {
            (Some(api), Some(choice)) => {
                let residents = memory.residents().clone();
                Some(FanOut::prepare(api, residents, &summary.arn, choice, &*files, folder).await?)
            }
            _ => None,
        };
        // With fan-out the readers don't ask, so the driver's questions need not keep pace with theirs.
        let interval = match fan_out {
            Some(_) => config.options.fetch_interval.max(QUIET_INTERVAL),
            None => config.options.fetch_interval + config.options.fetch_interval / READERS_SHARE,
        };
        let state = State {
            shards,
            news: News::new(interval, config.options.check_new_record_threads),
            resolved: None,
            busy: 0,
            pace: Pace::Ask,
            left: BTreeSet::new(),
            purged: 0,
        };
        Ok(Self {
            api,
            fan_out,
            store,
            files: Files(files),
            config,
            summary,
            clock,
            counters: Arc::default(),
            process: memory.residents().process(),
            reports: Mutex::default(),
            hash_ranges,
            available: Mutex::default(),
            at_tip: Mutex::default(),
            state: tokio::sync::Mutex::new(state),
            memory: memory.clone(),
            source: OnceLock::new(),
        })
    }

    /// The offset a new query starts from, as JSON. Made once and kept in the checkpoint location, so that LATEST
    /// means the same moment however often the query is started before its first batch.
    pub async fn initial_offset(&self) -> Result<String> {
        let folder = self.config.checkpoint_location.as_deref().unwrap_or_default();
        let path = format!("{folder}/{INITIAL_OFFSET}");
        if let Some(kept) = self.files.0.read(&path).await? {
            return kept_offset(&path, kept);
        }
        let at = match self.config.options.starting_position {
            StartingPosition::Latest => Position::AtTimestamp(self.clock.now_millis()),
            StartingPosition::TrimHorizon => Position::TrimHorizon,
            StartingPosition::AtTimestamp { millis } => Position::AtTimestamp(millis),
        };
        let source = uuid::Uuid::new_v4().to_string();
        let stream = self.config.options.stream.name.clone();
        let json = Offset::initial(source, stream, self.summary.created_millis, at).to_json()?;
        if self
            .files
            .0
            .put_if_absent(&path, json.clone().into_bytes())
            .await?
        {
            return Ok(json);
        }
        match self.files.0.read(&path).await? {
            Some(kept) => kept_offset(&path, kept),
            None => Err(Error::new(
                ErrorKind::Store,
                format!("{path} exists but can't be read: was the checkpoint location cleaned just now?"),
            )
            .retryable(true)),
        }
    }

    /// The next batch's offset after `start`, or none when nothing is new. On an idle stream it waits for the
    /// next look, so it may be called in a loop.
    pub async fn latest_offset(&self, start: &str) -> Result<Option<String>> {
        let start = self.own_offset(start)?;
        let mut state = self.state.lock().await;
        let state = &mut *state;
        if state
            .resolved
            .as_ref()
            .is_none_or(|(batch, _)| *batch != start.batch)
        {
            self.resolve(&start, state).await?;
        }
        let Some((_, positions)) = &mut state.resolved else {
            return Ok(None);
        };
        self.follow(&mut state.shards, positions).await?;
        if let Some(fan_out) = &self.fan_out {
            fan_out.saw([]);
        }
        let planned = if self.is_available_now() {
            self.anything_left(&mut state.shards, &mut state.news, positions, &state.left)
                .await?
        } else {
            let deadline = Instant::now() + LONGEST_WAIT;
            match (state.pace, &self.fan_out) {
                (Pace::Backlog, _) => true,
                (pace, Some(fan_out)) => {
                    let busy = pace == Pace::Busy;
                    let pushed = self
                        .wait_for_push(fan_out, &start.source, &mut state.news, positions, busy, deadline)
                        .await?;
                    if !pushed {
                        (state.busy, state.pace) = (0, Pace::Ask);
                    }
                    pushed
                }
                (Pace::Busy, None) => state.news.wait_until_readers_may_ask(deadline).await,
                (Pace::Ask, None) => {
                    let looked = match state.news.wait_until_due(deadline).await {
                        true => {
                            let none = BTreeSet::new();
                            state
                                .news
                                .look(&self.api, positions, &none, &self.counters, deadline)
                                .await?
                        }
                        false => Looked::Unfinished,
                    };
                    if looked == Looked::Nothing {
                        state.busy = 0;
                    }
                    looked == Looked::News
                }
            }
        };
        if !planned {
            self.reports().plan(None);
            return Ok(None);
        }
        state.news.batch_planned();
        *self.at_tip() = (start.batch + 1, state.news.tips.seen_at(positions));
        let skipped = self
            .available()
            .as_ref()
            .map(|left| left.done_of(positions))
            .unwrap_or_default();
        start
            .following(positions.clone(), self.config.options.shards_per_task, skipped)
            .to_json()
            .map(Some)
    }

    /// The tasks of a batch, one JSON for each group of as many shards as the offset says.
    pub fn partitions(&self, offset: &str) -> Result<Vec<String>> {
        let offset = self.own_offset(offset)?;
        let at_tip = self.at_tip();
        let all_news = self.is_available_now();
        let seen = |shard: &ShardId| {
            let fan_out = self.fan_out.as_ref();
            fan_out.is_some_and(|fan_out| all_news || fan_out.has_seen(shard))
        };
        let mut reports = self.reports();
        reports.plan(Some(offset.batch));
        let task = |(shard, start): (&ShardId, &Position)| ReadTask {
            source: offset.source.clone(),
            batch: offset.batch,
            shard: shard.clone(),
            start: start.clone(),
            hash_range: self.hash_range_for_task(shard),
            tip_seen: at_tip.0 == offset.batch && at_tip.1.contains(shard),
            until: None,
            consumer: self.fan_out.as_ref().map(FanOut::consumer),
            news: seen(shard),
            holder: reports.holder(&offset, shard),
            asked: Asked::lately(&self.process, &*self.api, shard),
        };
        TaskPlan::group(offset.read().map(task).collect(), offset.shards_per_task)
            .map(|plan| plan.to_json())
            .collect()
    }

    /// The shard's hash keys, where its reader asks for them.
    fn hash_range_for_task(&self, shard: &ShardId) -> Option<HashRange> {
        let asked = self.config.options.aggregation.outside_shard != OutsideShard::Deliver;
        asked.then(|| self.hash_ranges.of(shard)).flatten()
    }

    /// Takes what a reader whose task succeeded reports.
    pub fn report(&self, report: &str) -> Result<()> {
        for report in ShardReport::all_from_json(report)? {
            if let Some(asked) = &report.asked {
                asked.count(&self.process, &*self.api, &report.shard);
            }
            let (shard, end) = (report.shard.clone(), report.end.clone());
            if let Some(lost) = self.reports().add(report) {
                // The reader's own warning, which says more, is in its executor's log.
                tracing::warn!(
                    stream = %self.config.options.stream.name,
                    %shard,
                    %end,
                    "DATA LOSS: records before this end of a batch expired unread, or may have; going on without them, \
                     since kinesis.failOnDataLoss is false. So far that happened at {lost} position(s): lostPositions in \
                     the query's progress"
                );
            }
        }
        Ok(())
    }

    /// The batch of this offset is done: removes claims that are no longer needed.
    pub async fn commit(&self, offset: &str) -> Result<()> {
        let offset = self.own_offset(offset)?;
        let mut state = self.state.lock().await;
        let before = (offset.batch + 1).saturating_sub(self.config.min_batches_to_retain);
        if before >= state.purged + PURGE_EVERY {
            // What stays is removed the next time, and is no reason to end the query.
            if let Err(error) = self.store.purge(&offset.source, before).await {
                tracing::warn!(stream = %offset.stream, "old claims could not be removed: {error}");
            }
            state.purged = before;
        }
        Ok(())
    }

    /// The source's metrics for the query's progress: those of the last batch's readers, unless there was nothing to read
    /// since, the shards that were listed last, and the driver's own requests since the query started. What is not known
    /// is absent.
    pub fn metrics(&self) -> BTreeMap<String, String> {
        let mut metrics = self.reports().metrics();
        if self.fan_out.is_some() {
            let resubscriptions = self.reports().resubscriptions();
            metrics.insert("resubscriptions".into(), resubscriptions.to_string());
        }
        metrics.insert("driverRequests".into(), self.counters.requests().to_string());
        if let Some((total, closed)) = self.hash_ranges.counts() {
            metrics.insert("numTotalShards".into(), total.to_string());
            metrics.insert("numClosedShards".into(), closed.to_string());
        }
        metrics
    }

    /// Finds where the batch of `start` ended, from the readers' reports, and from the store what they miss.
    async fn resolve(&self, start: &Offset, state: &mut State) -> Result<()> {
        if let Some(initial) = &start.initial {
            let positions = state.shards.roots(&*self.api, initial).await?;
            state.resolved = Some((start.batch, positions));
            return Ok(());
        }
        let restarted = state.resolved.is_none();
        let reports = self.reports().of(start);
        let Ends {
            positions,
            claims,
            delivered,
            left,
        } = ends::resolve(start, &reports, &*self.store).await?;
        if restarted && claims == 0 && reports.is_empty() {
            tracing::warn!(
                stream = %start.stream,
                batch = start.batch,
                "no claim of the last batch was found: its records may be delivered again. That is so when \
                 kinesis.metadataPath was cleaned or changed, or when nothing read the batch"
            );
        }
        if let Some(left) = &mut *self.available() {
            left.done.extend(
                reports
                    .iter()
                    .filter(|(_, report)| report.tip && self.is_past(report, left.since))
                    .map(|(id, _)| id.clone()),
            );
        }
        for (shard, report) in reports.iter().filter(|(_, report)| report.tip) {
            state.news.tip_seen_in_batch(shard, &report.end);
        }
        state.busy = if delivered > 0 { state.busy + 1 } else { 0 };
        state.pace = match (delivered > 0, left) {
            (true, true) => Pace::Backlog,
            (true, false) if state.busy > 1 => Pace::Busy,
            _ => Pace::Ask,
        };
        state.news.batch_ended(!reports.is_empty(), delivered > 0);
        let left_in = reports.into_iter().filter(|(_, report)| report.left);
        state.left = left_in.map(|(shard, _)| shard).collect();
        state.resolved = Some((start.batch, positions));
        Ok(())
    }

    /// Puts the shards that follow in the place of those that ended.
    async fn follow(&self, shards: &mut Shards, positions: &mut BTreeMap<ShardId, Position>) -> Result<()> {
        let followed = shards.follow(&*self.api, positions).await?;
        if let Some((shard, position)) = followed.lost.first() {
            let message = format!(
                "{} shard(s) of the stream went away with records that were not read; the first is {shard} at \
                 {position}. Closed shards go when the stream's retention has passed",
                followed.lost.len()
            );
            if self.config.options.fail_on_data_loss {
                return Err(Error::new(
                    ErrorKind::DataLoss,
                    format!(
                        "{message}. Lengthen the retention; to go on without those records set \
                         kinesis.failOnDataLoss to false"
                    ),
                )
                .with("stream", self.config.options.stream.name.clone())
                .with("shard", shard.to_string())
                .with("position", position.to_string()));
            }
            tracing::warn!(
                stream = %self.config.options.stream.name,
                "DATA LOSS: {message}; going on without them, since kinesis.failOnDataLoss is false"
            );
            self.reports().lost_shards += followed.lost.len() as u64;
        }
        if let Some(followed) = followed.positions {
            *positions = followed;
        }
        Ok(())
    }

    /// Reads an offset and refuses one of another stream.
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
        if offset.created != self.summary.created_millis {
            return refuse(format!(
                "the stream {name} was deleted and made again after the checkpoint was made"
            ));
        }
        self.source.get_or_init(|| {
            if let Some(fan_out) = &self.fan_out {
                fan_out.serve(&offset.source);
            }
            offset.source.clone()
        });
        Ok(offset)
    }

    /// What the readers in this process left for the next batch is of no use any more.
    fn close(&self) {
        if let Some(source) = self.source.get() {
            self.memory.close(source);
        }
    }

    fn at_tip(&self) -> MutexGuard<'_, (u64, BTreeSet<ShardId>)> {
        self.at_tip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reports(&self) -> MutexGuard<'_, Reports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Planner {
    fn drop(&mut self) {
        self.close();
    }
}

/// The offset that an earlier start of the query kept.
fn kept_offset(path: &str, kept: Vec<u8>) -> Result<String> {
    let json = String::from_utf8(kept).map_err(|_| {
        Error::new(
            ErrorKind::CorruptCheckpoint,
            format!("{path} is not text: it is none of this source's files"),
        )
    })?;
    Offset::from_json(&json).map_err(|error| error.with("file", path))?;
    Ok(json)
}
