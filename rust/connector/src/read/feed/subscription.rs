//! A shard's subscription, which goes on receiving between two tasks, and the feed that reads from it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::event_buffer::{EventBuffer, Found};
use super::poller::PollingFeed;
use super::registry::Kept;
use super::reports::Availability;
use super::retention::Retention;
use super::subscriber::Subscriber;
use super::{Deadline, Feed, FeedParts, FeedRegistry, Next, ReadKind, Wanted};
use crate::error::Result;
use crate::options::SourceOptions;
use crate::read::memory_pool::MemoryLimits;
use crate::read::{ReadTask, Shared};
use crate::service::{FanOutApi, Page, RecordColumns, RequestCounters, ShardIterator};
use crate::stream::Position;

/// How long records are awaited that the driver has seen: the service pushes them within a second. A subscription
/// that doesn't bring them by then is one whose connection broke unnoticed, or can't be opened again.
const AWAIT_NEWS: Duration = Duration::from_secs(5);

/// How long a batch waits for a subscription that is being opened again, since the last one ended. One that is renewed
/// is there by then; one that the service refuses for its five seconds (AWS limit) holds up no other shard.
const AWAIT_RENEWAL: Duration = Duration::from_millis(500);

/// Least wait for an event where GetRecords would ask again.
const EVENT_WAIT: Duration = Duration::from_millis(200);

/// A consumer's subscription to a shard with what it received. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Subscription {
    pub consumer: String,
    pub buffer: Arc<EventBuffer>,
    /// What it asks of the service while no task counts it.
    counters: Arc<RequestCounters>,
    subscriber: JoinHandle<()>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.subscriber.abort();
    }
}

impl Subscription {
    /// One from the task's start on, in place of what is parked of its shard.
    pub(super) fn open(
        task: &ReadTask,
        consumer: &str,
        options: &SourceOptions,
        feeds: &FeedRegistry,
        api: &Arc<dyn FanOutApi>,
    ) -> Result<Self> {
        feeds.make_room(task, consumer)?;
        let limits = MemoryLimits::new(options, feeds.pool());
        let bell = feeds.subscriptions().bell(&task.source);
        let buffer = Arc::new(EventBuffer::new(limits, bell));
        let counters: Arc<RequestCounters> = Arc::default();
        let subscriber = Subscriber {
            api: api.clone(),
            consumer: consumer.to_owned(),
            shard: task.shard.clone(),
            start: task.start.clone(),
            tip_seen: task.is_tip_seen(),
            timeout: options.subscribe_timeout,
            retry: Subscriber::retry_options(options),
            buffer: buffer.clone(),
            counters: counters.clone(),
        };
        Ok(Self {
            consumer: consumer.to_owned(),
            buffer,
            counters,
            subscriber: tokio::spawn(subscriber.run()),
        })
    }

    /// What came that nobody has read; none from one that gave up, or has been without sight for long.
    pub(super) fn standing(&self) -> Option<Availability> {
        if self.buffer.failure().is_some() {
            return None;
        }
        match self.buffer.waiting() {
            None => (!self.buffer.is_blind()).then_some(Availability::Idle),
            Some(false) => Some(Availability::HasRecords),
            Some(true) => Some(Availability::Closed),
        }
    }

    /// True if a batch may still read from it: not after a failure, and not at the shard's end.
    pub(super) fn is_of_use(&self) -> bool {
        self.buffer.failure().is_none() && self.buffer.waiting() != Some(true)
    }
}

pub(super) struct FanOutFeed {
    subscription: Subscription,
    /// What was handed out goes up to here.
    position: Position,
    shared: Arc<Shared>,
    retention: Retention,
    /// The driver has seen records that must come by then.
    news_until: Option<Instant>,
    longest_pause: Duration,
    /// The page handed out last, without its records.
    last: Option<Page>,
}

impl FanOutFeed {
    /// The subscription that was left at the batch's start, or another one there; none for a replay that finds none.
    /// What that has to deliver is known, so it is asked for, and a subscription, which takes up to five seconds to
    /// open (AWS limit), stays where it is.
    pub(super) fn open(
        parts: &FeedParts<'_>,
        kind: ReadKind,
        consumer: &str,
        api: &Arc<dyn FanOutApi>,
    ) -> Result<Option<Self>> {
        let (shared, feeds) = (&parts.shared, parts.feeds);
        let task = &shared.task;
        let subscription = match feeds.take_subscription(task) {
            Some(parked) => {
                shared.progress().prefetch_hit = true;
                parked
            }
            None if kind == ReadKind::Replay => return Ok(None),
            None => Subscription::open(task, consumer, parts.options, feeds, api)?,
        };
        shared.progress().subscribed = true;
        Ok(Some(Self {
            subscription,
            position: task.start.clone(),
            shared: shared.clone(),
            retention: Retention::new(parts.options, shared),
            news_until: task.news.then(|| Instant::now() + AWAIT_NEWS),
            longest_pause: parts.options.fetch_interval.max(EVENT_WAIT),
            last: None,
        }))
    }

    /// True if the shard's part of the batch may end before its subscription is opened again: nobody has seen records
    /// there. Whatever comes, the next batch has it. A subscription of this batch's own is waited for: it may have been
    /// opened here for what another process received.
    fn goes_on_without_the_shard(&self, waits: Deadline) -> bool {
        matches!(waits, Deadline::Open(_)) && self.news_until.is_none() && self.shared.progress().prefetch_hit
    }
}

#[async_trait]
impl Feed for FanOutFeed {
    async fn next(&mut self, _: Wanted, waits: Deadline) -> Result<Next> {
        loop {
            let now = Instant::now();
            let mut deadline = match waits {
                Deadline::Never => None,
                Deadline::Open(deadline) => deadline,
            };
            match self.subscription.buffer.take()? {
                Found::Page(page) => {
                    if let Some(loss) = self.subscription.buffer.take_loss() {
                        self.retention.lost(&loss)?;
                    }
                    self.news_until = None;
                    self.last = Some(page.without_records());
                    return Ok(Next::Page(page));
                }
                Found::Tip if self.news_until.is_none() => return Ok(Next::Page(Box::new(tip()))),
                Found::Tip | Found::Blind(_) if self.news_until.is_some_and(|until| now >= until) => {
                    return Ok(Next::Silent);
                }
                Found::Blind(since) if self.goes_on_without_the_shard(waits) => {
                    let renewed = since + AWAIT_RENEWAL;
                    deadline = Some(deadline.map_or(renewed, |deadline| deadline.min(renewed)));
                }
                Found::Tip | Found::Nothing | Found::Blind(_) => {}
            }
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Ok(Next::TimeIsOver);
            }
            let wake = [self.news_until.filter(|until| *until > now), deadline];
            match wake.into_iter().flatten().min() {
                Some(wake) => {
                    let _ = tokio::time::timeout_at(wake, self.subscription.buffer.arrival()).await;
                }
                None => self.subscription.buffer.arrival().await,
            }
        }
    }

    async fn pause(&mut self) {
        let _ = tokio::time::timeout(self.longest_pause, self.subscription.buffer.arrival()).await;
    }

    fn advance_to(&mut self, position: Position, _: Option<ShardIterator>, rest: Option<RecordColumns>) {
        match (rest, self.last.take()) {
            (Some(records), Some(last)) => self.subscription.buffer.put_back(Page { records, ..last }),
            // The shard's end came with the batch's last records, and is the next batch's.
            (None, Some(last)) if last.next.is_none() && position != Position::ShardEnd => {
                self.subscription.buffer.put_back(last);
            }
            _ => {}
        }
        self.position = position;
    }

    fn retains_leftover(&self) -> bool {
        true
    }

    fn tip_unconfirmed(&self) -> bool {
        false
    }

    /// GetRecords brings what the subscription doesn't, and knows what to do about a position that the service
    /// refuses. The next batch's reader subscribes where this one ends.
    fn instead(&self, position: Position, parts: &FeedParts<'_>) -> Option<Box<dyn Feed>> {
        Some(Box::new(PollingFeed::going_on(parts, position)))
    }

    fn hand_off(self: Box<Self>, end: &Position, _: bool, parts: &FeedParts<'_>) {
        let Self {
            subscription,
            position,
            shared,
            ..
        } = *self;
        shared.counters.take_over(&subscription.counters);
        if position == *end && *end != Position::ShardEnd {
            shared.progress().buffered_bytes = subscription.buffer.bytes() as u64;
            let kept = Kept::Subscription(subscription);
            parts.feeds.keep(&shared.task, position, kept);
        }
    }
}

/// Nothing more to be read for now.
fn tip() -> Page {
    Page {
        records: RecordColumns::with_capacity(0, 0),
        next: Some(ShardIterator(String::new())),
        millis_behind_latest: Some(0),
        child_shards: Vec::new(),
        request_id: None,
        service_millis: None,
    }
}
