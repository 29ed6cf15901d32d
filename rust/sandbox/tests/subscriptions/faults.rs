//! Faults of subscriptions, over HTTP/1.1 and HTTP/2.

use std::time::Duration;

use kinesis_sandbox::{ErrorCode, Schedule, SubscriptionFault};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::events::{horizon, keys_of};
use crate::harness::{Fixture, SHARD};

/// Plans a fault for the next subscription, after its first event.
fn once(fixture: &Fixture, fault: Value) {
    let fault = json!({"fault": fault, "after_events": 1, "count": 1});
    fixture.knobs(
        json!({"subscriptions": {"exclusive_ms": 0, "idle_event_ms": 20}, "subscription_faults": [fault]}),
    );
}

#[tokio::test]
async fn a_cut_ends_the_stream_in_order() {
    for fixture in Fixture::both().await {
        once(&fixture, json!("cut"));
        let mut events = fixture.subscribe(horizon()).await.unwrap();
        events.event().await;
        assert!(events.next().await.unwrap().is_none());
        fixture.until(|s| s.subscriptions_ended == 1).await;
        // The fault affected one subscription only.
        let mut events = fixture.subscribe(horizon()).await.unwrap();
        events.event().await;
        events.event().await;
    }
}

#[tokio::test]
async fn a_reset_breaks_the_stream() {
    for fixture in Fixture::both().await {
        once(&fixture, json!("reset"));
        let mut events = fixture.subscribe(horizon()).await.unwrap();
        events.event().await;
        assert_eq!(events.next().await, Err("broken".into()));
        fixture.until(|s| s.subscriptions_ended == 1).await;
        // Over HTTP/2 the connection stays usable.
        fixture.subscribe(horizon()).await.unwrap().event().await;
    }
}

#[tokio::test]
async fn half_an_event_is_no_event() {
    for fixture in Fixture::both().await {
        once(&fixture, json!("half_event"));
        let mut events = fixture.subscribe(horizon()).await.unwrap();
        events.event().await;
        fixture.put(&["a"]).await;
        assert_eq!(events.next().await, Err("broken".into()));
        let mut events = fixture.subscribe(horizon()).await.unwrap();
        assert_eq!(keys_of(&events.event().await), ["a"]);
    }
}

#[tokio::test]
async fn an_exception_in_the_stream_ends_it() {
    for fixture in Fixture::both().await {
        for name in ["InternalFailureException", "KMSThrottlingException"] {
            once(&fixture, json!({ "exception": name }));
            let mut events = fixture.subscribe(horizon()).await.unwrap();
            events.event().await;
            assert_eq!(events.next().await, Err(name.into()));
            assert!(events.next().await.unwrap().is_none());
        }
    }
}

#[tokio::test]
async fn a_drip_is_slow_and_whole() {
    for fixture in Fixture::both().await {
        once(&fixture, json!({"drip": {"bytes": 10, "delay_ms": 1}}));
        let mut events = fixture.subscribe(horizon()).await.unwrap();
        events.event().await;
        fixture.put(&["a", "b"]).await;
        assert_eq!(events.keys(2).await, ["a", "b"]);
    }
}

/// Silence can be observed only by waiting for a fixed time; everything else is awaited as a condition.
const SILENCE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_stalled_stream_is_silent_and_its_connection_is_not() {
    for fixture in Fixture::both().await {
        once(&fixture, json!("stall"));
        fixture.knobs(json!({"subscriptions": {"lifetime_ms": 50}}));
        let mut events = fixture.subscribe(horizon()).await.unwrap();
        events.event().await;
        fixture.put(&["a"]).await;
        assert!(
            timeout(SILENCE, events.next()).await.is_err(),
            "not even its time ends it"
        );
        assert_eq!(fixture.stats().subscriptions_active(), 1);
        drop(events);
        fixture.until(|s| s.subscriptions_active() == 0).await;
    }
}

#[tokio::test]
async fn a_half_open_connection_answers_nobody() {
    let fixture = Fixture::start_tls().await;
    once(&fixture, json!("half_open"));
    let mut events = fixture.subscribe(horizon()).await.unwrap();
    events.event().await;
    assert!(timeout(SILENCE, events.next()).await.is_err());
    // The next call uses the same HTTP/2 connection.
    let call = fixture.client.list_streams().send();
    assert!(timeout(SILENCE, call).await.is_err());
    assert_eq!(fixture.sandbox.stats().calls("ListStreams"), 0);
}

#[tokio::test]
async fn open_subscriptions_can_be_met() {
    let fixture = Fixture::start().await;
    fixture.knobs(json!({"subscriptions": {"exclusive_ms": 0, "idle_event_ms": 20}}));
    let mut events = fixture.subscribe(horizon()).await.unwrap();
    events.event().await;
    let reset = |stream: &str, shard: &str| {
        let fault =
            json!({"fault": "reset", "open": true, "fraction": 1.0, "stream": stream, "shard": shard});
        fixture.knobs(json!({"subscription_faults": [fault]}));
    };
    reset("other", SHARD);
    reset("s", "shardId-000000000001");
    events.event().await;
    events.event().await;
    reset("s", SHARD);
    while events.next().await.is_ok() {}
    // A later subscription is not affected.
    let mut events = fixture.subscribe(horizon()).await.unwrap();
    events.event().await;
    events.event().await;
}

#[tokio::test]
async fn a_fraction_of_subscriptions_is_met() {
    let fixture = Fixture::start().await;
    fixture.knobs(json!({"subscriptions": {"exclusive_ms": 0}}));
    let fault = SubscriptionFault::Exception(ErrorCode::InternalFailureException);
    fixture
        .sandbox
        .fail_subscriptions(fault, 0, Schedule::Fraction(0.5));
    let mut met = 0;
    for _ in 0..40 {
        met += u32::from(fixture.subscribe(horizon()).await.unwrap().next().await.is_err());
    }
    assert!((8..=32).contains(&met), "{met} of 40");
    fixture.sandbox.clear_faults();
    fixture.subscribe(horizon()).await.unwrap().event().await;
}

#[tokio::test]
async fn the_call_itself_fails_as_any_other() {
    let fixture = Fixture::start().await;
    let fault =
        |error: &str| json!({"faults": [{"operation": "SubscribeToShard", "error": error, "count": 1}]});
    for (error, code) in [
        ("internal", "InternalFailure"),
        ("LimitExceededException", "LimitExceededException"),
        ("drop", "no answer"),
    ] {
        fixture.knobs(fault(error));
        let failed = fixture.subscribe(horizon()).await.err().unwrap();
        assert!(failed.starts_with(code), "{failed}");
    }
    fixture.subscribe(horizon()).await.unwrap().event().await;
}
