//! A process's view of the subscriptions that wait for a query's next batch: those parked in this process, and those
//! that other processes report to the driver.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::consumers::{Busy, Consumers, InUseByQuery};
use super::event_buffer::Bell;
use super::registry::ParkedFeeds;
use super::reports::{Availability, Peers, REPEAT, ReportAck, SubscriptionReport};
use crate::error::Result;
use crate::stream::{Position, ShardId};

/// Minimum time between two reports to the driver.
const REPORT_EVERY: Duration = Duration::from_millis(10);

/// Subscription reports between executors and drivers, and the consumers that queries of this process read with.
/// Cloning shares the state.
#[derive(Clone, Debug)]
pub(crate) struct SubscriptionReports {
    parked: Arc<Mutex<ParkedFeeds>>,
    process: Arc<str>,
    /// Notified when a report may be due.
    changed: Arc<Notify>,
    inner: Arc<Mutex<Inner>>,
    consumers: Consumers,
}

/// Where both locks are held, this one is taken before the parked feeds'.
#[derive(Debug, Default)]
struct Inner {
    arrivals: HashMap<String, Arc<Notify>>,
    /// The last report to the driver, and when it was made.
    last_report: Option<(String, Instant)>,
    /// In the driver: the reports of other processes.
    peers: Peers,
}

impl SubscriptionReports {
    /// Reports on the subscriptions among these parked feeds.
    pub(super) fn of(parked: Arc<Mutex<ParkedFeeds>>) -> Self {
        Self {
            parked,
            process: uuid::Uuid::new_v4().to_string().into(),
            changed: Arc::default(),
            inner: Arc::default(),
            consumers: Consumers::default(),
        }
    }

    /// Identifies this process among those that read for a query.
    pub(crate) fn process(&self) -> String {
        self.process.to_string()
    }

    /// Notified when one of the source's subscriptions, in this process or in a reporting one, has something to read.
    pub(crate) fn arrivals(&self, source: &str) -> Arc<Notify> {
        let mut inner = self.inner();
        inner.arrivals.entry(source.to_owned()).or_default().clone()
    }

    /// Receivers of a notification when one of this process's subscriptions of the source receives something.
    pub(super) fn bell(&self, source: &str) -> Bell {
        Bell {
            driver_here: self.arrivals(source),
            driver_elsewhere: self.changed.clone(),
        }
    }

    /// Requests a report after a subscription was parked.
    pub(super) fn on_change(&self) {
        self.changed.notify_one();
    }

    /// Registers that a planner in this process reads the source with this consumer, until [`FeedRegistry::close`].
    ///
    /// [`FeedRegistry::close`]: super::FeedRegistry::close
    pub(crate) fn serve(&self, source: &str, consumer: &str) {
        self.parked.lock().serve(source, consumer);
        self.inner().arrivals.entry(source.to_owned()).or_default();
    }

    /// Availability after this position, from subscriptions of the source's consumer that stand there, in this
    /// process or in reporting ones.
    pub(crate) fn availability(&self, source: &str, shard: &ShardId, at: &Position) -> Option<Availability> {
        let inner = self.inner();
        let parked = self.parked.lock();
        let here = parked.availability(source, shard, at);
        here.max(
            inner
                .peers
                .availability(source, shard, at, parked.consumer(source)),
        )
    }

    /// True if another process reports on the source's subscriptions.
    pub(crate) fn has_reports_on(&self, source: &str) -> bool {
        self.inner().peers.reports_on(source)
    }

    /// The next report to the driver: due as soon as it differs from the last one, and every [`REPEAT`] while there
    /// are subscriptions.
    pub(crate) async fn next_report(&self) -> Result<String> {
        loop {
            let last = self.inner().last_report.as_ref().map(|(_, at)| *at);
            if let Some(last) = last {
                tokio::time::sleep_until(last + REPORT_EVERY).await;
            }
            if let Some(message) = self.due_report()? {
                return Ok(message);
            }
            // Not measured from the last report, which may be old: an empty report isn't repeated.
            let _ = tokio::time::timeout(REPEAT, self.changed.notified()).await;
        }
    }

    /// The report to the driver, if one is due. An empty one is sent once.
    fn due_report(&self) -> Result<Option<String>> {
        let mut inner = self.inner();
        let report = SubscriptionReport {
            process: self.process(),
            sources: self.parked.lock().statuses(),
        };
        let nothing = report.sources.is_empty();
        let message = report.to_json()?;
        let due = match &inner.last_report {
            None => !nothing,
            Some((last, at)) => *last != message || (!nothing && at.elapsed() >= REPEAT),
        };
        if !due {
            return Ok(None);
        }
        inner.last_report = Some((message.clone(), Instant::now()));
        Ok(Some(message))
    }

    /// Handles the driver's acknowledgement of a report: keeps the subscriptions of queries that continue and ends
    /// the others.
    pub(crate) fn on_ack(&self, answer: &str) -> Result<()> {
        let ack = ReportAck::from_json(answer)?;
        self.parked.lock().on_ack(&ack);
        Ok(())
    }

    /// Handles another process's report, in the driver. The acknowledgement lists the reported sources that queries
    /// read, with their consumers.
    pub(crate) fn on_report(&self, message: &str) -> Result<String> {
        let report = SubscriptionReport::from_json(message)?;
        let mut answer = ReportAck::default();
        let mut inner = self.inner();
        for source in report.sources.keys() {
            match self.parked.lock().consumer(source) {
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

    /// Ends a shard's subscription.
    pub(crate) fn end(&self, source: &str, shard: &ShardId) {
        self.parked.lock().end(source, shard);
    }

    /// Removes a source that no planner in this process reads any more.
    pub(super) fn forget(&self, source: &str) {
        self.inner().arrivals.remove(source);
    }

    /// Takes the consumer for a query of this process.
    pub(crate) fn claim_consumer(&self, consumer: &str) -> Result<InUseByQuery, Busy> {
        self.consumers.claim(consumer)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::future::poll_fn;
    use std::pin::pin;

    use super::*;
    use crate::read::FeedRegistry;

    #[tokio::test(start_paused = true)]
    async fn a_process_without_subscriptions_waits_for_some_and_does_nothing_meanwhile() {
        let feeds = FeedRegistry::default();
        let subscriptions = feeds.subscriptions();
        // It had some, and reported their end.
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
