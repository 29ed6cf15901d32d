//! Enhanced fan-out consumers of a stream, and their subscriptions to shards.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::{Shard, Stream, now_ms};
use crate::knobs::{PlannedFault, SubscriptionFault};
use crate::protocol::{ACCOUNT, ErrorCode, ServiceError};
use crate::stats::add;

/// Maximum number of consumers of a stream that are CREATING at the same time.
const MOST_CREATING: usize = 5;

/// The consumers of one stream, by name.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    by_name: BTreeMap<String, Arc<Consumer>>,
    /// Creation time of the latest consumer of each name: the next one needs another ARN.
    created_s: BTreeMap<String, i64>,
}

/// A registered consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub name: String,
    pub arn: String,
    pub created_s: i64,
    active_from_ms: i64,
    /// Time at which a deregistered consumer disappears.
    gone_at_ms: Mutex<Option<i64>>,
    /// Latest subscriptions, by the shard's index.
    subscribed: Mutex<HashMap<u32, Latest>>,
}

/// The latest subscription to a shard. It is kept after its end, because the limits count from the time of its call.
#[derive(Debug)]
struct Latest {
    called: Instant,
    control: Option<Arc<Control>>,
}

/// The limits of SubscribeToShard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubscribeLimits {
    /// Time in which a subscription keeps out another one of its consumer and shard.
    pub exclusive: Duration,
    /// Minimum time between two calls; zero is no limit.
    pub between_calls: Duration,
}

/// Why a subscription ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Another subscription of the consumer took over the shard.
    TakenOver,
    Deregistered,
    StreamDeleted,
}

/// Controls one subscription; kept by its consumer.
#[derive(Debug)]
pub(crate) struct Control {
    pub shard: Arc<Shard>,
    state: Mutex<ControlState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct ControlState {
    ending: Option<Ending>,
    fault: Option<PlannedFault>,
    finished: bool,
}

impl Control {
    fn new(shard: &Arc<Shard>) -> Control {
        add(&shard.counters.subscriptions, 1);
        Control {
            shard: Arc::clone(shard),
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Why the subscription must end, if it must.
    pub fn ending(&self) -> Option<Ending> {
        self.state.lock().ending
    }

    /// Resolves at the next change after the future is enabled.
    pub fn wait(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Plans a fault for the subscription, replacing an earlier one.
    pub fn plan(&self, fault: PlannedFault) {
        self.state.lock().fault = Some(fault);
        self.changed.notify_waiters();
    }

    /// Takes the fault that is due, if any.
    pub fn fault(&self) -> Option<SubscriptionFault> {
        let due = self.state.lock().fault.take_if(|fault| fault.after_events == 0);
        due.map(|due| due.fault)
    }

    /// Counts an event towards the planned fault.
    pub fn count_event(&self) {
        if let Some(fault) = &mut self.state.lock().fault {
            fault.after_events = fault.after_events.saturating_sub(1);
        }
    }

    fn is_open(&self) -> bool {
        !self.state.lock().finished
    }

    /// Counts the subscription as ended, once.
    pub fn finish(&self) {
        let mut state = self.state.lock();
        if !state.finished {
            state.finished = true;
            add(&self.shard.counters.subscriptions_ended, 1);
        }
    }

    /// Ends the subscription. It counts as ended from here on, even if its client notices later.
    fn end(&self, ending: Ending) {
        self.state.lock().ending.get_or_insert(ending);
        self.finish();
        self.changed.notify_waiters();
    }
}

impl Consumer {
    pub fn status(&self) -> &'static str {
        if self.gone_at_ms.lock().is_some() {
            "DELETING"
        } else if now_ms() < self.active_from_ms {
            "CREATING"
        } else {
            "ACTIVE"
        }
    }

    fn require_active(&self, stream: &str) -> Result<(), ServiceError> {
        if self.status() == "ACTIVE" {
            return Ok(());
        }
        Err(ServiceError::in_use(format!(
            "Consumer {} with creation timestamp {} under stream: {stream}, account {ACCOUNT} is not in ACTIVE \
             status.",
            self.name, self.created_s
        )))
    }

    /// Opens a subscription to a shard; it replaces an earlier one that is old enough. With `dry`, only checks
    /// whether it could.
    pub fn subscribe(
        &self,
        stream: &Stream,
        shard: &Arc<Shard>,
        limits: SubscribeLimits,
        dry: bool,
    ) -> Result<Arc<Control>, ServiceError> {
        let mut subscribed = self.subscribed.lock();
        // Checked under the lock, so that no subscription is opened after a deregistration.
        self.require_active(&stream.name)?;
        let now = Instant::now();
        if let Some(latest) = subscribed.get(&shard.index) {
            let age = now - latest.called;
            if age < limits.between_calls {
                return Err(ServiceError::new(
                    ErrorCode::LimitExceededException,
                    format!(
                        "Rate of SubscribeToShard exceeded for consumer {} and shard {} in stream {}.",
                        self.name, shard.id, stream.name
                    ),
                ));
            }
            if age < limits.exclusive {
                return Err(ServiceError::in_use(
                    self.other_subscription(&stream.name, &shard.id),
                ));
            }
        }
        if dry {
            return Err(ServiceError::new(
                ErrorCode::DryRunOperationException,
                "The request would have succeeded, but the DryRun parameter was specified.",
            ));
        }
        let control = Arc::new(Control::new(shard));
        let latest = Latest {
            called: now,
            control: Some(Arc::clone(&control)),
        };
        if let Some(Latest {
            control: Some(former),
            ..
        }) = subscribed.insert(shard.index, latest)
        {
            former.end(Ending::TakenOver);
        }
        Ok(control)
    }

    pub fn open_subscriptions(&self) -> Vec<Arc<Control>> {
        let subscribed = self.subscribed.lock();
        let controls = subscribed.values().filter_map(|latest| latest.control.clone());
        controls.filter(|control| control.is_open()).collect()
    }

    /// Error message for a call too soon after another one, and for a subscription that was taken over.
    pub fn other_subscription(&self, stream: &str, shard: &str) -> String {
        format!(
            "Another active subscription exists for this consumer: {ACCOUNT}:{stream}:{shard}:{}",
            self.name
        )
    }

    /// Refuses new subscriptions, ends the open ones, and lets the consumer disappear after `gone_after_ms`.
    pub fn end(&self, ending: Ending, gone_after_ms: u64) {
        *self.gone_at_ms.lock() = Some(now_ms() + gone_after_ms as i64);
        for latest in self.subscribed.lock().values_mut() {
            if let Some(control) = latest.control.take() {
                control.end(ending);
            }
        }
    }
}

impl Consumers {
    /// Removes deregistered consumers whose time has passed.
    pub fn forget_deleted(&mut self) {
        let now = now_ms();
        self.by_name
            .retain(|_, consumer| consumer.gone_at_ms.lock().is_none_or(|at| now < at));
    }

    /// All consumers, by name.
    pub fn all(&self) -> impl ExactSizeIterator<Item = &Arc<Consumer>> {
        self.by_name.values()
    }

    pub fn named(&self, name: &str) -> Option<&Arc<Consumer>> {
        self.by_name.get(name)
    }

    pub fn register(
        &mut self,
        stream: &Stream,
        name: &str,
        creating_for_ms: u64,
        limit: usize,
    ) -> Result<Arc<Consumer>, ServiceError> {
        if self.by_name.contains_key(name) {
            return Err(ServiceError::in_use(format!(
                "Consumer {name} under stream {} already exists for account {ACCOUNT}.",
                stream.name
            )));
        }
        if self.by_name.len() >= limit {
            return Err(ServiceError::new(
                ErrorCode::LimitExceededException,
                format!(
                    "The stream {} under account {ACCOUNT} already has {limit} registered consumers, which is the \
                     limit.",
                    stream.name
                ),
            ));
        }
        let creating = self.all().filter(|c| c.status() == "CREATING").count();
        if creating >= MOST_CREATING {
            return Err(ServiceError::new(
                ErrorCode::LimitExceededException,
                format!(
                    "{MOST_CREATING} consumers of stream {} are in CREATING status already.",
                    stream.name
                ),
            ));
        }
        let now = now_ms();
        let after = self.created_s.get(name).map_or(0, |last| last + 1);
        let created_s = now.div_euclid(1000).max(after);
        self.created_s.insert(name.to_owned(), created_s);
        let consumer = Arc::new(Consumer {
            name: name.to_owned(),
            arn: format!("{}/consumer/{name}:{created_s}", stream.arn),
            created_s,
            active_from_ms: now + creating_for_ms as i64,
            gone_at_ms: Mutex::default(),
            subscribed: Mutex::default(),
        });
        self.by_name.insert(name.to_owned(), Arc::clone(&consumer));
        Ok(consumer)
    }

    /// Ends the consumer's subscriptions, and shows the consumer as DELETING for a while.
    pub fn deregister(
        &mut self,
        stream: &Stream,
        consumer: &Consumer,
        deleting_for_ms: u64,
    ) -> Result<(), ServiceError> {
        consumer.require_active(&stream.name)?;
        consumer.end(Ending::Deregistered, deleting_for_ms);
        self.forget_deleted();
        Ok(())
    }
}
