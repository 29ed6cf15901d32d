//! The subscriber against a fake service in simulated time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::event_buffer::{Bell, EventBuffer, Found};
use super::subscriber::Subscriber;
use crate::error::{Error, ErrorKind, Result};
use crate::options::RetryOptions;
use crate::read::memory_pool::{MemoryLimits, MemoryPool};
use crate::service::{
    Consumer, ConsumerId, ConsumerStatus, FanOutApi, Page, RecordColumns, RequestCounters, ShardIterator,
    SubscribeAt, Subscription, SubscriptionConnection,
};
use crate::stream::{Position, ShardId};

/// Behavior of one subscription.
pub(super) enum Script {
    Refused(Error),
    Pushes(Vec<Result<Page>>),
    /// Sends these events, then stays silent.
    Stalls(Vec<Result<Page>>),
}

#[derive(Default)]
pub(super) struct Fake {
    scripts: Mutex<VecDeque<Script>>,
    asked: Mutex<Vec<String>>,
    pulled: Arc<AtomicUsize>,
}

impl Fake {
    /// A service whose subscriptions follow these scripts in order.
    pub(super) fn with(scripts: Vec<Script>) -> Self {
        Self {
            scripts: Mutex::new(scripts.into()),
            ..Self::default()
        }
    }
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

#[async_trait]
impl FanOutApi for Fake {
    async fn register_consumer(&self, _: &str, name: &str) -> Result<Consumer> {
        panic!("{name} was registered")
    }

    async fn describe_consumer(&self, _: ConsumerId<'_>) -> Result<Consumer> {
        Ok(Consumer {
            arn: "app:1".into(),
            status: ConsumerStatus::Active,
        })
    }

    async fn list_consumers(&self, _: &str) -> Result<Vec<Consumer>> {
        panic!("the consumers were listed")
    }

    async fn deregister_consumer(&self, arn: &str) -> Result<()> {
        panic!("{arn} was deregistered")
    }

    async fn subscribe(
        &self,
        _: &SubscriptionConnection,
        _: &str,
        _: &ShardId,
        at: &SubscribeAt,
        _: Duration,
        _: &Arc<RequestCounters>,
    ) -> Result<Subscription> {
        self.asked.lock().expect("asked").push(at.to_string());
        let script = self.scripts.lock().expect("scripts").pop_front();
        let pulled = self.pulled.clone();
        let counted = move |page| {
            pulled.fetch_add(1, Ordering::Relaxed);
            page
        };
        match script.unwrap_or(Script::Stalls(Vec::new())) {
            Script::Refused(error) => Err(error),
            Script::Pushes(pages) => Ok(stream::iter(pages).map(counted).boxed()),
            Script::Stalls(pages) => Ok(stream::iter(pages).map(counted).chain(stream::pending()).boxed()),
        }
    }
}

/// An event with these records.
pub(super) fn event(numbers: &[u32], continuation: u32) -> Result<Page> {
    let mut records = RecordColumns::with_capacity(0, 0);
    for number in numbers {
        records
            .push(&[7; 100], "key", &format!("{number}"), i64::from(*number))
            .expect("fits");
    }
    Ok(Page {
        records,
        next: Some(ShardIterator(continuation.to_string())),
        millis_behind_latest: Some(0),
        child_shards: Vec::new(),
        request_id: None,
        service_millis: None,
    })
}

fn end() -> Result<Page> {
    event(&[], 99).map(|page| Page { next: None, ..page })
}

pub(super) fn broken() -> Error {
    Error::new(ErrorKind::Transport, "broken").retryable(true)
}

/// The service's error for a second subscription; inside a stream it has no request id.
fn in_use(refusal: bool) -> Error {
    let error = Error::new(ErrorKind::InUse, "in use").retryable(true);
    if refusal {
        error.with("requestId", "1")
    } else {
        error
    }
}

struct Fixture {
    fake: Arc<Fake>,
    buffer: Arc<EventBuffer>,
    counters: Arc<RequestCounters>,
    task: JoinHandle<()>,
}

impl Fixture {
    fn start(start: Position, scripts: Vec<Script>) -> Self {
        Self::with_room(
            start,
            scripts,
            limits(usize::MAX, usize::MAX, &MemoryPool::default()),
        )
    }

    fn with_room(start: Position, scripts: Vec<Script>, limits: MemoryLimits) -> Self {
        let fake = Arc::new(Fake::with(scripts));
        let buffer = Arc::new(EventBuffer::new(limits, Bell::default()));
        let counters: Arc<RequestCounters> = Arc::default();
        let subscriber = Subscriber {
            api: fake.clone(),
            consumer: "app:1".into(),
            shard: "shardId-000000000000".into(),
            start,
            tip_seen: false,
            timeout: Duration::from_secs(60),
            retry: RetryOptions {
                retries: 3,
                interval: Duration::from_millis(100),
                max_interval: Duration::from_secs(1),
            },
            buffer: buffer.clone(),
            counters: counters.clone(),
        };
        let task = tokio::spawn(subscriber.run());
        Self {
            fake,
            buffer,
            counters,
            task,
        }
    }

    /// The numbers of the next `count` records.
    async fn take(&self, count: usize) -> Vec<String> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            match self.buffer.take().expect("no failure") {
                Found::Page(page) => numbers.extend(numbers_of(&page)),
                Found::Tip | Found::Nothing | Found::Blind(_) => self.buffer.arrival().await,
            }
        }
        numbers
    }

    async fn failure(self) -> Error {
        self.task.await.expect("ended");
        self.buffer.failure().expect("a failure")
    }

    fn asked(&self) -> Vec<String> {
        self.fake.asked.lock().expect("asked").clone()
    }
}

fn limits(own: usize, all: usize, pool: &MemoryPool) -> MemoryLimits {
    MemoryLimits {
        own,
        all,
        pool: pool.clone(),
    }
}

fn numbers_of(page: &Page) -> Vec<String> {
    let rows = 0..page.records.len();
    rows.map(|row| page.records.sequence_number(row).to_owned())
        .collect()
}

fn after(number: &str) -> Position {
    Position::After(number.parse().expect("a number"))
}

#[tokio::test(start_paused = true)]
async fn the_next_subscription_goes_on_at_the_continuation_after_empty_events_too() {
    let fixture = Fixture::start(
        Position::TrimHorizon,
        vec![
            Script::Refused(broken()),
            Script::Pushes(vec![event(&[10, 11], 12)]),
            Script::Pushes(vec![event(&[], 15)]),
            Script::Pushes(vec![Err(broken())]),
            Script::Pushes(vec![event(&[20], 20), end()]),
        ],
    );
    assert_eq!(fixture.take(3).await, ["10", "11", "20"]);
    fixture.task.await.expect("ended");
    let asked = fixture.fake.asked.lock().expect("asked").clone();
    assert_eq!(
        asked,
        ["TRIM_HORIZON", "TRIM_HORIZON", "AFTER 12", "AFTER 15", "AFTER 15"]
    );
    assert_eq!(fixture.counters.resubscriptions(), 4);
    assert_eq!(fixture.buffer.waiting(), Some(true), "the shard's end");
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_given_up() {
    let fixture = Fixture::start(
        Position::TrimHorizon,
        vec![
            Script::Stalls(vec![event(&[10], 10)]),
            Script::Stalls(vec![event(&[11], 11)]),
        ],
    );
    let began = Instant::now();
    assert_eq!(fixture.take(2).await, ["10", "11"]);
    assert!(began.elapsed() >= Duration::from_secs(40));
    assert_eq!(fixture.asked(), ["TRIM_HORIZON", "AFTER 10"]);
}

#[tokio::test(start_paused = true)]
async fn the_tip_is_not_known_between_two_subscriptions() {
    let fixture = Fixture::start(
        Position::TrimHorizon,
        vec![
            Script::Pushes(vec![event(&[], 10), Err(broken())]),
            Script::Refused(broken()),
            Script::Stalls(vec![event(&[], 11)]),
        ],
    );
    assert!(matches!(fixture.buffer.take(), Ok(Found::Nothing)));
    fixture.buffer.arrival().await;
    let ended = Instant::now();
    while fixture.asked().len() < 3 {
        assert!(matches!(fixture.buffer.take(), Ok(Found::Blind(since)) if since == ended));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    while !matches!(fixture.buffer.take(), Ok(Found::Tip)) {
        fixture.buffer.arrival().await;
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_come_again_are_dropped() {
    let fixture = Fixture::start(
        Position::TrimHorizon,
        vec![
            Script::Pushes(vec![event(&[10, 11], 11)]),
            Script::Stalls(vec![event(&[10, 11], 11), event(&[11, 12], 12)]),
        ],
    );
    assert_eq!(fixture.take(3).await, ["10", "11", "12"]);
}

#[tokio::test(start_paused = true)]
async fn the_record_before_the_start_shows_whether_others_expired() {
    let kept = Fixture::start(after("10"), vec![Script::Stalls(vec![event(&[10, 11], 11)])]);
    assert_eq!(kept.take(1).await, ["11"]);
    assert_eq!(
        (kept.asked(), kept.buffer.take_loss()),
        (vec!["AT 10".to_owned()], None)
    );
    let expired = Fixture::start(
        after("10"),
        vec![Script::Stalls(vec![event(&[], 5), event(&[20], 20)])],
    );
    assert_eq!(expired.take(1).await, ["20"]);
    let loss = expired.buffer.take_loss().expect("a loss");
    assert!(loss.contains("record 10"), "{loss}");
    assert_eq!(expired.buffer.take_loss(), None);
}

#[tokio::test(start_paused = true)]
async fn the_record_before_the_start_may_come_after_an_event_that_goes_on_from_before_it() {
    let fixture = Fixture::start(
        after("10"),
        vec![
            Script::Pushes(vec![event(&[], 7), Err(broken())]),
            Script::Stalls(vec![event(&[10, 11], 11)]),
        ],
    );
    assert_eq!(fixture.take(1).await, ["11"]);
    assert_eq!(fixture.asked(), ["AT 10", "AFTER 7"]);
    assert_eq!(fixture.buffer.take_loss(), None);
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_are_the_readers_error_and_an_event_ends_the_row() {
    let refused = || Script::Refused(broken());
    let fixture = Fixture::start(
        Position::TrimHorizon,
        vec![
            refused(),
            refused(),
            refused(),
            Script::Pushes(vec![event(&[10], 10), Err(broken())]),
            refused(),
            refused(),
            refused(),
        ],
    );
    assert_eq!(fixture.take(1).await, ["10"]);
    let error = fixture.failure().await;
    assert!(error.message().contains("4 times in a row"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_five_second_rule_is_waited_for_and_a_longer_refusal_is_an_error() {
    let refused = || Script::Refused(in_use(true));
    let mut scripts: Vec<Script> = (0..8).map(|_| refused()).collect();
    scripts.push(Script::Stalls(vec![event(&[10], 10)]));
    let fixture = Fixture::start(Position::TrimHorizon, scripts);
    assert_eq!(fixture.take(1).await, ["10"]);
    let fixture = Fixture::start(Position::TrimHorizon, (0..100).map(|_| refused()).collect());
    let error = fixture.failure().await;
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert!(
        error.message().contains("kinesis.consumerName of its own"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_reader_takes_its_shard_back_a_few_times() {
    let taken_over = |number| Script::Pushes(vec![event(&[number], number), Err(in_use(false))]);
    let scripts = (10..20).map(taken_over).collect();
    let fixture = Fixture::start(Position::TrimHorizon, scripts);
    assert_eq!(fixture.take(4).await, ["10", "11", "12", "13"]);
    assert_eq!(fixture.failure().await.kind(), ErrorKind::InUse);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_nobody_reads_from_never_takes_a_shard_back() {
    let fixture = Fixture::start(
        Position::TrimHorizon,
        vec![Script::Pushes(vec![event(&[10], 10), Err(in_use(false))])],
    );
    fixture.buffer.attach(false);
    let (fake, buffer) = (fixture.fake.clone(), fixture.buffer.clone());
    assert_eq!(fixture.failure().await.kind(), ErrorKind::InUse);
    assert!(buffer.was_taken_over());
    assert_eq!(fake.asked.lock().expect("asked").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_and_a_full_process_stop_the_receiving() {
    let pages = || (10..50).map(|number| event(&[number], number)).collect();
    let pool = MemoryPool::default();
    // A record has about 113 bytes.
    let small = Fixture::with_room(
        Position::TrimHorizon,
        vec![Script::Stalls(pages())],
        limits(350, usize::MAX, &pool),
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        small.fake.pulled.load(Ordering::Relaxed),
        4,
        "three wait, one in hand"
    );
    let held = pool.used();
    let other = Fixture::with_room(
        Position::TrimHorizon,
        vec![Script::Stalls(pages())],
        limits(usize::MAX, held, &pool),
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        other.fake.pulled.load(Ordering::Relaxed),
        2,
        "one whatever the bound"
    );
    let numbers: Vec<String> = (10..50).map(|number| number.to_string()).collect();
    assert_eq!(other.take(40).await, numbers);
    assert_eq!(small.take(40).await, numbers);
    assert_eq!(pool.used(), 0);
}
