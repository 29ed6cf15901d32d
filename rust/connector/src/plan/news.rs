//! Whether there is anything to read: the driver asks, while no executor does.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::tips::Tips;
use crate::error::{ErrorKind, Result};
use crate::service::{KinesisApi, RequestCounters, ShardIterator};
use crate::stream::{Position, ShardId};

/// A quiet stream is asked less often after this time …
const QUIET_AFTER: Duration = Duration::from_secs(60);
/// … namely so often.
pub(super) const QUIET_INTERVAL: Duration = Duration::from_secs(1);
/// Records asked for: one is news enough.
const LIMIT: u32 = 1;

/// The driver's looks at a stream whose readers have nothing to do.
#[derive(Debug)]
pub(super) struct News {
    interval: Duration,
    at_once: usize,
    looked: Option<Instant>,
    /// How long the last look took.
    took: Duration,
    /// The shards that the look under way has still to ask.
    left: VecDeque<ShardId>,
    planned: Option<Instant>,
    opened: Instant,
    pub tips: Tips,
    last_news: Instant,
    iterators: HashMap<ShardId, (Position, ShardIterator)>,
    /// The shard in which records were seen last; it is asked first.
    first: Option<ShardId>,
    /// The last look saw records in it.
    hit: bool,
}

/// What came of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// A shard has something to read.
    News,
    /// No shard has.
    Nothing,
    /// Some shards are still to be asked: the next call goes on with them.
    Unfinished,
}

/// What a look at one shard found.
#[derive(Debug)]
enum Look {
    News,
    Nothing(ShardIterator),
    /// No records yet, in a part of the shard that is behind its tip: the service leads through it answer by answer.
    Behind(ShardIterator),
    /// The shard is closed and was read to its end.
    End,
}

impl Look {
    /// True if a batch is to be made for it. A reader gets faster through a part without records than the looks do, but
    /// where one did already, and came to the tip, the next batch would be as empty.
    fn needs_reader(&self, tips: &Tips, shard: &ShardId, position: &Position) -> bool {
        match self {
            Self::News => true,
            Self::Behind(_) => !tips.was_seen_at(shard, position),
            Self::Nothing(_) | Self::End => false,
        }
    }
}

impl News {
    pub(super) fn new(interval: Duration, at_once: usize) -> Self {
        Self {
            interval,
            at_once: at_once.max(1),
            looked: None,
            took: Duration::ZERO,
            left: VecDeque::new(),
            planned: None,
            opened: Instant::now(),
            tips: Tips::default(),
            last_news: Instant::now(),
            iterators: HashMap::new(),
            first: None,
            hit: false,
        }
    }

    /// A batch is over. `read` if its readers have just asked: of a batch of an earlier run nobody knows when they did.
    pub(super) fn batch_ended(&mut self, read: bool, delivered: bool) {
        let now = Instant::now();
        if read {
            self.looked = Some(now);
        }
        self.left.clear();
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

    /// Waits until the driver may ask the shards again; false if that is not before the deadline.
    pub(super) async fn wait_until_due(&self, deadline: Instant) -> bool {
        wait_until(self.due(), deadline).await
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
    pub(super) async fn wait_until_readers_may_ask(&self, deadline: Instant) -> bool {
        wait_until(self.planned.map(|planned| planned + self.interval), deadline).await
    }

    /// The shard in which the last look saw records, if it did.
    pub(super) fn hit(&self) -> Option<ShardId> {
        self.first.clone().filter(|_| self.hit)
    }

    /// When the shards were asked last, by a batch's readers or by the driver.
    pub(super) fn asked_last(&self) -> Option<Instant> {
        self.looked
    }

    /// When the driver may ask the shards again: at once where a look is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        let pace = if self.left.is_empty() {
            self.pace()
        } else {
            Duration::ZERO
        };
        self.looked.map(|looked| looked + pace)
    }

    /// Asks the shards, but those in `skip`, until one has news, or until the deadline, when the next call goes on. A
    /// closed shard that has nothing left is moved to its end on the way, without a batch of its own.
    pub(super) async fn look(
        &mut self,
        api: &Arc<dyn KinesisApi>,
        positions: &mut BTreeMap<ShardId, Position>,
        skip: &BTreeSet<ShardId>,
        counters: &Arc<RequestCounters>,
        deadline: Instant,
    ) -> Result<Looked> {
        if self.left.is_empty() {
            self.looked = Some(Instant::now());
            self.left = self.unended(positions, skip);
        }
        let until = Until {
            deadline: Some(deadline),
            first_news: true,
        };
        self.hit = false;
        let with_news = self.ask(api, positions, counters, until).await?;
        if !with_news.is_empty() {
            self.left.clear();
            self.last_news = Instant::now();
            return Ok(Looked::News);
        }
        if !self.left.is_empty() {
            return Ok(Looked::Unfinished);
        }
        self.took = self.looked.map(|looked| looked.elapsed()).unwrap_or_default();
        Ok(Looked::Nothing)
    }

    /// Asks every shard but those in `skip`, and answers which have nothing to read now.
    pub(super) async fn quiet_shards(
        &mut self,
        api: &Arc<dyn KinesisApi>,
        positions: &mut BTreeMap<ShardId, Position>,
        skip: &BTreeSet<ShardId>,
        counters: &Arc<RequestCounters>,
    ) -> Result<BTreeSet<ShardId>> {
        self.left = self.unended(positions, skip);
        let with_news = self.ask(api, positions, counters, Until::default()).await?;
        Ok(positions
            .keys()
            .filter(|shard| !with_news.contains(*shard))
            .cloned()
            .collect())
    }

    /// The shards that may be asked, the one first that had news last.
    fn unended(
        &self,
        positions: &BTreeMap<ShardId, Position>,
        skip: &BTreeSet<ShardId>,
    ) -> VecDeque<ShardId> {
        let mut open: VecDeque<ShardId> = positions
            .iter()
            .filter(|(shard, position)| **position != Position::ShardEnd && !skip.contains(*shard))
            .map(|(shard, _)| shard.clone())
            .collect();
        if let Some(first) = open.iter().position(|shard| Some(shard) == self.first.as_ref()) {
            open.swap(0, first);
        }
        open
    }

    /// Asks the shards that are left, and answers those with news.
    async fn ask(
        &mut self,
        api: &Arc<dyn KinesisApi>,
        positions: &mut BTreeMap<ShardId, Position>,
        counters: &Arc<RequestCounters>,
        until: Until,
    ) -> Result<BTreeSet<ShardId>> {
        self.iterators
            .retain(|shard, (position, _)| positions.get(shard) == Some(position));
        let asked = Instant::now();
        let mut answers = Vec::new();
        {
            let (left, kept, standing) = (&mut self.left, &self.iterators, &*positions);
            let mut first = true;
            let questions = std::iter::from_fn(|| {
                if !std::mem::take(&mut first) && until.is_past() {
                    return None;
                }
                let shard = left.pop_front()?;
                let position = standing.get(&shard)?.clone();
                let iterator = kept.get(&shard).map(|(_, iterator)| iterator.clone());
                let (api, counters) = (api.clone(), counters.clone());
                Some(async move {
                    let found = look_at(&*api, &shard, &position, iterator, &counters).await?;
                    Ok((shard, position, found))
                })
            });
            let mut asking = stream::iter(questions).buffer_unordered(self.at_once);
            while let Some(answer) = asking.next().await {
                let enough = match &answer {
                    Ok((shard, position, found)) => {
                        until.first_news && found.needs_reader(&self.tips, shard, position)
                    }
                    Err(_) => true,
                };
                answers.push(answer);
                if enough {
                    break;
                }
            }
        }
        let mut with_news = BTreeSet::new();
        for answer in answers {
            let (shard, position, found) = answer?;
            if found.needs_reader(&self.tips, &shard, &position) {
                with_news.insert(shard.clone());
            }
            match found {
                Look::News => {
                    (self.first, self.hit) = (Some(shard), true);
                }
                Look::Behind(iterator) => {
                    self.iterators.insert(shard, (position, iterator));
                }
                Look::Nothing(iterator) => {
                    self.tips.saw(&shard, &position, asked);
                    self.iterators.insert(shard, (position, iterator));
                }
                Look::End => {
                    positions.insert(shard, Position::ShardEnd);
                }
            }
        }
        Ok(with_news)
    }
}

/// When to stop asking before every shard was asked.
#[derive(Clone, Copy, Debug, Default)]
struct Until {
    /// No shard but the first is asked after this time.
    deadline: Option<Instant>,
    /// True if one shard with news is enough.
    first_news: bool,
}

impl Until {
    fn is_past(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// Waits for a time, at most until the deadline; true if the time has come.
async fn wait_until(due: Option<Instant>, deadline: Instant) -> bool {
    let Some(due) = due else {
        return true;
    };
    tokio::time::sleep_until(due.min(deadline)).await;
    due <= deadline
}

async fn look_at(
    api: &dyn KinesisApi,
    shard: &ShardId,
    position: &Position,
    kept: Option<ShardIterator>,
    counters: &Arc<RequestCounters>,
) -> Result<Look> {
    match ask_shard(api, shard, position, kept, counters).await {
        // A reader sees to a position that the service doesn't take, and to a shard that is gone from its stream.
        Err(error) if error.kind() == ErrorKind::RefusedPosition => Ok(Look::News),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            api.describe_stream().await?;
            Ok(Look::News)
        }
        answer => answer,
    }
}

async fn ask_shard(
    api: &dyn KinesisApi,
    shard: &ShardId,
    position: &Position,
    mut kept: Option<ShardIterator>,
    counters: &Arc<RequestCounters>,
) -> Result<Look> {
    loop {
        let renewable = kept.is_some();
        let iterator = match kept.take() {
            Some(iterator) => iterator,
            None => api.shard_iterator(shard, position, counters).await?,
        };
        match api.get_records(shard, &iterator, LIMIT, counters).await {
            Err(error) if error.kind() == ErrorKind::ExpiredIterator && renewable => {}
            Err(error) => return Err(error),
            Ok(page) => {
                let behind = page.millis_behind_latest.is_some_and(|millis| millis > 0);
                return Ok(match page.next {
                    _ if !page.records.is_empty() => Look::News,
                    None => Look::End,
                    Some(next) if behind => Look::Behind(next),
                    Some(next) => Look::Nothing(next),
                });
            }
        }
    }
}
