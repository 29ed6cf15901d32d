//! The driver's side: which shards there are, where the last batch ended, what the next one reads.

mod available;
mod batch_read;
mod clock;
mod consumer;
#[cfg(test)]
mod consumer_tests;
mod ends;
mod fan_out;
mod foreign;
mod given;
mod import;
mod look;
mod news;
mod next;
mod pinned;
mod shards;
mod start;
mod tips;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::claims::ClaimStore;
use crate::config::SourceConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{OutsideShard, table};
use crate::read::{FeedRegistry, PeerCallRate, ReadTask, ShardReport, TaskPlan};
use crate::service::{FanOutApi, KinesisApi, RequestCounters, stream_changed};
use crate::storage::FileSystem;
use crate::stream::{HashRange, Offset, Position, ShardId, offset_home};

pub use batch_read::batch_read_tasks;

use available::AvailableNow;
use clock::ServiceClock;
use ends::{Ends, Reports};
use fan_out::FanOut;
use look::Stream;
use news::{News, QUIET_INTERVAL};
use shards::{HashRanges, Shards};

/// The file in the checkpoint location that keeps where the query started.
const INITIAL_OFFSET: &str = "initial-offset";
/// Of so many questions that a shard allows the driver leaves one to the shard's reader, which has to fetch what the
/// driver found.
const READERS_SHARE: u32 = 4;
/// The driver's mark is put again with a batch after this time: something may have cleaned it away.
const MARK_AGAIN: Duration = Duration::from_secs(60);
/// Old claims are removed once in so many batches: each removal lists a folder.
const PURGE_EVERY: u64 = 10;

/// Plans the micro-batches of one query source. Calls come one at a time, from the query's thread.
#[derive(Debug)]
pub struct Planner {
    api: Arc<dyn KinesisApi>,
    fan_out: Option<FanOut>,
    store: Arc<dyn ClaimStore>,
    files: Files,
    config: SourceConfig,
    stream: Arc<Stream>,
    clock: ServiceClock,
    /// Where a new query's shards start whose positions were given.
    given: Option<BTreeMap<ShardId, Position>>,
    counters: Arc<RequestCounters>,
    /// Names this process.
    process: String,
    /// Names this start of the query.
    start: String,
    /// Where the planner was opened.
    runtime: tokio::runtime::Handle,
    reports: Mutex<Reports>,
    hash_ranges: HashRanges,
    available: Mutex<Option<AvailableNow>>,
    /// The shards of the batch planned last that start where their tip was seen, and when that was, with the batch's
    /// number.
    at_tip: Mutex<(u64, BTreeMap<ShardId, i64>)>,
    state: tokio::sync::Mutex<State>,
    /// Of the readers in this process.
    feeds: FeedRegistry,
    /// The query's sources, as its offsets named them.
    sources: Mutex<BTreeSet<String>>,
    /// What its readers left in this process was ended. What stands there later is of the query's next start.
    closed: AtomicBool,
    /// The sources beside whose claims the driver left its mark.
    marked: Mutex<BTreeMap<String, Instant>>,
}

/// What the planner remembers from one call to the next. All of it can be found again after a restart.
#[derive(Debug)]
struct State {
    shards: Shards,
    news: News,
    /// The last batch's number.
    batch: Option<u64>,
    /// Where it ended, as its claims keep it.
    ends: BTreeMap<ShardId, Position>,
    /// Where the next one starts: what looks and listings found since is not kept yet.
    positions: BTreeMap<ShardId, Position>,
    /// Batches in a row that delivered records, without a look in between that found nothing.
    busy: u32,
    next_batch: NextBatch,
    /// Shards in which the last batch left records. Its readers fetch them, so nobody else asks.
    left: BTreeSet<ShardId>,
    purged: u64,
}

/// What comes before the next batch is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextBatch {
    /// The last batch left records behind: the next follows at once.
    Backlog,
    /// The stream goes on delivering: the next follows without a question, as soon as its shards may be asked.
    Busy,
    /// Nothing may be there: the driver asks. After a single burst too, since a question is cheaper than an empty
    /// batch.
    Probe,
}

struct Files(Arc<dyn FileSystem>);

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Files")
    }
}

impl Planner {
    /// Says so, if the options give a start that doesn't count any more.
    pub(crate) async fn warn_of_unused_start(&self) {
        let options = &self.config.options;
        let unused = match (&options.import_checkpoint, options.starting_positions.is_empty()) {
            (Some(_), _) => Some(&table::IMPORT_CHECKPOINT),
            (None, false) => Some(&table::STARTING_POSITIONS),
            (None, true) => None,
        };
        if !options.starting_position_given && unused.is_none() {
            return;
        }
        // A file that can't be read is an error where it is needed.
        let kept = self
            .files
            .0
            .read(&self.initial_offset_path())
            .await
            .ok()
            .flatten();
        let pinned = kept
            .and_then(|json| Offset::from_json(&String::from_utf8(json).ok()?).ok())
            .and_then(|offset| offset.initial);
        let Some(pinned) = pinned else { return };
        let told = match unused {
            Some(spec) => Some(pinned::unused_option(spec.key, &pinned)),
            None => pinned::unused(options.starting_position, &pinned),
        };
        if let Some(told) = told {
            tracing::warn!(stream = %options.stream.name, "{told}");
        }
    }

    fn initial_offset_path(&self) -> String {
        let folder = self.config.checkpoint_location.as_deref().unwrap_or_default();
        format!("{folder}/{INITIAL_OFFSET}")
    }

    /// A planner on these parts.
    #[doc(hidden)]
    pub async fn on(
        api: Arc<dyn KinesisApi>,
        store: Arc<dyn ClaimStore>,
        config: SourceConfig,
        files: Arc<dyn FileSystem>,
    ) -> Result<Self> {
        Self::with_feeds(api, None, store, config, files, &FeedRegistry::default()).await
    }

    /// A planner on these parts, in the process of readers with this feeds. With a consumer it needs `fan_out`.
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
            foreign::refuse(&*files, folder).await?;
        }
        store.prepare().await?;
        let (clock, summary) = ServiceClock::asked(&*api, &config.options.stream.name).await?;
        let mut shards = Shards::new(config.options.describe_shard_interval);
        let hash_ranges = shards.hash_ranges();
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
        // With fan-out the readers don't ask, so the driver's questions need not keep next_batch with theirs.
        let interval = match fan_out {
            Some(_) => config.options.fetch_interval.max(QUIET_INTERVAL),
            None => config.options.fetch_interval + config.options.fetch_interval / READERS_SHARE,
        };
        let stream = Arc::new(Stream {
            name: config.options.stream.name.clone(),
            created_millis: summary.created_millis,
        });
        let state = State {
            shards,
            news: News::new(stream.clone(), interval, config.options.check_new_record_threads),
            batch: None,
            ends: BTreeMap::new(),
            positions: BTreeMap::new(),
            busy: 0,
            next_batch: NextBatch::Probe,
            left: BTreeSet::new(),
            purged: 0,
        };
        Ok(Self {
            api,
            fan_out,
            store,
            files: Files(files),
            config,
            stream,
            clock,
            given,
            counters: Arc::default(),
            process: feeds.subscriptions().process(),
            start: uuid::Uuid::new_v4().simple().to_string(),
            runtime: tokio::runtime::Handle::current(),
            reports: Mutex::default(),
            hash_ranges,
            available: Mutex::default(),
            at_tip: Mutex::default(),
            state: tokio::sync::Mutex::new(state),
            feeds: feeds.clone(),
            sources: Mutex::default(),
            closed: AtomicBool::new(false),
            marked: Mutex::default(),
        })
    }

    /// The offset a new query starts from, as JSON. Made once and kept in the checkpoint location, so that LATEST
    /// means the same moment however often the query is started before its first batch.
    pub async fn initial_offset(&self) -> Result<String> {
        let path = self.initial_offset_path();
        if let Some(kept) = self.files.0.read(&path).await? {
            return kept_offset(&path, kept);
        }
        let source = uuid::Uuid::new_v4().to_string();
        let (stream, created) = (
            self.config.options.stream.name.clone(),
            self.stream.created_millis,
        );
        let json = match &self.given {
            Some(shards) => Offset::given(source, stream, created, shards.clone(), self.home()),
            None => {
                let at = start::of_query(&self.config.options, self.clock).await?;
                Offset::initial(source, stream, created, at, self.home())
            }
        }
        .to_json()?;
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
        self.mark_soon(&offset.source);
        let task = |(shard, start): (&ShardId, &Position)| ReadTask {
            source: offset.source.clone(),
            batch: offset.batch,
            shard: shard.clone(),
            start: start.clone(),
            hash_range: self.hash_range_for_task(shard),
            created: Some(offset.created),
            tip_seen_at: at_tip.1.get(shard).copied().filter(|_| at_tip.0 == offset.batch),
            until: None,
            consumer: self.fan_out.as_ref().map(FanOut::consumer),
            news: seen(shard),
            previous_executor: reports.previous_executor(&offset, shard),
            asked: PeerCallRate::lately(&self.process, &*self.api, shard),
            mark: Some(self.start.clone()),
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
            if let Some(lost) = self.reports().add(report)? {
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
            // Somebody may have removed old files, and executors that come later look for this one.
            if let Err(error) = self.store.leave_mark(&offset.source, &self.start).await {
                tracing::warn!(stream = %offset.stream, "the mark beside the claims could not be written: {error}");
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
            state.positions = state.shards.roots(&*self.api, initial).await?;
            state.ends.clone_from(&state.positions);
            state.batch = Some(start.batch);
            return Ok(());
        }
        if start.batch == 0 {
            // It was never read: these positions were given.
            state.positions.clone_from(&start.shards);
            state.ends.clone_from(&start.shards);
            state.batch = Some(start.batch);
            return Ok(());
        }
        let restarted = state.batch.is_none();
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
            let done = reports.iter().filter(|(_, report)| self.is_done(report, left));
            let done: Vec<ShardId> = done.map(|(shard, _)| shard.clone()).collect();
            left.done.extend(done);
        }
        for (shard, report) in reports.iter().filter(|(_, report)| report.tip) {
            state.news.tip_seen_in_batch(shard, &report.end);
        }
        state.busy = if delivered > 0 { state.busy + 1 } else { 0 };
        state.next_batch = match (delivered > 0, left) {
            (true, true) => NextBatch::Backlog,
            (true, false) if state.busy > 1 => NextBatch::Busy,
            _ => NextBatch::Probe,
        };
        state.news.batch_ended(!reports.is_empty(), delivered > 0);
        let left_in = reports.into_iter().filter(|(_, report)| report.left);
        state.left = left_in.map(|(shard, _)| shard).collect();
        state.ends.clone_from(&positions);
        state.positions = positions;
        state.batch = Some(start.batch);
        Ok(())
    }

    /// Shards went away with records that were not read: an error or a counted warning, as `kinesis.failOnDataLoss` says.
    fn lost_shards(&self, lost: &[(ShardId, Position)]) -> Result<()> {
        let Some((shard, position)) = lost.first() else {
            return Ok(());
        };
        let message = format!(
            "{} shard(s) of the stream went away with records that were not read; the first is {shard} at {position}. \
             Closed shards go when the stream's retention has passed",
            lost.len()
        );
        if self.config.options.fail_on_data_loss {
            return Err(Error::new(
                ErrorKind::DataLoss,
                format!(
                    "{message}. Lengthen the retention; to go on without those records set kinesis.failOnDataLoss to \
                     false"
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
        self.reports().lost_shards += lost.len() as u64;
        Ok(())
    }

    /// The query stopped, for good or not: ends what its readers left in this process, and lets its next start, or
    /// another query, have its consumer.
    pub fn stop(&self) {
        self.close();
        if let Some(fan_out) = &self.fan_out {
            fan_out.stop();
        }
    }

    /// The query ended for good, not by a failure after which it starts again: deregisters the consumer if the query
    /// registered it, and nobody has taken it since the query [stopped](Self::stop).
    pub async fn release(&self) -> Result<()> {
        self.stop();
        let folder = self.config.checkpoint_location.as_deref().unwrap_or_default();
        match &self.fan_out {
            Some(fan_out) => fan_out.release(&*self.files.0, folder).await,
            None => Ok(()),
        }
    }

    /// Leaves the mark of this start of the driver beside the claims of a source, once, in the place of earlier ones'.
    async fn mark(&self, source: &str) -> Result<()> {
        let before = self.marked().get(source).copied();
        if before.is_some_and(|at| at.elapsed() < MARK_AGAIN) {
            return Ok(());
        }
        match (self.store.leave_mark(source, &self.start).await, before) {
            (Err(error), None) => return Err(error),
            (Ok(()), None) => {
                let (store, source, start) = (self.store.clone(), source.to_owned(), self.start.clone());
                tokio::spawn(async move {
                    // What stays does no harm, and the next start removes it.
                    if let Err(error) = store.remove_other_marks(&source, &start).await {
                        tracing::debug!("marks of earlier starts beside the claims stay: {error}");
                    }
                });
            }
            // The one that was left before is there still, most likely.
            (Err(error), Some(_)) => {
                tracing::warn!(
                    stream = %self.config.options.stream.name,
                    "the mark beside the claims could not be written again: {error}"
                );
            }
            (Ok(()), Some(_)) => {}
        }
        self.marked().insert(source.to_owned(), Instant::now());
        Ok(())
    }

    /// Sees to the mark where [`Self::mark`] didn't yet: a batch that Spark runs again after a restart comes before a next
    /// one is asked for. Its executors look for the mark for a while.
    fn mark_soon(&self, source: &str) {
        if self.marked().contains_key(source) {
            return;
        }
        let (store, source, start) = (self.store.clone(), source.to_owned(), self.start.clone());
        self.runtime.spawn(async move {
            if let Err(error) = store.leave_mark(&source, &start).await {
                tracing::warn!("the mark beside the claims could not be written: {error}");
            }
        });
    }

    /// Tells this checkpoint location from others: see [`Offset::home`].
    fn home(&self) -> String {
        offset_home(self.config.checkpoint_location.as_deref().unwrap_or_default())
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
        if offset.created != self.stream.created_millis {
            return Err(stream_changed(name));
        }
        if self.sources().insert(offset.source.clone())
            && let Some(fan_out) = &self.fan_out
        {
            fan_out.serve(&offset.source);
        }
        Ok(offset)
    }

    /// What the readers in this process left for the next batch is of no use any more. Once: later it may be what the
    /// query's next start reads from.
    fn close(&self) {
        if self.closed.swap(true, Ordering::Relaxed) {
            return;
        }
        for source in self.sources().iter() {
            self.feeds.close(source);
        }
    }

    fn marked(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sources(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at_tip(&self) -> MutexGuard<'_, (u64, BTreeMap<ShardId, i64>)> {
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
