//! Parked feeds, which wait between two tasks of this process for the next reader of their shard. A polling feed
//! leaves prefetched records and the iterator after them, a fan-out feed its subscription, which keeps receiving.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::prefetched::Prefetched;
use super::reports::{Availability, ReportAck, ShardStatus};
use super::subscriber::in_use;
use super::subscription::Subscription;
use super::subscriptions::SubscriptionReports;
use crate::error::Result;
use crate::read::ReadTask;
use crate::read::memory_pool::MemoryPool;
use crate::read::turns::Turns;
use crate::service::RequestCounters;
use crate::stream::{Position, ShardId};

/// Maximum age of a parked iterator. Below the five minutes that an iterator lives (AWS limit).
const ITERATOR_AGE: Duration = Duration::from_secs(270);
/// Maximum age of parked records. Shorter, since they hold memory and are unused: their query ended, or reads the
/// shard elsewhere.
const RECORDS_AGE: Duration = Duration::from_secs(120);
/// Maximum age of an unused subscription. A subscription stays beyond it while its query's planner is in this process
/// or confirms that the query continues.
const SUBSCRIPTION_AGE: Duration = Duration::from_secs(360);
/// Interval of the sweep for parked feeds past their age.
const SWEEP: Duration = Duration::from_secs(20);
/// Maximum number of consecutive batches whose subscription was taken over although this process read the previous
/// batch, too.
const MOST_TAKEN_OVER: u32 = 3;

type Key = (String, ShardId);

/// Purpose of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::read) enum ReadKind {
    /// Reads a batch as far as it goes. It is the shard's latest, so a feed parked elsewhere in the shard belongs to
    /// an earlier batch or to another process's and is dropped.
    Live,
    /// Reads a batch again to its claimed end: a retry, a second action, a restart. Parked feeds belong to the next
    /// batch, so a replay takes only one that fits exactly and drops none.
    Replay,
}

/// State that the readers of a process share: the parked feeds, an optimization on which nothing depends; the memory
/// pool for prefetched bytes; and the turns of attempts at the same part of a batch. Cloning shares it.
#[derive(Clone, Debug)]
pub struct FeedRegistry {
    parked: Arc<Mutex<ParkedFeeds>>,
    subscriptions: SubscriptionReports,
    pool: MemoryPool,
    turns: Turns,
}

/// Holds at most one feed per source and shard.
#[derive(Debug, Default)]
pub(super) struct ParkedFeeds {
    feeds: HashMap<Key, ParkedFeed>,
    /// The sources that planners in this process read by fan-out, with their consumers.
    served: HashMap<String, String>,
    /// Consecutive times that a shard's subscription was taken over between two tasks of this process.
    taken_over: HashMap<Key, u32>,
    sweeping: bool,
}

#[derive(Debug)]
struct ParkedFeed {
    /// Where the feed's next reader must start.
    position: Position,
    kept: Kept,
    /// When it was parked or last known to be of use.
    since: Instant,
}

/// The parked part of a feed.
#[derive(Debug)]
pub(super) enum Kept {
    /// Left by a polling feed.
    Pages(Prefetched),
    /// Left by a fan-out feed.
    Subscription(Subscription),
}

impl Default for FeedRegistry {
    fn default() -> Self {
        let parked = Arc::default();
        Self {
            subscriptions: SubscriptionReports::of(Arc::clone(&parked)),
            parked,
            pool: MemoryPool::default(),
            turns: Turns::default(),
        }
    }
}

impl FeedRegistry {
    /// The subscriptions' status, as drivers and executors know it.
    pub(crate) fn subscriptions(&self) -> &SubscriptionReports {
        &self.subscriptions
    }

    /// Memory pool of all readers for prefetched bytes.
    pub(in crate::read) fn pool(&self) -> &MemoryPool {
        &self.pool
    }

    /// Lets one attempt at a time decide where a part of a batch ends.
    pub(in crate::read) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// Parks a feed at this position, where a task ended. Pages already parked there stay if they have records or if
    /// the others lead nowhere. A subscription is replaced: the task that ended here polled, so its query polls, and
    /// a late task of an earlier run costs at most one more subscription.
    pub(super) fn keep(&self, task: &ReadTask, position: Position, kept: Kept) {
        let mut parked = self.parked.lock();
        let key = key(task);
        match &kept {
            Kept::Pages(_) => {
                if parked
                    .feeds
                    .get(&key)
                    .is_some_and(|there| there.stays(&position, &kept))
                {
                    return;
                }
            }
            Kept::Subscription(subscription) => {
                subscription.buffer.attach(false);
                self.subscriptions.on_change();
            }
        }
        let since = Instant::now();
        parked.feeds.insert(
            key,
            ParkedFeed {
                position,
                kept,
                since,
            },
        );
        if !parked.sweeping {
            parked.sweeping = true;
            tokio::spawn(sweep(Arc::downgrade(&self.parked)));
        }
    }

    /// Takes the pages that continue at the task's start; drops a feed parked elsewhere unless this is a replay.
    /// `counters` receive the requests sent meanwhile.
    pub(super) fn take_pages(
        &self,
        task: &ReadTask,
        kind: ReadKind,
        counters: &RequestCounters,
    ) -> Option<Prefetched> {
        let mut parked = self.parked.lock();
        let key = key(task);
        let there = parked.feeds.get(&key)?;
        let fits =
            matches!(there.kept, Kept::Pages(_)) && there.position == task.start && there.is_fresh(None);
        if kind == ReadKind::Replay && !fits {
            return None;
        }
        let Kept::Pages(pages) = parked.feeds.remove(&key)?.kept else {
            return None;
        };
        pages.count(counters);
        pages.stop();
        fits.then_some(pages)
    }

    /// Takes over the subscription of the task's consumer if it stands at the task's start.
    pub(super) fn take_subscription(&self, task: &ReadTask) -> Option<Subscription> {
        let mut parked = self.parked.lock();
        let key = key(task);
        let there = parked.feeds.get(&key)?;
        let subscription = there.subscription()?;
        let fits = there.position == task.start && task.consumer.as_ref() == Some(&subscription.consumer);
        if !fits || subscription.buffer.failure().is_some() {
            return None;
        }
        parked.taken_over.remove(&key);
        let Kept::Subscription(subscription) = parked.feeds.remove(&key)?.kept else {
            return None;
        };
        subscription.buffer.attach(true);
        Some(subscription)
    }

    /// Drops the feed parked for the task's shard before a subscription is opened at its start: that feed is another
    /// batch's or another consumer's. Fails if others take over the shard again and again.
    pub(super) fn make_room(&self, task: &ReadTask, consumer: &str) -> Result<()> {
        let mut parked = self.parked.lock();
        let key = key(task);
        let here_before = task.previous_executor.as_ref() == Some(&self.subscriptions.process());
        let former = parked.feeds.remove(&key);
        let former = former.as_ref().and_then(ParkedFeed::subscription);
        let why = former
            .filter(|former| here_before && former.buffer.was_taken_over())
            .and_then(|former| former.buffer.failure());
        let Some(why) = why else {
            parked.taken_over.remove(&key);
            return Ok(());
        };
        let times = parked.taken_over.entry(key.clone()).or_default();
        *times += 1;
        if *times < MOST_TAKEN_OVER {
            return Ok(());
        }
        parked.taken_over.remove(&key);
        Err(in_use(consumer, &task.shard, why.message()))
    }

    /// Bytes of the pages that wait for the batch starting at this position.
    pub(in crate::read) fn bytes(&self, task: &ReadTask, position: &Position) -> usize {
        match self.parked.lock().feeds.get(&key(task)) {
            Some(there) if there.position == *position => match &there.kept {
                Kept::Pages(pages) => pages.bytes(),
                Kept::Subscription(_) => 0,
            },
            _ => 0,
        }
    }

    /// Drops the parked feeds of a source, which ends its subscriptions.
    pub(crate) fn close(&self, source: &str) {
        self.parked.lock().close(source);
        self.subscriptions.forget(source);
    }
}

impl ParkedFeeds {
    /// Registers that a planner in this process reads the source with this consumer.
    pub(super) fn serve(&mut self, source: &str, consumer: &str) {
        self.served.insert(source.to_owned(), consumer.to_owned());
    }

    /// The consumer with which a planner in this process reads the source.
    pub(super) fn consumer(&self, source: &str) -> Option<&String> {
        self.served.get(source)
    }

    /// Availability after this position, if a subscription of the source's consumer stands there.
    pub(super) fn availability(&self, source: &str, shard: &ShardId, at: &Position) -> Option<Availability> {
        let there = self.feeds.get(&(source.to_owned(), shard.clone()))?;
        let subscription = there.subscription()?;
        let consumer = self.consumer(source);
        let counts = consumer.is_none_or(|consumer| subscription.consumer == *consumer);
        subscription
            .availability()
            .filter(|_| counts && there.position == *at)
    }

    /// Positions and availability of all subscriptions, by source.
    pub(super) fn statuses(&self) -> BTreeMap<String, BTreeMap<ShardId, ShardStatus>> {
        let mut sources = BTreeMap::<String, BTreeMap<_, _>>::new();
        for ((source, shard), there) in &self.feeds {
            let Some(subscription) = there.subscription() else {
                continue;
            };
            if let Some(found) = subscription.availability() {
                let (at, consumer) = (there.position.clone(), subscription.consumer.clone());
                let statuses = sources.entry(source.clone()).or_default();
                statuses.insert(shard.clone(), ShardStatus { at, found, consumer });
            }
        }
        sources
    }

    /// Keeps the subscriptions of queries that continue and ends the others.
    pub(super) fn on_ack(&mut self, ack: &ReportAck) {
        self.feeds.retain(|(source, _), there| {
            let Kept::Subscription(subscription) = &there.kept else {
                return true;
            };
            match ack.served.get(source) {
                Some(consumer) if subscription.consumer != *consumer => false,
                Some(_) => {
                    if subscription.is_of_use() {
                        there.since = Instant::now();
                    }
                    true
                }
                None => !ack.ended.contains(source),
            }
        });
    }

    /// Ends a shard's subscription.
    pub(super) fn end(&mut self, source: &str, shard: &ShardId) {
        let key = (source.to_owned(), shard.clone());
        if self
            .feeds
            .get(&key)
            .is_some_and(|there| there.subscription().is_some())
        {
            self.feeds.remove(&key);
        }
    }

    fn close(&mut self, source: &str) {
        self.feeds.retain(|(of, _), _| of != source);
        self.taken_over.retain(|(of, _), _| of != source);
        self.served.remove(source);
    }

    fn drop_idle(&mut self) {
        let served = &self.served;
        self.feeds
            .retain(|(source, _), there| there.is_fresh(served.get(source)));
    }
}

impl ParkedFeed {
    fn subscription(&self) -> Option<&Subscription> {
        match &self.kept {
            Kept::Subscription(subscription) => Some(subscription),
            Kept::Pages(_) => None,
        }
    }

    /// False once the feed has been idle for too long. `consumer` is the one with which a planner in this process
    /// reads the source.
    fn is_fresh(&self, consumer: Option<&String>) -> bool {
        let longest = match &self.kept {
            Kept::Pages(pages) if pages.has_more() => RECORDS_AGE,
            Kept::Pages(_) => ITERATOR_AGE,
            Kept::Subscription(own) if consumer == Some(&own.consumer) && own.is_of_use() => return true,
            Kept::Subscription(_) => SUBSCRIPTION_AGE,
        };
        self.since.elapsed() < longest
    }

    /// True if these are pages worth at least as much as those that would replace them.
    fn stays(&self, position: &Position, other: &Kept) -> bool {
        let (Kept::Pages(own), Kept::Pages(other)) = (&self.kept, other) else {
            return false;
        };
        let better = own.has_more() || !other.leads_on();
        self.position == *position && self.is_fresh(None) && better
    }
}

fn key(task: &ReadTask) -> Key {
    (task.source.clone(), task.shard.clone())
}

/// Drops feeds that are idle for too long, as long as any are parked.
async fn sweep(parked: Weak<Mutex<ParkedFeeds>>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(parked) = parked.upgrade() else { return };
        let mut parked = parked.lock();
        parked.drop_idle();
        if parked.feeds.is_empty() {
            parked.sweeping = false;
            return;
        }
    }
}
