//! The stream's shards, listed only when something can have changed: at a start, and when a shard was read to its
//! end. New shards come from a split or a merge, so their parents end first.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::probe::{Stream, WARN_EVERY};
use super::state::SharedState;
use crate::error::{Error, ErrorKind, Result};
use crate::options::SourceOptions;
use crate::service::{KinesisApi, ShardFilter, same_stream};
use crate::stream::{HashRange, Lineage, Position, Shard, ShardId};

/// Listings that are compared where the first ones disagree with what the query keeps.
const MOST_LISTINGS: u32 = 5;
/// Listings that must lack a shard before it counts as gone.
const LISTINGS_OF_A_LOSS: u32 = 3;
/// How long the listing may lack shards that a split or merge made: they are listed a moment later.
pub(super) const CHILDREN_WITHIN: Duration = Duration::from_secs(60);
/// Listings that must show a shard open and without children, in that time or longer, before it contradicts the query.
const LISTINGS_OF_A_CONTRADICTION: u32 = 30;
/// Least and longest wait between two listings of which the later one is to show more.
const LIST_AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Least wait between two listings that must agree.
const COMPARE_AFTER: Duration = Duration::from_secs(1);
/// How long listings may fail before the query does.
const FAILING_FOR: Duration = Duration::from_secs(600);

/// Lists shards, at most once in an interval.
#[derive(Debug)]
pub(super) struct Shards {
    interval: Duration,
    fail_on_data_loss: bool,
    listed: Option<Instant>,
    /// Since when listings fail, and the last attempt.
    failing: Option<(Instant, Instant)>,
    /// When it was said last that listings fail.
    warned: Option<Instant>,
    /// Where every listing is noted.
    state: SharedState,
    /// What the planner's opening listed, until the first call that can use it.
    opening: Option<(Instant, Vec<Shard>)>,
    /// Since when listings lack the children of a shard that ended; none once they show them.
    childless: BTreeMap<ShardId, Option<Childless>>,
}

/// A shard that ended, whose children aren't listed.
#[derive(Clone, Copy, Debug)]
struct Childless {
    since: Instant,
    /// Listings in a row.
    listings: u32,
}

/// The hash keys of the shards that were listed last, and how many those are.
#[derive(Debug, Default)]
pub(super) struct Listed {
    ranges: BTreeMap<ShardId, HashRange>,
    /// Of them, those that take no records any more.
    closed: usize,
}

impl Listed {
    /// What a shard takes; none if it isn't listed.
    pub(super) fn hash_range(&self, shard: &ShardId) -> Option<HashRange> {
        self.ranges.get(shard).copied()
    }

    /// How many shards there are, and how many of them are closed; none before the first listing.
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

    /// Lists the shards before anything is planned: the batch in flight at a restart runs again without a call of
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

    /// All shards: what the opening listed, if that may be used still.
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

    /// Where a new query starts. With a time, shards that ended before it have nothing for the query. Since every hash
    /// key has a shard at any time, a listing that leaves some out is not complete yet.
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

    /// The new positions, if listing the shards is due and can tell something new. A listing that fails and may pass tells
    /// nothing; an error is one that doesn't pass, or that lasted for minutes, or is about shards that went away unread.
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
        let mut standing = positions.clone();
        for (shard, _) in &lost {
            standing.insert(shard.clone(), Position::ShardEnd);
        }
        let positions = lineage.advance(&standing);
        self.note_childless(stream, &lineage, &positions)?;
        self.note_lost(stream, &lost)?;
        Ok(Some(positions))
    }

    /// A listing that can be believed: one that lacks shards of the query is compared with others, since it may be older
    /// than they are. None if all of them are.
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

    /// A listing failed: none where that may pass, which it may for minutes. A stream that is not found is asked for in
    /// another way first.
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

    /// The least time between two listings of which the later one is to show more, however rarely shards are listed.
    pub(super) fn soon(&self) -> Duration {
        self.interval.clamp(LIST_AGAIN.0, LIST_AGAIN.1)
    }

    /// The least time between two listings: not long where children are expected, however rarely shards are listed.
    fn interval_for(&self, positions: &BTreeMap<ShardId, Position>) -> Duration {
        match self.awaits_children(positions) {
            true => self.soon(),
            false => self.interval,
        }
    }

    /// Waits until the shards may be listed again, which are to show the children of one that ended.
    pub(super) async fn wait_for_children(&self, positions: &BTreeMap<ShardId, Position>) {
        let tried = self.failing.map(|(_, tried)| tried).or(self.listed);
        if let Some(tried) = tried {
            tokio::time::sleep_until(tried + self.interval_for(positions)).await;
        }
    }

    /// True while the children of a shard that ended are expected in the listing.
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

    /// Shards went away with records that were not read, at these positions: an error or a counted warning, as
    /// `kinesis.failOnDataLoss` says.
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

    /// Notes of each shard that ended since when its children are missing from the listing. A shard that stays open there
    /// after all contradicts what the query keeps of it.
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
            // A listing may be older than the one before it, which showed them.
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

/// The shards that are not read to their end and not listed.
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
