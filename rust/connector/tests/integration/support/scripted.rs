//! A stream in memory with listings, failures and refusals set by the test, for virtual time (`start_paused`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::LocalFiles;
use async_trait::async_trait;
use kinesis_connector::claims::ClaimStore;
use kinesis_connector::plan::Planner;
use kinesis_connector::service::{
    KinesisApi, Page, PutEntry, PutOutcome, RecordColumns, RequestCounters, ShardFilter, ShardIterator,
    StreamSummary,
};
use kinesis_connector::stream::{Position, SequenceNumber, Shard, ShardId};
use kinesis_connector::{Error, ErrorKind, Result, SourceConfig};
use tempfile::TempDir;
use tokio::time::Instant;

/// Creation time of the stream.
pub const CREATED: i64 = 1_000;
/// Sequence number of a shard's first record.
const FIRST: u64 = 100;

#[derive(Debug)]
pub struct Scripted {
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub struct State {
    /// Listings of ListShards with the time since the start from which each applies, in order.
    pub listings: Vec<(Duration, Vec<Shard>)>,
    /// Time since the start from which ListShards fails; `None` for never.
    pub unlisted: Option<Duration>,
    /// Number of records of each shard.
    pub records: BTreeMap<ShardId, u64>,
    /// Closed shards, with the children that their last response names.
    pub closed: BTreeMap<ShardId, Vec<ShardId>>,
    /// Number of records in a response.
    pub page: u64,
    /// Errors of the next calls of GetRecords; `None` for success.
    pub gets: VecDeque<Option<Error>>,
    /// Errors of the next calls of GetShardIterator; `None` for success.
    pub iterators: VecDeque<Option<Error>>,
    /// Shards whose calls fail.
    pub failing: BTreeSet<ShardId>,
    /// Time that each of these calls takes, with its retries.
    pub failure_takes: Duration,
    /// Shards with delayed responses.
    pub slow: BTreeSet<ShardId>,
    /// Shards that don't respond.
    pub stuck: BTreeSet<ShardId>,
    /// True if DescribeStreamSummary never answers.
    pub undescribed: bool,
    /// Errors of the next calls of DescribeStreamSummary.
    pub descriptions: VecDeque<Error>,
    /// Time that each DescribeStreamSummary takes, with its retries.
    pub description_takes: Duration,
    /// True if the stream was made again.
    pub made_again: bool,
    /// Shards of all GetRecords calls, in order.
    pub asked: Vec<ShardId>,
}

/// Id of the shard with this number.
pub fn id(number: u32) -> ShardId {
    ShardId::from(format!("shardId-{number:012}").as_str())
}

/// A shard with one half of the hash keys (0 or 1), or with all (`None`).
pub fn shard(number: u32, parent: Option<u32>, half: Option<u32>, closed: bool) -> Shard {
    let middle = u128::MAX / 2;
    let (hash_start, hash_end) = match half {
        None => (0, u128::MAX),
        Some(0) => (0, middle),
        Some(_) => (middle + 1, u128::MAX),
    };
    Shard {
        id: id(number),
        parents: parent.into_iter().map(id).collect(),
        hash_start,
        hash_end,
        closed,
    }
}

pub fn config(checkpoint: &TempDir, options: &[(&str, &str)]) -> SourceConfig {
    let mut all = BTreeMap::from([
        ("kinesis.streamName", "events"),
        ("kinesis.region", "us-east-1"),
        ("kinesis.startingPosition", "TRIM_HORIZON"),
        ("kinesis.describeShardInterval", "1ms"),
    ]);
    all.extend(options.iter().copied());
    let json = serde_json::json!({
        "version": 1,
        "options": all,
        "checkpointLocation": checkpoint.path().to_string_lossy(),
        "minBatchesToRetain": 100,
    });
    SourceConfig::parse(&json.to_string()).expect("a configuration")
}

/// A planner for this stream.
pub async fn planner(service: &Arc<Scripted>, store: Arc<dyn ClaimStore>, checkpoint: &TempDir) -> Planner {
    let opened = Planner::on(
        service.clone(),
        store,
        config(checkpoint, &[]),
        Arc::new(LocalFiles),
    );
    opened.await.expect("opens")
}

impl Scripted {
    pub fn new(state: State) -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            state: Mutex::new(state),
        })
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    fn iterator_at(&self, index: u64) -> Result<ShardIterator> {
        match self.state().iterators.pop_front().flatten() {
            Some(error) => Err(error),
            None => Ok(ShardIterator(index.to_string())),
        }
    }
}

#[async_trait]
impl KinesisApi for Scripted {
    async fn describe_stream(&self) -> Result<StreamSummary> {
        if self.state().undescribed {
            std::future::pending::<()>().await;
        }
        let takes = self.state().description_takes;
        tokio::time::sleep(takes).await;
        let mut state = self.state();
        if let Some(error) = state.descriptions.pop_front() {
            return Err(error);
        }
        Ok(StreamSummary {
            arn: "arn:aws:kinesis:us-east-1:000000000000:stream/events".to_owned(),
            created_millis: CREATED + i64::from(state.made_again),
            creating: false,
            open_shards: 1,
            auto_distribution: false,
            max_record_bytes: None,
            service_millis: None,
        })
    }

    async fn list_shards(&self, _: ShardFilter) -> Result<Vec<Shard>> {
        let since = self.started.elapsed();
        let state = self.state();
        if state.unlisted.is_some_and(|from| from <= since) {
            return Err(Error::new(ErrorKind::Transport, "no listing").retryable(true));
        }
        let shown = state.listings.iter().rev().find(|(from, _)| *from <= since);
        Ok(shown.map(|(_, shards)| shards.clone()).unwrap_or_default())
    }

    async fn shard_iterator(
        &self,
        _: &ShardId,
        at: &Position,
        _: &Arc<RequestCounters>,
    ) -> Result<ShardIterator> {
        let index = match at.record() {
            Some(number) => number.as_str().parse::<u64>().expect("ours") - FIRST + 1,
            None => 0,
        };
        self.iterator_at(index)
    }

    async fn shard_iterator_at_record(
        &self,
        _: &ShardId,
        number: &SequenceNumber,
        _: &Arc<RequestCounters>,
    ) -> Result<ShardIterator> {
        self.iterator_at(number.as_str().parse::<u64>().expect("ours") - FIRST)
    }

    async fn get_records(
        &self,
        shard: &ShardId,
        iterator: &ShardIterator,
        limit: u32,
        _: &Arc<RequestCounters>,
    ) -> Result<Page> {
        self.state().asked.push(shard.clone());
        if self.state().stuck.contains(shard) {
            std::future::pending::<()>().await;
        }
        if self.state().slow.contains(shard) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let fails_after = {
            let state = self.state();
            state.failing.contains(shard).then_some(state.failure_takes)
        };
        if let Some(time) = fails_after {
            tokio::time::sleep(time).await;
        }
        let mut state = self.state();
        if fails_after.is_some() {
            let error = Error::new(ErrorKind::Transport, "out of reach").retryable(true);
            return Err(error);
        }
        if let Some(error) = state.gets.pop_front().flatten() {
            return Err(error);
        }
        let (from, all) = (
            iterator.0.parse::<u64>().expect("ours"),
            state.records.get(shard).copied().unwrap_or_default(),
        );
        let most = u64::from(limit).min(if state.page == 0 { u64::MAX } else { state.page });
        let to = all.min(from.saturating_add(most));
        let mut records = RecordColumns::with_capacity(0, 0);
        let now = chrono::Utc::now().timestamp_millis();
        for index in from..to {
            let number = (FIRST + index).to_string();
            records.push(format!("r{index}").as_bytes(), "key", &number, now)?;
        }
        let children = state.closed.get(shard).filter(|_| to >= all).cloned();
        Ok(Page {
            records,
            next: children.is_none().then(|| ShardIterator(to.to_string())),
            millis_behind_latest: Some(if to < all { 1_000 } else { 0 }),
            child_shards: children.unwrap_or_default(),
            request_id: None,
            service_millis: None,
        })
    }

    async fn put_records(&self, _: &[PutEntry], _: &Arc<RequestCounters>) -> Result<Vec<PutOutcome>> {
        Err(Error::new(ErrorKind::NotSupported, "nothing is put here"))
    }
}
