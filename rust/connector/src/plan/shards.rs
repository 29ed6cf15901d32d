//! Lists the stream's shards, only when they can have changed: at a start, and after a shard was read to its end. New
//! shards come from a split or a merge, so their parents end first.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::probe::{Stream, WARN_EVERY};
use super::state::SharedState;
use crate::error::{Error, ErrorKind, Result};
use crate::options::SourceOptions;
use crate::service::{KinesisApi, ShardFilter, same_stream};
use crate::stream::{HashRange, Lineage, Position, Shard, ShardId};

/// Maximum number of listings that are compared if the first ones disagree with the query's shards.
const MOST_LISTINGS: u32 = 5;
/// Number of listings that must lack a shard before it counts as lost.
const LISTINGS_OF_A_LOSS: u32 = 3;
/// Time for which the listing may lack the shards that a split or merge made: they appear a moment later.
pub(super) const CHILDREN_WITHIN: Duration = Duration::from_secs(60);
/// Number of listings, over [`CHILDREN_WITHIN`] or longer, that must show a shard open and without children before
/// they contradict the query.
const LISTINGS_OF_A_CONTRADICTION: u32 = 30;
/// Shortest and longest wait before a listing that is expected to show more shards.
const LIST_AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Shortest wait between two listings that must agree.
const COMPARE_AFTER: Duration = Duration::from_secs(1);
/// Time for which listings may fail before the query fails.
const FAILING_FOR: Duration = Duration::from_secs(600);

/// Lists shards, at most once per interval.
#[derive(Debug)]
pub(super) struct Shards {
    interval: Duration,
    fail_on_data_loss: bool,
    listed: Option<Instant>,
    /// Time of the first failed listing in a row, and of the last attempt.
    failing: Option<(Instant, Instant)>,
    /// Time of the last warning about failed listings.
    warned: Option<Instant>,
    /// State that every listing is written to.
    state: SharedState,
    /// The listing made when the planner was opened, for the first call that can use it.
    opening: Option<(Instant, Vec<Shard>)>,
    /// Ended shards whose children are missing from the listings; none once the children are listed.
    childless: BTreeMap<ShardId, Option<Childless>>,
}

/// An ended shard whose children aren't listed.
#[derive(Clone, Copy, Debug)]
struct Childless {
    since: Instant,
    /// Number of consecutive listings without the children.
    listings: u32,
}

/// Hash keys of the shards in the last listing, and their counts.
#[derive(Debug, Default)]
pub(super) struct Listed {
    ranges: BTreeMap<ShardId, HashRange>,
    /// Number of closed shards, which take no more records.
    closed: usize,
}

impl Listed {
    /// The hash keys of a shard; none if it isn't listed.
    pub(super) fn hash_range(&self, shard: &ShardId) -> Option<HashRange> {
        self.ranges.get(shard).copied()
    }

    /// Number of shards, and how many of them are closed; none before the first listing.
    pub(super) fn counts(&self) -> Option<(usize, usize)> {
        let total = self.ranges.len();
        (total > 0).then_some((total, self.closed))
    }

    fn new(listing: &[Shard]) -> Self {
        let ranges: BTreeMap<_, _> = listing
            .iter()
            .map(|shard| (shard.id.clone(), shard.hash_range()))
            .collect();
        let closed = listing.iter().filter(|shard| shard.closed).count();
        Self { ranges, closed }
    }
}

impl Shards {
    pub(super) fn new(options: &SourceOptions, state: SharedState) -> Self {
        Self {
            interval: options.describe_shard_interval,
            fail_on_data_loss: options.fail_on_data_loss,
            listed: None,
            failing: None,
            warned: None,
            state,
            opening: None,
            childless: BTreeMap::new(),
        }
    }

    /// Lists the shards when the planner is opened: after a restart the batch in flight runs again without a call of
    /// [`Self::follow`], and its tasks need the shards' hash keys.
    pub(super) async fn open(&mut self, api: &dyn KinesisApi) -> Result<()> {
        let listing = api.list_shards(ShardFilter::All).await?;
        self.note(&listing);
        self.opening = Some((Instant::now(), listing));
        Ok(())
    }

    fn note(&self, listing: &[Shard]) {
        self.state.lock().listed = Listed::new(listing);
    }

    /// All shards: from the listing made at the opening while it is recent enough, otherwise from a new one.
    pub(super) async fn list(&mut self, api: &dyn KinesisApi) -> Result<Lineage> {
        let (listed, listing) = match self.opening.take() {
            Some((listed, listing)) if listed.elapsed() < self.interval => (listed, listing),
            _ => {
                let listing = api.list_shards(ShardFilter::All).await?;
                (Instant::now(), listing)
            }
        };
        self.note(&listing);
        (self.listed, self.failing) = (Some(listed), None);
        Ok(Lineage::new(listing))
    }

    /// Start positions of a new query. With a start time, shards that ended before it are left out. Every hash key
    /// has a shard at any time, so a listing that lacks keys is incomplete and is repeated.
    pub(super) async fn roots(
        &mut self,
        api: &dyn KinesisApi,
        at: &Position,
    ) -> Result<BTreeMap<ShardId, Position>> {
        let began = Instant::now();
        loop {
            let lineage = match at {
                Position::AtTimestamp(millis) => {
                    let listing = api.list_shards(ShardFilter::FromTimestamp(*millis)).await?;
                    self.note(&listing);
                    self.listed = Some(Instant::now());
                    Lineage::new(listing)
                }
                _ => self.list(api).await?,
            };
            let roots = lineage.roots(at);
            if lineage.take_all_keys(roots.keys()) {
                return Ok(roots);
            }
            if began.elapsed() >= CHILDREN_WITHIN {
                if roots.is_empty() {
                    return Err(Error::new(
                        ErrorKind::NotFound,
                        "the stream lists no shard: is it being deleted?",
                    ));
                }
                tracing::warn!("the listed shards don't take all hash keys; going on with those there are");
                return Ok(roots);
            }
            tokio::time::sleep(self.soon()).await;
        }
    }

    /// The new positions, if a listing is due and can change them. A failure that may pass gives none. Errors
    /// are permanent failures, failures that lasted for minutes, and shards that were lost unread.
    pub(super) async fn follow(
        &mut self,
        api: &dyn KinesisApi,
        stream: &Stream,
        positions: &BTreeMap<ShardId, Position>,
    ) -> Result<Option<BTreeMap<ShardId, Position>>> {
        let ended = positions.values().any(|position| *position == Position::ShardEnd);
        let due = match (self.failing, self.listed) {
            (Some((_, tried)), _) => tried.elapsed() >= self.soon(),
            (None, None) => true,
            (None, Some(listed)) => ended && listed.elapsed() >= self.interval_for(positions),
        };
        if !due {
            return Ok(None);
        }
        let listed = match self.list_with(api, stream, positions).await {
            Err(error) => self.failed(api, stream, error).await?,
            listed => listed?,
        };
        let Some(lineage) = listed else {
            return Ok(None);
        };
        let lost: Vec<(ShardId, Position)> = missing_from(&lineage, positions)
            .map(|(shard, position)| (shard.clone(), position.clone()))
            .collect();
        let mut remaining = positions.clone();
        for (shard, _) in &lost {
            remaining.insert(shard.clone(), Position::ShardEnd);
        }
        let positions = lineage.advance(&remaining);
        self.note_childless(stream, &lineage, &positions)?;
        self.note_lost(stream, &lost)?;
        Ok(Some(positions))
    }

    /// A reliable listing: one that lacks shards of the query may be outdated, so it is compared with others. None if
    /// all of them are outdated.
    async fn list_with(
        &mut self,
        api: &dyn KinesisApi,
        stream: &Stream,
        positions: &BTreeMap<ShardId, Position>,
    ) -> Result<Option<Lineage>> {
        for listing in 1.. {
            let lineage = self.list(api).await?;
            let older = positions.keys().any(|shard| lineage.is_older_than(shard));
            if !older && (listing >= LISTINGS_OF_A_LOSS || missing_from(&lineage, positions).next().is_none())
            {
                return Ok(Some(lineage));
            }
            if listing == 1 {
                same_stream(api, &stream.name, Some(stream.created_millis)).await?;
            }
            if listing >= MOST_LISTINGS {
                break;
            }
            tokio::time::sleep(self.interval.clamp(COMPARE_AFTER, LIST_AGAIN.1)).await;
        }
        tracing::warn!(
            stream = %stream.name,
            "the stream's listing lacks its newest shards, which were listed before; going on without a new listing"
        );
        Ok(None)
    }

    /// Handles a failed listing: none if the failure may pass and has lasted less than [`FAILING_FOR`], otherwise the
    /// error. A stream that is not found is first checked by another request.
    async fn failed(
        &mut self,
        api: &dyn KinesisApi,
        stream: &Stream,
        error: Error,
    ) -> Result<Option<Lineage>> {
        if error.kind() == ErrorKind::NotFound {
            match same_stream(api, &stream.name, Some(stream.created_millis)).await {
                Err(gone) if !gone.is_retryable() => return Err(gone),
                _ => {}
            }
        } else if !error.is_retryable() {
            return Err(error);
        }
        let now = Instant::now();
        let since = self.failing.map_or(now, |(since, _)| since);
        if now - since >= FAILING_FOR {
            return Err(error);
        }
        self.failing = Some((since, now));
        if self.warned.is_none_or(|warned| now - warned >= WARN_EVERY) {
            self.warned = Some(now);
            tracing::warn!(
                stream = %stream.name,
                "the stream's shards could not be listed; they are listed again: {error}"
            );
        }
        Ok(None)
    }

    /// Shortest time before a listing that is expected to show more, even if the configured interval is long.
    pub(super) fn soon(&self) -> Duration {
        self.interval.clamp(LIST_AGAIN.0, LIST_AGAIN.1)
    }

    /// Shortest time between two listings; short while children are expected, even if the configured interval is
    /// long.
    fn interval_for(&self, positions: &BTreeMap<ShardId, Position>) -> Duration {
        match self.awaits_children(positions) {
            true => self.soon(),
            false => self.interval,
        }
    }

    /// Waits until the shards may be listed again, to find the children of an ended shard.
    pub(super) async fn wait_for_children(&self, positions: &BTreeMap<ShardId, Position>) {
        let tried = self.failing.map(|(_, tried)| tried).or(self.listed);
        if let Some(tried) = tried {
            tokio::time::sleep_until(tried + self.interval_for(positions)).await;
        }
    }

    /// True while the listing is expected to show the children of an ended shard.
    pub(super) fn awaits_children(&self, positions: &BTreeMap<ShardId, Position>) -> bool {
        let ended = positions.iter().filter(|(_, at)| **at == Position::ShardEnd);
        ended
            .map(|(shard, _)| self.childless.get(shard))
            .any(|known| match known {
                None => true,
                Some(None) => false,
                Some(Some(known)) => {
                    known.since.elapsed() < CHILDREN_WITHIN || known.listings < MOST_LISTINGS
                }
            })
    }

    /// Handles shards that were lost with unread records at these positions: an error or a counted warning, depending
    /// on `kinesis.failOnDataLoss`.
    fn note_lost(&self, stream: &Stream, lost: &[(ShardId, Position)]) -> Result<()> {
        let Some((shard, position)) = lost.first() else {
            return Ok(());
        };
        let message = format!(
            "{} shard(s) of the stream went away with records that were not read; the first is {shard} at {position}. \
             Closed shards go when the stream's retention has passed",
            lost.len()
        );
        if self.fail_on_data_loss {
            return Err(Error::new(
                ErrorKind::DataLoss,
                format!(
                    "{message}. Lengthen the retention; to go on without those records set kinesis.failOnDataLoss to \
                     false"
                ),
            )
            .with("stream", stream.name.clone())
            .with("shard", shard.to_string())
            .with("position", position.to_string()));
        }
        tracing::warn!(
            stream = %stream.name,
            "DATA LOSS: {message}; going on without them, since kinesis.failOnDataLoss is false"
        );
        self.state.lock().reports.lost_shards += lost.len() as u64;
        Ok(())
    }

    /// Notes for each ended shard since when listings have lacked its children. Fails for a shard that they show open
    /// all that time, which contradicts the query's end of it.
    fn note_childless(
        &mut self,
        stream: &Stream,
        lineage: &Lineage,
        positions: &BTreeMap<ShardId, Position>,
    ) -> Result<()> {
        let ended = positions.iter().filter(|(_, at)| **at == Position::ShardEnd);
        let mut childless = BTreeMap::new();
        for (shard, _) in ended {
            if !lineage.lacks_children_of(shard) {
                childless.insert(shard.clone(), None);
                continue;
            }
            // This listing may be older than the one before it, which showed the children.
            let before = self.childless.get(shard).copied().flatten();
            let known = Childless {
                since: before.map_or_else(Instant::now, |before| before.since),
                listings: before.map_or(1, |before| before.listings.saturating_add(1)),
            };
            let long = known.since.elapsed() >= CHILDREN_WITHIN;
            let often = known.listings >= LISTINGS_OF_A_CONTRADICTION;
            if long && often && lineage.is_open_without_children(shard) {
                return Err(ended_but_open(stream, shard));
            }
            childless.insert(shard.clone(), Some(known));
        }
        self.childless = childless;
        Ok(())
    }
}

/// The shards that are neither read to their end nor listed.
fn missing_from<'a>(
    lineage: &Lineage,
    positions: &'a BTreeMap<ShardId, Position>,
) -> impl Iterator<Item = (&'a ShardId, &'a Position)> {
    let unended = positions.iter().filter(|(_, at)| **at != Position::ShardEnd);
    unended.filter(|(shard, _)| !lineage.lists(shard))
}

fn ended_but_open(stream: &Stream, shard: &ShardId) -> Error {
    Error::new(
        ErrorKind::CorruptCheckpoint,
        "the checkpoint says that the shard was read to its end, but the stream lists it as open and without children: \
         records that came since are not read. Start with a new checkpointLocation, and kinesis.startingPosition \
         AT_TIMESTAMP with a time before the shard was read last",
    )
    .with("stream", stream.name.clone())
    .with("shard", shard.to_string())
}
