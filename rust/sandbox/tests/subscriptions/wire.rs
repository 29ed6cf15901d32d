//! Wire format of a SubscribeToShard response: plain HTTP/2 by prior knowledge, and the frames' headers.

use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
use aws_smithy_types::event_stream::Message;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Version};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::events::PATIENCE;
use crate::harness::{Fixture, SHARD};

/// Reads the next message of a body.
async fn message(body: &mut Incoming, decoder: &mut MessageFrameDecoder) -> Message {
    loop {
        let frame = timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
        // Each message comes in its own frame.
        if let DecodedFrame::Complete(message) = decoder.decode_frame(frame.into_data().unwrap()).unwrap() {
            return message;
        }
    }
}

fn header(message: &Message, name: &str) -> String {
    let mut headers = message.headers().iter();
    let header = headers.find(|h| h.name().as_str() == name).unwrap();
    header.value().as_string().unwrap().as_str().to_owned()
}

#[tokio::test]
async fn events_are_framed_as_the_service_frames_them() {
    let fixture = Fixture::start().await;
    fixture.knobs(json!({"subscription_faults": [
        {"fault": {"exception": "InternalFailureException"}, "after_events": 1, "count": 1},
    ]}));
    let number = fixture.put(&["a"]).await.remove(0);
    let request = json!({
        "ConsumerARN": fixture.consumer, "ShardId": SHARD, "StartingPosition": {"Type": "TRIM_HORIZON"},
    });
    let scope = "AWS4-HMAC-SHA256 Credential=A/20260101/eu-west-1/kinesis/aws4_request, Signature=0";
    let request = Request::post(fixture.sandbox.endpoint())
        .header("authorization", scope)
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", "Kinesis_20131202.SubscribeToShard")
        .body(Full::new(Bytes::from(request.to_string())))
        .unwrap();
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let answer = client.request(request).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (200, Version::HTTP_2)
    );
    assert_eq!(
        answer.headers()["content-type"],
        "application/vnd.amazon.eventstream"
    );
    assert!(answer.headers().contains_key("x-amzn-requestid"));
    let (mut body, mut decoder) = (answer.into_body(), MessageFrameDecoder::new());

    let first = message(&mut body, &mut decoder).await;
    assert_eq!(header(&first, ":message-type"), "event");
    assert_eq!(header(&first, ":event-type"), "initial-response");

    let event = message(&mut body, &mut decoder).await;
    assert_eq!(header(&event, ":message-type"), "event");
    assert_eq!(header(&event, ":event-type"), "SubscribeToShardEvent");
    assert_eq!(header(&event, ":content-type"), "application/json");
    let json: Value = serde_json::from_slice(event.payload()).unwrap();
    assert_eq!(json["Records"][0]["SequenceNumber"], number);
    assert_eq!(json["Records"][0]["Data"], "ZGF0YSBvZiBh");
    assert!(json["ContinuationSequenceNumber"].as_str().unwrap() > number.as_str());
    assert_eq!(json["MillisBehindLatest"], 0);
    assert_eq!(json.get("ChildShards"), None);

    let exception = message(&mut body, &mut decoder).await;
    assert_eq!(header(&exception, ":message-type"), "exception");
    assert_eq!(header(&exception, ":exception-type"), "InternalFailureException");
    let json: Value = serde_json::from_slice(exception.payload()).unwrap();
    assert!(json["message"].is_string());
    let rest = timeout(PATIENCE, body.collect()).await.unwrap().unwrap();
    assert!(rest.to_bytes().is_empty(), "the exception ends the stream");
}
