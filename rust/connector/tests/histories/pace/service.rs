//! A stream in memory that records the times of its calls.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kinesis_connector::Result;
use kinesis_connector::service::{
    KinesisApi, Page, PutEntry, PutOutcome, RateLimiter, RequestCounters, ShardFilter, ShardIterator,
    StreamSummary,
};
use kinesis_connector::stream::{Position, SequenceNumber, Shard, ShardId};
use tokio::time::Instant;

use crate::history::Ways;
use crate::stream::Kinesis;

/// GetRecords calls per second and shard (AWS limit).
pub const LIMIT: usize = 5;
/// Duration of a call.
const ANSWER: Duration = Duration::from_millis(8);

/// Variations of the service's responses; [`Service`] adds the delay itself.
const WAYS: Ways = Ways {
    page: 10_000,
    sparse: false,
    names_children: true,
    answer_millis: 0,
    slice_millis: None,
};

/// The service, as seen by one process.
#[derive(Debug)]
pub struct Service {
    kinesis: Arc<Kinesis>,
    pace: RateLimiter,
    /// Times of all processes' calls.
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Service {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            kinesis: Kinesis::new(1, WAYS, 0),
            pace: pace(),
            asked: Arc::default(),
        })
    }

    /// The same service, as seen by another process.
    pub fn elsewhere(&self) -> Arc<Self> {
        Arc::new(Self {
            kinesis: self.kinesis.clone(),
            pace: pace(),
            asked: self.asked.clone(),
        })
    }

    pub fn put(&self) {
        self.kinesis.stream().put(0);
    }

    pub fn put_so_far(&self) -> usize {
        self.kinesis
            .stream()
            .shards
            .iter()
            .map(|shard| shard.records.len())
            .sum()
    }

    /// Maximum number of GetRecords calls within one second.
    pub fn most_in_a_second(&self) -> usize {
        let asked = self.asked.lock().expect("asked");
        let in_second = |first: &Instant| {
            let second = asked.iter().filter(|at| *at >= first);
            second
                .take_while(|at| **at - *first < Duration::from_secs(1))
                .count()
        };
        asked.iter().map(in_second).max().unwrap_or_default()
    }
}

fn pace() -> RateLimiter {
    RateLimiter::of_interval(Duration::from_secs(1) / LIMIT as u32)
}

#[async_trait]
impl KinesisApi for Service {
    async fn describe_stream(&self) -> Result<StreamSummary> {
        self.kinesis.describe_stream().await
    }

    async fn list_shards(&self, filter: ShardFilter) -> Result<Vec<Shard>> {
        self.kinesis.list_shards(filter).await
    }

    async fn shard_iterator(
        &self,
        shard: &ShardId,
        at: &Position,
        counters: &Arc<RequestCounters>,
    ) -> Result<ShardIterator> {
        self.kinesis.shard_iterator(shard, at, counters).await
    }

    async fn shard_iterator_at_record(
        &self,
        shard: &ShardId,
        number: &SequenceNumber,
        counters: &Arc<RequestCounters>,
    ) -> Result<ShardIterator> {
        self.kinesis
            .shard_iterator_at_record(shard, number, counters)
            .await
    }

    async fn get_records(
        &self,
        shard: &ShardId,
        iterator: &ShardIterator,
        limit: u32,
        counters: &Arc<RequestCounters>,
    ) -> Result<Page> {
        self.pace.turn(shard).await;
        self.asked.lock().expect("asked").push(Instant::now());
        tokio::time::sleep(ANSWER).await;
        self.kinesis.get_records(shard, iterator, limit, counters).await
    }

    fn recent_calls(&self, shard: &ShardId) -> u32 {
        self.pace.lately(shard)
    }

    fn count_peer_calls(&self, shard: &ShardId, times: u32) {
        self.pace.count(shard, times);
    }

    async fn put_records(
        &self,
        entries: &[PutEntry],
        counters: &Arc<RequestCounters>,
    ) -> Result<Vec<PutOutcome>> {
        self.kinesis.put_records(entries, counters).await
    }
}
