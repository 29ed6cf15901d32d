//! What goes over the wire: request members, errors, and the hand-written JSON of the hot answers.

mod error;
mod json;
mod request;

pub use error::{ErrorCode, ServiceError};
pub(crate) use json::{push_json_string, push_seconds, seconds};
pub(crate) use request::*;
