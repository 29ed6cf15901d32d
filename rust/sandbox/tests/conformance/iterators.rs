//! GetShardIterator.

use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::ShardIteratorType;

use super::Service;
use super::service::code;

const SHARD: &str = "shardId-000000000000";

async fn keys(service: &Service, iterator: Option<String>) -> Vec<String> {
    let (records, _) = service.drain(iterator.unwrap()).await;
    records.into_iter().map(|r| r.partition_key.unwrap()).collect()
}

pub async fn each_type_starts_where_it_says(service: &Service) {
    let client = &service.client;
    let name = service.stream(1).await;
    let mut numbers = Vec::new();
    for key in ["a", "b", "c"] {
        numbers.push(service.put(&name, key, b"x").await.1);
    }
    let latest = service.iterator(&name, SHARD, ShardIteratorType::Latest).await;
    let horizon = service
        .iterator(&name, SHARD, ShardIteratorType::TrimHorizon)
        .await;
    let numbered = |kind, number: &str| {
        let request = client.get_shard_iterator().stream_name(&name).shard_id(SHARD);
        request
            .shard_iterator_type(kind)
            .starting_sequence_number(number)
            .send()
    };
    let at = numbered(ShardIteratorType::AtSequenceNumber, &numbers[1])
        .await
        .unwrap();
    let after = numbered(ShardIteratorType::AfterSequenceNumber, &numbers[1])
        .await
        .unwrap();
    let after_last = numbered(ShardIteratorType::AfterSequenceNumber, &numbers[2])
        .await
        .unwrap();
    service.put(&name, "d", b"x").await;
    assert_eq!(keys(service, Some(horizon)).await, ["a", "b", "c", "d"]);
    assert_eq!(keys(service, at.shard_iterator).await, ["b", "c", "d"]);
    assert_eq!(keys(service, after.shard_iterator).await, ["c", "d"]);
    assert_eq!(keys(service, after_last.shard_iterator).await, ["d"]);
    assert_eq!(keys(service, Some(latest)).await, ["d"]);
    // The shard's starting number is valid, though no record has it.
    let start = service.shards(&name).await[0]
        .sequence_number_range
        .clone()
        .unwrap()
        .starting_sequence_number;
    let from_start = numbered(ShardIteratorType::AtSequenceNumber, &start)
        .await
        .unwrap();
    assert_eq!(
        keys(service, from_start.shard_iterator).await,
        ["a", "b", "c", "d"]
    );
}

pub async fn timestamps_choose_the_first_later_record(service: &Service) {
    let client = &service.client;
    let name = service.stream(1).await;
    for key in ["a", "b", "c"] {
        service.put(&name, key, b"x").await;
        // Makes the arrival times differ; this waits for the clock, not for the service.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (records, _) = service.read(&name, SHARD).await;
    let at = |time: DateTime| {
        let request = client.get_shard_iterator().stream_name(&name).shard_id(SHARD);
        request
            .shard_iterator_type(ShardIteratorType::AtTimestamp)
            .timestamp(time)
            .send()
    };
    let millis = |i: usize| {
        let time: DateTime = records[i].approximate_arrival_timestamp.unwrap();
        time.secs() * 1000 + (i64::from(time.subsec_nanos()) + 500_000) / 1_000_000
    };
    let exactly = at(DateTime::from_millis(millis(1))).await.unwrap();
    assert_eq!(keys(service, exactly.shard_iterator).await, ["b", "c"]);
    let between = at(DateTime::from_millis(millis(1) + 1)).await.unwrap();
    assert_eq!(keys(service, between.shard_iterator).await, ["c"]);
    let before_all = at(DateTime::from_millis(millis(0) - 5)).await.unwrap();
    assert_eq!(keys(service, before_all.shard_iterator).await, ["a", "b", "c"]);
    let after_all = at(DateTime::from_millis(millis(2) + 1)).await.unwrap();
    service.put(&name, "d", b"x").await;
    assert_eq!(keys(service, after_all.shard_iterator).await, ["d"]);
}

pub async fn bad_positions_are_refused(service: &Service) {
    let client = &service.client;
    let name = service.stream(2).await;
    let (shard, number) = service.put(&name, "a", b"x").await;
    let other = if shard == SHARD {
        "shardId-000000000001"
    } else {
        SHARD
    };
    let request = |shard: &str, kind| {
        client
            .get_shard_iterator()
            .stream_name(&name)
            .shard_id(shard)
            .shard_iterator_type(kind)
    };
    let invalid = "InvalidArgumentException";
    let check = |what: &str, got, kinesis_local| service.refused(what, got, invalid, kinesis_local);
    let bad = request(&shard, ShardIteratorType::AtSequenceNumber)
        .starting_sequence_number("4957")
        .send()
        .await;
    check("no sequence number", code(bad), "ResourceNotFoundException");
    let missing = request(&shard, ShardIteratorType::AfterSequenceNumber)
        .send()
        .await;
    check("no number given", code(missing), invalid);
    let foreign = request(other, ShardIteratorType::AtSequenceNumber)
        .starting_sequence_number(&number)
        .send()
        .await;
    // kinesis-local checks only the form of a sequence number.
    check("another shard's number", code(foreign), "accepted");
    let no_time = request(&shard, ShardIteratorType::AtTimestamp).send().await;
    check("no time given", code(no_time), invalid);
    let future = DateTime::from(SystemTime::now() + Duration::from_secs(3600));
    let future = request(&shard, ShardIteratorType::AtTimestamp)
        .timestamp(future)
        .send()
        .await;
    check("a time to come", code(future), invalid);
    let no_shard = request("shardId-000000000099", ShardIteratorType::Latest)
        .send()
        .await;
    service.refused(
        "no such shard",
        code(no_shard),
        "ResourceNotFoundException",
        "ResourceNotFoundException",
    );
    let no_type = request(&shard, ShardIteratorType::from("SIDEWAYS")).send().await;
    service.refused(
        "no such type",
        code(no_type),
        "ValidationException",
        "SerializationException",
    );
}

pub async fn iterators_end_with_their_stream(service: &Service) {
    let name = service.stream(1).await;
    let iterator = service
        .iterator(&name, SHARD, ShardIteratorType::TrimHorizon)
        .await;
    service
        .client
        .delete_stream()
        .stream_name(&name)
        .send()
        .await
        .unwrap();
    let mut gone = code(
        service
            .client
            .get_records()
            .shard_iterator(&iterator)
            .send()
            .await,
    );
    // kinesis-local shows the stream as DELETING for a while, and its iterators as in use.
    while gone == service.documented_or("", "ResourceInUseException") {
        tokio::time::sleep(Duration::from_millis(50)).await;
        gone = code(
            service
                .client
                .get_records()
                .shard_iterator(&iterator)
                .send()
                .await,
        );
    }
    assert_eq!(gone, "ResourceNotFoundException");
}
