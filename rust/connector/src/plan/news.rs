//! Whether there is anything to read: the driver asks, while no executor does.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::look::{Found, Question, Stream};
use super::tips::Tips;
use crate::error::{Error, Result};
use crate::service::{KinesisApi, RequestCounters, ShardIterator, same_stream};
use crate::stream::{Position, ShardId};

/// A quiet stream is asked less often after this time …
const QUIET_AFTER: Duration = Duration::from_secs(60);
/// … namely so often.
pub(super) const QUIET_INTERVAL: Duration = Duration::from_secs(1);
/// Younger than the five minutes that an iterator lives (AWS limit).
const ITERATOR_AGE: Duration = Duration::from_secs(270);
/// For so long a shard may stay unknown before the query fails.
const UNKNOWN_FOR: Duration = Duration::from_secs(600);
/// Between two warnings of the same.
pub(super) const WARN_EVERY: Duration = Duration::from_secs(60);

/// The driver's looks at a stream whose readers have nothing to do.
#[derive(Debug)]
pub(super) struct News {
    stream: Arc<Stream>,
    interval: Duration,
    at_once: usize,
    looked: Option<Instant>,
    /// How long the last look took.
    took: Duration,
    planned: Option<Instant>,
    opened: Instant,
    pub tips: Tips,
    last_news: Instant,
    iterators: HashMap<ShardId, Kept>,
    /// The shard in which records were seen last; it is asked first.
    first: Option<ShardId>,
    /// The last look saw records in it.
    hit: bool,
    /// Since when nothing could be learnt of a shard.
    unknown: HashMap<ShardId, Instant>,
    warned: Option<Instant>,
}

/// The iterator that goes on where a look ended.
#[derive(Debug)]
struct Kept {
    position: Position,
    iterator: ShardIterator,
    since: Instant,
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// The shards that have something to read, and when its first record arrived (milliseconds since the epoch) where
    /// that was seen. Only one of them where that was enough.
    pub news: BTreeMap<ShardId, Option<i64>>,
    /// The shards of which nothing could be learnt: a request failed in a way that passes.
    pub unknown: BTreeSet<ShardId>,
}

impl Looked {
    /// The shards of which nothing could be learnt, neither now nor, if there was one, in an earlier look of the call.
    pub(super) fn still_unknown(self, earlier: Option<BTreeSet<ShardId>>) -> BTreeSet<ShardId> {
        match earlier {
            Some(earlier) => &earlier & &self.unknown,
            None => self.unknown,
        }
    }
}

/// How far a look goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Until one shard has news.
    FirstNews,
    /// Every shard is asked.
    All,
}

impl News {
    pub(super) fn new(stream: Arc<Stream>, interval: Duration, at_once: usize) -> Self {
        Self {
            stream,
            interval,
            at_once: at_once.max(1),
            looked: None,
            took: Duration::ZERO,
            planned: None,
            opened: Instant::now(),
            tips: Tips::default(),
            last_news: Instant::now(),
            iterators: HashMap::new(),
            first: None,
            hit: false,
            unknown: HashMap::new(),
            warned: None,
        }
    }

    /// A batch is over. `read` if its readers have just asked: of a batch of an earlier run nobody knows when they did.
    pub(super) fn batch_ended(&mut self, read: bool, delivered: bool) {
        let now = Instant::now();
        if read {
            self.looked = Some(now);
        }
        if delivered {
            self.last_news = now;
        }
    }

    /// A batch was planned: its readers are about to ask.
    pub(super) fn batch_planned(&mut self) {
        self.planned = Some(Instant::now());
    }

    /// The last batch's reader saw the tip of its shard, not before the batch was planned.
    pub(super) fn tip_seen_in_batch(&mut self, shard: &ShardId, end: &Position) {
        self.tips.saw(shard, end, self.planned.unwrap_or(self.opened));
    }

    /// Waits until the driver may ask the shards again.
    pub(super) async fn wait_until_due(&self) {
        wait_until(self.due()).await;
    }

    fn pace(&self) -> Duration {
        if self.last_news.elapsed() >= QUIET_AFTER {
            // With very many shards a look is long: then half of the time is left to others.
            QUIET_INTERVAL.max(self.interval).max(self.took * 2)
        } else {
            self.interval
        }
    }

    /// Waits until readers may ask the shards again, that is an interval after the last batch's did.
    pub(super) async fn wait_until_readers_may_ask(&self) {
        wait_until(self.planned.map(|planned| planned + self.interval)).await;
    }

    /// The shard in which the last look saw records, if it did.
    pub(super) fn hit(&self) -> Option<ShardId> {
        self.first.clone().filter(|_| self.hit)
    }

    /// When the shards were asked last, by a batch's readers or by the driver.
    pub(super) fn asked_last(&self) -> Option<Instant> {
        self.looked
    }

    /// When the driver may ask the shards again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.looked.map(|looked| looked + self.pace())
    }

    /// Asks the shards, but those in `skip`. A closed shard that has nothing left is moved to its end. What fails and
    /// may pass leaves its shard unknown; an error is one that doesn't pass, or that lasted for minutes.
    pub(super) async fn look(
        &mut self,
        api: &Arc<dyn KinesisApi>,
        positions: &mut BTreeMap<ShardId, Position>,
        skip: &BTreeSet<ShardId>,
        counters: &Arc<RequestCounters>,
        extent: Extent,
    ) -> Result<Looked> {
        let began = Instant::now();
        self.looked = Some(began);
        self.hit = false;
        let shards = self.unended(positions, skip);
        if self.keeps_old_iterators() {
            // A stream made again under the same name takes some of the old positions without complaint.
            match same_stream(&**api, &self.stream.name, Some(self.stream.created_millis)).await {
                Err(error) if !error.is_retryable() => return Err(error),
                // Not known; whoever meets a refusal asks again.
                _ => {}
            }
        }
        self.iterators.retain(|shard, kept| {
            kept.is_fresh() && positions.get(shard).is_some_and(|at| *at == kept.position)
        });
        let answers = self.ask(api, shards, counters, extent).await;
        let mut looked = Looked::default();
        for (shard, position, found) in answers? {
            self.take_in(shard, position, found, positions, began, &mut looked)?;
        }
        if !looked.news.is_empty() {
            self.last_news = Instant::now();
        } else {
            self.took = began.elapsed();
        }
        self.warn_of_unknown(&looked);
        Ok(looked)
    }

    /// From now on the time counts anew for which nothing can be learnt of a shard: its readers may have asked it
    /// meanwhile.
    pub(super) fn forget_unknown(&mut self) {
        self.unknown.clear();
    }

    /// Notes what was found in a shard.
    fn take_in(
        &mut self,
        shard: ShardId,
        position: Position,
        found: Found,
        positions: &mut BTreeMap<ShardId, Position>,
        began: Instant,
        looked: &mut Looked,
    ) -> Result<()> {
        match found {
            Found::Unknown(error) => {
                looked.unknown.insert(shard.clone());
                return self.stays_unknown(shard, began, error);
            }
            Found::News(arrival) => {
                (self.first, self.hit) = (Some(shard.clone()), true);
                looked.news.insert(shard.clone(), arrival);
            }
            Found::Behind(iterator) => {
                looked.news.insert(shard.clone(), None);
                self.keep(shard.clone(), position, iterator);
            }
            Found::Nothing(iterator) => {
                self.tips.saw(&shard, &position, began);
                self.keep(shard.clone(), position, iterator);
            }
            Found::End => {
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

    /// True after a time in which no look kept its iterators alive.
    fn keeps_old_iterators(&self) -> bool {
        self.iterators.values().any(|kept| !kept.is_fresh())
    }

    /// Says once a minute that shards can't be asked.
    fn warn_of_unknown(&mut self, looked: &Looked) {
        let Some(first) = looked.unknown.first() else {
            return;
        };
        if self.warned.is_some_and(|warned| warned.elapsed() < WARN_EVERY) {
            return;
        }
        self.warned = Some(Instant::now());
        tracing::warn!(
            stream = %self.stream.name,
            "{} shard(s) could not be asked for news, the first is {first}; they are asked again. Where the stream's \
             limits are exceeded, its other readers take the five GetRecords a second that a shard allows",
            looked.unknown.len()
        );
    }

    /// The shards that may be asked, the one first that had news last.
    fn unended(
        &self,
        positions: &BTreeMap<ShardId, Position>,
        skip: &BTreeSet<ShardId>,
    ) -> VecDeque<(ShardId, Position)> {
        let mut open: VecDeque<(ShardId, Position)> = positions
            .iter()
            .filter(|(shard, position)| **position != Position::ShardEnd && !skip.contains(*shard))
            .map(|(shard, position)| (shard.clone(), position.clone()))
            .collect();
        if let Some(first) = open
            .iter()
            .position(|(shard, _)| Some(shard) == self.first.as_ref())
        {
            open.swap(0, first);
        }
        open
    }

    /// Asks these shards, several at once.
    async fn ask(
        &self,
        api: &Arc<dyn KinesisApi>,
        shards: VecDeque<(ShardId, Position)>,
        counters: &Arc<RequestCounters>,
        extent: Extent,
    ) -> Result<Vec<(ShardId, Position, Found)>> {
        let questions = shards.into_iter().map(|(shard, position)| {
            let question = Question {
                api: api.clone(),
                stream: self.stream.clone(),
                kept: self.iterators.get(&shard).map(|kept| kept.iterator.clone()),
                // A reader gets faster through a part without records than the looks do, but where one did already, and
                // came to the tip, the next batch would be as empty.
                follow: self.tips.was_seen_at(&shard, &position),
                counters: counters.clone(),
                shard,
                position,
            };
            async move {
                let found = question.ask().await?;
                Ok((question.shard, question.position, found))
            }
        });
        let mut asking = stream::iter(questions).buffer_unordered(self.at_once);
        let mut answers = Vec::new();
        while let Some(answer) = asking.next().await {
            let answer: (ShardId, Position, Found) = answer?;
            let enough = extent == Extent::FirstNews && matches!(answer.2, Found::News(_) | Found::Behind(_));
            answers.push(answer);
            if enough {
                break;
            }
        }
        Ok(answers)
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
