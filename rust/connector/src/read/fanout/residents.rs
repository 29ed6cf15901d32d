//! The subscriptions of this process that no task reads from right now.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::buffer::{Bell, Buffer};
use super::consumers::{Busy, Consumers, InUseByQuery};
use super::remote::{Answer, REPEAT, Remote, Stand, Told};
use super::subscriber::{Subscriber, in_use};
use crate::error::Result;
use crate::options::SourceOptions;
use crate::read::ReadTask;
use crate::read::budget::{Budget, Room};
use crate::service::{FanOutApi, RequestCounters};
use crate::stream::{Position, ShardId};

/// A subscription that no task took over for so long ends: its query did, or reads the shard elsewhere. One of a query
/// whose planner is in this process, or tells that it goes on, stays.
const IDLE: Duration = Duration::from_secs(360);
/// How often that is looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// Least time between two messages to the driver.
const TELL_EVERY: Duration = Duration::from_millis(10);
/// Batches in a row of which each finds its subscription taken over, although this process read the last one too.
const MOST_LOST: u32 = 3;

type Key = (String, ShardId);

/// One shard's subscription with what it received, and where its next reader must start.
#[derive(Debug)]
pub(in crate::read) struct Resident {
    consumer: String,
    pub(super) position: Position,
    pub(super) buffer: Arc<Buffer>,
    /// What the subscription asks of the service while no task counts it.
    pub(super) counters: Arc<RequestCounters>,
    subscriber: JoinHandle<()>,
}

impl Drop for Resident {
    fn drop(&mut self) {
        self.subscriber.abort();
    }
}

/// The resident subscriptions by source and shard. Cloning shares them. Only a short cut: nothing depends on finding
/// one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Residents {
    inner: Arc<Mutex<Inner>>,
    consumers: Consumers,
}

#[derive(Debug)]
struct Inner {
    process: String,
    kept: HashMap<Key, (Resident, Instant)>,
    /// How often in a row a shard's subscription was taken over between two tasks of this process.
    lost: HashMap<Key, u32>,
    news: HashMap<String, Arc<Notify>>,
    /// The sources that planners in this process read, each with its consumer.
    served: HashMap<String, String>,
    /// Told when the driver should be.
    changed: Arc<Notify>,
    /// The last message to the driver, and when it was made.
    told: Option<(String, Instant)>,
    /// What the subscriptions of other processes told this one, if it is the driver's.
    remote: Remote,
    sweeping: bool,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            process: uuid::Uuid::new_v4().to_string(),
            kept: HashMap::new(),
            lost: HashMap::new(),
            news: HashMap::new(),
            served: HashMap::new(),
            changed: Arc::default(),
            told: None,
            remote: Remote::default(),
            sweeping: false,
        }
    }
}

/// What the planner finds where a subscription stands at its shard's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Standing {
    /// Nothing arrived.
    Quiet,
    /// Something to read arrived.
    News,
    /// The shard ended there, without a further record.
    End,
}

impl Residents {
    /// Names this process among those that read for a query.
    pub(crate) fn process(&self) -> String {
        self.inner().process.clone()
    }

    /// Told when one of the source's subscriptions has something to read, in this process or in one that tells it.
    pub(crate) fn news(&self, source: &str) -> Arc<Notify> {
        self.inner().news.entry(source.to_owned()).or_default().clone()
    }

    /// A planner in this process reads the source, with this consumer, until [`Self::close`].
    pub(crate) fn serve(&self, source: &str, consumer: &str) {
        let mut inner = self.inner();
        inner.served.insert(source.to_owned(), consumer.to_owned());
        inner.news.entry(source.to_owned()).or_default();
    }

    /// What came for the shard after this position, if a subscription by the source's consumer stands there, in this
    /// process or in one that tells it.
    pub(crate) fn standing(&self, source: &str, shard: &ShardId, at: &Position) -> Option<Standing> {
        let inner = self.inner();
        let consumer = inner.served.get(source);
        let here = inner
            .kept
            .get(&(source.to_owned(), shard.clone()))
            .filter(|(resident, _)| consumer.is_none_or(|consumer| resident.consumer == *consumer))
            .and_then(|(resident, _)| resident.standing().filter(|_| resident.position == *at));
        here.or_else(|| inner.remote.standing(source, shard, at, consumer))
    }

    /// True if another process tells this one of the source's subscriptions.
    pub(crate) fn told_of(&self, source: &str) -> bool {
        self.inner().remote.tells_of(source)
    }

    /// What the driver is to know of this process's subscriptions, as soon as that is something else than before, and
    /// again now and then.
    pub(crate) async fn tell(&self) -> Result<String> {
        let changed = self.inner().changed.clone();
        loop {
            let last = self.inner().told.as_ref().map(|(_, at)| *at);
            if let Some(last) = last {
                tokio::time::sleep_until(last + TELL_EVERY).await;
            }
            if let Some(message) = self.inner().message()? {
                return Ok(message);
            }
            // Not counted from the last message, which may be long ago: that there is nothing isn't told again.
            let _ = tokio::time::timeout(REPEAT, changed.notified()).await;
        }
    }

    /// Takes the driver's answer to what [`Self::tell`] told: keeps the subscriptions of queries that go on, and ends
    /// those of the others.
    pub(crate) fn answered(&self, answer: &str) -> Result<()> {
        let Answer { served, ended } = Answer::from_json(answer)?;
        let mut inner = self.inner();
        inner
            .kept
            .retain(|(source, _), (resident, since)| match served.get(source) {
                Some(consumer) if resident.consumer != *consumer => false,
                Some(_) => {
                    if resident.is_of_use() {
                        *since = Instant::now();
                    }
                    true
                }
                None => !ended.contains(source),
            });
        Ok(())
    }

    /// Takes, in the driver, what another process tells, and answers which of its sources a query reads, and with which
    /// consumer.
    pub(crate) fn hear(&self, message: &str) -> Result<String> {
        let told = Told::from_json(message)?;
        let mut answer = Answer::default();
        let mut inner = self.inner();
        for source in told.sources.keys() {
            match inner.served.get(source) {
                Some(consumer) => {
                    answer.served.insert(source.clone(), consumer.clone());
                    if let Some(news) = inner.news.get(source) {
                        news.notify_one();
                    }
                }
                None => answer.ended.push(source.clone()),
            }
        }
        inner.remote.hear(told);
        answer.to_json()
    }

    /// Takes over the subscription by the task's consumer that stands where the task starts.
    pub(in crate::read) fn take(&self, task: &ReadTask) -> Option<Resident> {
        let mut inner = self.inner();
        let key = (task.source.clone(), task.shard.clone());
        let (kept, _) = inner.kept.get(&key)?;
        let fits = kept.position == task.start && task.consumer.as_ref() == Some(&kept.consumer);
        if !fits || kept.buffer.failure().is_some() {
            return None;
        }
        inner.lost.remove(&key);
        let (resident, _) = inner.kept.remove(&key)?;
        resident.buffer.attach(true);
        Some(resident)
    }

    /// Opens a subscription where the task starts. One that stands elsewhere, or is by another consumer, ends: it is
    /// another batch's.
    pub(in crate::read) fn open(
        &self,
        task: &ReadTask,
        consumer: &str,
        options: &SourceOptions,
        budget: &Budget,
        api: &Arc<dyn FanOutApi>,
    ) -> Result<Resident> {
        let key = (task.source.clone(), task.shard.clone());
        let news = self.news(&task.source);
        {
            let mut inner = self.inner();
            let here_before = task.holder.as_ref() == Some(&inner.process);
            let former = inner.kept.remove(&key);
            match former
                .as_ref()
                .and_then(|(resident, _)| resident.buffer.failure())
            {
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
        let room = Room::new(options, budget);
        let bell = Bell {
            driver_here: news,
            driver_elsewhere: self.inner().changed.clone(),
        };
        let buffer = Arc::new(Buffer::new(room, bell));
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
        Ok(Resident {
            consumer: consumer.to_owned(),
            position: task.start.clone(),
            buffer,
            counters,
            subscriber: tokio::spawn(subscriber.run()),
        })
    }

    /// Keeps a subscription for the next task.
    pub(super) fn keep(&self, source: &str, shard: &ShardId, resident: Resident) {
        resident.buffer.attach(false);
        let mut inner = self.inner();
        let key = (source.to_owned(), shard.clone());
        inner.kept.insert(key, (resident, Instant::now()));
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
        inner.news.remove(source);
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

impl Resident {
    /// What came after its position; none from one that gave up, or has been without sight for long.
    fn standing(&self) -> Option<Standing> {
        if self.buffer.failure().is_some() {
            return None;
        }
        match self.buffer.waiting() {
            None => (!self.buffer.is_blind()).then_some(Standing::Quiet),
            Some(false) => Some(Standing::News),
            Some(true) => Some(Standing::End),
        }
    }

    /// True if a batch may still read from it: not after a failure, and not at the shard's end.
    fn is_of_use(&self) -> bool {
        self.buffer.failure().is_none() && self.buffer.waiting() != Some(true)
    }
}

impl Inner {
    /// The message to the driver if it is due: nothing is told twice at once, and that there is nothing only once.
    fn message(&mut self) -> Result<Option<String>> {
        let mut told = Told {
            process: self.process.clone(),
            sources: BTreeMap::new(),
        };
        for ((source, shard), (resident, _)) in &self.kept {
            if let Some(found) = resident.standing() {
                let (at, consumer) = (resident.position.clone(), resident.consumer.clone());
                let stands = told.sources.entry(source.clone()).or_default();
                stands.insert(shard.clone(), Stand { at, found, consumer });
            }
        }
        let nothing = told.sources.is_empty();
        let message = told.to_json()?;
        let due = match &self.told {
            None => !nothing,
            Some((last, at)) => *last != message || (!nothing && at.elapsed() >= REPEAT),
        };
        if !due {
            return Ok(None);
        }
        self.told = Some((message.clone(), Instant::now()));
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
        kept.retain(|(source, _), (resident, since)| {
            let counted_on = served.get(source) == Some(&resident.consumer) && resident.is_of_use();
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
        let residents = Residents::default();
        // It had some, and told that they are gone.
        let none = Told {
            process: residents.process(),
            sources: BTreeMap::new(),
        };
        let nothing = none.to_json().expect("writes");
        residents.inner().told = Some((nothing, Instant::now()));
        let mut telling = pin!(residents.tell());
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
