//! Whether there is anything to read: the driver asks, while no executor does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
const QUIET_INTERVAL: Duration = Duration::from_secs(1);
/// Records asked for: one is news enough.
const LIMIT: u32 = 1;

/// The driver's looks at a stream whose readers have nothing to do.
#[derive(Debug)]
pub(super) struct News {
    interval: Duration,
    at_once: usize,
    looked: Option<Instant>,
    planned: Option<Instant>,
    opened: Instant,
    pub tips: Tips,
    last_news: Instant,
    iterators: HashMap<ShardId, (Position, ShardIterator)>,
    /// The shard that had news last is asked first.
    first: Option<ShardId>,
}

/// What a look at one shard found.
#[derive(Debug)]
enum Look {
    /// Records, or a stretch of the shard that only a reader gets through.
    News,
    Nothing(ShardIterator),
    /// The shard is closed and was read to its end.
    End,
}

impl News {
    pub(super) fn new(interval: Duration, at_once: usize) -> Self {
        Self {
            interval,
            at_once: at_once.max(1),
            looked: None,
            planned: None,
            opened: Instant::now(),
            tips: Tips::default(),
            last_news: Instant::now(),
            iterators: HashMap::new(),
            first: None,
        }
    }

    /// A batch's readers have just asked.
    pub(super) fn batch_ended(&mut self, delivered: bool) {
        let now = Instant::now();
        self.looked = Some(now);
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
        let quiet = self.last_news.elapsed() >= QUIET_AFTER;
        let pace = if quiet {
            QUIET_INTERVAL.max(self.interval)
        } else {
            self.interval
        };
        wait_until(self.looked.map(|looked| looked + pace), deadline).await
    }

    /// Waits until readers may ask the shards again, that is an interval after the last batch's did.
    pub(super) async fn wait_until_readers_may_ask(&self, deadline: Instant) -> bool {
        wait_until(self.planned.map(|planned| planned + self.interval), deadline).await
    }

    /// Asks the shards until one has news. A closed shard that has nothing left is moved to its end on the way,
    /// without a batch of its own.
    pub(super) async fn look(
        &mut self,
        api: &Arc<dyn KinesisApi>,
        positions: &mut BTreeMap<ShardId, Position>,
        counters: &Arc<RequestCounters>,
    ) -> Result<bool> {
        self.looked = Some(Instant::now());
        let hit = self
            .ask(api, positions, &BTreeSet::new(), counters, true)
            .await?
            .into_keys()
            .next();
        if hit.is_some() {
            self.last_news = Instant::now();
            self.first = hit;
            return Ok(true);
        }
        Ok(false)
    }

    /// Asks every shard but those in `skip`, and answers which have nothing to read now.
    pub(super) async fn quiet_shards(
        &mut self,
        api: &Arc<dyn KinesisApi>,
        positions: &mut BTreeMap<ShardId, Position>,
        skip: &BTreeSet<ShardId>,
        counters: &Arc<RequestCounters>,
    ) -> Result<BTreeSet<ShardId>> {
        let with_news = self.ask(api, positions, skip, counters, false).await?;
        Ok(positions
            .keys()
            .filter(|shard| !with_news.contains_key(*shard))
            .cloned()
            .collect())
    }

    /// The shards with news; only the first found if `one` is enough.
    async fn ask(
        &mut self,
        api: &Arc<dyn KinesisApi>,
        positions: &mut BTreeMap<ShardId, Position>,
        skip: &BTreeSet<ShardId>,
        counters: &Arc<RequestCounters>,
        one: bool,
    ) -> Result<BTreeMap<ShardId, ()>> {
        let mut open: Vec<(ShardId, Position)> = positions
            .iter()
            .filter(|(shard, position)| **position != Position::ShardEnd && !skip.contains(*shard))
            .map(|(shard, position)| (shard.clone(), position.clone()))
            .collect();
        self.iterators
            .retain(|shard, (position, _)| positions.get(shard) == Some(position));
        open.sort_by_key(|(shard, _)| Some(shard) != self.first.as_ref());
        let questions: Vec<_> = open
            .into_iter()
            .map(|(shard, position)| {
                let kept = self.iterators.remove(&shard).map(|(_, iterator)| iterator);
                let (api, counters) = (api.clone(), counters.clone());
                async move {
                    let found = look_at(&*api, &shard, &position, kept, &counters).await?;
                    Ok((shard, position, found))
                }
            })
            .collect();
        let asked = Instant::now();
        let mut answers = stream::iter(questions).buffer_unordered(self.at_once);
        let mut with_news = BTreeMap::new();
        while let Some(answer) = answers.next().await {
            let (shard, position, found) = answer?;
            match found {
                Look::News => {
                    with_news.insert(shard, ());
                    if one {
                        break;
                    }
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
    let mut kept = kept;
    loop {
        let renewable = kept.is_some();
        let iterator = match kept.take() {
            Some(iterator) => iterator,
            // A reader sees to a position that the service doesn't take.
            None => match api.shard_iterator(shard, position, counters).await {
                Err(error) if error.kind() == ErrorKind::RefusedPosition => return Ok(Look::News),
                answer => answer?,
            },
        };
        match api.get_records(shard, &iterator, LIMIT, counters).await {
            Err(error) if error.kind() == ErrorKind::ExpiredIterator && renewable => {}
            Err(error) => return Err(error),
            Ok(page) => {
                let behind = page.millis_behind_latest.is_some_and(|millis| millis > 0);
                return Ok(match page.next {
                    _ if !page.records.is_empty() => Look::News,
                    None => Look::End,
                    Some(_) if behind => Look::News,
                    Some(next) => Look::Nothing(next),
                });
            }
        }
    }
}
