//! The effect of each key, and the messages for a wrong one. The messages are asserted, since they are part of the
//! interface.

mod access;
mod keys;
mod proxy;
mod sink;
mod source;
mod values;

use std::collections::BTreeMap;

use super::*;
use crate::error::{Error, ErrorKind};

const NAME: (&str, &str) = ("kinesis.streamName", "orders");
const ARN: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/orders";

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn with_name(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut map = map(pairs);
    map.insert(NAME.0.to_owned(), NAME.1.to_owned());
    map
}

fn read(pairs: &[(&str, &str)]) -> SourceOptions {
    source(&with_name(pairs)).unwrap().options
}

fn read_error(pairs: &[(&str, &str)]) -> Error {
    source(&with_name(pairs)).unwrap_err()
}

fn write(pairs: &[(&str, &str)]) -> SinkOptions {
    super::sink(&with_name(pairs)).unwrap().options
}

fn write_error(pairs: &[(&str, &str)]) -> Error {
    super::sink(&with_name(pairs)).unwrap_err()
}

/// Asserts that `key` is refused with exactly this message, and that the error names the key.
#[track_caller]
fn assert_refused(error: &Error, key: &str, message: &str) {
    assert_eq!(error.message(), message);
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
    assert!(!error.is_retryable());
    assert_eq!(error.context(), [("option", key.to_owned())]);
}
