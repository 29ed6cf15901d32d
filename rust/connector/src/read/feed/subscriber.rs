//! Maintains one shard's subscription: opens it, receives into the buffer, and opens the next one where it ended.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ConstantBuilder};
use futures_util::StreamExt;
use tokio::time::Instant;

use super::event_buffer::EventBuffer;
use super::prefetched::is_young;
use super::retention::expired_after;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{RetryOptions, SourceOptions};
use crate::service::{
    ConsumerId, ConsumerStatus, FanOutApi, Page, RequestCounters, SubscribeAt, SubscriptionConnection,
    backoff,
};
use crate::stream::{Position, SequenceNumber, ShardId};

/// Silence after which a subscription's connection counts as broken: the service sends an event every few seconds,
/// with or without records.
const QUIET_TOO_LONG: Duration = Duration::from_secs(40);
/// After a subscription, the service refuses another one of the same consumer to the same shard for this time (AWS
/// limit); after it, a second subscription replaces the first.
const OWN_REFUSAL: Duration = Duration::from_secs(5);
/// Delay after a refusal, plus random jitter of up to the same length.
const REFUSAL_WAIT: Duration = Duration::from_millis(500);
/// Time after which a refusal caused by another process's subscription should have passed.
const REFUSED_TOO_LONG: Duration = Duration::from_secs(15);
/// Number of times that an attached subscription may be taken over within [`TAKE_OVERS_WITHIN`].
const MOST_TAKE_OVERS: usize = 3;
/// Time window of [`MOST_TAKE_OVERS`]. A task that also runs elsewhere takes over once or twice.
const TAKE_OVERS_WITHIN: Duration = Duration::from_secs(120);

/// Parameters of a subscriber.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub api: Arc<dyn FanOutApi>,
    pub consumer: String,
    pub shard: ShardId,
    pub start: Position,
    /// True if nothing after the start can have expired.
    pub tip_seen: bool,
    pub timeout: Duration,
    pub retry: RetryOptions,
    pub buffer: Arc<EventBuffer>,
    pub counters: Arc<RequestCounters>,
}

/// How a subscription ended.
enum Ended {
    /// The shard ended.
    Shard,
    /// The service ended it, after five minutes or with the connection.
    Stream,
    Failed(Error),
}

/// State of the failures since the last event.
struct Failures {
    waits: backon::ExponentialBackoff,
    refusal_waits: backon::ConstantBackoff,
    refused_since: Option<Instant>,
    take_overs: Vec<Instant>,
    subscribed: Option<Instant>,
}

impl Subscriber {
    pub(super) fn retry_options(options: &SourceOptions) -> RetryOptions {
        RetryOptions {
            retries: options.subscribe_max_retries,
            ..options.client_retry
        }
    }

    /// Runs until the shard's end, or until it gives up; the reason is then in the buffer.
    pub(super) async fn run(self) {
        if let Err(error) = self.keep_subscribed().await {
            if self.buffer.is_attached() {
                tracing::warn!(shard = %self.shard, "the subscription is given up: {error}");
            } else {
                tracing::info!(shard = %self.shard, "an idle subscription ended: {error}");
            }
            self.buffer.fail(error);
        }
    }

    async fn keep_subscribed(&self) -> Result<()> {
        let mut at = match &self.start {
            // Starting at the record itself shows whether the shard still has what follows it.
            Position::After(number) if !self.tip_seen => SubscribeAt::Record(number.clone()),
            Position::AfterQuiet(number, millis) if !self.tip_seen && !is_young(*millis) => {
                SubscribeAt::Record(number.clone())
            }
            Position::AfterQuiet(number, _) => SubscribeAt::Position(Position::After(number.clone())),
            other => SubscribeAt::Position(other.clone()),
        };
        let mut before = match &at {
            SubscribeAt::Record(number) => Some(number.clone()),
            SubscribeAt::Position(_) => None,
        };
        let mut failures = Failures {
            waits: backoff(&self.retry).build(),
            // The service refuses for five seconds, whatever the delay between two tries.
            refusal_waits: ConstantBuilder::default()
                .with_delay(REFUSAL_WAIT)
                .without_max_times()
                .with_jitter()
                .build(),
            refused_since: None,
            take_overs: Vec::new(),
            subscribed: None,
        };
        let mut connection = SubscriptionConnection::default();
        let mut again = false;
        loop {
            if again {
                self.counters.count_resubscription();
            }
            again = true;
            let last = at.clone();
            let ended = self
                .subscribe_once(&connection, &mut at, &mut before, &mut failures)
                .await;
            self.buffer.lose_sight();
            let error = match ended {
                Ended::Shard => return Ok(()),
                // The next subscription is due at once, unless this one had no event at all.
                Ended::Stream if at != last => continue,
                Ended::Stream => Error::new(ErrorKind::Transport, "the subscription ended without an event")
                    .retryable(true)
                    .with("shard", self.shard.to_string()),
                Ended::Failed(error) => error,
            };
            if error.kind() == ErrorKind::Transport {
                // The connection may be broken without any sign of it.
                connection = SubscriptionConnection::default();
            }
            self.wait_after(error, &mut failures).await?;
        }
    }

    /// Runs one subscription to its end. `at` moves with the events. `before` is the record before the start, until
    /// the shard is known to still have it.
    async fn subscribe_once(
        &self,
        connection: &SubscriptionConnection,
        at: &mut SubscribeAt,
        before: &mut Option<SequenceNumber>,
        failures: &mut Failures,
    ) -> Ended {
        let subscribed = self
            .api
            .subscribe(
                connection,
                &self.consumer,
                &self.shard,
                at,
                self.timeout,
                &self.counters,
            )
            .await;
        let mut events = match subscribed {
            Ok(events) => events,
            Err(error) => return Ended::Failed(error),
        };
        failures.subscribed = Some(Instant::now());
        failures.refused_since = None;
        loop {
            let page = match tokio::time::timeout(QUIET_TOO_LONG, events.next()).await {
                Ok(Some(Ok(page))) => page,
                Ok(Some(Err(error))) => return Ended::Failed(error),
                Ok(None) => return Ended::Stream,
                Err(_) => return Ended::Failed(self.stalled()),
            };
            failures.waits = backoff(&self.retry).build();
            let page = match self.following(page, at, before) {
                Ok(page) => page,
                Err(error) => return Ended::Failed(error),
            };
            let next = page.next.as_ref().map(|next| next.0.parse());
            self.buffer.push(page).await;
            match next {
                None => return Ended::Shard,
                Some(Ok(number)) => *at = SubscribeAt::Position(Position::After(number)),
                Some(Err(error)) => return Ended::Failed(error),
            }
        }
    }

    /// The page without records that were received before.
    fn following(
        &self,
        mut page: Page,
        at: &SubscribeAt,
        before: &mut Option<SequenceNumber>,
    ) -> Result<Page> {
        let (SubscribeAt::Record(last) | SubscribeAt::Position(Position::After(last))) = at else {
            return Ok(page);
        };
        let before = before.take_if(|_| !page.records.is_empty());
        // Events without records may continue from before that record.
        let last = before.as_ref().map_or(last, |before| before.max(last));
        let mut known = 0;
        while known < page.records.len() {
            let number: SequenceNumber = page.records.sequence_number(known).parse()?;
            if number > *last {
                break;
            }
            known += 1;
        }
        page.records.remove_first(known);
        if let Some(before) = before.filter(|_| known == 0) {
            self.buffer.record_loss(expired_after(&before, &page.records));
        }
        Ok(page)
    }

    /// Waits before the next try, or gives up.
    async fn wait_after(&self, error: Error, failures: &mut Failures) -> Result<()> {
        let now = Instant::now();
        self.counters.count_failure(&error);
        let wait = match error.kind() {
            ErrorKind::InUse => {
                self.judge_refusal(&error, now, failures)?;
                failures.refusal_waits.next()
            }
            ErrorKind::NotFound => return Err(self.what_is_gone(error).await),
            _ if !error.is_retryable() => return Err(error),
            _ => failures.waits.next(),
        };
        let Some(wait) = wait else {
            return Err(self.gave_up(&error));
        };
        tracing::info!(
            shard = %self.shard,
            wait_ms = wait.as_millis() as u64,
            "subscribing again after: {error}"
        );
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Fails if too many other subscriptions of the consumer to the shard were seen.
    fn judge_refusal(&self, error: &Error, now: Instant, failures: &mut Failures) -> Result<()> {
        // Otherwise the service still counts this subscriber's own previous subscription.
        let foreign = failures
            .subscribed
            .is_some_and(|at| now - at > OWN_REFUSAL || !is_refusal(error));
        if foreign {
            if !self.buffer.is_attached() {
                // The shard is read elsewhere, and its reader there must not be disturbed.
                return Err(self.taken_over(error));
            }
            failures.take_overs.retain(|at| now - *at < TAKE_OVERS_WITHIN);
            failures.take_overs.push(now);
            // Subsequent refusals belong to the same event.
            failures.subscribed = None;
        }
        let since = *failures.refused_since.get_or_insert(now);
        if failures.take_overs.len() > MOST_TAKE_OVERS || now - since > REFUSED_TOO_LONG {
            return Err(self.taken_over(error));
        }
        Ok(())
    }

    fn taken_over(&self, error: &Error) -> Error {
        in_use(&self.consumer, &self.shard, &error.to_string())
    }

    fn gave_up(&self, error: &Error) -> Error {
        Error::new(
            error.kind(),
            format!(
                "the subscription failed {} times in a row (kinesis.subscribeToShard.maxRetries); the last time: {}",
                u64::from(self.retry.retries) + 1,
                error.message()
            ),
        )
        .retryable(true)
        .with("shard", self.shard.to_string())
        .with("consumer", self.consumer.clone())
    }

    fn stalled(&self) -> Error {
        Error::new(
            ErrorKind::Transport,
            format!(
                "no event within {} s: the connection broke unnoticed",
                QUIET_TOO_LONG.as_secs()
            ),
        )
        .retryable(true)
        .with("shard", self.shard.to_string())
    }

    /// Checks the two resources of a subscription that may be gone: the consumer and the shard. Without the shard the
    /// service refuses the position; another reader decides what that means.
    async fn what_is_gone(&self, error: Error) -> Error {
        let consumer = self.api.describe_consumer(ConsumerId::Arn(&self.consumer)).await;
        let gone = match consumer {
            Ok(consumer) => consumer.status == ConsumerStatus::Deleting,
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        let (kind, what) = if gone {
            (
                ErrorKind::NotFound,
                "the consumer was deregistered while the query read with it. Start the query again, which registers \
                 it unless kinesis.consumerArn names it",
            )
        } else {
            (
                ErrorKind::RefusedPosition,
                "the stream has no such shard any more: the stream's retention has passed, or it was deleted",
            )
        };
        Error::new(kind, format!("{what} ({})", error.message()))
            .with("shard", self.shard.to_string())
            .with("consumer", self.consumer.clone())
    }
}

/// Error for two concurrent readers of one consumer.
pub(super) fn in_use(consumer: &str, shard: &ShardId, message: &str) -> Error {
    Error::new(
        ErrorKind::InUse,
        format!(
            "another reader subscribes to the shard with the same consumer, again and again: most likely another query \
             or application. Give each query a kinesis.consumerName of its own. The service said: {message}"
        ),
    )
    .with("shard", shard.to_string())
    .with("consumer", consumer)
}

/// True for the response to a request; an event within a stream has no request id.
fn is_refusal(error: &Error) -> bool {
    error.context().iter().any(|(key, _)| *key == "requestId")
}
