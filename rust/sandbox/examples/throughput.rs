//! Measures the sandbox's throughput over loopback: MB/s of payload put and got, with 1 KiB records.
//!
//! `cargo run --release -p kinesis-sandbox --example throughput [-- [MB] [connections]]` (default 400 MB, 2
//! connections)
//!
//! PutRecords of 500 records over HTTP/1.1 keep-alive, then GetRecords of up to 10,000 records, with one shard for
//! each connection. The client decodes no records, so the figures are those of the sandbox. Client and server share
//! the machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Instant;

use base64::Engine;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kinesis_sandbox::{Sandbox, SandboxConfig};

type Http = Client<HttpConnector, Full<Bytes>>;

const RECORD: usize = 1024;
const ENTRIES: usize = 500;
const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=A/20260101/eu-west-1/kinesis/aws4_request, Signature=x";

async fn call(http: &Http, endpoint: &str, operation: &str, body: Bytes) -> Bytes {
    let request = Request::post(endpoint)
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
        .header("authorization", SIGNED)
        .body(Full::new(body))
        .unwrap();
    let answer = http.request(request).await.unwrap();
    let status = answer.status();
    // Reads frame by frame, as a streaming client would, and keeps only the end of the response.
    let mut body = answer.into_body();
    let mut kept = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.unwrap().into_data() {
            let from = kept.len().saturating_sub(TAIL);
            kept.drain(..from);
            kept.extend_from_slice(&data);
        }
    }
    assert!(
        status.is_success(),
        "{operation}: {status} {}",
        String::from_utf8_lossy(&kept)
    );
    kept.into()
}

/// Enough for the members that follow the records of a GetRecords response.
const TAIL: usize = 4096;

/// Value of a text member near the end of the response.
fn member<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let start = answer.rfind(&format!("\"{name}\":"))? + name.len() + 3;
    let rest = answer[start..].trim_start_matches('"');
    rest.find(['"', ',', '}']).map(|end| &rest[..end])
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let mut number = |default: usize| args.next().map_or(default, |a| a.parse().expect("a number"));
    let (megabytes, connections) = (number(400), number(2));
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let endpoint = sandbox.endpoint();
    let http: Http = Client::builder(TokioExecutor::new()).build_http();
    let create = format!("{{\"StreamName\":\"s\",\"ShardCount\":{connections}}}");
    call(&http, &endpoint, "CreateStream", create.into()).await;

    let requests = megabytes * 1_000_000 / (RECORD * ENTRIES) / connections;
    let data = base64::engine::general_purpose::STANDARD.encode(vec![0x5a; RECORD]);
    let entries: Vec<String> = (0..ENTRIES)
        .map(|i| format!("{{\"Data\":\"{data}\",\"PartitionKey\":\"key-{i}\"}}"))
        .collect();
    let body = Bytes::from(format!(
        "{{\"StreamName\":\"s\",\"Records\":[{}]}}",
        entries.join(",")
    ));
    let started = Instant::now();
    let puts = (0..connections).map(|_| {
        let (http, endpoint, body) = (http.clone(), endpoint.clone(), body.clone());
        tokio::spawn(async move {
            for _ in 0..requests {
                let answer = call(&http, &endpoint, "PutRecords", body.clone()).await;
                let answer = String::from_utf8_lossy(&answer);
                assert_eq!(member(&answer, "FailedRecordCount"), Some("0"));
            }
        })
    });
    for put in puts.collect::<Vec<_>>() {
        put.await.unwrap();
    }
    let put_seconds = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let gets = (0..connections).map(|shard| {
        let (http, endpoint) = (http.clone(), endpoint.clone());
        tokio::spawn(async move {
            let body = format!(
                "{{\"StreamName\":\"s\",\"ShardId\":\"shardId-{shard:012}\",\"ShardIteratorType\":\"TRIM_HORIZON\"}}"
            );
            let answer = call(&http, &endpoint, "GetShardIterator", body.into()).await;
            let mut iterator = member(&String::from_utf8_lossy(&answer), "ShardIterator").unwrap().to_owned();
            loop {
                let body = format!("{{\"ShardIterator\":\"{iterator}\"}}");
                let answer = call(&http, &endpoint, "GetRecords", body.into()).await;
                let answer = String::from_utf8_lossy(&answer);
                if member(&answer, "MillisBehindLatest") == Some("0") {
                    break;
                }
                iterator = member(&answer, "NextShardIterator").unwrap().to_owned();
            }
        })
    });
    for get in gets.collect::<Vec<_>>() {
        get.await.unwrap();
    }
    let get_seconds = started.elapsed().as_secs_f64();

    let shards = sandbox.stats().streams["s"].clone();
    let records: u64 = shards.values().map(|s| s.records_out).sum();
    assert_eq!(
        records,
        (requests * connections * ENTRIES) as u64,
        "every record came back"
    );
    let payload = records as f64 * RECORD as f64 / 1e6;
    println!("{records} records of {RECORD} bytes, {connections} connections");
    println!("put {:.0} MB/s", payload / put_seconds);
    println!("get {:.0} MB/s", payload / get_seconds);
    sandbox.stop().await;
}
