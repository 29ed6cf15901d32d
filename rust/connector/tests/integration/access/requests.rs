//! Signed requests: other accounts, wrong clocks, refused signatures and gateways.
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ONCE, reads_ten, refused, role, ten_records, write};
use crate::support::stub::{Answer, Stub, sts_refusal};
use crate::support::{FAN_OUT, LocalFiles, NAMED, STREAM, assert_exact, read_all};
use kinesis_connector::{Engine, ErrorKind, SourceConfig};
use serde_json::json;

/// A resource policy allows access: the stream belongs to another account, and only its ARN finds it.
#[tokio::test]
async fn a_stream_of_another_account_is_read_and_written_by_its_arn() {
    let world = ten_records(&[]).await;
    world.hasten_subscriptions();
    let arn = format!(
        "arn:aws:kinesis:us-east-1:{}:stream/{STREAM}",
        kinesis_sandbox::ACCOUNT
    );
    world.knobs(json!({"foreign_callers": true}));
    let error = refused(&world, &[ONCE]).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");

    let by_arn = ("kinesis.streamArn", arn.as_str());
    reads_ten(&world, &[by_arn]).await;
    reads_ten(&world, &[by_arn, FAN_OUT, NAMED]).await;
    write(&world, 5, &[by_arn]).await;
    let mut query = world.query(&[by_arn]).await;
    assert_eq!(query.rows(15).await.len(), 15);
}

#[tokio::test]
async fn a_refused_signature_is_reported_without_what_the_service_quotes() {
    let quoted = "the Canonical String should have been x-amz-security-token:TOKENSECRET \u{1b}[31m";
    let body = json!({"__type": "InvalidSignatureException", "message": quoted}).to_string();
    let service = Stub::start(move |_, _| Answer::of(400, body.clone())).await;
    let mut world = ten_records(&[]).await;
    world.endpoint.clone_from(&service.endpoint);
    let error = refused(&world, &[]).await.to_string();
    assert!(error.contains("InvalidSignatureException"), "{error}");
    assert!(
        !error.contains("TOKENSECRET") && !error.contains("Canonical"),
        "{error}"
    );

    let sts =
        Stub::start(move |_, _| sts_refusal(403, "SignatureDoesNotMatch", "security-token:TOKENSECRET"))
            .await;
    let error = refused(&world, &role(&sts)).await.to_string();
    assert!(error.contains("SignatureDoesNotMatch"), "{error}");
    assert!(!error.contains("TOKENSECRET"), "{error}");
}

/// The clock is ten minutes off the service's.
#[tokio::test]
async fn a_wrong_clock_is_corrected_by_the_services() {
    let world = ten_records(&[]).await;
    world.knobs(json!({"clock_offset_ms": 600_000}));
    reads_ten(&world, &[ONCE]).await;
    let refusals = |operation: &str| -> u64 {
        let stats = world.sandbox.stats();
        let errors = stats
            .operations
            .get(operation)
            .map(|operation| operation.errors.clone());
        errors.unwrap_or_default().values().sum()
    };
    world.hasten_subscriptions();
    let mut query = world.query(&[FAN_OUT, NAMED, ONCE]).await;
    assert_exact(&query.rows(10).await, "r", 0..10);
    assert_eq!(
        refusals("SubscribeToShard"),
        0,
        "{:?}",
        world.sandbox.stats().operations
    );
}

/// One long-lived process reads one time range of a stream after another.
#[tokio::test]
async fn reads_of_other_times_share_a_client() {
    let world = ten_records(&["AKIDTEST"]).await;
    let sts = Stub::sts().await;
    let engine = Engine::new();
    let before = world.sandbox.stats().connections;
    for earlier in 0..30 {
        let start = (chrono::Utc::now() - chrono::Duration::seconds(3_600 + earlier))
            .format("AT_TIMESTAMP %Y-%m-%dT%H:%M:%SZ")
            .to_string();
        let mut options = BTreeMap::from([
            ("kinesis.streamName", STREAM),
            ("kinesis.region", "us-east-1"),
            ("kinesis.endpointUrl", world.endpoint.as_str()),
            ("kinesis.awsAccessKeyId", "AKIDTEST"),
            ("kinesis.awsSecretKey", "secret"),
            ("kinesis.startingPosition", start.as_str()),
        ]);
        options.extend(role(&sts));
        let config =
            SourceConfig::parse(&json!({"version": 1, "options": options}).to_string()).expect("options");
        let mut rows = Vec::new();
        for task in engine.batch_read_tasks(&config).await.expect("planned") {
            let reader = engine
                .open_reader(config.clone(), &task, Arc::new(LocalFiles))
                .expect("a reader");
            rows.extend(read_all(&reader).await.expect("rows"));
            reader.finish(true).await.expect("finished");
        }
        assert_exact(&rows, "r", 0..10);
    }
    assert_eq!(sts.seen().len(), 1, "sessions of the role");
    assert!(
        world.sandbox.stats().connections - before <= 4,
        "{:?}",
        world.sandbox.stats().connections
    );
}

/// A proxy or gateway that asks for a retry by its HTTP status, without an error code of the service.
#[tokio::test]
async fn a_gateway_that_says_later_is_no_refusal() {
    for status in [408, 425, 429] {
        let service = Stub::start(move |_, _| Answer::of(status, "<html>later</html>")).await;
        let mut world = ten_records(&[]).await;
        world.endpoint.clone_from(&service.endpoint);
        let error = refused(&world, &[ONCE]).await;
        assert!(error.is_retryable(), "{status}: {error}");
    }
}
