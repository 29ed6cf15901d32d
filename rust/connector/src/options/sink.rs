//! The options of a write.

use super::access;
use super::raw::{RawOptions, unsupported};
use super::table::{self as t, User};
use super::types::{Parsed, SinkOptions};
use crate::error::Result;

/// The options of a streaming or batch write.
pub(super) fn parse(raw: &RawOptions) -> Result<Parsed<SinkOptions>> {
    let mut warnings = raw.check_keys(User::Sink)?;
    let (stream, access) = access::stream_and_access(raw, User::Sink, &mut warnings)?;
    let options = SinkOptions {
        stream,
        access,
        aggregation: raw.flag(&t::AGGREGATION_ENABLED)?,
        max_buffered_time: raw.millis(&t::MAX_BUFFERED_TIME)?,
        max_connections: raw.number_or_default(&t::MAX_CONNECTIONS)?,
        max_record_bytes: raw.number_or_default(&t::MAX_RECORD_BYTES)?,
        client_retry: access::client_retry(raw, &mut warnings)?,
    };
    raw.number(&t::FLUSH_WAIT_TIME)?;
    raw.number(&t::RECORD_TTL)?;

    if options.aggregation {
        return Err(unsupported(
            &t::AGGREGATION_ENABLED,
            &format!("{} true", t::AGGREGATION_ENABLED.key),
            "leave it out; the default is false in this version, and each row is put as a record of its own",
        ));
    }
    raw.refuse_unsupported()?;
    Ok(Parsed { options, warnings })
}
