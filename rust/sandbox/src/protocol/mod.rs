//! Wire format: operations, request members, errors, and the hand-written JSON of frequent responses.

mod cbor;
mod error;
mod event_stream;
mod json;
mod operation;
mod request;

pub(crate) use cbor::{CBOR, cbor_to_json, json_to_cbor};
pub use error::{ErrorCode, ServiceError};
pub(crate) use event_stream::{EVENT_STREAM, event, exception, initial_response};
pub(crate) use json::{push_json_string, push_seconds, seconds};
pub use operation::Operation;
pub(crate) use request::*;

/// Account that owns all streams of the sandbox.
pub const ACCOUNT: &str = "000000000000";
