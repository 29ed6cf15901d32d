//! Kinesis client on the AWS SDK.

mod answers;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use super::access::{guarded, stream_access};
use super::clock::AnswerDate;
use super::failure::classify;
use super::network::Network;
use super::patience::Starved;
use super::rate_limiter::RateLimiter;
use super::refusals::Refusals;
use super::retry::{RequestCounters, with_retries, with_retries_unless_throttled};
use super::wire::{ColumnsProtocol, DecodedRecords, PutBody};
use super::{KinesisApi, Page, PutEntry, PutOutcome, ShardFilter, ShardIterator, StreamSummary};
use crate::error::{Error, ErrorKind, Result};
use crate::options::{AccessOptions, RetryOptions, StreamId, WireProtocol};
use crate::stream::{Position, SequenceNumber, Shard, ShardId};
use answers::{IteratorStart, sdk_filter};
pub(super) use answers::{columns, millis, page};
use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{Builder, Config};
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::RequestId;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{
    PutRecordsResultEntry, RecordDistributionStrategy, Shard as SdkShard, ShardIteratorType, StreamStatus,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

/// Page size of ListShards (AWS limit 10,000; the service's default is 1,000).
const SHARDS_PER_PAGE: i32 = 1_000;

/// Minimum time between two GetRecords of a shard, from the service's limit.
const GET_RECORDS_INTERVAL: Duration = Duration::from_millis(200);

/// Tolerated difference between two clocks.
const NEARLY_THE_SAME_TIME: Duration = Duration::from_secs(10);

/// A client with its own connections and credentials, for any number of streams.
#[derive(Debug)]
pub(crate) struct Connection {
    config: Config,
    pub(super) client: Client,
    network: Network,
}

impl Connection {
    /// Resolves region and endpoint; calls no service except the one that provides the region.
    pub async fn open(options: &AccessOptions) -> Result<Self> {
        let access = stream_access(options).await?;
        let endpoint = options.endpoint_url.as_deref();
        let config = guarded!(Builder::from(&access.config), access, endpoint)
            .protocol(ColumnsProtocol::new())
            .build();
        Ok(Self {
            client: Client::from_conf(config.clone()),
            config,
            network: access.network,
        })
    }

    #[cfg(test)]
    pub(super) fn of(config: Config) -> Self {
        Self {
            client: Client::from_conf(config.clone()),
            config,
            network: Network::of(None),
        }
    }

    /// Another client with its own connections.
    pub(super) fn apart(&self) -> Client {
        let config = self.config.to_builder().http_client(self.network.client());
        Client::from_conf(config.build())
    }
}

/// One stream of the Kinesis service.
#[derive(Debug)]
pub struct AwsKinesis {
    pub(super) connection: Arc<Connection>,
    pub(super) stream: StreamId,
    pub(super) retry: RetryOptions,
    pub(super) own_calls: Arc<RequestCounters>,
    pace: RateLimiter,
    starved: Starved,
    pub(super) refusals: Arc<Refusals>,
    protocol: WireProtocol,
}

impl AwsKinesis {
    /// A client with its own connections. Resolves region and credentials; calls no service except those that provide
    /// them.
    pub async fn connect(access: &AccessOptions, stream: StreamId, retry: RetryOptions) -> Result<Self> {
        Ok(Self::on(Arc::new(Connection::open(access).await?), stream, retry))
    }

    /// A stream on a client that may be shared.
    pub(crate) fn on(connection: Arc<Connection>, stream: StreamId, retry: RetryOptions) -> Self {
        Self {
            connection,
            stream,
            retry,
            own_calls: Arc::default(),
            pace: RateLimiter::of_interval(GET_RECORDS_INTERVAL),
            starved: Starved::default(),
            refusals: Arc::new(Refusals::of_stream()),
            protocol: WireProtocol::default(),
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.connection.client
    }

    /// Selects the wire protocol of GetRecords.
    pub fn with_protocol(self, protocol: WireProtocol) -> Self {
        Self { protocol, ..self }
    }

    /// Limits the GetRecords of a shard to one per `interval`, or to the five a second that AWS allows if that is
    /// more.
    pub fn with_fetch_interval(self, interval: Duration) -> Self {
        Self {
            pace: RateLimiter::of_interval(interval),
            ..self
        }
    }

    /// The stream's name, unless it is given by ARN; the API takes only one of the two.
    fn name(&self) -> Option<String> {
        self.stream.arn.is_none().then(|| self.stream.name.clone())
    }

    fn arn(&self) -> Option<String> {
        self.stream.arn.clone()
    }

    /// The outcome of a call, of this shard if it is of one, with its failure classified.
    pub(super) fn settled<T, E>(
        &self,
        operation: &'static str,
        shard: Option<&ShardId>,
        outcome: std::result::Result<T, SdkError<E, HttpResponse>>,
    ) -> Result<T>
    where
        E: ProvideErrorMetadata + RequestId + StdError + Send + Sync + 'static,
    {
        let outcome = outcome.map_err(|error| classify(operation, &self.stream.name, error));
        self.refusals.settled(operation, shard, outcome)
    }

    pub(super) fn internal(&self, operation: &str, what: &str) -> Error {
        Error::new(
            ErrorKind::Transport,
            format!("the answer to {operation} has {what}"),
        )
        .retryable(true)
        .with("stream", self.stream.name.clone())
    }

    async fn list_all_pages(&self, filter: ShardFilter) -> Result<Vec<Shard>> {
        let mut shards = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let request = self.client().list_shards().max_results(SHARDS_PER_PAGE);
            // A token implies the stream and the filter of its first page; the API refuses both together with it.
            let request = match token.take() {
                Some(token) => request.next_token(token),
                None => request
                    .set_stream_name(self.name())
                    .set_stream_arn(self.arn())
                    .set_shard_filter(sdk_filter(filter)?),
            };
            let answer = self.settled("ListShards", None, request.send().await)?;
            for shard in answer.shards() {
                shards.push(self.shard(shard)?);
            }
            match answer.next_token {
                Some(next) => token = Some(next),
                None => return Ok(shards),
            }
        }
    }

    fn shard(&self, shard: &SdkShard) -> Result<Shard> {
        let bound = |key: Option<&str>| key.and_then(|key| key.parse::<u128>().ok());
        let range = shard.hash_key_range();
        let bounds = range.and_then(|range| {
            Some((
                bound(Some(range.starting_hash_key()))?,
                bound(Some(range.ending_hash_key()))?,
            ))
        });
        let (hash_start, hash_end) =
            bounds.ok_or_else(|| self.internal("ListShards", "a shard without a hash key range"))?;
        let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
        Ok(Shard {
            id: ShardId::from(shard.shard_id()),
            parents: parents.into_iter().flatten().map(ShardId::from).collect(),
            hash_start,
            hash_end,
            closed: shard
                .sequence_number_range()
                .is_some_and(|range| range.ending_sequence_number().is_some()),
        })
    }

    pub(super) async fn get_page(
        &self,
        shard: &ShardId,
        iterator: &ShardIterator,
        limit: u32,
    ) -> Result<Page> {
        let date = AnswerDate::default();
        let records = DecodedRecords::of(self.protocol);
        let sent = self
            .client()
            .get_records()
            .shard_iterator(iterator.0.as_str())
            .set_stream_arn(self.arn())
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .customize()
            .interceptor(date.clone())
            .interceptor(records.clone())
            .send()
            .await;
        let answer = self.settled("GetRecords", Some(shard), sent)?;
        Ok(Page {
            // A gateway on the way may set dates from its own clock.
            service_millis: date
                .millis()
                .map(|millis| millis.min(chrono::Utc::now().timestamp_millis())),
            ..page(answer, records.take())?
        })
    }

    async fn get_iterator(
        &self,
        shard: &ShardId,
        start: &IteratorStart,
        counters: &Arc<RequestCounters>,
    ) -> Result<ShardIterator> {
        let answer = with_retries_unless_throttled(&self.retry, counters, || async {
            let sent = self
                .client()
                .get_shard_iterator()
                .set_stream_name(self.name())
                .set_stream_arn(self.arn())
                .shard_id(shard.as_str())
                .shard_iterator_type(start.kind.clone())
                .set_starting_sequence_number(start.number.clone())
                .set_timestamp(start.time)
                .send()
                .await;
            self.settled("GetShardIterator", Some(shard), sent)
                .map_err(|error| {
                    let early = error.kind() == ErrorKind::RefusedPosition && start.is_now();
                    let retryable = error.is_retryable() || early;
                    error.retryable(retryable)
                })
        })
        .await
        .map_err(|error| error.with("shard", shard.to_string()))?;
        answer.shard_iterator.map(ShardIterator).ok_or_else(|| {
            self.internal("GetShardIterator", "no iterator")
                .with("shard", shard.to_string())
        })
    }

    async fn put_once(&self, body: &PutBody) -> Result<Vec<PutOutcome>> {
        let sent = self
            .client()
            .put_records()
            .set_stream_name(self.name())
            .set_stream_arn(self.arn())
            .customize()
            .interceptor(body.clone())
            .send()
            .await;
        let answer = self.settled("PutRecords", None, sent)?;
        answer.records().iter().map(|entry| self.outcome(entry)).collect()
    }

    fn outcome(&self, entry: &PutRecordsResultEntry) -> Result<PutOutcome> {
        let message = entry.error_message().unwrap_or_default().to_owned();
        match (entry.error_code(), entry.shard_id(), entry.sequence_number()) {
            (Some("ProvisionedThroughputExceededException"), _, _) => Ok(PutOutcome::Throttled { message }),
            (Some(code), _, _) => Ok(PutOutcome::Failed {
                code: code.to_owned(),
                message,
            }),
            (None, Some(shard), Some(number)) => Ok(PutOutcome::Accepted {
                shard: shard.into(),
                sequence_number: number.to_owned(),
            }),
            _ => Err(self.internal(
                "PutRecords",
                "an entry with neither a sequence number nor an error",
            )),
        }
    }
}

#[async_trait]
impl KinesisApi for AwsKinesis {
    async fn describe_stream(&self) -> Result<StreamSummary> {
        let date = AnswerDate::default();
        let summary = with_retries(&self.retry, &self.own_calls, || async {
            let sent = self
                .client()
                .describe_stream_summary()
                .set_stream_name(self.name())
                .set_stream_arn(self.arn())
                .customize()
                .interceptor(date.clone())
                .send()
                .await;
            let answer = self.settled("DescribeStreamSummary", None, sent)?;
            // An answer without content describes a stream without a name, made in 1970.
            answer
                .stream_description_summary
                .filter(|summary| !summary.stream_arn().is_empty())
                .ok_or_else(|| self.internal("DescribeStreamSummary", "no description"))
        })
        .await?;
        Ok(StreamSummary {
            arn: summary.stream_arn().to_owned(),
            created_millis: millis(summary.stream_creation_timestamp()),
            creating: summary.stream_status() == &StreamStatus::Creating,
            open_shards: u32::try_from(summary.open_shard_count()).unwrap_or_default(),
            auto_distribution: summary.record_distribution_strategy()
                == Some(&RecordDistributionStrategy::Auto),
            max_record_bytes: summary
                .max_record_size_in_kib()
                .and_then(|kib| usize::try_from(kib).ok())
                .map(|kib| kib * 1024),
            service_millis: date.millis(),
        })
    }

    async fn list_shards(&self, filter: ShardFilter) -> Result<Vec<Shard>> {
        with_retries(&self.retry, &self.own_calls, || self.list_all_pages(filter)).await
    }

    async fn shard_iterator(
        &self,
        shard: &ShardId,
        at: &Position,
        counters: &Arc<RequestCounters>,
    ) -> Result<ShardIterator> {
        let start = match at {
            Position::TrimHorizon => IteratorStart::of(ShardIteratorType::TrimHorizon),
            // The reader drops the records up to and including the position's own.
            Position::AtTimestamp(millis) | Position::AfterQuiet(_, millis) => IteratorStart {
                time: Some(DateTime::from_millis(*millis)),
                ..IteratorStart::of(ShardIteratorType::AtTimestamp)
            },
            Position::After(number) => IteratorStart {
                number: Some(number.to_string()),
                ..IteratorStart::of(ShardIteratorType::AfterSequenceNumber)
            },
            Position::ShardEnd => {
                return Err(
                    Error::new(ErrorKind::Internal, "there is no iterator for a shard's end")
                        .with("shard", shard.to_string()),
                );
            }
        };
        self.get_iterator(shard, &start, counters)
            .await
            .map_err(|error| error.with("position", at.to_string()))
    }

    async fn shard_iterator_at_record(
        &self,
        shard: &ShardId,
        number: &SequenceNumber,
        counters: &Arc<RequestCounters>,
    ) -> Result<ShardIterator> {
        let start = IteratorStart {
            number: Some(number.to_string()),
            ..IteratorStart::of(ShardIteratorType::AtSequenceNumber)
        };
        self.get_iterator(shard, &start, counters)
            .await
            .map_err(|error| error.with("position", format!("AT {number}")))
    }

    async fn get_records(
        &self,
        shard: &ShardId,
        iterator: &ShardIterator,
        limit: u32,
        counters: &Arc<RequestCounters>,
    ) -> Result<Page> {
        let asking = || async {
            self.pace.turn(shard).await;
            match self.get_page(shard, iterator, limit).await {
                // It would be refused again with this iterator.
                Err(error) if error.kind().is_of_iterator() => Ok(Err(error)),
                page => page.map(Ok),
            }
        };
        let answer = with_retries_unless_throttled(&self.retry, counters, asking).await;
        let answer = answer.and_then(|page| page);
        match &answer {
            Ok(_) => self.starved.answered(shard),
            Err(error) if error.kind() == ErrorKind::Throttled => {
                self.starved.throttled(&self.stream.name, shard);
            }
            Err(_) => {}
        }
        answer.map_err(|error| error.with("shard", shard.to_string()))
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
        let body = PutBody::of(entries, &self.stream)?;
        with_retries(&self.retry, counters, || self.put_once(&body)).await
    }
}
