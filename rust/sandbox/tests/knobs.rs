//! Behaviour that only the sandbox has: knobs through the library and over HTTP, counters, and rules of the wire
//! format.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "knobs/expiry.rs"]
mod expiry;
#[path = "knobs/failures.rs"]
mod failures;
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
use kinesis_sandbox::{Sandbox, SandboxConfig};

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
