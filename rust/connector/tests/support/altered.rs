//! The sandbox with answers that other services give.

use std::sync::Arc;

use async_trait::async_trait;
use kinesis_connector::service::{
    AwsKinesis, KinesisApi, Page, PutEntry, PutOutcome, RequestCounters, ShardFilter, ShardIterator,
    StreamSummary,
};
use kinesis_connector::stream::{Position, SequenceNumber, Shard, ShardId};
use kinesis_connector::{Result, SourceConfig};

/// A service that tells some things differently.
#[derive(Debug)]
pub struct Altered {
    service: AwsKinesis,
    apart_millis: i64,
    always_at_tip: bool,
}

impl Altered {
    pub fn new(service: AwsKinesis) -> Self {
        Self {
            service,
            apart_millis: 0,
            always_at_tip: false,
        }
    }

    /// Its clock is so far from this machine's.
    pub fn with_clock(self, apart_millis: i64) -> Self {
        Self { apart_millis, ..self }
    }

    /// It tells of every answer that it is not behind.
    pub fn always_at_tip(self) -> Self {
        Self {
            always_at_tip: true,
            ..self
        }
    }
}

/// The client of a configuration.
pub async fn service(config: &SourceConfig) -> AwsKinesis {
    let options = config.options.clone();
    let connected = AwsKinesis::connect(&options.access, options.stream, options.client_retry).await;
    connected.expect("a client")
}

#[async_trait]
impl KinesisApi for Altered {
    async fn describe_stream(&self) -> Result<StreamSummary> {
        let summary = self.service.describe_stream().await?;
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
        self.service.shard_iterator(shard, at, counters).await
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
        let mut page = self.service.get_records(shard, iterator, limit, counters).await?;
        if self.always_at_tip {
            page.millis_behind_latest = Some(0);
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
