//! What a reader leaves for the next reader of its shard in this process: records that were fetched beyond the batch and
//! the iterator that goes on where it ended, or its subscription.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::prefetched::Prefetched;
use super::subscriptions::SubscriptionRegistry;
use crate::read::ReadTask;
use crate::read::memory_pool::MemoryPool;
use crate::read::turns::Turns;
use crate::service::RequestCounters;
use crate::stream::{Position, ShardId};

/// Younger than the five minutes that an iterator lives (AWS limit).
const ITERATOR_AGE: Duration = Duration::from_secs(270);
/// What holds memory goes earlier: its query ended, or reads the shard elsewhere.
const RECORDS_AGE: Duration = Duration::from_secs(120);
/// How often that is looked for.
const SWEEP: Duration = Duration::from_secs(20);

type Key = (String, ShardId);

/// What a feed is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::read) enum ReadKind {
    /// To read a batch as far as it goes. No batch of the shard follows it yet, so what is parked elsewhere in the shard
    /// is of an earlier batch, or of another process's, and makes room.
    Live,
    /// To read a batch again to the end that it was claimed to have: a retry, a second action, a restart. It comes late,
    /// and touches nothing that is parked, for that is the next batch's, unless it fits exactly.
    Replay,
}

/// What was left by source and shard. Only a short cut: nothing depends on finding it. And the bytes that all readers may
/// fetch ahead together, and the turns of attempts at the same part of a batch. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct FeedRegistry {
    left: Arc<Mutex<Left>>,
    subscriptions: SubscriptionRegistry,
    pool: MemoryPool,
    turns: Turns,
}

#[derive(Debug, Default)]
struct Left {
    kept: HashMap<Key, Kept>,
    sweeping: bool,
}

#[derive(Debug)]
struct Kept {
    position: Position,
    ahead: Prefetched,
    since: Instant,
}

impl Kept {
    fn is_fresh(&self) -> bool {
        let age = match self.ahead.has_more() {
            true => RECORDS_AGE,
            false => ITERATOR_AGE,
        };
        self.since.elapsed() < age
    }
}

impl FeedRegistry {
    /// The subscriptions that no task reads from.
    pub(crate) fn subscriptions(&self) -> &SubscriptionRegistry {
        &self.subscriptions
    }

    /// The bytes that all readers may fetch ahead.
    pub(in crate::read) fn pool(&self) -> &MemoryPool {
        &self.pool
    }

    /// Lets one attempt at a time decide where a part of a batch ends.
    pub(in crate::read) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// Keeps what goes on at this position, where a task ended. What stands there already stays if it has records, or if
    /// this doesn't lead on.
    pub(in crate::read) fn keep(&self, task: &ReadTask, position: Position, ahead: Prefetched) {
        let mut left = self.left();
        let key = key(&task.source, &task.shard);
        let stays = |there: &Kept| {
            let better = there.ahead.has_more() || !ahead.leads_on();
            there.position == position && there.is_fresh() && better
        };
        if left.kept.get(&key).is_some_and(stays) {
            return;
        }
        let since = Instant::now();
        left.kept.insert(
            key,
            Kept {
                position,
                ahead,
                since,
            },
        );
        if !left.sweeping {
            left.sweeping = true;
            tokio::spawn(sweep(Arc::downgrade(&self.left)));
        }
    }

    /// Takes the entry that continues at the task's start, and drops one that stands elsewhere unless this is a replay.
    /// `counters` get what was asked of the service meanwhile.
    pub(in crate::read) fn take(
        &self,
        task: &ReadTask,
        kind: ReadKind,
        counters: &RequestCounters,
    ) -> Option<Prefetched> {
        let mut left = self.left();
        let key = key(&task.source, &task.shard);
        let kept = left.kept.get(&key)?;
        let fits = kept.position == task.start && kept.is_fresh();
        if kind == ReadKind::Replay && !fits {
            return None;
        }
        let kept = left.kept.remove(&key)?;
        kept.ahead.count(counters);
        kept.ahead.stop();
        fits.then_some(kept.ahead)
    }

    /// The bytes that wait for the batch that starts at this position.
    pub(in crate::read) fn bytes(&self, task: &ReadTask, position: &Position) -> usize {
        let left = self.left();
        let kept = left.kept.get(&key(&task.source, &task.shard));
        kept.filter(|kept| kept.position == *position)
            .map_or(0, |kept| kept.ahead.bytes())
    }

    /// Drops what readers of a source left, and ends its subscriptions.
    pub(crate) fn close(&self, source: &str) {
        self.subscriptions.close(source);
        self.left().kept.retain(|(kept, _), _| kept != source);
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(source: &str, shard: &ShardId) -> Key {
    (source.to_owned(), shard.clone())
}

/// Drops what is idle for too long, while there is anything.
async fn sweep(left: Weak<Mutex<Left>>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(left) = left.upgrade() else { return };
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        left.kept.retain(|_, kept| kept.is_fresh());
        if left.kept.is_empty() {
            left.sweeping = false;
            return;
        }
    }
}
