//! A shard's subscription, which keeps receiving between two tasks, and the feed that reads from it.

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

/// Maximum wait for records that the driver has seen: the service pushes them within a second. A subscription that is
/// later has a connection that broke unnoticed, or can't be reopened.
const AWAIT_RECORDS: Duration = Duration::from_secs(5);

/// Maximum wait of a batch for a subscription that is being reopened, from its end. A renewal takes less; one that
/// the service refuses for its five seconds (AWS limit) doesn't hold up other shards.
const AWAIT_RENEWAL: Duration = Duration::from_millis(500);

/// Minimum wait for an event where a polling feed would send the next request.
const EVENT_WAIT: Duration = Duration::from_millis(200);

/// A consumer's subscription to a shard and the events it has received. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Subscription {
    pub consumer: String,
    pub buffer: Arc<EventBuffer>,
    /// Requests that no task has counted yet.
    counters: Arc<RequestCounters>,
    subscriber: JoinHandle<()>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.subscriber.abort();
    }
}

impl Subscription {
    /// Opens a subscription at the task's start. It replaces the feed parked for the shard.
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

    /// Availability of unread records; none after a failure or a long time without sight.
    pub(super) fn availability(&self) -> Option<Availability> {
        if self.buffer.failure().is_some() {
            return None;
        }
        match self.buffer.waiting() {
            None => (!self.buffer.is_blind()).then_some(Availability::Idle),
            Some(false) => Some(Availability::HasRecords),
            Some(true) => Some(Availability::Closed),
        }
    }

    /// True if a batch may still read from it: it has neither failed nor reached the shard's end.
    pub(super) fn is_of_use(&self) -> bool {
        self.buffer.failure().is_none() && self.buffer.waiting() != Some(true)
    }
}

pub(super) struct FanOutFeed {
    subscription: Subscription,
    /// End of the records delivered so far.
    position: Position,
    shared: Arc<Shared>,
    retention: Retention,
    /// Time by which records that the driver has seen must arrive.
    records_until: Option<Instant>,
    longest_pause: Duration,
    /// The last page returned, without its records.
    last: Option<Page>,
}

impl FanOutFeed {
    /// The subscription parked at the batch's start, or a new one there. None for a replay without a parked one: what
    /// a replay delivers is known, so GetRecords fetches it, and the existing subscription, which takes up to five
    /// seconds to reopen (AWS limit), stays where it is.
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
            records_until: task.records_seen.then(|| Instant::now() + AWAIT_RECORDS),
            longest_pause: parts.options.fetch_interval.max(EVENT_WAIT),
            last: None,
        }))
    }

    /// True if the batch may end without this shard while its subscription is being reopened: no record is known to
    /// be there, and the next batch gets whatever arrives. A batch waits for a subscription of its own, which may
    /// have been opened here for records that another process received.
    fn goes_on_without_the_shard(&self, waits: Deadline) -> bool {
        matches!(waits, Deadline::Open(_))
            && self.records_until.is_none()
            && self.shared.progress().prefetch_hit
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
                    self.records_until = None;
                    self.last = Some(page.without_records());
                    return Ok(Next::Page(page));
                }
                Found::Tip if self.records_until.is_none() => return Ok(Next::Page(Box::new(tip()))),
                Found::Tip | Found::Blind(_) if self.records_until.is_some_and(|until| now >= until) => {
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
            let wake = [self.records_until.filter(|until| *until > now), deadline];
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
            // The shard's end came with the batch's last records and belongs to the next batch.
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

    /// GetRecords delivers what the subscription doesn't, and handles a position that the service refuses. The next
    /// batch's reader subscribes where this batch ends.
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

/// An empty page at the tip.
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
