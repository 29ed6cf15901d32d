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

/// Which consumer is meant.
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
    /// At a position of the shard. [`Position::ShardEnd`] has no subscription: asking is an error.
    Position(Position),
    /// With this record itself, where the shard still has it, and else with the one that follows.
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

/// The pages that the service pushes, until it ends the subscription: after five minutes (AWS limit), when another
/// subscription of the same consumer to the same shard takes its place, or with an error. In a page, `next` is the
/// continuation sequence number: after it the next subscription goes on, even if the page has no record.
pub type Subscription = BoxStream<'static, Result<Page>>;

/// A connection for one shard's subscriptions alone. It is opened when first used, and closed when this is dropped and
/// the last subscription has ended. Tries that follow soon use it again; one that comes later than the HTTP client's
/// idle time of 90 seconds opens the next, as the renewal after five minutes does.
///
/// An HTTP client keeps one HTTP/2 connection to a host, however many requests are under way. Subscriptions that shared
/// it would share its window too, and the service's limit of streams: those that nobody reads from at the moment would
/// hold up all others.
#[derive(Debug, Default)]
pub struct SubscriptionConnection {
    client: OnceLock<Client>,
}

/// The calls of enhanced fan-out on one stream.
#[async_trait]
pub trait FanOutApi: Debug + Send + Sync {
    /// RegisterStreamConsumer. The consumer is not yet active. One that is there already is
    /// [`ErrorKind::InUse`]. One too many is [`ErrorKind::Throttled`], and not tried again here: of a stream's consumers
    /// as of those that are being registered at a time, and of calls in a second, there is a limit (AWS), and
    /// [`Self::list_consumers`] tells which it was.
    async fn register_consumer(&self, stream_arn: &str, name: &str) -> Result<Consumer>;

    /// DescribeStreamConsumer. One that is not there is [`ErrorKind::NotFound`].
    async fn describe_consumer(&self, consumer: ConsumerId<'_>) -> Result<Consumer>;

    /// ListStreamConsumers, all pages.
    async fn list_consumers(&self, stream_arn: &str) -> Result<Vec<Consumer>>;

    /// DeregisterStreamConsumer.
    async fn deregister_consumer(&self, arn: &str) -> Result<()>;

    /// SubscribeToShard, once and by this connection: whoever keeps a subscription tries again. Fails if it is not
    /// established in time. Within five seconds of the last subscription of this consumer to this shard it is
    /// [`ErrorKind::InUse`]; later it takes the earlier one's place (AWS limit). A position that the service doesn't
    /// take is [`ErrorKind::RefusedPosition`].
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
        // A quiet shard's stream is no stalled one, and lives longer than any other answer.
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
        // The SDK's own time-out ends with the headers, but it waits for the first message after them.
        let answer = match tokio::time::timeout(timeout, sent).await {
            Ok(answer) => answer.map_err(|error| classify(SUBSCRIBE, &self.stream.name, error)),
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
        let named = move |page: Result<Page>| page.map_err(|error| named(error, &stream, &shard, &consumer));
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

/// The page of the next event; none at the end of the subscription.
pub(super) async fn next_page(
    answer: &mut SubscribeToShardOutput,
    records: &DecodedRecords,
) -> Result<Option<Page>> {
    loop {
        match answer.event_stream.recv().await.map_err(classify_event)? {
            Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)) => {
                return page(event, records.take()).map(Some);
            }
            // Events of kinds yet unknown have no records.
            Some(_) => {}
            None => return Ok(None),
        }
    }
}

/// With the records of the event itself, unless they were decoded apart from it.
pub(super) fn page(event: SubscribeToShardEvent, records: Option<RecordColumns>) -> Result<Page> {
    let child_shards: Vec<ShardId> = event
        .child_shards()
        .iter()
        .map(|child| child.shard_id().into())
        .collect();
    // The service's model requires the number; it is absent at the end of a shard, which names the children.
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
        millis_behind_latest: Some(event.millis_behind_latest()),
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
