//! Streams that can't be read: missing, replaced, out of reach or without access.
use crate::support::World;
use kinesis_connector::ErrorKind;

#[tokio::test]
async fn another_stream_or_a_successor_of_the_same_name_is_refused() {
    let world = World::with_shards(1).await;
    world.put("r", 0..10).await;
    let mut query = world.query(&[]).await;
    query.rows(10).await;
    let other = query
        .offset
        .replace("\"stream\":\"events\"", "\"stream\":\"orders\"");
    let error = query
        .planner
        .latest_offset(&other)
        .await
        .expect_err("another stream's");
    assert_eq!(error.kind(), ErrorKind::StreamChanged);
    assert!(error.to_string().contains("new checkpointLocation"), "{error}");
    let mut offset: serde_json::Value = serde_json::from_str(&query.offset).expect("json");
    offset["created"] = 1.into();
    let error = query
        .planner
        .latest_offset(&offset.to_string())
        .await
        .expect_err("a successor");
    assert_eq!(error.kind(), ErrorKind::StreamChanged);
    assert!(error.to_string().contains("deleted and made again"), "{error}");
}

#[tokio::test]
async fn a_missing_stream_and_a_closed_port_say_so() {
    let world = World::with_shards(1).await;
    let missing = world
        .try_query(&[("kinesis.streamName", "nowhere")])
        .await
        .map(|_| ())
        .expect_err("missing");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let shown = missing.to_string();
    assert!(
        shown.contains("nowhere") && shown.contains("requestId="),
        "{shown}"
    );
    let closed = [
        ("kinesis.endpointUrl", "http://127.0.0.1:1"),
        ("kinesis.clientNumRetries", "1"),
    ];
    let unreachable = world
        .try_query(&closed)
        .await
        .map(|_| ())
        .expect_err("unreachable");
    assert_eq!(unreachable.kind(), ErrorKind::Transport);
    assert!(
        unreachable.to_string().contains("kinesis.endpointUrl"),
        "{unreachable}"
    );
}

#[tokio::test]
async fn rejected_keys_are_an_access_error_without_the_secret() {
    let world = World::with_shards(1).await;
    world.sandbox.reject_key("AKIDTEST");
    let error = world.try_query(&[]).await.map(|_| ()).expect_err("rejected");
    assert_eq!(error.kind(), ErrorKind::Access);
    assert!(
        error.to_string().contains("UnrecognizedClientException"),
        "{error}"
    );
    assert!(!error.to_string().contains("secret\""), "{error}");
}
