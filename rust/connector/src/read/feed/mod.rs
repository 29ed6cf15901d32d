//! Feeds: what brings a shard's records to a batch, by GetRecords or by a subscription, and stays in the process
//! between two batches. A feed knows nothing of where a batch ends; what reads a batch knows the trait [`Feed`] alone.
//!
//! What a task leaves is parked in the [`FeedRegistry`], whose sweeper drops what no task takes over. Pages wait in a
//! `PageBuffer` there: those that a poll brought with what leads on from them (`Prefetched`), those that a subscription
//! pushed with what it knows of the shard's tip (`EventBuffer`).
//!
//! A subscription lives five minutes and may not be opened again within five seconds (AWS limits), so it belongs to no
//! micro-batch: it goes on receiving into a bounded buffer between tasks, and the next batch's task takes it over.

mod consumers;
mod event_buffer;
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

use async_trait::async_trait;
use tokio::time::Instant;

use super::Shared;
use crate::error::{Error, Result};
use crate::options::SourceOptions;
use crate::service::{FanOutApi, KinesisApi, Page, RecordColumns, ShardIterator};
use crate::stream::Position;

pub(crate) use consumers::{Busy, InUseByQuery};
pub(crate) use poller::remove_read;
pub(super) use prefetched::is_young;
pub use registry::FeedRegistry;
pub(super) use registry::ReadKind;
pub(crate) use reports::Availability;
pub(super) use retention::Retention;
pub(crate) use subscriptions::SubscriptionRegistry;

use poller::PollingFeed;
use subscription::FanOutFeed;

/// Most records in one GetRecords (AWS limit): what is asked for when a claim, not a limit, is the end.
const MAX_RECORDS: u32 = 10_000;

/// Brings what follows a place in a shard, to the reader of one batch. One implementation polls, the other reads from a
/// subscription; what reads a batch knows neither.
#[async_trait]
pub(super) trait Feed: Send {
    /// The next records. The feed moves on only with [`Self::advance_to`]. A request is waited for even when the
    /// deadline has passed, an event is not. Dropping the future loses nothing.
    async fn next(&mut self, wanted: Wanted, deadline: Deadline) -> Result<Next>;

    /// Waits until the shard may be asked again, or something arrived.
    async fn pause(&mut self);

    /// Moves to what follows a page; without an iterator if only a part of it was taken. `rest` is what the batch
    /// left of it.
    fn advance_to(
        &mut self,
        position: Position,
        iterator: Option<ShardIterator>,
        rest: Option<RecordColumns>,
    );

    /// True if what a batch leaves of a page must be given back with [`Self::advance_to`].
    fn retains_leftover(&self) -> bool;

    /// True if the last page can't prove that the tip was reached, whatever it says.
    fn tip_unconfirmed(&self) -> bool;

    /// Another feed from this position on, for what this one doesn't bring; none if there is no other way.
    fn instead(&self, position: Position, parts: &FeedParts<'_>) -> Option<Box<dyn Feed>>;

    /// Leaves the way on to the reader of the next batch, if the feed stands where that starts. `fetch` lets a feed
    /// that polls fetch ahead; a subscription always does.
    fn hand_off(self: Box<Self>, end: &Position, fetch: bool, parts: &FeedParts<'_>);
}

/// What the batch has use for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    /// All there is, up to a claim.
    All,
    /// So many rows and bytes of their data, where it has such limits.
    AtMost { rows: Option<u64>, bytes: Option<u64> },
}

/// How long a batch waits for what comes next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deadline {
    /// Until it comes, for the batch is known to have it.
    Never,
    /// By that time, if there is one; the batch may end without it.
    Open(Option<Instant>),
}

/// What comes next.
pub(super) enum Next {
    /// Records, or an empty page.
    Page(Box<Page>),
    /// The batch waits no longer for it.
    TimeIsOver,
    /// This feed brings nothing, though there is something.
    Silent,
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

/// A feed at the batch's start: a subscription where the task has a consumer, unless a replay finds none that fits.
pub(super) fn open(parts: &FeedParts<'_>, kind: ReadKind) -> Result<Box<dyn Feed>> {
    if let (Some(consumer), Some(api)) = (&parts.shared.task.consumer, &parts.fan_out)
        && let Some(feed) = FanOutFeed::open(parts, kind, consumer, api)?
    {
        return Ok(Box::new(feed));
    }
    Ok(Box::new(PollingFeed::new(parts, kind)))
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
