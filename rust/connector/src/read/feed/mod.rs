//! Feeds: what brings a shard's records to a batch, by GetRecords or by a subscription, and stays in the process
//! between two batches. A feed knows nothing of where a batch ends.
//!
//! A subscription lives five minutes and may not be opened again within five seconds (AWS limits), so it belongs to no
//! micro-batch: it goes on receiving into a bounded buffer between tasks, and the next batch's task takes it over.

mod consumers;
mod fetch;
#[cfg(test)]
mod idle_tests;
mod page_buffer;
mod poller;
mod prefetched;
mod registry;
mod reports;
mod retention;
mod subscriber;
#[cfg(test)]
mod subscriber_tests;
mod subscription;
mod subscriptions;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use crate::error::{Error, ErrorKind, Result};
use crate::options::SourceOptions;
use crate::service::{FanOutApi, KinesisApi, Page, RecordColumns, ShardIterator};
use crate::stream::Position;

pub(crate) use consumers::{Busy, InUseByQuery};
pub(crate) use poller::remove_read;
pub(super) use prefetched::is_young;
pub use registry::FeedRegistry;
pub(super) use registry::ReadKind;
pub(super) use retention::Retention;
pub(super) use subscription::Deadline;
pub(crate) use subscriptions::{Availability, SubscriptionRegistry};

use poller::PollingCursor;
use subscription::{FanOutCursor, Next};

/// Most records in one GetRecords (AWS limit): what is asked for when a claim, not a limit, is the end.
pub(super) const MAX_RECORDS: u32 = 10_000;
/// Least wait for a subscription's next event where GetRecords would ask again.
const EVENT_WAIT: Duration = Duration::from_millis(200);

/// What comes next.
pub(super) enum Answer {
    Page(Box<Page>),
    /// The batch waits no longer for it.
    TimeIsOver,
    /// Others had their turn at the shard. Asking again, a moment later, is the caller's.
    Throttled(Error),
}

/// What a feed is opened with.
pub(super) struct FeedParts<'a> {
    pub api: Arc<dyn KinesisApi>,
    /// For a task with a consumer.
    pub fan_out: Option<Arc<dyn FanOutApi>>,
    pub feeds: &'a FeedRegistry,
    pub options: &'a SourceOptions,
    pub shared: Arc<Shared>,
}

/// A place in a shard and the way to what follows.
pub(super) enum Feed {
    Polling(PollingCursor),
    /// With the way that is left if the service refuses the batch's start, or the subscription brings nothing.
    FanOut(Box<FanOutCursor>, Option<PollingCursor>),
}

impl Feed {
    /// A feed at the batch's start. What a replay has to deliver is known, so it asks for just that and leaves the
    /// subscription where it is: opening one would take up to five seconds (AWS limit).
    pub(super) fn open(parts: &FeedParts<'_>, kind: ReadKind) -> Result<Self> {
        let task = &parts.shared.task;
        let polling = || Self::Polling(PollingCursor::new(parts, kind));
        let (Some(consumer), Some(api)) = (&task.consumer, &parts.fan_out) else {
            return Ok(polling());
        };
        let subscriptions = parts.feeds.subscriptions();
        let kept = match subscriptions.take(task) {
            Some(kept) => {
                parts.shared.progress().prefetch_hit = true;
                kept
            }
            None if kind == ReadKind::Replay => return Ok(polling()),
            None => subscriptions.open(task, consumer, parts.options, parts.feeds.pool(), api)?,
        };
        parts.shared.progress().subscribed = true;
        let cursor = FanOutCursor::new(
            kept,
            subscriptions.clone(),
            parts.shared.clone(),
            Retention::new(parts.options, &parts.shared),
        );
        Ok(Self::FanOut(
            Box::new(cursor),
            Some(PollingCursor::new(parts, kind)),
        ))
    }

    /// The next records. The feed moves on only with [`Self::advance_to`].
    /// `interval` is the least time between two requests where that matters. A request is waited for even when the
    /// deadline has passed, an event is not.
    pub(super) async fn next_page(
        &mut self,
        limit: u32,
        interval: Duration,
        deadline: Deadline,
    ) -> Result<Answer> {
        if let Self::FanOut(cursor, polling) = self {
            let refusal = match cursor.next_page(deadline).await {
                Ok(Next::Page(page)) => return Ok(Answer::Page(page)),
                Ok(Next::TimeIsOver) => return Ok(Answer::TimeIsOver),
                Ok(Next::Silent) => None,
                Err(error) if error.kind() == ErrorKind::RefusedPosition => Some(error),
                Err(error) => return Err(error),
            };
            match (polling.take(), refusal) {
                // It knows what to do about the position; the next batch's reader subscribes where it ends.
                (Some(polling), _) => *self = Self::Polling(polling),
                (None, Some(refusal)) => return Err(refusal),
                (None, None) => return Ok(Answer::TimeIsOver),
            }
        }
        let Self::Polling(cursor) = self else {
            return Ok(Answer::TimeIsOver);
        };
        match cursor.next_page(limit, interval).await {
            Ok(page) => Ok(Answer::Page(Box::new(page))),
            Err(error) if error.kind() == ErrorKind::Throttled => Ok(Answer::Throttled(error)),
            Err(error) => Err(error),
        }
    }

    /// Goes on with GetRecords from this position; false if it does so already.
    pub(super) fn poll_from(&mut self, position: Position, parts: &FeedParts<'_>) -> bool {
        let subscribed = matches!(self, Self::FanOut(..));
        if subscribed {
            *self = Self::Polling(PollingCursor::going_on(parts, position));
        }
        subscribed
    }

    /// True if what a batch leaves of a page must be given back with [`Self::advance_to`].
    pub(super) fn retains_leftover(&self) -> bool {
        match self {
            Self::Polling(cursor) => cursor.retains_leftover(),
            Self::FanOut(..) => true,
        }
    }

    /// How many records have so many bytes of payload; none where that isn't known or doesn't matter.
    pub(super) fn records_with(&self, data_bytes: u64) -> Option<u64> {
        match self {
            Self::Polling(cursor) => cursor.records_with(data_bytes),
            Self::FanOut(..) => None,
        }
    }

    /// How many records beyond the batch's limit may be asked for.
    pub(super) fn room_for_leftover(&self) -> usize {
        match self {
            Self::Polling(cursor) => cursor.room_for_leftover(),
            Self::FanOut(..) => 0,
        }
    }

    /// Moves to what follows an answer; without an iterator if only a part of it was taken.
    pub(super) fn advance_to(
        &mut self,
        position: Position,
        iterator: Option<ShardIterator>,
        rest: Option<RecordColumns>,
    ) {
        match self {
            Self::Polling(cursor) => cursor.advance_to(position, iterator, rest),
            Self::FanOut(cursor, polling) => {
                polling.take_if(|polling| !polling.stands_at(&position));
                cursor.advance_to(position, rest);
            }
        }
    }

    /// True if the last answer says nothing of the tip, whatever it tells.
    pub(super) fn tip_unconfirmed(&self) -> bool {
        match self {
            Self::Polling(cursor) => cursor.tip_unconfirmed(),
            Self::FanOut(..) => false,
        }
    }

    /// Waits until the shard may be asked again, or an event came.
    pub(super) async fn pause(&self, interval: Duration) -> Result<()> {
        match self {
            Self::Polling(cursor) => cursor.pause(interval).await,
            Self::FanOut(cursor, _) => {
                cursor.pause(interval.max(EVENT_WAIT)).await;
                Ok(())
            }
        }
    }

    /// Leaves the way on to the reader of the next batch, if the feed stands where that starts. `fetch` lets a polling
    /// reader fetch ahead; a subscription always does.
    pub(super) fn hand_off(self, end: &Position, fetch: bool, parts: &FeedParts<'_>) {
        match self {
            Self::Polling(cursor) => cursor.hand_off(end, fetch, parts),
            Self::FanOut(cursor, _) => cursor.hand_off(end),
        }
    }
}

/// Where the service doesn't tell how far behind an answer is, an empty one counts as the tip.
pub(super) fn is_tip(millis_behind_latest: Option<i64>, empty: bool) -> bool {
    millis_behind_latest.map_or(empty, |millis| millis == 0)
}

/// Waits out the rest of an interval.
async fn rest_of(interval: Duration, since: Option<Instant>) {
    if let Some(since) = since {
        tokio::time::sleep_until(since + interval).await;
    }
}
