//! The sandbox with altered responses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kinesis_connector::service::{
    AwsKinesis, KinesisApi, Page, PutEntry, PutOutcome, RecordColumns, RequestCounters, ShardFilter,
    ShardIterator, StreamSummary,
};
use kinesis_connector::stream::{Position, SequenceNumber, Shard, ShardId};
use kinesis_connector::{Result, SourceConfig};

/// A service that alters some of the sandbox's responses.
#[derive(Debug)]
pub struct Altered {
    service: AwsKinesis,
    apart_millis: i64,
    description_takes: Duration,
    always_at_tip: bool,
    empty_stretch: u32,
    false_ends: AtomicU32,
}

impl Altered {
    pub fn new(service: AwsKinesis) -> Self {
        Self {
            service,
            apart_millis: 0,
            description_takes: Duration::ZERO,
            always_at_tip: false,
            empty_stretch: 0,
            false_ends: AtomicU32::new(0),
        }
    }

    /// Shifts the service's clock against this machine's.
    pub fn with_clock(self, apart_millis: i64) -> Self {
        Self { apart_millis, ..self }
    }

    /// Delays descriptions of the stream after they were dated.
    pub fn with_slow_descriptions(self, description_takes: Duration) -> Self {
        Self {
            description_takes,
            ..self
        }
    }

    /// Reports zero lag in every response.
    pub fn always_at_tip(self) -> Self {
        Self {
            always_at_tip: true,
            ..self
        }
    }

    /// Makes this number of responses end their shard without naming children.
    pub fn with_false_ends(self, answers: u32) -> Self {
        Self {
            false_ends: AtomicU32::new(answers),
            ..self
        }
    }

    /// Makes every new iterator first return this number of empty responses that are behind the tip.
    pub fn with_stretch(self, answers: u32) -> Self {
        Self {
            empty_stretch: answers,
            ..self
        }
    }
}

/// An iterator that returns `left` more empty responses.
fn in_stretch(left: u32, iterator: ShardIterator) -> ShardIterator {
    match left {
        0 => iterator,
        left => ShardIterator(format!("{left}|{}", iterator.0)),
    }
}

/// The AWS client for this configuration.
pub async fn service(config: &SourceConfig) -> AwsKinesis {
    let options = config.options.clone();
    let connected = AwsKinesis::connect(&options.access, options.stream, options.client_retry).await;
    connected.expect("a client")
}

#[async_trait]
impl KinesisApi for Altered {
    async fn describe_stream(&self) -> Result<StreamSummary> {
        let summary = self.service.describe_stream().await?;
        tokio::time::sleep(self.description_takes).await;
        let service_millis = summary.service_millis.map(|millis| millis + self.apart_millis);
        Ok(StreamSummary {
            service_millis,
            ..summary
        })
    }

    async fn list_shards(&self, filter: ShardFilter) -> Result<Vec<Shard>> {
        self.service.list_shards(filter).await
    }

    async fn shard_iterator(
        &self,
        shard: &ShardId,
        at: &Position,
        counters: &Arc<RequestCounters>,
    ) -> Result<ShardIterator> {
        let iterator = self.service.shard_iterator(shard, at, counters).await?;
        Ok(in_stretch(self.empty_stretch, iterator))
    }

    async fn shard_iterator_at_record(
        &self,
        shard: &ShardId,
        number: &SequenceNumber,
        counters: &Arc<RequestCounters>,
    ) -> Result<ShardIterator> {
        self.service
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
        if let Some((left, iterator)) = iterator.0.split_once('|') {
            let left: u32 = left.parse().expect("a number");
            return Ok(Page {
                records: RecordColumns::with_capacity(0, 0),
                next: Some(in_stretch(left - 1, ShardIterator(iterator.to_owned()))),
                millis_behind_latest: Some(i64::from(left) * 1_000),
                child_shards: Vec::new(),
                request_id: None,
                service_millis: None,
            });
        }
        let mut page = self.service.get_records(shard, iterator, limit, counters).await?;
        if self.always_at_tip {
            page.millis_behind_latest = Some(0);
        }
        let ends = self
            .false_ends
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if ends.is_ok() {
            page.next = None;
        }
        Ok(page)
    }

    async fn put_records(
        &self,
        entries: &[PutEntry],
        counters: &Arc<RequestCounters>,
    ) -> Result<Vec<PutOutcome>> {
        self.service.put_records(entries, counters).await
    }
}
