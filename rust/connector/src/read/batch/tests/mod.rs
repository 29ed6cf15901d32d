//! Consecutive tasks of one process and the fetching between them, against a fake shard in simulated time.

mod fetching;
mod handing_over;
mod losses;
mod throttles;
mod together;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;

use crate::claims::backends::memory::MemoryStore;
use crate::claims::{Claim, ClaimKey, ClaimStore, PutResult};
use crate::error::{Error, ErrorKind, Result};
use crate::options::SourceOptions;
use crate::read::{Backlog, FeedRegistry, ReadTask, ShardReader, ShardReport, TaskPlan};
use crate::service::{
    KinesisApi, Page, PutEntry, PutOutcome, RecordColumns, RequestCounters, ShardFilter, ShardIterator,
    StreamSummary,
};
use crate::stream::{Position, SequenceNumber, Shard, ShardId};

/// Bytes of a record's columns: 100 of data, a key, a three-digit number and a time.
const RECORD: usize = 112;
/// Longer than any fetch in these tests runs, and shorter than parked feeds are kept.
const A_WHILE: Duration = Duration::from_secs(60);

/// A shard whose records are numbered from 100.
#[derive(Debug, Default)]
struct Fake(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    records: u64,
    /// Number of expired records.
    expired: u64,
    arrival: i64,
    /// Maximum number of records in an answer.
    page: u64,
    closed: bool,
    failing: bool,
    /// Delay of each answer.
    delay: Duration,
    asked: Vec<String>,
    /// Total number of records served, repeats included.
    given: u64,
    /// Outcomes of the next requests for records: true if served, false if throttled. All later ones are served.
    turns: VecDeque<bool>,
    /// Outcomes of the next iterator requests, likewise.
    iterator_turns: VecDeque<bool>,
    /// Number of iterators that are too old when they are used.
    too_old: u32,
}

impl Fake {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the state")
    }

    /// Requests since the last call.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    fn iterator(&self, kind: &str, from: u64, counters: &RequestCounters) -> Result<ShardIterator> {
        counters.count_request();
        let mut state = self.state();
        state.asked.push(format!("{kind} {from}"));
        in_turn(&mut state.iterator_turns, counters)?;
        Ok(ShardIterator(from.to_string()))
    }
}

fn in_turn(turns: &mut VecDeque<bool>, counters: &RequestCounters) -> Result<()> {
    if turns.pop_front().unwrap_or(true) {
        return Ok(());
    }
    counters.count_throttle();
    Err(Error::new(ErrorKind::Throttled, "not now").retryable(true))
}

#[async_trait]
impl KinesisApi for Fake {
    async fn describe_stream(&self) -> Result<StreamSummary> {
        panic!("the stream was described")
    }

    async fn list_shards(&self, _: ShardFilter) -> Result<Vec<Shard>> {
        panic!("the shards were listed")
    }

    async fn shard_iterator(
        &self,
        _: &ShardId,
        at: &Position,
        counters: &Arc<RequestCounters>,
    ) -> Result<ShardIterator> {
        let from = match at {
            Position::After(number) => number.as_str().parse::<u64>().expect("ours") + 1,
            _ => 100,
        };
        self.iterator("after", from, counters)
    }

    async fn shard_iterator_at_record(
        &self,
        _: &ShardId,
        number: &SequenceNumber,
        counters: &Arc<RequestCounters>,
    ) -> Result<ShardIterator> {
        self.iterator("at", number.as_str().parse().expect("ours"), counters)
    }

    async fn get_records(
        &self,
        _: &ShardId,
        iterator: &ShardIterator,
        limit: u32,
        counters: &Arc<RequestCounters>,
    ) -> Result<Page> {
        counters.count_request();
        let delay = self.state().delay;
        tokio::time::sleep(delay).await;
        let mut state = self.state();
        state.asked.push(format!("get {}", iterator.0));
        if state.failing {
            return Err(Error::new(ErrorKind::Transport, "broken"));
        }
        in_turn(&mut state.turns, counters)?;
        if state.too_old > 0 {
            state.too_old -= 1;
            return Err(Error::new(ErrorKind::ExpiredIterator, "too old"));
        }
        let from = iterator.0.parse::<u64>().expect("ours").max(100 + state.expired);
        let end = 100 + state.records;
        let to = end.min(from + state.page.min(limit.into()));
        state.given += to.saturating_sub(from);
        let mut records = RecordColumns::with_capacity(0, 0);
        for number in from..to {
            records.push(&[7; 100], "k", &number.to_string(), state.arrival)?;
        }
        let shard_end = to == end && state.closed;
        Ok(Page {
            records,
            next: (!shard_end).then(|| ShardIterator(to.to_string())),
            millis_behind_latest: Some(i64::from(to < end)),
            child_shards: shard_end.then(|| ShardId::from("child")).into_iter().collect(),
            request_id: None,
            service_millis: None,
        })
    }

    async fn put_records(&self, _: &[PutEntry], _: &Arc<RequestCounters>) -> Result<Vec<PutOutcome>> {
        panic!("records were put")
    }
}

/// A query of one shard with consecutive batches.
struct Query {
    shard: Arc<Fake>,
    store: Arc<MemoryStore>,
    options: SourceOptions,
    feeds: FeedRegistry,
    task: ReadTask,
}

impl Query {
    /// A query of a shard with `records` fresh records, ten per answer and per batch.
    fn new(records: u64) -> Self {
        let options = BTreeMap::from([
            ("kinesis.streamName", "events"),
            ("kinesis.region", "us-east-1"),
            ("kinesis.maxFetchRecordsPerShard", "10"),
            ("kinesis.failOnDataLoss", "true"),
        ]);
        let json = serde_json::json!({
            "version": 1, "options": options, "checkpointLocation": "/c", "minBatchesToRetain": 2
        });
        let config = crate::config::SourceConfig::parse(&json.to_string()).expect("a configuration");
        let shard = Fake::default();
        *shard.state() = State {
            records,
            page: 10,
            arrival: chrono::Utc::now().timestamp_millis(),
            ..State::default()
        };
        Self {
            shard: Arc::new(shard),
            store: Arc::default(),
            options: config.options,
            feeds: FeedRegistry::default(),
            task: task("s"),
        }
    }

    fn reader(&self) -> ShardReader {
        let (api, store) = (self.shard.clone(), self.store.clone());
        ShardReader::with_feeds(api, None, store, &self.options, self.task.clone(), &self.feeds)
    }

    /// Reads the next batch.
    async fn batch(&mut self) -> (Vec<u64>, ShardReport) {
        let read = read(&self.reader()).await;
        self.task.batch += 1;
        self.task.start = read.1.end.clone();
        read
    }

    /// Reads the next batch and checks that it has these records.
    async fn expect(&mut self, numbers: std::ops::Range<u64>) -> ShardReport {
        let (rows, report) = self.batch().await;
        assert_eq!(rows, numbers.collect::<Vec<_>>());
        report
    }

    fn used(&self) -> usize {
        self.feeds.pool().used()
    }
}

fn task(shard: &str) -> ReadTask {
    ReadTask::new("q", 1, shard.into(), Position::TrimHorizon)
}

async fn rows(reader: &ShardReader) -> Result<Vec<u64>> {
    let mut rows = Vec::new();
    while let Some(batch) = reader.next().await? {
        let numbers = batch.sequence_number.iter().flatten();
        rows.extend(numbers.map(|number| number.parse::<u64>().expect("ours")));
    }
    Ok(rows)
}

async fn read(reader: &ShardReader) -> (Vec<u64>, ShardReport) {
    let rows = rows(reader).await.expect("rows");
    let report = reader.finish(true).await.expect("finished").expect("a report");
    (rows, ShardReport::from_json(&report).expect("a report"))
}
