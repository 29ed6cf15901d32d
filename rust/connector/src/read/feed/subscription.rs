//! A place in a shard with the subscription that reads it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::page_buffer::Found;
use super::retention::Retention;
use super::subscriptions::{KeptSubscription, SubscriptionRegistry};
use crate::error::Result;
use crate::read::{ReadTask, Shared};
use crate::service::{Page, RecordColumns, ShardIterator};
use crate::stream::Position;

/// How long records are awaited that the driver has seen: the service pushes them within a second. A subscription
/// that doesn't bring them by then is one whose connection broke unnoticed, or can't be opened again.
const AWAIT_NEWS: Duration = Duration::from_secs(5);

/// How long a batch waits for a subscription that is being opened again, since the last one ended. One that is renewed
/// is there by then; one that the service refuses for its five seconds (AWS limit) holds up no other shard.
const AWAIT_RENEWAL: Duration = Duration::from_millis(500);

/// What a subscription has for a reader.
pub(in crate::read) enum Next {
    /// Records, or an empty page at the tip.
    Page(Box<Page>),
    /// Nothing came while the batch could wait for it.
    TimeIsOver,
    /// The subscription brings nothing, though there is something.
    Silent,
}

/// How long a batch waits for what comes next.
#[derive(Clone, Copy, Debug)]
pub(in crate::read) enum Deadline {
    /// Until it comes, for the batch is known to have it.
    Never,
    /// By that time, if there is one; the batch may end without it.
    Open(Option<Instant>),
}

pub(in crate::read) struct FanOutCursor {
    kept: KeptSubscription,
    subscriptions: SubscriptionRegistry,
    shared: Arc<Shared>,
    retention: Retention,
    /// The driver has seen records that must come by then.
    news_until: Option<Instant>,
    /// The page handed out last, without its records.
    last: Option<Page>,
}

impl FanOutCursor {
    pub(in crate::read) fn new(
        kept: KeptSubscription,
        subscriptions: SubscriptionRegistry,
        shared: Arc<Shared>,
        retention: Retention,
    ) -> Self {
        let news_until = shared.task.news.then(|| Instant::now() + AWAIT_NEWS);
        Self {
            kept,
            subscriptions,
            shared,
            retention,
            news_until,
            last: None,
        }
    }

    /// What comes next. Dropping the future loses nothing.
    pub(in crate::read) async fn next_page(&mut self, waits: Deadline) -> Result<Next> {
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

    /// True if the shard's part of the batch may end before its subscription is opened again: nobody has seen records
    /// there. Whatever comes, the next batch has it. A subscription of this batch's own is waited for: it may have been
    /// opened here for what another process received.
    fn goes_on_without_the_shard(&self, waits: Deadline) -> bool {
        matches!(waits, Deadline::Open(_)) && self.news_until.is_none() && self.shared.progress().prefetch_hit
    }

    /// Moves to what follows a page; what the batch left of it waits for the next one.
    pub(in crate::read) fn advance_to(&mut self, position: Position, rest: Option<RecordColumns>) {
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

    /// Waits until something arrives, at most this long.
    pub(in crate::read) async fn pause(&self, longest: Duration) {
        let _ = tokio::time::timeout(longest, self.kept.buffer.arrival()).await;
    }

    /// Leaves the subscription to the next batch's reader, if it stands where that starts.
    pub(in crate::read) fn hand_off(self, end: &Position) {
        self.shared.counters.take_over(&self.kept.counters);
        let ReadTask { source, shard, .. } = &self.shared.task;
        if self.kept.position == *end && *end != Position::ShardEnd {
            self.shared.progress().buffered_bytes = self.kept.buffer.bytes() as u64;
            self.subscriptions.keep(source, shard, self.kept);
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
