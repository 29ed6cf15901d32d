//! Frames of `application/vnd.amazon.eventstream`, the format of SubscribeToShard's response.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;

use super::ServiceError;

/// Content type of the response.
pub(crate) const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";

/// First message of the stream: the response's members besides the stream itself, which are none.
pub(crate) fn initial_response() -> Bytes {
    let payload = Bytes::from_static(b"{}");
    message(
        ":event-type",
        "initial-response",
        "event",
        "application/x-amz-json-1.1",
        payload,
    )
}

/// A SubscribeToShardEvent with this JSON payload.
pub(crate) fn event(json: Vec<u8>) -> Bytes {
    message(
        ":event-type",
        "SubscribeToShardEvent",
        "event",
        "application/json",
        json.into(),
    )
}

/// An error event, which ends the stream.
pub(crate) fn exception(error: &ServiceError) -> Bytes {
    let json = serde_json::json!({ "message": error.message }).to_string();
    message(
        ":exception-type",
        error.code.name(),
        "exception",
        "application/json",
        json.into(),
    )
}

fn message(
    type_header: &'static str,
    kind: &'static str,
    message_type: &'static str,
    content_type: &'static str,
    payload: Bytes,
) -> Bytes {
    let header =
        |name: &'static str, value: &'static str| Header::new(name, HeaderValue::String(value.into()));
    let message = Message::new(payload)
        .add_header(header(type_header, kind))
        .add_header(header(":content-type", content_type))
        .add_header(header(":message-type", message_type));
    let mut out = Vec::with_capacity(message.payload().len() + 256);
    if let Err(error) = write_message_to(&message, &mut out) {
        // Fails only for headers or payloads longer than any written here.
        tracing::error!(%error, "an event cannot be framed");
    }
    out.into()
}
