//! Enhanced fan-out with the sandbox's knobs and counters.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "subscriptions/events.rs"]
mod events;
#[path = "subscriptions/faults.rs"]
mod faults;
#[path = "subscriptions/harness.rs"]
mod harness;
#[path = "subscriptions/tls.rs"]
mod tls;
#[path = "subscriptions/wire.rs"]
mod wire;

use std::time::Duration;

use aws_sdk_kinesis::types::ShardIteratorType;
use events::{after, at, horizon, keys_of, subscribe};
use harness::{Fixture, SHARD, register, stream_arn};
use serde_json::json;

#[tokio::test]
async fn records_are_pushed_as_they_come() {
    let fixture = Fixture::start().await;
    fixture.put(&["a", "b"]).await;
    let mut events = fixture.subscribe(horizon()).await.unwrap();
    let first = events.event().await;
    assert_eq!(keys_of(&first), ["a", "b"]);
    assert_eq!(first.records[0].data.as_ref(), b"data of a");
    assert_eq!(first.millis_behind_latest, 0);
    assert_eq!(first.child_shards, None);
    // Arrives much sooner than the next empty event.
    for key in ["c", "d"] {
        fixture.put(&[key]).await;
        assert_eq!(keys_of(&events.event().await), [key]);
    }
    let stats = fixture.stats();
    assert_eq!((stats.records_pushed, stats.events_pushed), (4, 3));
    assert_eq!((stats.subscribe_calls, stats.subscriptions_active()), (1, 1));
    drop(events);
    fixture.until(|s| s.subscriptions_ended == 1).await;
}

#[tokio::test]
async fn an_idle_subscription_moves_on() {
    let fixture = Fixture::start().await;
    fixture.knobs(json!({"subscriptions": {"idle_event_ms": 20}}));
    let number = fixture.put(&["a"]).await.remove(0);
    let mut events = fixture.subscribe(at(ShardIteratorType::Latest)).await.unwrap();
    let mut last = number.clone();
    // The number of a place between records grows every second.
    while last <= number || events.event().await.continuation_sequence_number <= last {
        let event = events.event().await;
        assert!(event.records.is_empty());
        assert_eq!(event.millis_behind_latest, 0);
        assert!(event.continuation_sequence_number >= last);
        last = event.continuation_sequence_number;
    }
    fixture.put(&["b"]).await;
    assert_eq!(events.keys(1).await, ["b"]);
    // Resuming from the position of an empty event does not rewind.
    fixture.knobs(json!({"subscriptions": {"exclusive_ms": 0}}));
    let mut resumed = fixture.subscribe(after(&last)).await.unwrap();
    assert_eq!(resumed.keys(1).await, ["b"]);
}

#[tokio::test]
async fn a_subscription_ends_when_its_time_is_over() {
    let fixture = Fixture::start().await;
    fixture.knobs(json!({"subscriptions": {"lifetime_ms": 50, "exclusive_ms": 0}}));
    let mut events = fixture.subscribe(horizon()).await.unwrap();
    let mut last = None;
    while let Some(event) = events.next().await.unwrap() {
        last = Some(event.continuation_sequence_number);
    }
    fixture.until(|s| s.subscriptions_ended == 1).await;
    fixture.put(&["a"]).await;
    let mut resumed = fixture.subscribe(after(&last.unwrap())).await.unwrap();
    assert_eq!(keys_of(&resumed.event().await), ["a"]);
}

#[tokio::test]
async fn a_closed_shard_ends_its_subscription() {
    let fixture = Fixture::start().await;
    let mut events = fixture.subscribe(horizon()).await.unwrap();
    fixture.put(&["a"]).await;
    assert_eq!(events.keys(1).await, ["a"]);
    let split = fixture
        .client
        .split_shard()
        .stream_name("s")
        .shard_to_split(SHARD);
    split.new_starting_hash_key("1000").send().await.unwrap();
    let end = events.event().await;
    let children: Vec<_> = end.child_shards().iter().map(|c| c.shard_id.as_str()).collect();
    assert_eq!(children, ["shardId-000000000001", "shardId-000000000002"]);
    assert_eq!(end.child_shards()[0].parent_shards, [SHARD]);
    assert_eq!(end.continuation_sequence_number, "", "null on the wire");
    assert!(events.next().await.unwrap().is_none());
    // When read again, the records and the end come in one event.
    fixture.knobs(json!({"subscriptions": {"exclusive_ms": 0}}));
    let mut again = fixture.subscribe(horizon()).await.unwrap();
    let all = again.event().await;
    assert_eq!((keys_of(&all).len(), all.child_shards().len()), (1, 2));
    assert!(again.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_second_subscription_waits_and_then_takes_over() {
    let fixture = Fixture::start().await;
    let mut first = fixture.subscribe(horizon()).await.unwrap();
    first.event().await;
    let second = fixture.subscribe(horizon()).await.err();
    assert_eq!(second.as_deref(), Some("ResourceInUseException"));
    // Another consumer is independent.
    let other = register(&fixture.client, "other").await.unwrap();
    let mut beside = subscribe(&fixture.client, &other, SHARD, horizon())
        .await
        .unwrap();
    beside.event().await;
    fixture.knobs(json!({"subscriptions": {"exclusive_ms": 0}}));
    let mut second = fixture.subscribe(horizon()).await.unwrap();
    second.event().await;
    assert_eq!(first.next().await, Err("ResourceInUseException".into()));
    fixture.put(&["a"]).await;
    assert_eq!(second.keys(1).await, ["a"]);
    assert_eq!(beside.keys(1).await, ["a"]);
    let stats = fixture.stats();
    assert_eq!(
        (
            stats.subscribe_calls,
            stats.subscriptions,
            stats.subscriptions_ended
        ),
        (4, 3, 1)
    );
}

#[tokio::test]
async fn a_subscription_ends_with_its_consumer() {
    let fixture = Fixture::start().await;
    let mut events = fixture.subscribe(horizon()).await.unwrap();
    events.event().await;
    let deregister = fixture.client.deregister_stream_consumer();
    deregister.consumer_arn(&fixture.consumer).send().await.unwrap();
    assert_eq!(events.next().await, Err("ResourceNotFoundException".into()));
    let gone = fixture.subscribe(horizon()).await.err();
    assert_eq!(gone.as_deref(), Some("ResourceNotFoundException"));
    let again = register(&fixture.client, "c").await.unwrap();
    assert_ne!(again, fixture.consumer, "an ARN is never given twice");
    assert!(
        fixture.subscribe(horizon()).await.is_err(),
        "the old ARN stays gone"
    );
}

#[tokio::test]
async fn a_subscription_ends_with_its_stream() {
    let fixture = Fixture::start().await;
    let mut events = fixture.subscribe(horizon()).await.unwrap();
    events.event().await;
    let delete = || fixture.client.delete_stream().stream_name("s");
    assert!(delete().send().await.is_err(), "it has a consumer");
    delete().enforce_consumer_deletion(true).send().await.unwrap();
    assert_eq!(events.next().await, Err("ResourceNotFoundException".into()));
}

#[tokio::test]
async fn consumers_become_active_and_vanish_in_time() {
    let fixture = Fixture::start().await;
    fixture.sandbox.set_transition(Duration::from_secs(3600));
    let creating = register(&fixture.client, "slow").await.unwrap();
    let early = subscribe(&fixture.client, &creating, SHARD, horizon())
        .await
        .err();
    assert_eq!(early.as_deref(), Some("ResourceInUseException"));
    for i in 1..5 {
        register(&fixture.client, &format!("slow-{i}")).await.unwrap();
    }
    let sixth = register(&fixture.client, "slow-6").await;
    assert_eq!(
        sixth,
        Err("LimitExceededException".into()),
        "five may be CREATING"
    );
    let deregister = fixture.client.deregister_stream_consumer();
    deregister.consumer_arn(&fixture.consumer).send().await.unwrap();
    let describe = fixture.client.describe_stream_consumer();
    let answer = describe
        .stream_arn(stream_arn())
        .consumer_name("c")
        .send()
        .await
        .unwrap();
    let status = answer.consumer_description.unwrap().consumer_status;
    assert_eq!(status.as_str(), "DELETING");
    let late = fixture.subscribe(horizon()).await.err();
    assert_eq!(late.as_deref(), Some("ResourceInUseException"));
}

#[tokio::test]
async fn limits_of_consumers_and_calls_are_knobs() {
    let fixture = Fixture::start().await;
    fixture.knobs(json!({"subscriptions": {"most_consumers": 2, "between_calls_ms": 3_600_000}}));
    register(&fixture.client, "second").await.unwrap();
    let third = register(&fixture.client, "third").await;
    assert_eq!(third, Err("LimitExceededException".into()));
    let _events = fixture.subscribe(horizon()).await.unwrap();
    let again = fixture.subscribe(horizon()).await.err();
    assert_eq!(again.as_deref(), Some("LimitExceededException"));
}

#[tokio::test]
async fn events_are_cut_to_size() {
    let fixture = Fixture::start().await;
    fixture.knobs(json!({"subscriptions": {"max_records_per_event": 2}}));
    fixture.put(&["a", "b", "c"]).await;
    let mut events = fixture.subscribe(horizon()).await.unwrap();
    let first = events.event().await;
    assert_eq!(keys_of(&first), ["a", "b"]);
    assert!(first.millis_behind_latest > 0);
    assert_eq!(keys_of(&events.event().await), ["c"]);
}
