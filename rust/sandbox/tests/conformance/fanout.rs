//! SubscribeToShard.

use std::time::Duration;

use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition};

use super::Service;
use super::events::{Events, after, at, horizon, subscribe};

const SHARD: &str = "shardId-000000000000";

async fn open(service: &Service, consumer: &str, position: StartingPosition) -> Events {
    subscribe(&service.client, consumer, SHARD, position)
        .await
        .unwrap()
}

/// A stream with one shard, and a consumer of it.
async fn one(service: &Service) -> (String, String) {
    let name = service.stream(1).await;
    let consumer = service.consumer(&service.arn(&name).await, "c").await;
    (name, consumer)
}

pub async fn what_is_put_is_pushed(service: &Service) {
    let (name, consumer) = one(service).await;
    let (_, number) = service.put(&name, "a", b"first").await;
    let mut events = open(service, &consumer, horizon()).await;
    let mut event = events.event().await;
    while event.records.is_empty() {
        event = events.event().await;
    }
    let record = &event.records[0];
    assert_eq!(record.sequence_number, number);
    assert_eq!(record.data.as_ref(), b"first");
    assert_eq!(record.partition_key.as_deref(), Some("a"));
    assert!(record.approximate_arrival_timestamp.is_some());
    assert!(event.continuation_sequence_number >= number);
    assert_eq!(event.child_shards().len(), 0);
    service.put(&name, "b", b"second").await;
    service.put(&name, "c", b"third").await;
    assert_eq!(events.keys(2).await, ["b", "c"]);
}

pub async fn each_position_starts_where_it_says(service: &Service) {
    let name = service.stream(1).await;
    let stream = service.arn(&name).await;
    let mut numbers = Vec::new();
    for key in ["a", "b", "c"] {
        numbers.push(service.put(&name, key, b"x").await.1);
        // Makes the arrival times differ; this waits for the clock, not for the service.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (records, _) = service.read(&name, SHARD).await;
    let time: DateTime = records[1].approximate_arrival_timestamp.unwrap();
    let millis = time.secs() * 1000 + (i64::from(time.subsec_nanos()) + 500_000) / 1_000_000;
    let numbered = |kind| {
        let position = StartingPosition::builder().r#type(kind);
        position.sequence_number(&numbers[1]).build().unwrap()
    };
    let timed = StartingPosition::builder()
        .r#type(ShardIteratorType::AtTimestamp)
        .timestamp(DateTime::from_millis(millis))
        .build()
        .unwrap();
    // A separate consumer for each, because a consumer may subscribe to a shard only once in five seconds.
    let mut opened = Vec::new();
    for (consumer, position, keys) in [
        ("horizon", horizon(), &["a", "b", "c", "d"][..]),
        (
            "at",
            numbered(ShardIteratorType::AtSequenceNumber),
            &["b", "c", "d"],
        ),
        (
            "after",
            numbered(ShardIteratorType::AfterSequenceNumber),
            &["c", "d"],
        ),
        ("time", timed, &["b", "c", "d"]),
        ("latest", at(ShardIteratorType::Latest), &["d"]),
    ] {
        let consumer = service.consumer(&stream, consumer).await;
        opened.push((open(service, &consumer, position).await, keys));
    }
    service.put(&name, "d", b"x").await;
    for (mut events, keys) in opened {
        assert_eq!(events.keys(keys.len()).await, keys);
    }
}

pub async fn a_subscription_goes_on_where_another_ended(service: &Service) {
    let name = service.stream(1).await;
    let stream = service.arn(&name).await;
    let (first, second) = (
        service.consumer(&stream, "first").await,
        service.consumer(&stream, "second").await,
    );
    service.put(&name, "a", b"x").await;
    let mut events = open(service, &first, horizon()).await;
    let mut event = events.event().await;
    while event.records.is_empty() {
        event = events.event().await;
    }
    drop(events);
    service.put(&name, "b", b"x").await;
    let mut events = open(service, &second, after(&event.continuation_sequence_number)).await;
    assert_eq!(events.keys(1).await, ["b"]);
}

pub async fn an_idle_subscription_goes_on_where_it_was(service: &Service) {
    let name = service.stream(1).await;
    let stream = service.arn(&name).await;
    let (first, second) = (
        service.consumer(&stream, "first").await,
        service.consumer(&stream, "second").await,
    );
    service.put(&name, "a", b"x").await;
    let mut events = open(service, &first, at(ShardIteratorType::Latest)).await;
    let event = events.event().await;
    assert_eq!((event.records.len(), event.millis_behind_latest), (0, 0));
    assert_ne!(event.continuation_sequence_number, "");
    service.put(&name, "b", b"x").await;
    assert_eq!(events.keys(1).await, ["b"]);
    let mut events = open(service, &second, after(&event.continuation_sequence_number)).await;
    assert_eq!(events.keys(1).await, ["b"]);
}

pub async fn each_consumer_gets_everything(service: &Service) {
    let name = service.stream(1).await;
    let stream = service.arn(&name).await;
    let mut all = Vec::new();
    for consumer in ["one", "two", "three"] {
        let consumer = service.consumer(&stream, consumer).await;
        all.push(open(service, &consumer, horizon()).await);
    }
    for key in ["a", "b", "c"] {
        service.put(&name, key, b"x").await;
    }
    for events in &mut all {
        assert_eq!(events.keys(3).await, ["a", "b", "c"]);
    }
}

pub async fn a_second_subscription_is_refused_for_five_seconds(service: &Service) {
    let (name, consumer) = one(service).await;
    let mut first = open(service, &consumer, horizon()).await;
    first.event().await;
    let second = subscribe(&service.client, &consumer, SHARD, horizon())
        .await
        .err();
    assert_eq!(second.as_deref(), Some("ResourceInUseException"));
    let mut taken_over = loop {
        match subscribe(&service.client, &consumer, SHARD, horizon()).await {
            Ok(events) => break events,
            Err(code) => assert_eq!(code, "ResourceInUseException"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    service.put(&name, "a", b"x").await;
    assert_eq!(taken_over.keys(1).await, ["a"]);
}

pub async fn a_closed_shard_names_its_children_and_ends(service: &Service) {
    if service.documented_or(false, true) {
        // ministack deletes the parent with its records.
        return;
    }
    let (name, consumer) = one(service).await;
    service.put(&name, "a", b"x").await;
    let mut events = open(service, &consumer, horizon()).await;
    assert_eq!(events.keys(1).await, ["a"]);
    let split = service
        .client
        .split_shard()
        .stream_name(&name)
        .shard_to_split(SHARD);
    split.new_starting_hash_key("1000").send().await.unwrap();
    let mut event = events.event().await;
    while event.child_shards().is_empty() {
        event = events.event().await;
    }
    let children: Vec<_> = event.child_shards().iter().map(|c| c.shard_id.as_str()).collect();
    assert_eq!(children, ["shardId-000000000001", "shardId-000000000002"]);
    assert!(events.next().await.unwrap().is_none());
}

pub async fn bad_subscriptions_are_refused(service: &Service) {
    let (_, consumer) = one(service).await;
    let not_found = "ResourceNotFoundException";
    let invalid = "InvalidArgumentException";
    let shard = "shardId-000000000009";
    let got = opened(service, &consumer, shard, horizon()).await;
    service.refused("no such shard", got, not_found, not_found);
    let (arn, _) = consumer.rsplit_once(':').unwrap();
    let got = opened(service, &format!("{arn}:1"), SHARD, horizon()).await;
    service.refused("no such consumer", got, not_found, not_found);
    let got = opened(service, &consumer, SHARD, at(ShardIteratorType::AtSequenceNumber)).await;
    service.refused("no number", got, invalid, invalid);
    let got = opened(service, &consumer, SHARD, at(ShardIteratorType::AtTimestamp)).await;
    service.refused("no time", got, invalid, invalid);
    let got = opened(service, &consumer, SHARD, at(ShardIteratorType::from("SIDEWAYS"))).await;
    service.refused("no such type", got, "ValidationException", invalid);
    let foreign = after("49500000000000000000000000000000000000000000000000000002");
    let got = opened(service, &consumer, SHARD, foreign).await;
    service.refused("a foreign number", got, invalid, "accepted");
}

/// Outcome of a subscription's start: the error's code, from the response or from the stream, or `accepted`.
async fn opened(service: &Service, consumer: &str, shard: &str, position: StartingPosition) -> String {
    match subscribe(&service.client, consumer, shard, position).await {
        Err(code) => code,
        Ok(mut events) => match events.next().await {
            Ok(_) => "accepted".to_owned(),
            Err(code) => format!("in the stream: {code}"),
        },
    }
}
