//! The feed that reads from a subscription.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::page_buffer::Found;
use super::poller::PollingFeed;
use super::retention::Retention;
use super::subscriptions::KeptSubscription;
use super::{Deadline, Feed, FeedParts, Next, ReadKind, Wanted};
use crate::error::Result;
use crate::read::{ReadTask, Shared};
use crate::service::{FanOutApi, Page, RecordColumns, ShardIterator};
use crate::stream::Position;

/// How long records are awaited that the driver has seen: the service pushes them within a second. A subscription
/// that doesn't bring them by then is one whose connection broke unnoticed, or can't be opened again.
const AWAIT_NEWS: Duration = Duration::from_secs(5);

/// How long a batch waits for a subscription that is being opened again, since the last one ended. One that is renewed
/// is there by then; one that the service refuses for its five seconds (AWS limit) holds up no other shard.
const AWAIT_RENEWAL: Duration = Duration::from_millis(500);

/// Least wait for an event where GetRecords would ask again.
const EVENT_WAIT: Duration = Duration::from_millis(200);

pub(super) struct FanOutFeed {
    kept: KeptSubscription,
    shared: Arc<Shared>,
    retention: Retention,
    /// The driver has seen records that must come by then.
    news_until: Option<Instant>,
    longest_pause: Duration,
    /// The page handed out last, without its records.
    last: Option<Page>,
}

impl FanOutFeed {
    /// The subscription that was left at the batch's start, or another one there; none for a replay that finds none. What
    /// that has to deliver is known, so it is asked for, and a subscription, which takes up to five seconds to open (AWS
    /// limit), stays where it is.
    pub(super) fn open(
        parts: &FeedParts<'_>,
        kind: ReadKind,
        consumer: &str,
        api: &Arc<dyn FanOutApi>,
    ) -> Result<Option<Self>> {
        let (shared, subscriptions) = (&parts.shared, parts.feeds.subscriptions());
        let task = &shared.task;
        let kept = match subscriptions.take(task) {
            Some(kept) => {
                shared.progress().prefetch_hit = true;
                kept
            }
            None if kind == ReadKind::Replay => return Ok(None),
            None => subscriptions.open(task, consumer, parts.options, parts.feeds.pool(), api)?,
        };
        shared.progress().subscribed = true;
        Ok(Some(Self {
            kept,
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
            match self.kept.buffer.take()? {
                Found::Page(page) => {
                    if let Some(loss) = self.kept.buffer.take_loss() {
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
                    let _ = tokio::time::timeout_at(wake, self.kept.buffer.arrival()).await;
                }
                None => self.kept.buffer.arrival().await,
            }
        }
    }

    async fn pause(&mut self) {
        let _ = tokio::time::timeout(self.longest_pause, self.kept.buffer.arrival()).await;
    }

    fn advance_to(&mut self, position: Position, _: Option<ShardIterator>, rest: Option<RecordColumns>) {
        match (rest, self.last.take()) {
            (Some(records), Some(last)) => self.kept.buffer.put_back(Page { records, ..last }),
            // The shard's end came with the batch's last records, and is the next batch's.
            (None, Some(last)) if last.next.is_none() && position != Position::ShardEnd => {
                self.kept.buffer.put_back(last);
            }
            _ => {}
        }
        self.kept.position = position;
    }

    fn retains_leftover(&self) -> bool {
        true
    }

    fn tip_unconfirmed(&self) -> bool {
        false
    }

    /// GetRecords brings what the subscription doesn't, and knows what to do about a position that the service refuses. The
    /// next batch's reader subscribes where this one ends.
    fn instead(&self, position: Position, parts: &FeedParts<'_>) -> Option<Box<dyn Feed>> {
        Some(Box::new(PollingFeed::going_on(parts, position)))
    }

    fn hand_off(self: Box<Self>, end: &Position, _: bool, parts: &FeedParts<'_>) {
        self.shared.counters.take_over(&self.kept.counters);
        let ReadTask { source, shard, .. } = &self.shared.task;
        if self.kept.position == *end && *end != Position::ShardEnd {
            self.shared.progress().buffered_bytes = self.kept.buffer.bytes() as u64;
            parts.feeds.subscriptions().keep(source, shard, self.kept);
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
