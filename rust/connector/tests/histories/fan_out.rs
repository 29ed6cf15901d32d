//! Enhanced fan-out of the simulated stream: one subscription of a shard at a time, which ends or breaks as the
//! history prescribes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use kinesis_connector::service::{
    Consumer, ConsumerId, ConsumerStatus, FanOutApi, Page, RequestCounters, ShardIterator, SubscribeAt,
    Subscription, SubscriptionConnection,
};
use kinesis_connector::stream::{Position, ShardId};
use kinesis_connector::{Error, ErrorKind, Result};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::history::{FanOut, Fate};
use crate::stream::{Kinesis, Place, index_of, index_of_record};

const CONSUMER: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/events/consumer/app:1";
/// Lifetime of a subscription (AWS limit).
const LIFETIME: Duration = Duration::from_secs(300);
/// Time in which the service refuses another subscription (AWS limit). A later one takes over the shard.
const EXCLUSIVE: Duration = Duration::from_secs(5);
/// Time without an event after which an empty event is sent.
const IDLE: Duration = Duration::from_secs(5);

/// The engine's access to the stream's only consumer.
#[derive(Debug)]
pub struct Pushing {
    kinesis: Arc<Kinesis>,
    history: FanOut,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: usize,
    /// Start of each shard's last subscription, and the sender that signals its takeover.
    last: HashMap<ShardId, (Instant, watch::Sender<bool>)>,
}

/// An open subscription.
struct Open {
    kinesis: Arc<Kinesis>,
    shard: ShardId,
    place: usize,
    push: Duration,
    changes: watch::Receiver<()>,
    taken: watch::Receiver<bool>,
    until: Instant,
    /// Number of events left before this fate.
    events: Option<(u8, Fate)>,
    next_empty: Instant,
}

impl Pushing {
    pub fn new(kinesis: Arc<Kinesis>, history: FanOut) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Self {
            kinesis,
            history,
            state,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no test panics while it holds the state")
    }

    /// Fate of the next subscription; `None` if it lasts.
    fn fate(&self, state: &mut State) -> Option<Fate> {
        let fates = &self.history.fates;
        state.calls += 1;
        fates.get((state.calls - 1) % (fates.len() + 1)).copied()
    }
}

#[async_trait]
impl FanOutApi for Pushing {
    async fn register_consumer(&self, _: &str, _: &str) -> Result<Consumer> {
        Err(Error::new(ErrorKind::Internal, "the consumer is there"))
    }

    async fn describe_consumer(&self, _: ConsumerId<'_>) -> Result<Consumer> {
        Ok(Consumer {
            arn: CONSUMER.to_owned(),
            status: ConsumerStatus::Active,
        })
    }

    async fn list_consumers(&self, _: &str) -> Result<Vec<Consumer>> {
        Err(Error::new(ErrorKind::Internal, "the consumer is there"))
    }

    async fn deregister_consumer(&self, _: &str) -> Result<()> {
        Err(Error::new(ErrorKind::Internal, "the consumer is nobody's"))
    }

    async fn subscribe(
        &self,
        _: &SubscriptionConnection,
        _: &str,
        shard: &ShardId,
        at: &SubscribeAt,
        _: Duration,
        _: &Arc<RequestCounters>,
    ) -> Result<Subscription> {
        let place = {
            let stream = self.kinesis.stream();
            let found = stream.listed(shard)?;
            match at {
                SubscribeAt::Position(Position::ShardEnd) => {
                    return Err(Error::new(ErrorKind::Internal, "a subscription at a shard's end"));
                }
                SubscribeAt::Position(position) => index_of(found, position),
                SubscribeAt::Record(number) => index_of_record(found, number),
            }
        };
        let now = Instant::now();
        let mut state = self.state();
        if state
            .last
            .get(shard)
            .is_some_and(|(opened, _)| now - *opened < EXCLUSIVE)
        {
            return Err(in_use().with("requestId", "1"));
        }
        let events = match self.fate(&mut state) {
            Some(Fate::Refused) => return Err(throttled()),
            Some(Fate::Impossible)
                if matches!(
                    at,
                    SubscribeAt::Position(Position::After(_)) | SubscribeAt::Record(_)
                ) =>
            {
                return Err(Error::new(ErrorKind::RefusedPosition, "no such position"));
            }
            Some(fate @ (Fate::Ends(events) | Fate::Breaks(events) | Fate::FallsSilent(events))) => {
                Some((events, fate))
            }
            Some(Fate::Impossible) | None => None,
        };
        let (take, taken) = watch::channel(false);
        if let Some((_, earlier)) = state.last.insert(shard.clone(), (now, take)) {
            earlier.send_replace(true);
        }
        let open = Open {
            kinesis: self.kinesis.clone(),
            shard: shard.clone(),
            place,
            push: Duration::from_millis(self.history.push_millis),
            changes: self.kinesis.changes(),
            taken,
            until: now + LIFETIME,
            events,
            // The first event comes at once, with or without records.
            next_empty: now,
        };
        let pages = stream::unfold(Some(open), |open| async move {
            let mut open = open?;
            match open.event().await {
                Some(Ok(page)) => {
                    let ends = page.next.is_none();
                    Some((Ok(page), (!ends).then_some(open)))
                }
                Some(Err(error)) => Some((Err(error), None)),
                None => None,
            }
        });
        Ok(pages.boxed())
    }
}

impl Open {
    /// Waits for the next event; `None` when the service ends the subscription.
    async fn event(&mut self) -> Option<Result<Page>> {
        match &mut self.events {
            Some((0, Fate::Breaks(_))) => return Some(Err(broken())),
            Some((0, Fate::FallsSilent(_))) => std::future::pending().await,
            Some((0, _)) => return None,
            Some((events, _)) => *events -= 1,
            None => {}
        }
        loop {
            self.changes.mark_unchanged();
            if *self.taken.borrow() {
                return Some(Err(in_use()));
            }
            if Instant::now() >= self.until {
                return None;
            }
            let waits = match self.kinesis.stream().listed(&self.shard) {
                Ok(shard) => shard.records.len() > self.place || shard.closed.is_some(),
                Err(error) => return Some(Err(error)),
            };
            if waits {
                tokio::time::sleep(self.push).await;
            }
            if waits || Instant::now() >= self.next_empty {
                return Some(self.push_now());
            }
            let wake = self.next_empty.min(self.until);
            tokio::select! {
                _ = self.changes.changed() => {}
                _ = self.taken.changed() => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    fn push_now(&mut self) -> Result<Page> {
        let mut stream = self.kinesis.stream();
        let from = Place {
            index: self.place,
            time: 0,
        };
        let (page, place) = stream.page(&self.shard, from, usize::MAX, None)?;
        self.place = place.index;
        self.next_empty = Instant::now() + IDLE;
        let number = stream.number_before(&self.shard, self.place);
        let next = page.next.map(|_| ShardIterator(number.to_string()));
        Ok(Page { next, ..page })
    }
}

fn in_use() -> Error {
    Error::new(ErrorKind::InUse, "another subscription has the shard").retryable(true)
}

fn throttled() -> Error {
    Error::new(ErrorKind::Throttled, "not now").retryable(true)
}

fn broken() -> Error {
    Error::new(ErrorKind::Transport, "the connection broke").retryable(true)
}
