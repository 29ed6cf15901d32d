//! Positions given for single shards, by `kinesis.startingPositions` or by another connector's checkpoint. Invalid
//! positions are refused, with the name of their shard, before anything of the query is kept.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::{await_past, of_query};
use crate::error::{Error, ErrorKind, Result, unstopped};
use crate::options::{OptionSpec, SourceOptions, table};
use crate::plan::clock::ServiceClock;
use crate::plan::shards::{CHILDREN_WITHIN, Shards};
use crate::plan::state::SharedState;
use crate::service::{KinesisApi, Page, Patience, RequestCounters, ShardFilter, ShardIterator};
use crate::stream::{GivenPosition, Lineage, Position, SequenceNumber, ShardId};

/// Number of listings that must lack a shard before it is refused, and of responses that must lack a record before it
/// counts as expired: a single one may be outdated or wrong.
const LISTINGS: u32 = 3;
/// Wait between two of those listings or responses, and before a refused position is tried again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Maximum number of empty responses that are followed to a record.
const MOST_FOLLOWED: u32 = 100;
/// Number of records to request around a record that is a start.
const AROUND: u32 = 1_000;

/// Converts given positions into positions of a query.
pub(in crate::plan) struct Givens<'a> {
    pub api: &'a dyn KinesisApi,
    pub options: &'a SourceOptions,
    pub clock: ServiceClock,
    /// The option that gave the positions.
    pub spec: &'static OptionSpec,
}

impl Givens<'_> {
    /// Start positions of a new query: those in `kinesis.startingPositions`, and `kinesis.startingPosition` for all
    /// other shards.
    pub(in crate::plan) async fn starts(&self, shards: &mut Shards) -> Result<BTreeMap<ShardId, Position>> {
        let given = &self.options.starting_positions;
        self.check_lineage(&self.lineage_with(given, shards).await?, given)?;
        let at = of_query(self.options, self.clock).await?;
        let given = self.positions(given).await?;
        let began = Instant::now();
        loop {
            let lineage = shards.list(self.api).await?;
            let recent = recent_shards(self.api, &at).await?;
            // An open shard has something for any time: the second listing may be older than the first.
            let starts = lineage.starts(&given, &at, |shard| {
                let recent = recent.as_ref();
                !lineage.is_closed(shard) || recent.is_none_or(|recent| recent.contains(shard))
            });
            // A listing that lacks hash keys is incomplete.
            if lineage.take_all_keys(starts.keys()) || began.elapsed() >= CHILDREN_WITHIN {
                return Ok(starts);
            }
            tokio::time::sleep(shards.soon()).await;
        }
    }

    /// A listing with all of these shards. Refuses shards that the stream doesn't list.
    pub(in crate::plan) async fn lineage_with(
        &self,
        given: &BTreeMap<ShardId, GivenPosition>,
        shards: &mut Shards,
    ) -> Result<Lineage> {
        let lineage = self.listing_for(given, shards).await?;
        match given.keys().find(|shard| !lineage.lists(shard)) {
            None => Ok(lineage),
            Some(shard) => Err(self.not_listed(shard, &lineage)),
        }
    }

    /// A listing of the stream for which these positions were given, some of whose shards may have been deleted.
    /// Refuses a shard that the stream never had, and the end of a shard that still takes records: the stream is
    /// another one of that name.
    pub(in crate::plan) async fn lineage_of(
        &self,
        given: &BTreeMap<ShardId, GivenPosition>,
        shards: &mut Shards,
    ) -> Result<Lineage> {
        let lineage = self.listing_for(given, shards).await?;
        if let Some(shard) = given.keys().find(|shard| lineage.is_older_than(shard)) {
            return Err(self.not_listed(shard, &lineage));
        }
        let listed = given.iter().filter(|(shard, _)| lineage.lists(shard));
        let listed = listed.map(|(shard, at)| (shard.clone(), at.clone())).collect();
        self.check_ends(&lineage, &listed)?;
        Ok(lineage)
    }

    /// A listing that fits these positions, or the last of several that don't, since one may be outdated.
    async fn listing_for(
        &self,
        given: &BTreeMap<ShardId, GivenPosition>,
        shards: &mut Shards,
    ) -> Result<Lineage> {
        let fits = |lineage: &Lineage| {
            given.iter().all(|(shard, at)| {
                lineage.lists(shard) && (*at != GivenPosition::ShardEnd || lineage.is_closed(shard))
            })
        };
        let mut lineage = shards.list(self.api).await?;
        for _ in 1..LISTINGS {
            if fits(&lineage) {
                break;
            }
            tokio::time::sleep(ASK_AGAIN).await;
            lineage = shards.list(self.api).await?;
        }
        Ok(lineage)
    }

    fn not_listed(&self, shard: &ShardId, lineage: &Lineage) -> Error {
        let why = match lineage.newest() {
            Some(newest) if lineage.is_older_than(shard) => {
                format!("which the stream never had: its newest is {newest}")
            }
            _ => "which the stream doesn't list any more: the stream's retention has passed since it was split or \
                  merged, and its records are gone. Leave it out: those that followed it start at \
                  kinesis.startingPosition unless they are named, too"
                .to_owned(),
        };
        self.refuse(shard, format!("{} names {shard}, {why}", self.spec.key))
    }

    fn check_lineage(&self, lineage: &Lineage, given: &BTreeMap<ShardId, GivenPosition>) -> Result<()> {
        self.check_ends(lineage, given)?;
        let key = self.spec.key;
        for shard in given.keys() {
            for parent in lineage.ancestors_of(std::iter::once(shard)) {
                if given.get(parent).is_some_and(|at| *at != GivenPosition::ShardEnd) {
                    return Err(self.refuse(
                        shard,
                        format!(
                            "{key} names {parent} and {shard}, which descends from it: a shard is read after \
                             those it came from. Name {parent} alone, and {shard} follows from its first record \
                             on; or {shard}, if {parent} was read to its end (SHARD_END)"
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Refuses SHARD_END for a shard that still takes records.
    fn check_ends(&self, lineage: &Lineage, given: &BTreeMap<ShardId, GivenPosition>) -> Result<()> {
        let ended = given.iter().filter(|(_, at)| **at == GivenPosition::ShardEnd);
        match ended.map(|(shard, _)| shard).find(|shard| !lineage.is_closed(shard)) {
            None => Ok(()),
            Some(shard) => Err(self.refuse(
                shard,
                format!(
                    "{} has {shard} at SHARD_END, but it takes records still: give the last one that was read \
                     (AFTER_SEQUENCE_NUMBER …), or LATEST",
                    self.spec.key
                ),
            )),
        }
    }

    /// Converts these positions into those that a query keeps. Refuses a sequence number of another shard, and a time
    /// in the future.
    pub(in crate::plan) async fn positions(
        &self,
        given: &BTreeMap<ShardId, GivenPosition>,
    ) -> Result<BTreeMap<ShardId, Position>> {
        let given: Vec<_> = given.clone().into_iter().collect();
        stream::iter(given)
            .map(|(shard, at)| async move {
                let position = self.position(&shard, &at).await?;
                Ok((shard, position))
            })
            .buffer_unordered(self.options.check_new_record_threads)
            .try_collect()
            .await
    }

    async fn position(&self, shard: &ShardId, at: &GivenPosition) -> Result<Position> {
        let asked = Asked {
            api: self.api,
            shard,
            counters: Arc::default(),
        };
        let found = match at {
            GivenPosition::Latest => Ok(Position::AtTimestamp(self.clock.bounds().0)),
            GivenPosition::TrimHorizon => Ok(Position::TrimHorizon),
            GivenPosition::ShardEnd => Ok(Position::ShardEnd),
            GivenPosition::AtTimestamp(millis) => {
                let again = "start the query again: nothing was written to its checkpoint";
                let past = await_past(self.spec, *millis, self.clock, again).await;
                past.map(|()| Position::AtTimestamp(*millis))
            }
            GivenPosition::After(number) => {
                let position = Position::After(number.clone());
                asked.iterator(&position).await.map(|_| position)
            }
            GivenPosition::At(number) => asked.at_record(number).await,
        };
        found.map_err(|error| match error.kind() {
            ErrorKind::RefusedPosition => self.refuse(
                shard,
                format!(
                    "{} has {shard} at {at}, which the service does not take: {}. A sequence number must be one \
                     of a record of its shard, in the stream as it is now, not in one that was deleted under the \
                     same name",
                    self.spec.key,
                    unstopped(error.message())
                ),
            ),
            _ => error.with("shard", shard.to_string()),
        })
    }

    fn refuse(&self, shard: &ShardId, message: String) -> Error {
        Error::new(ErrorKind::InvalidOption, message)
            .with("option", self.spec.key)
            .with("stream", self.options.stream.name.clone())
            .with("shard", shard.to_string())
    }
}

/// The positions given for single shards of a batch read, which reads each shard independently.
pub(in crate::plan) async fn of_batch_read(
    api: &dyn KinesisApi,
    options: &SourceOptions,
    clock: ServiceClock,
) -> Result<BTreeMap<ShardId, Position>> {
    let given = &options.starting_positions;
    if given.is_empty() {
        return Ok(BTreeMap::new());
    }
    let givens = Givens {
        api,
        options,
        clock,
        spec: &table::STARTING_POSITIONS,
    };
    // SHARD_END leaves a shard out, whether it is open or not.
    givens
        .lineage_with(given, &mut Shards::new(options, SharedState::default()))
        .await?;
    givens.positions(given).await
}

/// The shards that can have records from this position on; none if all can.
pub(in crate::plan) async fn recent_shards(
    api: &dyn KinesisApi,
    at: &Position,
) -> Result<Option<BTreeSet<ShardId>>> {
    let Position::AtTimestamp(millis) = at else {
        return Ok(None);
    };
    let listing = api.list_shards(ShardFilter::FromTimestamp(*millis)).await?;
    Ok(Some(listing.into_iter().map(|shard| shard.id).collect()))
}

/// Requests to one shard, which retry when its limits are reached.
struct Asked<'a> {
    api: &'a dyn KinesisApi,
    shard: &'a ShardId,
    counters: Arc<RequestCounters>,
}

impl Asked<'_> {
    /// The position at which reading returns this record first. Excludes earlier records that arrived in the same
    /// millisecond.
    async fn at_record(&self, number: &SequenceNumber) -> Result<Position> {
        let Some(arrival) = self.arrival_of(number).await? else {
            // The record has expired, and so have those before it: a reader handles that.
            return Ok(Position::After(number.clone()));
        };
        let arrival = Position::AtTimestamp(arrival);
        for asked in 1..=LISTINGS {
            let at = self.iterator(&arrival).await?;
            let page = self.first_records(at, AROUND).await?;
            let mut before = None;
            for row in 0..page.records.len() {
                let other: SequenceNumber = page.records.sequence_number(row).parse()?;
                match other.cmp(number) {
                    Ordering::Less => before = Some(other),
                    Ordering::Equal => return Ok(before.map_or(arrival, Position::After)),
                    Ordering::Greater => break,
                }
            }
            if let Some(before) = before {
                return Ok(Position::After(before));
            }
            // A response that is empty or begins after the record does not fit its arrival time.
            if asked < LISTINGS {
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
        Err(Error::new(
            ErrorKind::Transport,
            format!("the service has the record {number}, but doesn't return it for the time of its arrival"),
        )
        .retryable(true))
    }

    /// Arrival time of a record; none if it has expired. A single response without the record proves nothing, but one
    /// with a later record does.
    async fn arrival_of(&self, number: &SequenceNumber) -> Result<Option<i64>> {
        for asked in 1..=LISTINGS {
            let at = patiently(|| {
                self.api
                    .shard_iterator_at_record(self.shard, number, &self.counters)
            })
            .await?;
            let page = self.first_records(at, 1).await?;
            if !page.records.is_empty() {
                let found = page.records.sequence_number(0) == number.as_str();
                return Ok(found.then(|| page.records.arrival_millis(0)));
            }
            if asked < LISTINGS {
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
        Ok(None)
    }

    /// An iterator at this position. A refused position is tried twice: a single response may be wrong.
    async fn iterator(&self, at: &Position) -> Result<ShardIterator> {
        let ask = || patiently(|| self.api.shard_iterator(self.shard, at, &self.counters));
        match ask().await {
            Err(error) if error.kind() == ErrorKind::RefusedPosition => {
                tokio::time::sleep(ASK_AGAIN).await;
                ask().await
            }
            iterator => iterator,
        }
    }

    /// The first response with records from here on, or the last one without.
    async fn first_records(&self, mut at: ShardIterator, limit: u32) -> Result<Page> {
        for followed in 0.. {
            let page = patiently(|| self.api.get_records(self.shard, &at, limit, &self.counters)).await?;
            let behind = page.millis_behind_latest.is_some_and(|millis| millis > 0);
            match &page.next {
                Some(next) if page.records.is_empty() && behind && followed < MOST_FOLLOWED => {
                    at = next.clone()
                }
                _ => return Ok(page),
            }
        }
        Err(Error::new(ErrorKind::Internal, "a question without an answer"))
    }
}

/// Retries while the shard's limits, which all its readers share, are reached.
async fn patiently<T, F>(ask: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut patience = Patience::default();
    loop {
        match ask().await {
            Err(error) => tokio::time::sleep(patience.wait_after(error)?).await,
            answer => return answer,
        }
    }
}
