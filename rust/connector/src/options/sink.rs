//! The options of a write.

use std::time::Duration;

use super::access;
use super::raw::RawOptions;
use super::table::{self as t, User};
use super::types::{Parsed, SinkOptions, SinkOrdering};
use crate::error::Result;

/// The options of a streaming or batch write.
pub(super) fn parse(raw: &RawOptions) -> Result<Parsed<SinkOptions>> {
    let mut warnings = raw.check_keys(User::Sink)?;
    let (stream, access) = access::stream_and_access(raw, User::Sink, &mut warnings)?;
    let options = SinkOptions {
        stream,
        access,
        aggregation: raw.flag(&t::AGGREGATION_ENABLED)?,
        ordering: match raw.word(&t::ORDERING)? {
            "key" => SinkOrdering::Key,
            _ => SinkOrdering::None,
        },
        max_buffered_time: raw.millis(&t::MAX_BUFFERED_TIME)?,
        max_connections: raw.number_or_default(&t::MAX_CONNECTIONS)?,
        max_record_bytes: raw.number_as(&t::MAX_RECORD_BYTES)?,
        max_retry_time: Duration::from_secs(raw.number_or_default(&t::MAX_RETRY_TIME)?),
        client_retry: access::client_retry(raw, &mut warnings)?,
    };
    raw.number(&t::FLUSH_WAIT_TIME)?;
    raw.number(&t::RECORD_TTL)?;

    Ok(Parsed { options, warnings })
}
