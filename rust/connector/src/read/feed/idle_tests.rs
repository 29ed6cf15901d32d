//! Subscriptions without a reading task: how long they stay, and what a planner in their process finds out about
//! them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::registry::{FeedRegistry, Kept, ReadKind};
use super::reports::Availability;
use super::subscriber_tests::{Fake, Script, broken, event};
use super::subscription::Subscription;
use crate::error::{Error, ErrorKind};
use crate::options::SourceOptions;
use crate::read::ReadTask;
use crate::service::{FanOutApi, RequestCounters};
use crate::stream::{Position, ShardId};

const SOURCE: &str = "source";
const CONSUMER: &str = "app:1";

fn shard() -> ShardId {
    "shardId-000000000000".into()
}

fn task(consumer: &str) -> ReadTask {
    ReadTask {
        consumer: Some(consumer.into()),
        ..ReadTask::new(SOURCE, 1, shard(), Position::TrimHorizon)
    }
}

fn options() -> SourceOptions {
    let options = BTreeMap::from([
        ("kinesis.streamName".to_owned(), "events".to_owned()),
        ("kinesis.region".to_owned(), "us-east-1".to_owned()),
        ("kinesis.clientRetryIntervalsMs".to_owned(), "1000".to_owned()),
        ("kinesis.clientMaxRetryIntervalMs".to_owned(), "30000".to_owned()),
        ("kinesis.subscribeToShard.maxRetries".to_owned(), "20".to_owned()),
    ]);
    crate::options::source(&options).expect("options").options
}

/// A subscription that received these events and has no reading task.
async fn idle(scripts: Vec<Script>) -> FeedRegistry {
    let (feeds, task) = (FeedRegistry::default(), task(CONSUMER));
    let fake: Arc<dyn FanOutApi> = Arc::new(Fake::with(scripts));
    let subscription = Subscription::open(&task, CONSUMER, &options(), &feeds, &fake).expect("opened");
    tokio::time::sleep(Duration::from_millis(10)).await;
    feeds.keep(&task, task.start.clone(), Kept::Subscription(subscription));
    feeds
}

fn availability(feeds: &FeedRegistry) -> Option<Availability> {
    feeds
        .subscriptions()
        .availability(SOURCE, &shard(), &Position::TrimHorizon)
}

/// Mimics the service on a quiet shard: an occasional event. The subscriber takes silence for a broken connection and
/// subscribes again.
fn quiet_for_an_hour() -> Vec<Script> {
    (10..110)
        .map(|number| Script::Stalls(vec![event(&[], number)]))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn what_a_query_of_this_process_reads_stays_however_long_the_stream_is_quiet() {
    let feeds = idle(quiet_for_an_hour()).await;
    feeds.subscriptions().serve(SOURCE, CONSUMER);
    for minute in 0..30 {
        // The subscription may be in renewal.
        let quiet = async {
            while availability(&feeds) != Some(Availability::Idle) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(30), quiet).await;
        assert!(seen.is_ok(), "after {minute} minutes");
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_query_of_this_process_reads_ends() {
    let feeds = idle(quiet_for_an_hour()).await;
    tokio::time::sleep(Duration::from_secs(480)).await;
    assert_eq!(availability(&feeds), None);
}

#[tokio::test(start_paused = true)]
async fn of_a_subscription_that_cannot_be_renewed_nothing_is_known() {
    let throttled = || Error::new(ErrorKind::Throttled, "throttled").retryable(true);
    let mut scripts = vec![Script::Pushes(vec![event(&[], 10), Err(broken())])];
    scripts.extend((0..10).map(|_| Script::Refused(throttled())));
    scripts.push(Script::Stalls(vec![event(&[], 11)]));
    let feeds = idle(scripts).await;
    feeds.subscriptions().serve(SOURCE, CONSUMER);
    assert_eq!(
        availability(&feeds),
        Some(Availability::Idle),
        "a renewal is soon done"
    );
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(availability(&feeds), None, "the planner has to look");
    let seeing = async {
        while availability(&feeds).is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), seeing)
        .await
        .expect("renewed in the end");
}

#[tokio::test(start_paused = true)]
async fn of_a_subscription_that_never_began_nothing_is_known() {
    let feeds = idle(Vec::new()).await;
    feeds.subscriptions().serve(SOURCE, CONSUMER);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(availability(&feeds), None);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_polled_from_now_on_needs_no_subscription() {
    let feeds = idle(quiet_for_an_hour()).await;
    let polled = ReadTask {
        consumer: None,
        ..task(CONSUMER)
    };
    let take = |kind| feeds.take_pages(&polled, kind, &RequestCounters::default());
    assert!(take(ReadKind::Replay).is_none());
    assert_eq!(
        availability(&feeds),
        Some(Availability::Idle),
        "a replay touches nothing"
    );
    assert!(take(ReadKind::Live).is_none());
    assert_eq!(availability(&feeds), None);
}
