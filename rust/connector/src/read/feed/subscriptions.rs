//! Subscriptions of this process that are parked between two tasks, and the reports on them to the driver.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::consumers::{Busy, Consumers, InUseByQuery};
use super::page_buffer::{Bell, Buffer};
use super::reports::{Peers, REPEAT, ReportAck, ShardStatus, SubscriptionReport};
use super::subscriber::{Subscriber, in_use};
use crate::error::Result;
use crate::options::SourceOptions;
use crate::read::ReadTask;
use crate::read::memory_pool::{MemoryLimits, MemoryPool};
use crate::service::{FanOutApi, RequestCounters};
use crate::stream::{Position, ShardId};

/// A subscription that no task took over for so long ends: its query did, or reads the shard elsewhere. One of a query
/// whose planner is in this process, or tells that it goes on, stays.
const IDLE: Duration = Duration::from_secs(360);
/// How often that is looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// Least time between two reports to the driver.
const REPORT_EVERY: Duration = Duration::from_millis(10);
/// Batches in a row of which each finds its subscription taken over, although this process read the last one too.
const MOST_LOST: u32 = 3;

type Key = (String, ShardId);

/// One shard's subscription with what it received, and where its next reader must start.
#[derive(Debug)]
pub(in crate::read) struct KeptSubscription {
    consumer: String,
    pub(super) position: Position,
    pub(super) buffer: Arc<Buffer>,
    /// What the subscription asks of the service while no task counts it.
    pub(super) counters: Arc<RequestCounters>,
    subscriber: JoinHandle<()>,
}

impl Drop for KeptSubscription {
    fn drop(&mut self) {
        self.subscriber.abort();
    }
}

/// The kept subscriptions by source and shard. Cloning shares them. Only a short cut: nothing depends on finding
/// one.
#[derive(Clone, Debug, Default)]
pub(crate) struct SubscriptionRegistry {
    inner: Arc<Mutex<Inner>>,
    consumers: Consumers,
}

#[derive(Debug)]
struct Inner {
    process: String,
    kept: HashMap<Key, (KeptSubscription, Instant)>,
    /// How often in a row a shard's subscription was taken over between two tasks of this process.
    lost: HashMap<Key, u32>,
    arrivals: HashMap<String, Arc<Notify>>,
    /// The sources that planners in this process read, each with its consumer.
    served: HashMap<String, String>,
    /// Notified when a report is due.
    changed: Arc<Notify>,
    /// The last report to the driver, and when it was made.
    last_report: Option<(String, Instant)>,
    /// The reports of other processes, in the driver's.
    peers: Peers,
    sweeping: bool,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            process: uuid::Uuid::new_v4().to_string(),
            kept: HashMap::new(),
            lost: HashMap::new(),
            arrivals: HashMap::new(),
            served: HashMap::new(),
            changed: Arc::default(),
            last_report: None,
            peers: Peers::default(),
            sweeping: false,
        }
    }
}

/// Whether a shard has anything to read after a position, by the subscription that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Availability {
    /// Nothing arrived.
    Idle,
    /// Records arrived.
    HasRecords,
    /// The shard ended there, without a further record.
    Closed,
}

impl SubscriptionRegistry {
    /// Names this process among those that read for a query.
    pub(crate) fn process(&self) -> String {
        self.inner().process.clone()
    }

    /// Notified when one of the source's subscriptions has something to read, in this process or in one that tells it.
    pub(crate) fn arrivals(&self, source: &str) -> Arc<Notify> {
        self.inner()
            .arrivals
            .entry(source.to_owned())
            .or_default()
            .clone()
    }

    /// A planner in this process reads the source, with this consumer, until [`Self::close`].
    pub(crate) fn serve(&self, source: &str, consumer: &str) {
        let mut inner = self.inner();
        inner.served.insert(source.to_owned(), consumer.to_owned());
        inner.arrivals.entry(source.to_owned()).or_default();
    }

    /// What came for the shard after this position, if a subscription by the source's consumer stands there, in this
    /// process or in one that tells it.
    pub(crate) fn standing(&self, source: &str, shard: &ShardId, at: &Position) -> Option<Availability> {
        let inner = self.inner();
        let consumer = inner.served.get(source);
        let here = inner
            .kept
            .get(&(source.to_owned(), shard.clone()))
            .filter(|(kept, _)| consumer.is_none_or(|consumer| kept.consumer == *consumer))
            .and_then(|(kept, _)| kept.standing().filter(|_| kept.position == *at));
        here.or_else(|| inner.peers.standing(source, shard, at, consumer))
    }

    /// True if another process reports on the source's subscriptions.
    pub(crate) fn has_reports_on(&self, source: &str) -> bool {
        self.inner().peers.reports_on(source)
    }

    /// The next report to the driver: as soon as it differs from the last one, and repeated every [`REPEAT`] while
    /// there are subscriptions.
    pub(crate) async fn next_report(&self) -> Result<String> {
        let changed = self.inner().changed.clone();
        loop {
            let last = self.inner().last_report.as_ref().map(|(_, at)| *at);
            if let Some(last) = last {
                tokio::time::sleep_until(last + REPORT_EVERY).await;
            }
            if let Some(message) = self.inner().message()? {
                return Ok(message);
            }
            // Not counted from the last report, which may be long ago: an empty one isn't repeated.
            let _ = tokio::time::timeout(REPEAT, changed.notified()).await;
        }
    }

    /// Takes the driver's acknowledgement of a report: keeps the subscriptions of queries that go on, ends the others.
    pub(crate) fn on_ack(&self, answer: &str) -> Result<()> {
        let ReportAck { served, ended } = ReportAck::from_json(answer)?;
        let mut inner = self.inner();
        inner
            .kept
            .retain(|(source, _), (kept, since)| match served.get(source) {
                Some(consumer) if kept.consumer != *consumer => false,
                Some(_) => {
                    if kept.is_of_use() {
                        *since = Instant::now();
                    }
                    true
                }
                None => !ended.contains(source),
            });
        Ok(())
    }

    /// Takes, in the driver, the report of another process. The acknowledgement names which of its sources a query
    /// reads, and with which consumer.
    pub(crate) fn on_report(&self, message: &str) -> Result<String> {
        let report = SubscriptionReport::from_json(message)?;
        let mut answer = ReportAck::default();
        let mut inner = self.inner();
        for source in report.sources.keys() {
            match inner.served.get(source) {
                Some(consumer) => {
                    answer.served.insert(source.clone(), consumer.clone());
                    if let Some(arrivals) = inner.arrivals.get(source) {
                        arrivals.notify_one();
                    }
                }
                None => answer.ended.push(source.clone()),
            }
        }
        inner.peers.on_report(report);
        answer.to_json()
    }

    /// Takes over the subscription by the task's consumer that stands where the task starts.
    pub(in crate::read) fn take(&self, task: &ReadTask) -> Option<KeptSubscription> {
        let mut inner = self.inner();
        let key = (task.source.clone(), task.shard.clone());
        let (kept, _) = inner.kept.get(&key)?;
        let fits = kept.position == task.start && task.consumer.as_ref() == Some(&kept.consumer);
        if !fits || kept.buffer.failure().is_some() {
            return None;
        }
        inner.lost.remove(&key);
        let (kept, _) = inner.kept.remove(&key)?;
        kept.buffer.attach(true);
        Some(kept)
    }

    /// Opens a subscription where the task starts. One that stands elsewhere, or is by another consumer, ends: it is
    /// another batch's.
    pub(in crate::read) fn open(
        &self,
        task: &ReadTask,
        consumer: &str,
        options: &SourceOptions,
        pool: &MemoryPool,
        api: &Arc<dyn FanOutApi>,
    ) -> Result<KeptSubscription> {
        let key = (task.source.clone(), task.shard.clone());
        let arrivals = self.arrivals(&task.source);
        {
            let mut inner = self.inner();
            let here_before = task.previous_executor.as_ref() == Some(&inner.process);
            let former = inner.kept.remove(&key);
            match former.as_ref().and_then(|(kept, _)| kept.buffer.failure()) {
                Some(why)
                    if here_before && former.as_ref().is_some_and(|(r, _)| r.buffer.was_taken_over()) =>
                {
                    let lost = inner.lost.entry(key.clone()).or_default();
                    *lost += 1;
                    if *lost >= MOST_LOST {
                        inner.lost.remove(&key);
                        return Err(in_use(consumer, &task.shard, why.message()));
                    }
                }
                _ => {
                    inner.lost.remove(&key);
                }
            }
        }
        let limits = MemoryLimits::new(options, pool);
        let bell = Bell {
            driver_here: arrivals,
            driver_elsewhere: self.inner().changed.clone(),
        };
        let buffer = Arc::new(Buffer::new(limits, bell));
        let counters: Arc<RequestCounters> = Arc::default();
        let subscriber = Subscriber {
            api: api.clone(),
            consumer: consumer.to_owned(),
            shard: task.shard.clone(),
            start: task.start.clone(),
            tip_seen: task.is_tip_seen(),
            timeout: options.subscribe_timeout,
            retry: Subscriber::retry_options(options),
            buffer: buffer.clone(),
            counters: counters.clone(),
        };
        Ok(KeptSubscription {
            consumer: consumer.to_owned(),
            position: task.start.clone(),
            buffer,
            counters,
            subscriber: tokio::spawn(subscriber.run()),
        })
    }

    /// Keeps a subscription for the next task.
    pub(super) fn keep(&self, source: &str, shard: &ShardId, kept: KeptSubscription) {
        kept.buffer.attach(false);
        let mut inner = self.inner();
        let key = (source.to_owned(), shard.clone());
        inner.kept.insert(key, (kept, Instant::now()));
        inner.changed.notify_one();
        if !inner.sweeping {
            inner.sweeping = true;
            tokio::spawn(sweep(Arc::downgrade(&self.inner)));
        }
    }

    /// Ends the subscriptions of a source.
    pub(crate) fn close(&self, source: &str) {
        let mut inner = self.inner();
        inner.kept.retain(|(kept, _), _| kept != source);
        inner.lost.retain(|(kept, _), _| kept != source);
        inner.arrivals.remove(source);
        inner.served.remove(source);
    }

    /// Ends the subscription of a shard.
    pub(crate) fn end(&self, source: &str, shard: &ShardId) {
        self.inner().kept.remove(&(source.to_owned(), shard.clone()));
    }

    /// Takes the consumer for a query of this process.
    pub(crate) fn claim_consumer(&self, consumer: &str) -> Result<InUseByQuery, Busy> {
        self.consumers.claim(consumer)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeptSubscription {
    /// What came after its position; none from one that gave up, or has been without sight for long.
    fn standing(&self) -> Option<Availability> {
        if self.buffer.failure().is_some() {
            return None;
        }
        match self.buffer.waiting() {
            None => (!self.buffer.is_blind()).then_some(Availability::Idle),
            Some(false) => Some(Availability::HasRecords),
            Some(true) => Some(Availability::Closed),
        }
    }

    /// True if a batch may still read from it: not after a failure, and not at the shard's end.
    fn is_of_use(&self) -> bool {
        self.buffer.failure().is_none() && self.buffer.waiting() != Some(true)
    }
}

impl Inner {
    /// The report to the driver, if one is due. An empty one is sent once.
    fn message(&mut self) -> Result<Option<String>> {
        let mut report = SubscriptionReport {
            process: self.process.clone(),
            sources: BTreeMap::new(),
        };
        for ((source, shard), (kept, _)) in &self.kept {
            if let Some(found) = kept.standing() {
                let (at, consumer) = (kept.position.clone(), kept.consumer.clone());
                let stands = report.sources.entry(source.clone()).or_default();
                stands.insert(shard.clone(), ShardStatus { at, found, consumer });
            }
        }
        let nothing = report.sources.is_empty();
        let message = report.to_json()?;
        let due = match &self.last_report {
            None => !nothing,
            Some((last, at)) => *last != message || (!nothing && at.elapsed() >= REPEAT),
        };
        if !due {
            return Ok(None);
        }
        self.last_report = Some((message.clone(), Instant::now()));
        Ok(Some(message))
    }
}

/// Ends what is idle for too long, while there is anything.
async fn sweep(inner: Weak<Mutex<Inner>>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(inner) = inner.upgrade() else { return };
        let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { kept, served, .. } = &mut *inner;
        kept.retain(|(source, _), (kept, since)| {
            let counted_on = served.get(source) == Some(&kept.consumer) && kept.is_of_use();
            counted_on || since.elapsed() < IDLE
        });
        if inner.kept.is_empty() {
            inner.sweeping = false;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_process_without_subscriptions_waits_for_some_and_does_nothing_meanwhile() {
        let subscriptions = SubscriptionRegistry::default();
        // It had some, and told that they are gone.
        let none = SubscriptionReport {
            process: subscriptions.process(),
            sources: BTreeMap::new(),
        };
        let nothing = none.to_json().expect("writes");
        subscriptions.inner().last_report = Some((nothing, Instant::now()));
        let mut telling = pin!(subscriptions.next_report());
        let mut polls = 0;
        let counted = poll_fn(|context| {
            polls += 1;
            assert!(polls < 1_000, "it asks itself over and over");
            telling.as_mut().poll(context)
        });
        let minutes = Duration::from_secs(300);
        assert!(
            tokio::time::timeout(minutes, counted).await.is_err(),
            "nothing to tell"
        );
    }
}
