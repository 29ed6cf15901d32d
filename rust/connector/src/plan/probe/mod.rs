//! The driver's probes of shards that no executor reads: when they may be made, and what they found.

mod idle;
mod round;
mod shard_probe;
mod tips;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::service::{KinesisApi, RequestCounters, ShardIterator, same_stream};
use crate::stream::{Position, ShardId};
use idle::Idle;
use round::{Responses, Round};
pub(super) use shard_probe::Stream;
use shard_probe::{Found, ShardProbe};
use tips::Tips;

/// Time without records after which a stream is quiet and is probed less often.
const QUIET_AFTER: Duration = Duration::from_secs(60);
/// Shortest time between two probes of a quiet stream.
pub(in crate::plan) const QUIET_INTERVAL: Duration = Duration::from_secs(1);
/// Age up to which an iterator is reused, less than its lifetime of five minutes (AWS limit).
const ITERATOR_AGE: Duration = Duration::from_secs(270);
/// Time for which a shard may stay unknown before the query fails.
const UNKNOWN_FOR: Duration = Duration::from_secs(600);
/// Time for which a shard that had nothing is still taken to have nothing, if a batch does not wait for its response.
const IDLE_FOR: Duration = Duration::from_secs(10);
/// Consecutive rounds without a response in time after which no shard is probed beside a batch for [`IDLE_FOR`].
const SILENT_ROUNDS: u32 = 2;
/// Time after which a failed check of the stream's identity is repeated.
const CHECK_AGAIN: Duration = Duration::from_secs(10);
/// Shortest time between two equal warnings.
pub(in crate::plan) const WARN_EVERY: Duration = Duration::from_secs(60);

/// The driver's probes of a stream whose readers are idle.
#[derive(Debug)]
pub(in crate::plan) struct Prober {
    api: Arc<dyn KinesisApi>,
    stream: Arc<Stream>,
    /// Counters of the driver's requests.
    counters: Arc<RequestCounters>,
    interval: Duration,
    at_once: usize,
    /// See [`crate::SourceConfig::few_shards`].
    few_shards: usize,
    probed: Option<Instant>,
    /// Duration of the last probe that found no records.
    took: Duration,
    planned: Option<Instant>,
    opened: Instant,
    pub tips: Tips,
    idle: Idle,
    /// Time of the last call for each shard, successful or not: by the driver, or by a batch's reader that saw the
    /// tip.
    last_calls: HashMap<ShardId, Instant>,
    last_records: Instant,
    iterators: HashMap<ShardId, Kept>,
    /// Time from which to check that the stream is the same, if some iterators grew too old to show it.
    check_from: Option<Instant>,
    /// The shard in which records were found last; it is probed first.
    first: Option<ShardId>,
    /// True if the last probe of this call found records in `first`.
    hit: bool,
    /// Number of consecutive rounds in which no shard answered in time, and when the last one began.
    silent: (u32, Option<Instant>),
    /// Time since when a shard has been unknown.
    unknown: HashMap<ShardId, Instant>,
    warned: Option<Instant>,
}

/// The iterator with which the next probe continues.
#[derive(Debug)]
struct Kept {
    position: Position,
    iterator: ShardIterator,
    since: Instant,
}

/// Findings of a probe of the shards.
#[derive(Debug, Default)]
pub(in crate::plan) struct Probed {
    /// The shards with something to read, and when the first record arrived (milliseconds since the epoch), if known.
    /// Incomplete if the probe ended early because these were enough.
    pub available: BTreeMap<ShardId, Option<i64>>,
    /// The unknown shards: a request failed in a way that may pass.
    pub unknown: BTreeSet<ShardId>,
    /// True if the round ended early: most of the probed shards have records, so that the others probably have some,
    /// too, or one of few shards has, of which a batch reads all.
    pub of_most: bool,
}

impl Probed {
    /// The shards that are still unknown: after this probe and, if there was one, the earlier probe of the call.
    pub(in crate::plan) fn still_unknown(self, earlier: Option<BTreeSet<ShardId>>) -> BTreeSet<ShardId> {
        match earlier {
            Some(earlier) => &earlier & &self.unknown,
            None => self.unknown,
        }
    }
}

/// The extent of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plan) enum Extent {
    /// All shards, so that a batch reads those with records. Once one has records, slow responses are not waited for,
    /// and once half of a sample have, no more shards are probed.
    NextBatch,
    /// A short probe beside a batch of other shards, which is planned anyway: as many shards as respond soon,
    /// starting with those that were not called for the longest time.
    Beside,
    /// Every shard.
    All,
}

impl Prober {
    /// A prober that calls a shard at most once per `interval`, and up to `at_once` shards at the same time.
    pub(in crate::plan) fn new(
        api: Arc<dyn KinesisApi>,
        stream: Arc<Stream>,
        counters: Arc<RequestCounters>,
        interval: Duration,
        at_once: usize,
        few_shards: usize,
    ) -> Self {
        Self {
            api,
            stream,
            counters,
            interval,
            at_once: at_once.max(1),
            few_shards,
            probed: None,
            took: Duration::ZERO,
            planned: None,
            opened: Instant::now(),
            tips: Tips::default(),
            idle: Idle::default(),
            last_calls: HashMap::new(),
            last_records: Instant::now(),
            iterators: HashMap::new(),
            check_from: None,
            first: None,
            hit: false,
            silent: (0, None),
            unknown: HashMap::new(),
            warned: None,
        }
    }

    /// Records the end of a batch. `read` is true if its readers have just made calls, which is unknown for a batch
    /// of an earlier run.
    pub(in crate::plan) fn batch_ended(&mut self, read: bool, delivered: bool) {
        let now = Instant::now();
        if read {
            self.probed = Some(now);
        }
        if delivered {
            self.last_records = now;
        }
    }

    /// Records that a batch of shards at these positions was planned: its readers are about to make calls.
    pub(in crate::plan) fn batch_planned(&mut self, positions: &BTreeMap<ShardId, Position>) {
        self.planned = Some(Instant::now());
        self.idle.retain(positions);
        self.last_calls.retain(|shard, _| positions.contains_key(shard));
    }

    /// Records that the last batch's reader saw the shard's tip, at the time of the batch's planning or later.
    pub(in crate::plan) fn tip_seen_in_batch(&mut self, shard: &ShardId, end: &Position) {
        let at = self.planned.unwrap_or(self.opened);
        self.tips.saw(shard, end, at);
        self.idle.saw(shard, end, at);
        self.last_calls.insert(shard.clone(), at);
    }

    /// The shards that had nothing at these positions when the driver or a batch's reader last called them, at
    /// `since` or later.
    pub(in crate::plan) fn idle_since(
        &self,
        since: Option<Instant>,
        positions: &BTreeMap<ShardId, Position>,
    ) -> BTreeSet<ShardId> {
        self.idle.since(since, positions)
    }

    /// Shards that count as idle for a batch that does not wait for their responses.
    pub(in crate::plan) fn idle_for_now(
        &self,
        of_most: bool,
        positions: &BTreeMap<ShardId, Position>,
    ) -> BTreeSet<ShardId> {
        let lately = if of_most { self.interval } else { IDLE_FOR };
        self.idle_since(Instant::now().checked_sub(lately), positions)
    }

    /// The shards whose last call is too recent for another one.
    pub(in crate::plan) fn called_recently(&self) -> BTreeSet<ShardId> {
        let lately = self
            .last_calls
            .iter()
            .filter(|(_, at)| at.elapsed() < self.interval);
        lately.map(|(shard, _)| shard.clone()).collect()
    }

    /// False for a while after several rounds in which no shard answered within the time that a batch waits for it:
    /// every batch would lose it. A single one may be a pause of this process.
    pub(in crate::plan) fn answers_beside(&self) -> bool {
        match self.silent {
            (rounds, Some(last)) if rounds >= SILENT_ROUNDS => last.elapsed() >= IDLE_FOR,
            _ => true,
        }
    }

    /// Waits until the driver may probe the shards again.
    pub(in crate::plan) async fn wait_until_due(&self) {
        wait_until(self.due()).await;
    }

    fn pace(&self) -> Duration {
        if self.last_records.elapsed() >= QUIET_AFTER {
            // With very many shards a probe takes long: leave half of the time to other readers.
            QUIET_INTERVAL.max(self.interval).max(self.took * 2)
        } else {
            self.interval
        }
    }

    /// Waits until readers may call the shards again: an interval after the last batch's readers.
    pub(in crate::plan) async fn wait_until_readers_may_call(&self) {
        wait_until(self.planned.map(|planned| planned + self.interval)).await;
    }

    /// The shard in which the last probe of this call found records, if any.
    pub(in crate::plan) fn hit(&self) -> Option<ShardId> {
        self.first.clone().filter(|_| self.hit)
    }

    /// Time of the last call by a batch's readers or the driver.
    pub(in crate::plan) fn last_call(&self) -> Option<Instant> {
        self.probed
    }

    /// Time from which the driver may probe the shards again.
    pub(in crate::plan) fn due(&self) -> Option<Instant> {
        self.probed.map(|probed| probed + self.pace())
    }

    /// Probes all shards except those in `skip`. A closed shard with nothing left is moved to its end. A failure that
    /// may pass leaves its shard unknown; an error is permanent, or has lasted for minutes.
    pub(in crate::plan) async fn probe(
        &mut self,
        positions: &mut BTreeMap<ShardId, Position>,
        skip: &BTreeSet<ShardId>,
        extent: Extent,
    ) -> Result<Probed> {
        let began = Instant::now();
        self.probed = Some(began);
        self.hit = false;
        let shards = self.unended(positions, skip);
        self.drop_iterators(positions, began);
        // A probe beside a batch waits for nothing else: a later one checks.
        if extent != Extent::Beside {
            self.check_stream(began).await?;
        }
        let unended = positions.values().filter(|at| **at != Position::ShardEnd);
        // A batch reads all of them anyway.
        let one_is_enough = unended.count() <= self.few_shards;
        let asked = Instant::now();
        let round = Round {
            extent,
            at_once: self.at_once,
            one_is_enough,
        };
        let responses = round.run(self.probes(shards)).await?;
        self.count_silence(&responses, began);
        let called = responses.called.into_iter();
        self.last_calls.extend(called.map(|shard| (shard, began)));
        let mut probed = Probed {
            of_most: responses.of_most,
            ..Probed::default()
        };
        for (shard, position, found) in responses.found {
            self.take_in(shard, position, found, positions, began, &mut probed)?;
        }
        if !probed.available.is_empty() {
            self.last_records = Instant::now();
        } else if probed.unknown.is_empty() {
            // Otherwise it may be the time until a call has failed with all its retries, which says nothing of the next
            // round.
            self.took = asked.elapsed();
        }
        self.warn_of_unknown(&probed);
        Ok(probed)
    }

    /// Begins a call. The time for which shards may stay unknown starts anew, since readers may have called them
    /// meanwhile.
    pub(in crate::plan) fn begin_call(&mut self) {
        self.unknown.clear();
        self.hit = false;
    }

    /// Records what was found in a shard.
    fn take_in(
        &mut self,
        shard: ShardId,
        position: Position,
        found: Found,
        positions: &mut BTreeMap<ShardId, Position>,
        began: Instant,
        probed: &mut Probed,
    ) -> Result<()> {
        self.idle.forget(&shard);
        match found {
            Found::Unknown(error) => {
                probed.unknown.insert(shard.clone());
                return self.stays_unknown(shard, began, error);
            }
            Found::HasRecords(arrival) => {
                (self.first, self.hit) = (Some(shard.clone()), true);
                probed.available.insert(shard.clone(), arrival);
            }
            Found::Behind(iterator) => {
                probed.available.insert(shard.clone(), None);
                self.keep(shard.clone(), position, iterator);
            }
            Found::Idle {
                iterator,
                behind_stretch,
            } => {
                self.tips.saw(&shard, &position, began);
                // The next batch, if any, reads through the stretch and keeps its end, so that nobody walks through
                // it again.
                if !behind_stretch {
                    self.idle.saw(&shard, &position, began);
                }
                self.keep(shard.clone(), position, iterator);
            }
            Found::Closed => {
                positions.insert(shard.clone(), Position::ShardEnd);
            }
        }
        self.unknown.remove(&shard);
        Ok(())
    }

    /// Records that the shard is unknown; fails with the reason after [`UNKNOWN_FOR`].
    fn stays_unknown(&mut self, shard: ShardId, now: Instant, error: Error) -> Result<()> {
        let error = error.with("shard", shard.to_string());
        let since = *self.unknown.entry(shard).or_insert(now);
        if since.elapsed() < UNKNOWN_FOR {
            return Ok(());
        }
        self.unknown.clear();
        Err(error)
    }

    fn keep(&mut self, shard: ShardId, position: Position, iterator: ShardIterator) {
        let since = Instant::now();
        let kept = Kept {
            position,
            iterator,
            since,
        };
        self.iterators.insert(shard, kept);
    }

    /// Drops iterators of other positions, and those that are too old because no probe renewed them. Without these,
    /// only a check can tell whether the stream was made again under the same name meanwhile: the new one accepts
    /// some of the old positions.
    fn drop_iterators(&mut self, positions: &BTreeMap<ShardId, Position>, now: Instant) {
        if self.iterators.values().any(|kept| !kept.is_fresh()) {
            self.check_from.get_or_insert(now);
        }
        self.iterators.retain(|shard, kept| {
            kept.is_fresh() && positions.get(shard).is_some_and(|at| *at == kept.position)
        });
    }

    /// Checks that the stream is the same, if iterators grew old. A check that fails is repeated, the more rarely the
    /// longer it takes.
    async fn check_stream(&mut self, now: Instant) -> Result<()> {
        if self.check_from.is_none_or(|from| now < from) {
            return Ok(());
        }
        match same_stream(&*self.api, &self.stream.name, Some(self.stream.created_millis)).await {
            Ok(_) => self.check_from = None,
            Err(error) if !error.is_retryable() => return Err(error),
            // Each check holds the probes up.
            Err(_) => {
                let pause = (now.elapsed() * 10).clamp(CHECK_AGAIN, UNKNOWN_FOR);
                self.check_from = Some(Instant::now() + pause);
            }
        }
        Ok(())
    }

    /// Warns at most once a minute of shards that can't be probed.
    fn warn_of_unknown(&mut self, probed: &Probed) {
        let Some(first) = probed.unknown.first() else {
            return;
        };
        if self.warned.is_some_and(|warned| warned.elapsed() < WARN_EVERY) {
            return;
        }
        self.warned = Some(Instant::now());
        tracing::warn!(
            stream = %self.stream.name,
            "{} shard(s) could not be asked for records, the first is {first}; they are asked again. Where the \
             stream's limits are exceeded, its other readers take the five GetRecords a second that a shard allows",
            probed.unknown.len()
        );
    }

    /// The open shards outside `skip`: first the one that had records last, then those that were not called for the
    /// longest time.
    fn unended(
        &self,
        positions: &BTreeMap<ShardId, Position>,
        skip: &BTreeSet<ShardId>,
    ) -> Vec<(ShardId, Position)> {
        let mut open: Vec<(ShardId, Position)> = positions
            .iter()
            .filter(|(shard, position)| **position != Position::ShardEnd && !skip.contains(*shard))
            .map(|(shard, position)| (shard.clone(), position.clone()))
            .collect();
        open.sort_by_key(|(shard, _)| {
            let last_call = self.last_calls.get(shard).copied();
            (Some(shard) != self.first.as_ref(), last_call)
        });
        open
    }

    /// The probes of these shards.
    fn probes(&self, shards: Vec<(ShardId, Position)>) -> Vec<ShardProbe> {
        let probe = |(shard, position): (ShardId, Position)| ShardProbe {
            api: self.api.clone(),
            stream: self.stream.clone(),
            kept: self.iterators.get(&shard).map(|kept| kept.iterator.clone()),
            // A reader gets through a stretch without records faster than probes. If a reader has done so and
            // reached the tip, another batch would be as empty: the probe follows the stretch itself.
            follow: self.tips.was_seen_at(&shard, &position),
            counters: self.counters.clone(),
            shard,
            position,
        };
        shards.into_iter().map(probe).collect()
    }

    fn count_silence(&mut self, responses: &Responses, began: Instant) {
        if !responses.found.is_empty() {
            self.silent = (0, None);
        } else if !responses.called.is_empty() {
            self.silent = (self.silent.0.saturating_add(1), Some(began));
        }
    }
}

impl Kept {
    fn is_fresh(&self) -> bool {
        self.since.elapsed() < ITERATOR_AGE
    }
}

async fn wait_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
}
