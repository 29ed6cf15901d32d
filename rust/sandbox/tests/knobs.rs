//! Behaviour that only the sandbox has: knobs through the library and over HTTP, counters, and rules of the wire
//! format.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "knobs/http.rs"]
mod http;
#[path = "knobs/odd.rs"]
mod odd;

use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType};
use http::{api, request};
use kinesis_sandbox::{ErrorCode, Fault, Operation, Sandbox, SandboxConfig, Schedule, ShardLimits, Trim};

const SHARD: &str = "shardId-000000000000";
const THROTTLED: &str = "ProvisionedThroughputExceededException";

async fn start() -> (Sandbox, Client) {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let client = client(&sandbox, "AKIDTEST");
    client
        .create_stream()
        .stream_name("s")
        .shard_count(1)
        .send()
        .await
        .unwrap();
    (sandbox, client)
}

fn client(sandbox: &Sandbox, key: &str) -> Client {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new(key, "secret", None, None, "test"))
        .endpoint_url(sandbox.endpoint())
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

async fn put(client: &Client, count: usize) -> PutRecordsOutput {
    let entry = |i: usize| {
        PutRecordsRequestEntry::builder()
            .partition_key(format!("{i}"))
            .data(Blob::new("x"))
            .build()
            .unwrap()
    };
    client
        .put_records()
        .stream_name("s")
        .set_records(Some((0..count).map(entry).collect()))
        .send()
        .await
        .unwrap()
}

async fn horizon(client: &Client, shard: &str) -> String {
    let request = client.get_shard_iterator().stream_name("s").shard_id(shard);
    let request = request.shard_iterator_type(ShardIteratorType::TrimHorizon);
    request.send().await.unwrap().shard_iterator.unwrap()
}

/// Number of records that GetRecords returned, or its error code.
async fn get(client: &Client, iterator: &str) -> Result<usize, String> {
    match client.get_records().shard_iterator(iterator).send().await {
        Ok(page) => Ok(page.records.len()),
        Err(error) => Err(error.code().unwrap_or("no answer").to_owned()),
    }
}

#[tokio::test]
async fn iterators_expire_by_age_and_at_once() {
    let (sandbox, client) = start().await;
    put(&client, 1).await;
    let old = horizon(&client, SHARD).await;
    sandbox.expire_iterators();
    assert_eq!(get(&client, &old).await, Err("ExpiredIteratorException".into()));
    let new = horizon(&client, SHARD).await;
    assert_eq!(get(&client, &new).await, Ok(1));
    sandbox.set_iterator_max_age(Duration::from_millis(1));
    let started = Instant::now();
    while get(&client, &new).await == Ok(1) {
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(get(&client, &new).await, Err("ExpiredIteratorException".into()));
}

#[tokio::test]
async fn a_trim_moves_the_horizon() {
    let (sandbox, client) = start().await;
    let numbers: Vec<String> = put(&client, 5)
        .await
        .records
        .into_iter()
        .map(|r| r.sequence_number.unwrap())
        .collect();
    let from_start = horizon(&client, SHARD).await;
    assert_eq!(sandbox.trim("s", None, Trim::UpTo(numbers[1].clone())), Ok(2));
    assert_eq!(
        get(&client, &from_start).await,
        Ok(3),
        "an older iterator goes on behind what was trimmed"
    );
    // A trimmed position is still a valid position of the shard.
    let request = client.get_shard_iterator().stream_name("s").shard_id(SHARD);
    let request = request.shard_iterator_type(ShardIteratorType::AfterSequenceNumber);
    let trimmed = request
        .starting_sequence_number(&numbers[0])
        .send()
        .await
        .unwrap();
    assert_eq!(get(&client, &trimmed.shard_iterator.unwrap()).await, Ok(3));
    assert_eq!(
        sandbox.trim("s", Some(SHARD), Trim::OlderThanMs(3_600_000)),
        Ok(0)
    );
    assert_eq!(sandbox.trim("s", Some(SHARD), Trim::All), Ok(3));
    assert_eq!(get(&client, &horizon(&client, SHARD).await).await, Ok(0));
    assert!(sandbox.trim("s", None, Trim::UpTo("1".into())).is_err());
    assert!(sandbox.trim("none", None, Trim::All).is_err());
    // Old by arrival time, independent of the clock.
    sandbox.set_arrival_offset_ms(-7_200_000);
    put(&client, 2).await;
    sandbox.set_arrival_offset_ms(0);
    put(&client, 1).await;
    assert_eq!(sandbox.trim("s", None, Trim::OlderThanMs(3_600_000)), Ok(2));
}

#[tokio::test]
async fn a_closed_shard_is_forgotten() {
    let (sandbox, client) = start().await;
    let iterator = horizon(&client, SHARD).await;
    assert!(sandbox.forget_shard("s", SHARD).is_err(), "it is open");
    let split = client.split_shard().stream_name("s").shard_to_split(SHARD);
    split.new_starting_hash_key("1000").send().await.unwrap();
    sandbox.forget_shard("s", SHARD).unwrap();
    let listed = client.list_shards().stream_name("s").send().await.unwrap();
    let listed: Vec<_> = listed
        .shards()
        .iter()
        .map(|s| (s.shard_id(), s.parent_shard_id()))
        .collect();
    assert_eq!(
        listed,
        [
            ("shardId-000000000001", Some(SHARD)),
            ("shardId-000000000002", Some(SHARD))
        ]
    );
    assert_eq!(
        get(&client, &iterator).await,
        Err("ResourceNotFoundException".into())
    );
    assert!(
        sandbox.forget_shard("s", SHARD).is_err(),
        "it is not there any more"
    );
}

#[tokio::test]
async fn calls_fail_as_set() {
    let (sandbox, client) = start().await;
    let iterator = horizon(&client, SHARD).await;
    let throttle = Fault::Error(ErrorCode::ProvisionedThroughputExceededException);
    sandbox.fail(Operation::GetRecords, throttle, Schedule::Next(2));
    sandbox.fail(
        Operation::GetRecords,
        Fault::Error(ErrorCode::InternalFailure),
        Schedule::Next(1),
    );
    sandbox.fail(Operation::GetRecords, Fault::DropConnection, Schedule::Next(1));
    for expected in [THROTTLED, THROTTLED, "InternalFailure", "no answer"] {
        assert_eq!(get(&client, &iterator).await, Err(expected.into()));
    }
    assert_eq!(get(&client, &iterator).await, Ok(0));
    let errors = sandbox.stats().operations["GetRecords"].errors.clone();
    let errors: Vec<(&str, u64)> = errors.iter().map(|(name, n)| (name.as_str(), *n)).collect();
    assert_eq!(
        errors,
        [("DroppedConnection", 1), ("InternalFailure", 1), (THROTTLED, 2)]
    );
    sandbox.fail(Operation::GetRecords, throttle, Schedule::Fraction(1.0));
    assert_eq!(get(&client, &iterator).await, Err(THROTTLED.into()));
    sandbox.clear_faults();
    assert_eq!(get(&client, &iterator).await, Ok(0));
}

#[tokio::test]
async fn entries_fail_as_set() {
    let (sandbox, client) = start().await;
    sandbox.fail_entries(
        ErrorCode::ProvisionedThroughputExceededException,
        Schedule::Next(2),
    );
    sandbox.fail_entries(ErrorCode::InternalFailure, Schedule::Next(1));
    let answer = put(&client, 5).await;
    assert_eq!(answer.failed_record_count, Some(3));
    let codes: Vec<_> = answer.records.iter().map(|r| r.error_code()).collect();
    assert_eq!(
        codes,
        [
            Some(THROTTLED),
            Some(THROTTLED),
            Some("InternalFailure"),
            None,
            None
        ]
    );
    for record in &answer.records {
        assert_eq!(record.error_code.is_some(), record.error_message.is_some());
        assert_eq!(record.error_code.is_some(), record.sequence_number.is_none());
    }
    assert_eq!(
        get(&client, &horizon(&client, SHARD).await).await,
        Ok(2),
        "only what was accepted is there"
    );
    let shard = sandbox.stats().shard("s", SHARD);
    assert_eq!(
        (
            shard.records_in,
            shard.records_refused,
            shard.get_records,
            shard.records_out
        ),
        (2, 3, 1, 2)
    );
}

#[tokio::test]
async fn answers_are_cut_short_and_empty() {
    let (sandbox, client) = start().await;
    put(&client, 5).await;
    sandbox.answer_empty(1);
    sandbox.set_max_records_per_get(Some(2));
    let mut iterator = horizon(&client, SHARD).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let page = client
            .get_records()
            .shard_iterator(&iterator)
            .send()
            .await
            .unwrap();
        seen.push((page.records.len(), page.millis_behind_latest.unwrap() > 0));
        iterator = page.next_shard_iterator.unwrap();
    }
    assert_eq!(seen, [(0, true), (2, true), (2, true), (1, false)]);
}

#[tokio::test]
async fn shard_limits_throttle_when_switched_on() {
    let (sandbox, client) = start().await;
    // A rate so low that the test's own speed does not matter.
    let limits = ShardLimits {
        write_records: 3.0,
        read_calls: 2.0,
        ..ShardLimits::default()
    };
    sandbox.set_shard_limits(Some(limits));
    let answer = put(&client, 200).await;
    assert_eq!(answer.failed_record_count, Some(197));
    assert_eq!(answer.records[199].error_code(), Some(THROTTLED));
    let iterator = horizon(&client, SHARD).await;
    let mut results = Vec::new();
    while !results.contains(&Err(THROTTLED.to_owned())) && results.len() < 100 {
        results.push(get(&client, &iterator).await);
    }
    assert_eq!(results.first(), Some(&Ok(3)));
    assert_eq!(results.last(), Some(&Err(THROTTLED.to_owned())));
    assert_eq!(sandbox.stats().shard("s", SHARD).get_records_throttled, 1);
    sandbox.set_shard_limits(None);
    assert_eq!(get(&client, &iterator).await, Ok(3));
}

#[tokio::test]
async fn delays_and_transitions_take_their_time() {
    let (sandbox, client) = start().await;
    sandbox.delay(Operation::ListShards, Duration::from_millis(150));
    let started = Instant::now();
    client.list_shards().stream_name("s").send().await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(150));
    sandbox.delay(Operation::ListShards, Duration::ZERO);

    sandbox.set_transition(Duration::from_secs(3600));
    client
        .create_stream()
        .stream_name("slow")
        .shard_count(1)
        .send()
        .await
        .unwrap();
    let summary = client
        .describe_stream_summary()
        .stream_name("slow")
        .send()
        .await
        .unwrap();
    assert_eq!(
        summary.stream_description_summary.unwrap().stream_status.as_str(),
        "CREATING"
    );
    let put = client
        .put_record()
        .stream_name("slow")
        .partition_key("k")
        .data(Blob::new("x"))
        .send()
        .await;
    assert_eq!(put.unwrap_err().code(), Some("ResourceNotFoundException"));
    let listed = client.list_shards().stream_name("slow").send().await;
    assert_eq!(listed.unwrap_err().code(), Some("ResourceInUseException"));
}

#[tokio::test]
async fn a_rejected_key_is_not_recognised() {
    let (sandbox, client) = start().await;
    sandbox.reject_key("AKIDBAD");
    let bad = self::client(&sandbox, "AKIDBAD");
    let error = bad.list_shards().stream_name("s").send().await.unwrap_err();
    assert_eq!(error.code(), Some("UnrecognizedClientException"));
    assert_eq!(
        error.message(),
        Some("The security token included in the request is invalid.")
    );
    client.list_shards().stream_name("s").send().await.unwrap();
    sandbox.accept_all_keys();
    bad.list_shards().stream_name("s").send().await.unwrap();
}

#[tokio::test]
async fn larger_records_where_the_stream_allows_them() {
    let (sandbox, client) = start().await;
    let create = client
        .create_stream()
        .stream_name("large")
        .shard_count(1)
        .max_record_size_in_kib(10_240);
    create.send().await.unwrap();
    let put = |stream: &str, size: usize| {
        client
            .put_record()
            .stream_name(stream)
            .partition_key("k")
            .data(Blob::new(vec![1; size]))
            .send()
    };
    put("large", 10 * 1024 * 1024 - 1).await.unwrap();
    put("large", 10 * 1024 * 1024).await.unwrap_err();
    put("s", 1024 * 1024).await.unwrap_err();
    assert_eq!(sandbox.stats().shard("large", SHARD).bytes_in, 10 * 1024 * 1024);
}

#[tokio::test]
async fn page_tokens_expire() {
    let (sandbox, client) = start().await;
    client
        .create_stream()
        .stream_name("two")
        .shard_count(2)
        .send()
        .await
        .unwrap();
    let page = client
        .list_shards()
        .stream_name("two")
        .max_results(1)
        .send()
        .await
        .unwrap();
    let token = page.next_token.unwrap();
    client.list_shards().next_token(&token).send().await.unwrap();
    sandbox.set_next_token_max_age(Duration::ZERO);
    let started = Instant::now();
    let error = loop {
        match client.list_shards().next_token(&token).send().await {
            Ok(_) => assert!(started.elapsed() < Duration::from_secs(10)),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Some("ExpiredNextTokenException"));
}

#[tokio::test]
async fn knobs_turn_over_http() {
    let (sandbox, client) = start().await;
    put(&client, 3).await;
    let iterator = horizon(&client, SHARD).await;
    let knobs = r#"{
        "faults": [{"operation": "GetRecords", "error": "throttle", "count": 1}],
        "entry_faults": [{"error": "internal", "fraction": 1.0}],
        "trim": {"stream": "s", "records": "all"}, "rejected_keys": ["AKIDBAD"], "delays": {"PutRecord": 1}
    }"#;
    let (status, answer) = request(&sandbox, "POST", "/sandbox/knobs", &[], knobs).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["rejected_keys"][0], "AKIDBAD");
    assert_eq!(answer["delays"]["PutRecord"], 1);
    assert_eq!(get(&client, &iterator).await, Err(THROTTLED.into()));
    assert_eq!(get(&client, &iterator).await, Ok(0));
    assert_eq!(put(&client, 2).await.failed_record_count, Some(2));

    for (bad, reason) in [
        (r#"{"knob": 1}"#, "unknown field `knob`"),
        (
            r#"{"faults": [{"operation": "GetRecord", "error": "drop", "count": 1}]}"#,
            "known are",
        ),
        (
            r#"{"faults": [{"operation": "GetRecords", "error": "oops", "count": 1}]}"#,
            "known are",
        ),
        (
            r#"{"faults": [{"operation": "GetRecords", "error": "drop"}]}"#,
            "either count or fraction",
        ),
        (r#"{"trim": {"stream": "none", "records": "all"}}"#, "not found"),
    ] {
        let (status, answer) = request(&sandbox, "POST", "/sandbox/knobs", &[], bad).await;
        assert_eq!(status, 400);
        assert!(answer["error"].as_str().unwrap().contains(reason), "{answer}");
    }

    let (status, stats) = request(&sandbox, "GET", "/sandbox/stats", &[], "").await;
    assert_eq!(
        (status, &stats["operations"]["GetRecords"]["calls"]),
        (200, &2.into())
    );
    assert_eq!(stats["streams"]["s"][SHARD]["records_in"], 3);
    assert_eq!(
        request(&sandbox, "DELETE", "/sandbox/reset", &[], "").await.0,
        200
    );
    let (_, stats) = request(&sandbox, "GET", "/sandbox/stats", &[], "").await;
    assert_eq!(stats["operations"], serde_json::json!({}));
    assert_eq!(stats["streams"], serde_json::json!({}));
    let (_, knobs) = request(&sandbox, "GET", "/sandbox/knobs", &[], "").await;
    assert_eq!(knobs["rejected_keys"], serde_json::json!([]));
    assert_eq!(request(&sandbox, "GET", "/sandbox/other", &[], "").await.0, 404);
}

#[tokio::test]
async fn the_wire_has_its_own_refusals() {
    let (sandbox, _) = start().await;
    let signed = [(
        "authorization",
        "AWS4-HMAC-SHA256 Credential=A/20260101/eu-west-1/kinesis/aws4_request, x=y",
    )];
    for (operation, headers, body, error) in [
        ("ListShards", &[][..], "{}", "MissingAuthenticationTokenException"),
        (
            "ListShards",
            &[("authorization", "Basic x")],
            "{}",
            "IncompleteSignatureException",
        ),
        ("ListShards", &signed, "{", "SerializationException"),
        (
            "ListShards",
            &signed,
            r#"{"MaxResults": "many"}"#,
            "SerializationException",
        ),
        (
            "StartStreamEncryption",
            &signed,
            "{}",
            "UnknownOperationException",
        ),
        ("SubscribeToShard", &signed, "{}", "ValidationException"),
        (
            "PutRecord",
            &signed,
            r#"{"StreamName":"s","PartitionKey":"k","Data":"*"}"#,
            "SerializationException",
        ),
        (
            "PutRecord",
            &signed,
            r#"{"StreamName":"s","PartitionKey":"k"}"#,
            "ValidationException",
        ),
        ("DeleteStream", &signed, "", "InvalidArgumentException"),
    ] {
        let (status, answer) = api(&sandbox, operation, headers, body).await;
        assert_eq!(
            (status, answer["__type"].as_str()),
            (400, Some(error)),
            "{operation} {body}"
        );
    }
    let (status, answer) = api(&sandbox, "ListShards", &signed, r#"{"StreamName":"s"}"#).await;
    assert_eq!((status, &answer["Shards"][0]["ShardId"]), (200, &SHARD.into()));
}

#[tokio::test]
async fn a_stopped_sandbox_frees_its_port() {
    let (sandbox, client) = start().await;
    let config = SandboxConfig {
        port: sandbox.port(),
        ..SandboxConfig::default()
    };
    assert!(Sandbox::start(config.clone()).await.is_err(), "the port is taken");
    sandbox.stop().await;
    client.list_streams().send().await.unwrap_err();
    let again = Sandbox::start(config).await.unwrap();
    client.list_streams().send().await.unwrap();
    drop(again);
    let started = Instant::now();
    while client.list_streams().send().await.is_ok() {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "dropping it stops it"
        );
    }
}
