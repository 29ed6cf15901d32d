//! Feeds: sources of a shard's records, by GetRecords or by a subscription, that stay in the process between two
//! batches. A feed doesn't decide where a batch ends; the batch's reader depends on the trait [`Feed`] alone.
//!
//! What a task leaves is parked in the [`FeedRegistry`], whose sweeper drops what no task takes over. Pages wait in a
//! `PageBuffer`: those from polling together with their continuation (`Prefetched`), those from a subscription
//! together with its view of the shard's tip (`EventBuffer`).
//!
//! A subscription lives five minutes and may not be reopened within five seconds (AWS limits), so it outlives a
//! micro-batch: it keeps receiving into a bounded buffer between tasks, and the next batch's task takes it over.

mod consumers;
mod event_buffer;
mod fetch;
#[cfg(test)]
mod idle_tests;
mod odd_answers;
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
pub(crate) use subscriptions::SubscriptionReports;

use poller::PollingFeed;
use subscription::FanOutFeed;

/// Maximum number of records in one GetRecords (AWS limit), requested when a claim rather than a limit is the end.
const MAX_RECORDS: u32 = 10_000;

/// Source of a shard's records for the reader of one batch. One implementation polls, the other reads from a
/// subscription; the reader is independent of which.
#[async_trait]
pub(super) trait Feed: Send {
    /// The next records. Only [`Self::advance_to`] moves the feed on. A request is completed even after the deadline;
    /// the wait for an event isn't. Cancel-safe: dropping the future loses nothing.
    async fn next(&mut self, wanted: Wanted, deadline: Deadline) -> Result<Next>;

    /// Waits until the shard may be requested again, or until something arrives.
    async fn pause(&mut self);

    /// Moves the feed past a page, or past the part that was taken; the iterator is none in the second case. `rest`
    /// is what the batch left of the page.
    fn advance_to(
        &mut self,
        position: Position,
        iterator: Option<ShardIterator>,
        rest: Option<RecordColumns>,
    );

    /// True if the unused rest of a page must be given back with [`Self::advance_to`].
    fn retains_leftover(&self) -> bool;

    /// True if the last page can't prove that the tip was reached, whatever its `MillisBehindLatest`.
    fn tip_unconfirmed(&self) -> bool;

    /// An alternative feed from this position, for records that this one can't deliver; none if there is no
    /// alternative.
    fn instead(&self, position: Position, parts: &FeedParts<'_>) -> Option<Box<dyn Feed>>;

    /// Hands the feed to the reader of the next batch if it stands where that batch starts. `fetch` lets a polling
    /// feed fetch ahead; a subscription always does.
    fn hand_off(self: Box<Self>, end: &Position, fetch: bool, parts: &FeedParts<'_>);
}

/// How much the batch can use.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    /// Everything, up to a claim.
    All,
    /// At most this many rows and bytes of their data; none means no limit.
    AtMost { rows: Option<u64>, bytes: Option<u64> },
}

/// How long a batch waits for the next records.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deadline {
    /// Without limit: the batch is known to contain them.
    Never,
    /// Until this time, if there is one; the batch may end without them.
    Open(Option<Instant>),
}

/// Outcome of [`Feed::next`].
pub(super) enum Next {
    /// A page, with or without records.
    Page(Box<Page>),
    /// The deadline passed.
    TimeIsOver,
    /// This feed delivers nothing, though records exist.
    Silent,
    /// Others used up the shard's rate. The caller asks again a moment later.
    Throttled(Error),
}

/// Parts that a feed is opened with.
pub(super) struct FeedParts<'a> {
    pub api: Arc<dyn KinesisApi>,
    /// Present for tasks with a consumer.
    pub fan_out: Option<Arc<dyn FanOutApi>>,
    pub feeds: &'a FeedRegistry,
    pub options: &'a SourceOptions,
    pub shared: Arc<Shared>,
}

/// Opens a feed at the batch's start: a subscription if the task has a consumer, except for a replay without a
/// matching one.
pub(super) fn open(parts: &FeedParts<'_>, kind: ReadKind) -> Result<Box<dyn Feed>> {
    if let (Some(consumer), Some(api)) = (&parts.shared.task.consumer, &parts.fan_out)
        && let Some(feed) = FanOutFeed::open(parts, kind, consumer, api)?
    {
        return Ok(Box::new(feed));
    }
    Ok(Box::new(PollingFeed::new(parts, kind)))
}

/// True at the tip. Without `MillisBehindLatest`, an empty answer counts as the tip.
pub(super) fn is_tip(millis_behind_latest: Option<i64>, empty: bool) -> bool {
    millis_behind_latest.map_or(empty, |millis| millis == 0)
}

/// Waits for the rest of an interval that began at `since`.
async fn rest_of(interval: Duration, since: Option<Instant>) {
    if let Some(since) = since {
        tokio::time::sleep_until(since + interval).await;
    }
}
