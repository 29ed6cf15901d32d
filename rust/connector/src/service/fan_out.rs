//! Enhanced fan-out: registered consumers and their subscriptions.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{Config, StalledStreamProtectionConfig};
use aws_sdk_kinesis::operation::register_stream_consumer::RegisterStreamConsumerError;
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{
    ConsumerStatus as SdkStatus, ShardIteratorType, StartingPosition, SubscribeToShardEvent,
    SubscribeToShardEventStream,
};
use aws_smithy_types::timeout::TimeoutConfig;
use futures_util::stream::{self, BoxStream, StreamExt};

use super::access::CONNECT_TIMEOUT;
use super::aws::{AwsKinesis, columns};
use super::failure::{classify, classify_event};
use super::retry::{RequestCounters, with_retries};
use super::wire::{ColumnsProtocol, DecodedRecords};
use super::{Page, RecordColumns, ShardIterator};
use crate::error::{Error, ErrorKind, Result};
use crate::stream::{Position, SequenceNumber, ShardId};

/// A registered consumer of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// The consumer's ARN. It ends with the time of the registration, so no two registrations share one.
    pub arn: String,
    /// Whether it can be used.
    pub status: ConsumerStatus,
}

/// The state of a registered consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerStatus {
    /// It is being registered.
    Creating,
    /// It can subscribe to shards.
    Active,
    /// It is being deregistered.
    Deleting,
}

/// Identifies a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerId<'a> {
    /// By its ARN.
    Arn(&'a str),
    /// By its name in a stream.
    Named {
        /// The stream's ARN.
        stream_arn: &'a str,
        /// The consumer's name.
        name: &'a str,
    },
}

/// Where a subscription starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscribeAt {
    /// At a position of the shard. [`Position::ShardEnd`] is an error: no subscription starts there.
    Position(Position),
    /// At this record itself if the shard still has it, otherwise at the next one.
    Record(SequenceNumber),
}

impl std::fmt::Display for SubscribeAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Position(position) => write!(f, "{position}"),
            Self::Record(number) => write!(f, "AT {number}"),
        }
    }
}

/// Pages pushed by the service until it ends the subscription: after five minutes (AWS limit), when another
/// subscription of the same consumer to the same shard replaces it, or with an error. A page's `next` is the
/// continuation sequence number, after which the next subscription continues even if the page has no records.
pub type Subscription = BoxStream<'static, Result<Page>>;

/// A connection used only for one shard's subscriptions. It opens on first use and closes after this value is dropped
/// and the last subscription has ended. Tries in quick succession share it; one after the HTTP client's idle time of
/// 90 seconds opens a new connection, as the renewal after five minutes does.
///
/// An HTTP client keeps one HTTP/2 connection per host, whatever the number of requests. Subscriptions that shared it
/// would also share its flow-control window and the service's limit of streams, so those without a current reader
/// would block all others.
#[derive(Debug, Default)]
pub struct SubscriptionConnection {
    client: OnceLock<Client>,
}

/// Enhanced fan-out calls on one stream.
#[async_trait]
pub trait FanOutApi: Debug + Send + Sync {
    /// RegisterStreamConsumer. The new consumer is not yet active. Fails with [`ErrorKind::InUse`] if the consumer
    /// exists. Above a limit it fails with [`ErrorKind::Throttled`], without retries: AWS limits a stream's
    /// consumers, simultaneous registrations and calls per second, and [`Self::list_consumers`] shows which limit it
    /// was.
    async fn register_consumer(&self, stream_arn: &str, name: &str) -> Result<Consumer>;

    /// DescribeStreamConsumer. Fails with [`ErrorKind::NotFound`] if the consumer doesn't exist.
    async fn describe_consumer(&self, consumer: ConsumerId<'_>) -> Result<Consumer>;

    /// ListStreamConsumers, all pages.
    async fn list_consumers(&self, stream_arn: &str) -> Result<Vec<Consumer>>;

    /// DeregisterStreamConsumer.
    async fn deregister_consumer(&self, arn: &str) -> Result<()>;

    /// SubscribeToShard on this connection, without retries: those are up to the caller. Fails if the subscription
    /// isn't established within `timeout`. Within five seconds of the previous subscription of this consumer to this
    /// shard it fails with [`ErrorKind::InUse`]; after that it replaces the earlier one (AWS limit). Fails with
    /// [`ErrorKind::RefusedPosition`] if the service rejects the position.
    async fn subscribe(
        &self,
        connection: &SubscriptionConnection,
        consumer_arn: &str,
        shard: &ShardId,
        at: &SubscribeAt,
        timeout: Duration,
        counters: &Arc<RequestCounters>,
    ) -> Result<Subscription>;
}

const SUBSCRIBE: &str = "SubscribeToShard";

/// The events of subscriptions, of which one may be a refusal.
const EVENTS: &str = "events of SubscribeToShard";

#[async_trait]
impl FanOutApi for AwsKinesis {
    async fn register_consumer(&self, stream_arn: &str, name: &str) -> Result<Consumer> {
        let answer = with_retries(&self.retry, &self.own_calls, || async {
            self.client()
                .register_stream_consumer()
                .stream_arn(stream_arn)
                .consumer_name(name)
                .send()
                .await
                .map_err(|error| {
                    let limit = error
                        .as_service_error()
                        .is_some_and(RegisterStreamConsumerError::is_limit_exceeded_exception);
                    let error = classify("RegisterStreamConsumer", &self.stream.name, error);
                    match error.kind() {
                        ErrorKind::InUse => error.retryable(false),
                        _ if limit => error.retryable(false),
                        _ => error,
                    }
                })
        })
        .await
        .map_err(|error| error.with("consumer", name))?;
        let consumer = answer
            .consumer()
            .ok_or_else(|| self.internal("RegisterStreamConsumer", "no consumer"))?;
        Ok(Consumer {
            arn: consumer.consumer_arn().to_owned(),
            status: status(consumer.consumer_status()),
        })
    }

    async fn describe_consumer(&self, consumer: ConsumerId<'_>) -> Result<Consumer> {
        let (arn, stream_arn, name) = match consumer {
            ConsumerId::Arn(arn) => (Some(arn.to_owned()), None, None),
            ConsumerId::Named { stream_arn, name } => {
                (None, Some(stream_arn.to_owned()), Some(name.to_owned()))
            }
        };
        let answer = with_retries(&self.retry, &self.own_calls, || async {
            self.client()
                .describe_stream_consumer()
                .set_consumer_arn(arn.clone())
                .set_stream_arn(stream_arn.clone())
                .set_consumer_name(name.clone())
                .send()
                .await
                .map_err(|error| classify("DescribeStreamConsumer", &self.stream.name, error))
        })
        .await
        .map_err(|error| error.with("consumer", arn.or(name).unwrap_or_default()))?;
        let consumer = answer
            .consumer_description()
            .ok_or_else(|| self.internal("DescribeStreamConsumer", "no description"))?;
        Ok(Consumer {
            arn: consumer.consumer_arn().to_owned(),
            status: status(consumer.consumer_status()),
        })
    }

    async fn list_consumers(&self, stream_arn: &str) -> Result<Vec<Consumer>> {
        let mut consumers = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = with_retries(&self.retry, &self.own_calls, || async {
                self.client()
                    .list_stream_consumers()
                    .stream_arn(stream_arn)
                    .set_next_token(token.clone())
                    .send()
                    .await
                    .map_err(|error| classify("ListStreamConsumers", &self.stream.name, error))
            })
            .await?;
            consumers.extend(page.consumers().iter().map(|consumer| Consumer {
                arn: consumer.consumer_arn().to_owned(),
                status: status(consumer.consumer_status()),
            }));
            token = page.next_token().map(str::to_owned);
            if token.is_none() {
                return Ok(consumers);
            }
        }
    }

    async fn deregister_consumer(&self, arn: &str) -> Result<()> {
        with_retries(&self.retry, &self.own_calls, || async {
            self.client()
                .deregister_stream_consumer()
                .consumer_arn(arn)
                .send()
                .await
                .map_err(|error| classify("DeregisterStreamConsumer", &self.stream.name, error))
        })
        .await
        .map_err(|error| error.with("consumer", arn))?;
        Ok(())
    }

    async fn subscribe(
        &self,
        connection: &SubscriptionConnection,
        consumer_arn: &str,
        shard: &ShardId,
        at: &SubscribeAt,
        timeout: Duration,
        counters: &Arc<RequestCounters>,
    ) -> Result<Subscription> {
        let position = starting_position(at)?;
        let records = DecodedRecords::default();
        // A quiet shard's stream isn't stalled, and lives longer than any other answer.
        let config = Config::builder()
            .protocol(ColumnsProtocol::of_events(records.clone()))
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_attempt_timeout(timeout)
                    .build(),
            );
        counters.count_request();
        let sent = connection
            .client
            .get_or_init(|| self.connection.apart())
            .subscribe_to_shard()
            .consumer_arn(consumer_arn)
            .shard_id(shard.as_str())
            .starting_position(position)
            .customize()
            .config_override(config)
            .send();
        // The SDK's own timeout covers the headers only, but the call also waits for the first message after them.
        let answer = match tokio::time::timeout(timeout, sent).await {
            Ok(answer) => self.settled(SUBSCRIBE, Some(shard), answer),
            Err(_) => Err(not_in_time(timeout)),
        };
        let named = |error: Error, stream: &str, shard: &ShardId, consumer: &str| {
            error
                .with("operation", SUBSCRIBE)
                .with("stream", stream)
                .with("shard", shard.to_string())
                .with("consumer", consumer)
        };
        let (stream, shard, consumer) = (self.stream.name.clone(), shard.clone(), consumer_arn.to_owned());
        let answer = answer
            .map_err(|error| named(error, &stream, &shard, &consumer).with("position", at.to_string()))?;
        let pages = stream::unfold(Some((answer, records)), |state| async move {
            let (mut answer, records) = state?;
            match next_page(&mut answer, &records).await {
                Ok(Some(page)) => Some((Ok(page), Some((answer, records)))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        let refusals = Arc::clone(&self.refusals);
        let named = move |page: Result<Page>| {
            let page = match page {
                // Without records there is nothing to be refused.
                Ok(page) if page.records.is_empty() => {
                    refusals.works(EVENTS);
                    Ok(page)
                }
                page => refusals.settled(EVENTS, Some(&shard), page),
            };
            page.map_err(|error| named(error, &stream, &shard, &consumer))
        };
        Ok(pages.map(named).boxed())
    }
}

fn not_in_time(timeout: Duration) -> Error {
    Error::new(
        ErrorKind::Transport,
        format!(
            "no subscription within {} s: set kinesis.subscribeToShard.timeoutSec higher if the network is that slow",
            timeout.as_secs()
        ),
    )
    .retryable(true)
}

/// The next event's page; none at the subscription's end.
pub(super) async fn next_page(
    answer: &mut SubscribeToShardOutput,
    records: &DecodedRecords,
) -> Result<Option<Page>> {
    loop {
        match answer.event_stream.recv().await.map_err(classify_event)? {
            Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)) => {
                return page(event, records.take()).map(Some);
            }
            // Events of unknown kinds have no records.
            Some(_) => {}
            None => return Ok(None),
        }
    }
}

/// Converts an event. `records` are its records if they were decoded separately.
pub(super) fn page(event: SubscribeToShardEvent, records: Option<RecordColumns>) -> Result<Page> {
    let child_shards: Vec<ShardId> = event
        .child_shards()
        .iter()
        .map(|child| child.shard_id().into())
        .collect();
    // The service's model requires the number. It is absent at a shard's end, where the event has the child shards.
    let next = event.continuation_sequence_number();
    if next.is_empty() && child_shards.is_empty() {
        return Err(Error::new(
            ErrorKind::Transport,
            "an event has neither a continuation sequence number nor child shards",
        )
        .retryable(true));
    }
    Ok(Page {
        records: match records {
            Some(records) => records,
            None => columns(event.records())?,
        },
        next: child_shards.is_empty().then(|| ShardIterator(next.to_owned())),
        millis_behind_latest: Some(event.millis_behind_latest().max(0)),
        child_shards,
        request_id: None,
        service_millis: None,
    })
}

fn starting_position(at: &SubscribeAt) -> Result<StartingPosition> {
    let builder = StartingPosition::builder();
    let builder = match at {
        SubscribeAt::Position(Position::TrimHorizon) => builder.r#type(ShardIteratorType::TrimHorizon),
        SubscribeAt::Position(Position::AtTimestamp(millis)) => builder
            .r#type(ShardIteratorType::AtTimestamp)
            .timestamp(DateTime::from_millis(*millis)),
        SubscribeAt::Position(Position::After(number) | Position::AfterQuiet(number, _)) => builder
            .r#type(ShardIteratorType::AfterSequenceNumber)
            .sequence_number(number.as_str()),
        SubscribeAt::Record(number) => builder
            .r#type(ShardIteratorType::AtSequenceNumber)
            .sequence_number(number.as_str()),
        SubscribeAt::Position(Position::ShardEnd) => {
            return Err(Error::new(
                ErrorKind::Internal,
                "there is no subscription at a shard's end",
            ));
        }
    };
    builder.build().map_err(|error| {
        Error::new(
            ErrorKind::Internal,
            format!("a starting position can't be made: {error}"),
        )
    })
}

fn status(status: &SdkStatus) -> ConsumerStatus {
    match status {
        SdkStatus::Active => ConsumerStatus::Active,
        SdkStatus::Deleting => ConsumerStatus::Deleting,
        _ => ConsumerStatus::Creating,
    }
}
