//! Responses that the service gives now and then, though nothing is wrong.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::get_shard_iterator::builders::GetShardIteratorFluentBuilder;
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{Record, ShardIteratorType};
use kinesis_sandbox::{ErrorCode, Fault, Listing, Operation, Sandbox, Schedule, ShardLimits};

use super::http::request;
use super::{SHARD, THROTTLED, client, get, horizon, put, start};

const NOT_FOUND: &str = "ResourceNotFoundException";
const MINUTE: i64 = 60_000;

async fn create(client: &Client, name: &str, shards: i32) {
    let create = client.create_stream().stream_name(name).shard_count(shards);
    create.send().await.unwrap();
}

fn iterator(client: &Client, kind: ShardIteratorType) -> GetShardIteratorFluentBuilder {
    let request = client.get_shard_iterator().stream_name("s").shard_id(SHARD);
    request.shard_iterator_type(kind)
}

async fn put_one(client: &Client) -> String {
    let put = client.put_record().stream_name("s").partition_key("k");
    put.data(Blob::new("x")).send().await.unwrap().sequence_number
}

/// Ids of the listed shards, and whether each is closed.
async fn listed(client: &Client) -> Vec<(String, bool)> {
    let answer = client.list_shards().stream_name("s").send().await.unwrap();
    let closed = |shard: &aws_sdk_kinesis::types::Shard| {
        let range = shard.sequence_number_range.as_ref().unwrap();
        (
            shard.shard_id.trim_start_matches("shardId-").to_owned(),
            range.ending_sequence_number.is_some(),
        )
    };
    answer.shards().iter().map(closed).collect()
}

fn shards(all: &[(u32, bool)]) -> Vec<(String, bool)> {
    all.iter()
        .map(|(index, closed)| (format!("{index:012}"), *closed))
        .collect()
}

async fn split(client: &Client, shard: &str, at: u128) {
    let split = client.split_shard().stream_name("s").shard_to_split(shard);
    split.new_starting_hash_key(at.to_string()).send().await.unwrap();
}

/// Records, MillisBehindLatest and next iterator of one response.
async fn page(client: &Client, iterator: &str) -> (Vec<Record>, i64, Option<String>) {
    let page = client
        .get_records()
        .shard_iterator(iterator)
        .send()
        .await
        .unwrap();
    (
        page.records,
        page.millis_behind_latest.unwrap(),
        page.next_shard_iterator,
    )
}

/// Number of records and MillisBehindLatest of all responses up to the tip.
async fn walk(client: &Client, request: GetShardIteratorFluentBuilder) -> Vec<(usize, i64)> {
    let mut next = request.send().await.unwrap().shard_iterator;
    let mut seen = Vec::new();
    while let Some(iterator) = next.take() {
        let (records, behind, following) = page(client, &iterator).await;
        seen.push((records.len(), behind));
        next = following.filter(|_| behind > 0);
    }
    seen
}

#[tokio::test]
async fn a_fault_meets_the_calls_of_one_shard() {
    let (sandbox, client) = start().await;
    split(&client, SHARD, 1000).await;
    let not_found = Fault::Error(ErrorCode::ResourceNotFoundException);
    let child = "shardId-000000000001";
    let (of_parent, of_child) = (horizon(&client, SHARD).await, horizon(&client, child).await);
    sandbox.fail_shard(Operation::GetRecords, ("s", child), not_found, Schedule::Next(1));
    assert_eq!(get(&client, &of_parent).await, Ok(0));
    assert_eq!(get(&client, &of_child).await, Err(NOT_FOUND.into()));
    assert_eq!(get(&client, &of_child).await, Ok(0), "it was never gone");

    create(&client, "other", 1).await;
    let knobs = r#"{"faults": [
        {"operation": "GetShardIterator", "error": "InvalidArgumentException", "count": 1,
         "stream": "s", "shard": "shardId-000000000000"},
        {"operation": "ListShards", "error": "throttle", "count": 1, "stream": "other"}
    ]}"#;
    let (status, answer) = request(&sandbox, "POST", "/sandbox/knobs", &[], knobs).await;
    assert_eq!(status, 200, "{answer}");
    horizon(&client, child).await;
    let elsewhere = client.get_shard_iterator().stream_name("other").shard_id(SHARD);
    let elsewhere = elsewhere.shard_iterator_type(ShardIteratorType::TrimHorizon);
    elsewhere.send().await.unwrap();
    iterator(&client, ShardIteratorType::TrimHorizon)
        .send()
        .await
        .unwrap_err();
    horizon(&client, SHARD).await;
    listed(&client).await;
    client
        .list_shards()
        .stream_name("other")
        .send()
        .await
        .unwrap_err();

    let knobs = r#"{"faults": [{"operation": "ListShards", "error": "drop", "count": 1, "shard": "1"}]}"#;
    let (status, answer) = request(&sandbox, "POST", "/sandbox/knobs", &[], knobs).await;
    assert_eq!(status, 400);
    assert!(
        answer["error"].as_str().unwrap().contains("GetShardIterator"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_list_lags_and_goes_back() {
    let (sandbox, client) = start().await;
    sandbox.show_shards("s", Listing::BeforeReshard, 1).unwrap();
    assert_eq!(
        listed(&client).await,
        shards(&[(0, false)]),
        "nothing came before"
    );
    split(&client, SHARD, 1 << 100).await;
    let first = shards(&[(0, true), (1, false), (2, false)]);
    assert_eq!(listed(&client).await, first);
    sandbox.show_shards("s", Listing::WithoutNewest, 2).unwrap();
    assert_eq!(listed(&client).await, shards(&[(0, true)]));
    assert_eq!(listed(&client).await, shards(&[(0, true)]));
    assert_eq!(listed(&client).await, first);

    split(&client, "shardId-000000000002", 1 << 127).await;
    let all = shards(&[(0, true), (1, false), (2, true), (3, false), (4, false)]);
    let knobs = r#"{"listings": [{"stream": "s", "show": "before_reshard", "for_ms": 3600000}]}"#;
    let (status, answer) = request(&sandbox, "POST", "/sandbox/knobs", &[], knobs).await;
    assert_eq!(status, 200, "{answer}");
    for _ in 0..3 {
        assert_eq!(listed(&client).await, first);
    }
    // A further page is consistent with the first one.
    let page = client
        .list_shards()
        .stream_name("s")
        .max_results(1)
        .send()
        .await
        .unwrap();
    sandbox.show_shards("s", Listing::BeforeReshard, 0).unwrap();
    let rest = client
        .list_shards()
        .next_token(page.next_token.unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!((page.shards.unwrap().len(), rest.shards.unwrap().len()), (1, 2));
    assert_eq!(listed(&client).await, all);
    // UpdateShardCount may create shards that it closes again.
    let update = client.update_shard_count().stream_name("s").target_shard_count(4);
    update
        .scaling_type("UNIFORM_SCALING".into())
        .send()
        .await
        .unwrap();
    let after = listed(&client).await;
    sandbox.show_shards("s", Listing::BeforeReshard, 1).unwrap();
    assert_eq!(listed(&client).await, all);
    sandbox.show_shards("s", Listing::WithoutNewest, 1).unwrap();
    let before = [0, 1, 2, 3, 4].map(|index| (index, true));
    assert_eq!(listed(&client).await, shards(&before));
    assert_eq!(listed(&client).await, after);
    assert_eq!(after.iter().filter(|(_, closed)| *closed).count(), 6);
    assert!(sandbox.show_shards("none", Listing::BeforeReshard, 1).is_err());
}

#[tokio::test]
async fn every_new_iterator_leads_through_a_stretch() {
    let (sandbox, client) = start().await;
    put(&client, 2).await;
    let before = horizon(&client, SHARD).await;
    sandbox.stretch(("s", SHARD), None, 3).unwrap();
    assert_eq!(
        page(&client, &before).await.0.len(),
        2,
        "that one was given before"
    );
    let kind = ShardIteratorType::TrimHorizon;
    assert_eq!(
        walk(&client, iterator(&client, kind.clone())).await,
        [(0, 3000), (0, 2000), (0, 1000), (2, 0)]
    );
    let at_tip = walk(&client, iterator(&client, ShardIteratorType::Latest)).await;
    assert_eq!(at_tip, [(0, 0)]);
    // An iterator inside a stretch expires like any other.
    let first = horizon(&client, SHARD).await;
    let inside = page(&client, &first).await.2.unwrap();
    sandbox.expire_iterators();
    assert_eq!(
        get(&client, &inside).await,
        Err("ExpiredIteratorException".into())
    );
    sandbox.stretch(("s", SHARD), None, 0).unwrap();
    assert_eq!(walk(&client, iterator(&client, kind)).await, [(2, 0)]);
}

/// Puts a record that arrived an hour ago and one that arrives now, with ten responses between them.
async fn hour_of_nothing(sandbox: &Sandbox, client: &Client) -> (String, i64) {
    sandbox.set_arrival_offset_ms(-60 * MINUTE);
    let number = put_one(client).await;
    sandbox.set_arrival_offset_ms(0);
    put_one(client).await;
    sandbox.stretch(("s", SHARD), Some(&number), 10).unwrap();
    let (records, behind, _) = page(client, &horizon(client, SHARD).await).await;
    assert_eq!(records[0].sequence_number, number);
    assert!((60 * MINUTE - 100..61 * MINUTE).contains(&behind), "{behind}");
    let arrival = records[0].approximate_arrival_timestamp.unwrap();
    (number, arrival.to_millis().unwrap())
}

#[tokio::test]
async fn iterators_go_through_time() {
    let (sandbox, client) = start().await;
    let (number, arrival) = hour_of_nothing(&sandbox, &client).await;
    let after = || {
        let request = iterator(&client, ShardIteratorType::AfterSequenceNumber);
        request.starting_sequence_number(&number)
    };
    let at = |millis: i64| {
        let request = iterator(&client, ShardIteratorType::AtTimestamp);
        request.timestamp(DateTime::from_millis(millis))
    };
    let counts = |seen: &[(usize, i64)]| seen.iter().map(|(records, _)| *records).collect::<Vec<_>>();
    let mut through = vec![0; 10];
    through.push(1);
    let seen = walk(&client, after()).await;
    assert_eq!(counts(&seen), through);
    // The first response ends a tenth of the hour later, the last one at the record.
    assert!((54 * MINUTE - 100..55 * MINUTE).contains(&seen[0].1), "{seen:?}");
    assert!((1..MINUTE).contains(&seen[9].1), "{seen:?}");
    assert_eq!(counts(&walk(&client, after()).await), through, "all of it again");
    assert_eq!(
        counts(&walk(&client, at(arrival + 33 * MINUTE)).await),
        [0, 0, 0, 0, 0, 1]
    );
    assert_eq!(counts(&walk(&client, at(arrival + 59 * MINUTE)).await), [0, 1]);
    assert_eq!(
        counts(&walk(&client, at(arrival)).await)[..2],
        [1, 0],
        "the record before it, and nothing else"
    );
    let horizon = walk(&client, iterator(&client, ShardIteratorType::TrimHorizon)).await;
    assert_eq!((horizon.len(), horizon[0].0, horizon[11]), (12, 1, (1, 0)));
    // The time that a response reports is a valid position.
    let first = after().send().await.unwrap().shard_iterator.unwrap();
    let second = page(&client, &first).await.2.unwrap();
    // Taken before the response, however long that takes: a slightly earlier time is in the same part of the stretch.
    let asked = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let (_, behind, _) = page(&client, &second).await;
    let stands_at = asked.as_millis() as i64 - behind;
    assert_eq!(counts(&walk(&client, at(stands_at - 10)).await).len(), 10);

    sandbox.stretch(("s", SHARD), Some(&number), 0).unwrap();
    assert_eq!(walk(&client, after()).await, [(1, 0)]);
}

#[tokio::test]
async fn a_stretch_comes_before_a_shards_end() {
    let (sandbox, client) = start().await;
    sandbox.set_arrival_offset_ms(-60 * MINUTE);
    let number = put_one(&client).await;
    sandbox.stretch(("s", SHARD), Some(&number), 3).unwrap();
    split(&client, SHARD, 1000).await;
    let mut next = Some(horizon(&client, SHARD).await);
    let mut seen = Vec::new();
    while let Some(iterator) = next.take() {
        let (records, behind, following) = page(&client, &iterator).await;
        seen.push((records.len(), behind > 0, following.is_some()));
        next = following;
    }
    let empty = (0, true, true);
    assert_eq!(seen, [(1, true, true), empty, empty, empty, (0, false, false)]);
}

#[tokio::test]
async fn a_stretch_needs_a_place_and_time() {
    let (sandbox, client) = start().await;
    let number = put_one(&client).await;
    put_one(&client).await;
    let refused = |after: &str, answers| sandbox.stretch(("s", SHARD), Some(after), answers).unwrap_err();
    assert!(refused(&number, 60_000).0.contains("too short for 60000 answers"));
    assert!(refused("1", 1).0.contains("was not given by"));
    let knobs = format!(
        r#"{{"stretches": [{{"stream": "s", "shard": "{SHARD}", "answers": 2, "after": "{number}0"}}]}}"#
    );
    let (status, answer) = request(&sandbox, "POST", "/sandbox/knobs", &[], &knobs).await;
    assert_eq!(status, 400, "{answer}");
    assert!(sandbox.stretch(("s", "shardId-000000000009"), None, 1).is_err());
}

#[tokio::test]
async fn a_stream_made_again_is_another_one() {
    let (sandbox, client) = start().await;
    let created = async || {
        let summary = client
            .describe_stream_summary()
            .stream_name("s")
            .send()
            .await
            .unwrap();
        let summary = summary.stream_description_summary.unwrap();
        summary.stream_creation_timestamp.to_millis().unwrap()
    };
    let number = put_one(&client).await;
    let (before, old) = (created().await, horizon(&client, SHARD).await);
    client.delete_stream().stream_name("s").send().await.unwrap();
    assert_eq!(get(&client, &old).await, Err(NOT_FOUND.into()));
    create(&client, "s", 1).await;
    assert!(created().await > before);
    assert_eq!(get(&client, &old).await, Err(NOT_FOUND.into()));
    let after = iterator(&client, ShardIteratorType::AfterSequenceNumber);
    let refused = after.starting_sequence_number(&number).send().await.unwrap_err();
    let code = aws_sdk_kinesis::error::ProvideErrorMetadata::code(&refused);
    assert_eq!(code, Some("InvalidArgumentException"), "even within a second");
    assert_eq!(get(&client, &horizon(&client, SHARD).await).await, Ok(0));
    sandbox.reset();
    create(&client, "s", 1).await;
    assert!(created().await > before + 1);
}

#[tokio::test]
async fn a_neighbour_takes_part_in_a_shards_calls() {
    let (sandbox, client) = start().await;
    let neighbour = self::client(&sandbox, "AKIDNEIGHBOUR");
    // A rate so low that the test's own speed does not matter.
    let limits = ShardLimits {
        read_calls: 1.0,
        ..ShardLimits::default()
    };
    sandbox.set_shard_limits(Some(limits));
    let (ours, theirs) = (horizon(&client, SHARD).await, horizon(&neighbour, SHARD).await);
    assert_eq!(get(&neighbour, &theirs).await, Ok(0));
    let mut answers = Vec::new();
    while answers.last() != Some(&Err(THROTTLED.to_owned())) && answers.len() < 100 {
        answers.push(get(&neighbour, &theirs).await);
        answers.push(get(&client, &ours).await);
    }
    assert_eq!(answers.last(), Some(&Err(THROTTLED.to_owned())));
}
