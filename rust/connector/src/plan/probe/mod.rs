//! The driver's probes of the shards, while no executor reads them: when they may be asked, and what was found.

mod idle;
mod shard_probe;
mod tips;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::service::{KinesisApi, RequestCounters, ShardIterator, same_stream};
use crate::stream::{Position, ShardId};
use idle::Idle;
pub(super) use shard_probe::Stream;
use shard_probe::{Found, ShardProbe};
use tips::Tips;

/// A quiet stream is asked less often after this time …
const QUIET_AFTER: Duration = Duration::from_secs(60);
/// … namely so often.
pub(in crate::plan) const QUIET_INTERVAL: Duration = Duration::from_secs(1);
/// Younger than the five minutes that an iterator lives (AWS limit).
const ITERATOR_AGE: Duration = Duration::from_secs(270);
/// For so long a shard may stay unknown before the query fails.
const UNKNOWN_FOR: Duration = Duration::from_secs(600);
/// Once a probe has found records, it goes on while answers come no farther apart than its first one took and this …
const WAIT_FOR_OTHERS: Duration = Duration::from_millis(250);
/// … and as long again for each shard that hasn't answered: a task for it takes no less.
const WORTH_A_TASK: Duration = Duration::from_millis(2);
/// So many shards tell whether most have something.
const SAMPLE: usize = 8;
/// A batch of shards that are known to have records waits for so long to learn what others have.
const LOOK_BESIDE: Duration = Duration::from_millis(250);
/// For so long a shard that had nothing counts as one that still has nothing, where a batch doesn't wait for its answer.
const IDLE_FOR: Duration = Duration::from_secs(10);
/// Between two warnings of the same.
pub(in crate::plan) const WARN_EVERY: Duration = Duration::from_secs(60);

/// The driver's probes of a stream whose readers have nothing to do.
#[derive(Debug)]
pub(in crate::plan) struct Prober {
    api: Arc<dyn KinesisApi>,
    stream: Arc<Stream>,
    /// Of the driver's requests.
    counters: Arc<RequestCounters>,
    interval: Duration,
    at_once: usize,
    probed: Option<Instant>,
    /// How long the last probe took.
    took: Duration,
    planned: Option<Instant>,
    opened: Instant,
    pub tips: Tips,
    idle: Idle,
    /// When each shard was asked last, by the driver or by a batch's reader that saw its tip, whatever it answered.
    asked: HashMap<ShardId, Instant>,
    last_records: Instant,
    iterators: HashMap<ShardId, Kept>,
    /// The shard in which records were seen last; it is asked first.
    first: Option<ShardId>,
    /// The last probe saw records in it, in this call.
    hit: bool,
    /// Until then no shard is asked beside a batch: within the time for it none answered.
    silent_until: Option<Instant>,
    /// Since when nothing could be learnt of a shard.
    unknown: HashMap<ShardId, Instant>,
    warned: Option<Instant>,
}

/// The iterator that goes on where a probe ended.
#[derive(Debug)]
struct Kept {
    position: Position,
    iterator: ShardIterator,
    since: Instant,
}

/// What a probe of the shards found.
#[derive(Debug, Default)]
pub(in crate::plan) struct Probed {
    /// The shards that have something to read, and when its first record arrived (milliseconds since the epoch) where
    /// that was seen. Not all of them where these were enough.
    pub available: BTreeMap<ShardId, Option<i64>>,
    /// The shards of which nothing could be learnt: a request failed in a way that passes.
    pub unknown: BTreeSet<ShardId>,
    /// Most of those that were asked have something. The others were not asked: they are likely to have something, too.
    pub of_most: bool,
}

/// The answers to a probe, and which shards were asked, whether they answered or not.
struct Answers {
    asked: Vec<ShardId>,
    found: Vec<(ShardId, Position, Found)>,
    of_most: bool,
}

impl Probed {
    /// The shards of which nothing could be learnt, neither now nor, if there was one, in an earlier probe of the call.
    pub(in crate::plan) fn still_unknown(self, earlier: Option<BTreeSet<ShardId>>) -> BTreeSet<ShardId> {
        match earlier {
            Some(earlier) => &earlier & &self.unknown,
            None => self.unknown,
        }
    }
}

/// How far a probe of the shards goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plan) enum Extent {
    /// All shards, so that a batch reads those that have something. Once one has, those that take longer than the others
    /// to answer are not waited for; and where every other shard has, none is asked any more.
    NextBatch,
    /// There is a batch anyway, of other shards, and it doesn't wait long: as many as answer soon, those first that were
    /// not asked for the longest time.
    Beside,
    /// Every shard is asked.
    All,
}

impl Prober {
    /// Asks a shard once in `interval` at most, and as many as `at_once` together.
    pub(in crate::plan) fn new(
        api: Arc<dyn KinesisApi>,
        stream: Arc<Stream>,
        counters: Arc<RequestCounters>,
        interval: Duration,
        at_once: usize,
    ) -> Self {
        Self {
            api,
            stream,
            counters,
            interval,
            at_once: at_once.max(1),
            probed: None,
            took: Duration::ZERO,
            planned: None,
            opened: Instant::now(),
            tips: Tips::default(),
            idle: Idle::default(),
            asked: HashMap::new(),
            last_records: Instant::now(),
            iterators: HashMap::new(),
            first: None,
            hit: false,
            silent_until: None,
            unknown: HashMap::new(),
            warned: None,
        }
    }

    /// A batch is over. `read` if its readers have just asked: of a batch of an earlier run nobody knows when they did.
    pub(in crate::plan) fn batch_ended(&mut self, read: bool, delivered: bool) {
        let now = Instant::now();
        if read {
            self.probed = Some(now);
        }
        if delivered {
            self.last_records = now;
        }
    }

    /// A batch was planned, of shards at these positions: its readers are about to ask.
    pub(in crate::plan) fn batch_planned(&mut self, positions: &BTreeMap<ShardId, Position>) {
        self.planned = Some(Instant::now());
        self.idle.retain(positions);
        self.asked.retain(|shard, _| positions.contains_key(shard));
    }

    /// The last batch's reader saw the tip of its shard, not before the batch was planned.
    pub(in crate::plan) fn tip_seen_in_batch(&mut self, shard: &ShardId, end: &Position) {
        let at = self.planned.unwrap_or(self.opened);
        self.tips.saw(shard, end, at);
        self.idle.saw(shard, end, at);
        self.asked.insert(shard.clone(), at);
    }

    /// The shards in which nothing was to be read at these positions when they were asked last, by the driver or by a
    /// batch's reader, not before this time.
    pub(in crate::plan) fn idle_since(
        &self,
        since: Option<Instant>,
        positions: &BTreeMap<ShardId, Position>,
    ) -> BTreeSet<ShardId> {
        self.idle.since(since, positions)
    }

    /// The same, before a batch that doesn't wait for their answers.
    pub(in crate::plan) fn idle_for_now(
        &self,
        of_most: bool,
        positions: &BTreeMap<ShardId, Position>,
    ) -> BTreeSet<ShardId> {
        let lately = if of_most { self.interval } else { IDLE_FOR };
        self.idle_since(Instant::now().checked_sub(lately), positions)
    }

    /// The shards that were asked too lately to be asked again.
    pub(in crate::plan) fn asked_lately(&self) -> BTreeSet<ShardId> {
        let lately = self.asked.iter().filter(|(_, at)| at.elapsed() < self.interval);
        lately.map(|(shard, _)| shard.clone()).collect()
    }

    /// False for a while after no shard answered in the time that a batch has for it: every batch would lose that time.
    pub(in crate::plan) fn answers_beside(&self) -> bool {
        self.silent_until.is_none_or(|until| until <= Instant::now())
    }

    /// Waits until the driver may ask the shards again.
    pub(in crate::plan) async fn wait_until_due(&self) {
        wait_until(self.due()).await;
    }

    fn pace(&self) -> Duration {
        if self.last_records.elapsed() >= QUIET_AFTER {
            // With very many shards a probe is long: then half of the time is left to others.
            QUIET_INTERVAL.max(self.interval).max(self.took * 2)
        } else {
            self.interval
        }
    }

    /// Waits until readers may ask the shards again, that is an interval after the last batch's did.
    pub(in crate::plan) async fn wait_until_readers_may_ask(&self) {
        wait_until(self.planned.map(|planned| planned + self.interval)).await;
    }

    /// The shard in which the last probe of this call saw records, if it did.
    pub(in crate::plan) fn hit(&self) -> Option<ShardId> {
        self.first.clone().filter(|_| self.hit)
    }

    /// When the shards were asked last, by a batch's readers or by the driver.
    pub(in crate::plan) fn asked_last(&self) -> Option<Instant> {
        self.probed
    }

    /// When the driver may ask the shards again.
    pub(in crate::plan) fn due(&self) -> Option<Instant> {
        self.probed.map(|probed| probed + self.pace())
    }

    /// Asks the shards, but those in `skip`. A closed shard that has nothing left is moved to its end. What fails and
    /// may pass leaves its shard unknown; an error is one that doesn't pass, or that lasted for minutes.
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
        // A look beside a batch waits for nothing else, and drops old iterators.
        if extent != Extent::Beside && self.keeps_old_iterators() {
            // A stream made again under the same name takes some of the old positions without complaint.
            match same_stream(&*self.api, &self.stream.name, Some(self.stream.created_millis)).await {
                Err(error) if !error.is_retryable() => return Err(error),
                // Not known; whoever meets a refusal asks again.
                _ => {}
            }
        }
        self.iterators.retain(|shard, kept| {
            kept.is_fresh() && positions.get(shard).is_some_and(|at| *at == kept.position)
        });
        let answers = self.probe_all(shards, extent).await?;
        self.silent_until = answers.found.is_empty().then(|| began + IDLE_FOR);
        self.asked
            .extend(answers.asked.into_iter().map(|shard| (shard, began)));
        let mut probed = Probed {
            of_most: answers.of_most,
            ..Probed::default()
        };
        for (shard, position, found) in answers.found {
            self.take_in(shard, position, found, positions, began, &mut probed)?;
        }
        if !probed.available.is_empty() {
            self.last_records = Instant::now();
        } else {
            self.took = began.elapsed();
        }
        self.warn_of_unknown(&probed);
        Ok(probed)
    }

    /// A call begins. From now on the time counts anew for which nothing can be learnt of a shard: its readers may have
    /// asked it meanwhile.
    pub(in crate::plan) fn begin_call(&mut self) {
        self.unknown.clear();
        self.hit = false;
    }

    /// Notes what was found in a shard.
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
                // The next batch, if there is one, gets through the stretch, so that nobody has to again.
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

    /// Nothing could be learnt of the shard: fails with the reason once that has been so for too long.
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

    /// True after a time in which no probe kept its iterators alive.
    fn keeps_old_iterators(&self) -> bool {
        self.iterators.values().any(|kept| !kept.is_fresh())
    }

    /// Says once a minute that shards can't be asked.
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
            "{} shard(s) could not be asked for records, the first is {first}; they are asked again. Where the stream's \
             limits are exceeded, its other readers take the five GetRecords a second that a shard allows",
            probed.unknown.len()
        );
    }

    /// The shards that may be asked: the one first that had records last, then those that were not asked for the longest
    /// time.
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
            let asked = self.asked.get(shard).copied();
            (Some(shard) != self.first.as_ref(), asked)
        });
        open
    }

    /// Asks these shards, several at once.
    async fn probe_all(&self, shards: Vec<(ShardId, Position)>, extent: Extent) -> Result<Answers> {
        let all = shards.len();
        let mut asked = Vec::new();
        let questions = shards.into_iter().map(|(shard, position)| {
            asked.push(shard.clone());
            let question = ShardProbe {
                api: self.api.clone(),
                stream: self.stream.clone(),
                kept: self.iterators.get(&shard).map(|kept| kept.iterator.clone()),
                // A reader gets faster through a part without records than the probes do, but where one did already, and
                // came to the tip, the next batch would be as empty.
                follow: self.tips.was_seen_at(&shard, &position),
                counters: self.counters.clone(),
                shard,
                position,
            };
            async move {
                let found = question.ask().await?;
                Ok((question.shard, question.position, found))
            }
        });
        let mut asking = stream::iter(questions).buffer_unordered(self.at_once);
        let (began, mut first_took) = (Instant::now(), Duration::ZERO);
        let (mut found, mut available, mut of_most) = (Vec::new(), 0, false);
        while !of_most {
            let until = match extent {
                Extent::Beside => Some(began + LOOK_BESIDE),
                Extent::NextBatch if available > 0 => {
                    let left = u32::try_from(all - found.len()).unwrap_or(u32::MAX);
                    let longest = first_took + WAIT_FOR_OTHERS + WORTH_A_TASK.saturating_mul(left);
                    Some(Instant::now() + longest)
                }
                Extent::NextBatch | Extent::All => None,
            };
            let next = asking.next();
            let answer: Option<Result<(ShardId, Position, Found)>> = match until {
                None => next.await,
                Some(until) if until <= Instant::now() => None,
                Some(until) => tokio::time::timeout_at(until, next).await.ok().flatten(),
            };
            let Some(answer) = answer else { break };
            let answer = answer?;
            available += usize::from(matches!(answer.2, Found::HasRecords(_) | Found::Behind(_)));
            if found.is_empty() {
                first_took = began.elapsed();
            }
            found.push(answer);
            of_most = extent != Extent::All && found.len() >= SAMPLE && available * 2 >= found.len();
        }
        drop(asking);
        Ok(Answers {
            asked,
            found,
            of_most,
        })
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
