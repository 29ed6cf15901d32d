//! The options of a write.

use std::time::Duration;

use super::access;
use super::parse::{self, Refusal};
use super::raw::RawOptions;
use super::spec::User;
use super::table as t;
use super::types::{Parsed, RowStreams, SinkOptions, SinkOrdering};
use crate::error::Result;

/// Parses the options of a streaming or batch write.
pub(super) fn parse(raw: &RawOptions) -> Result<Parsed<SinkOptions>> {
    let mut warnings = raw.check_keys(User::Sink)?;
    let allowed = raw.get(&t::ALLOWED_STREAMS, stream_names)?;
    let first = allowed.as_ref().and_then(|names| names.first());
    let (stream, access) =
        access::stream_and_access(raw, User::Sink, first.map(String::as_str), &mut warnings)?;
    let options = SinkOptions {
        stream,
        row_streams: allowed.map(|names| RowStreams {
            names,
            optional: raw.has(&t::STREAM_NAME) || raw.has(&t::STREAM_ARN),
        }),
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

/// Maximum number of streams that rows may name. A task may have a writer for each.
const MOST_STREAMS: usize = 32;

fn stream_names(text: &str) -> Result<Vec<String>, Refusal> {
    let mut names = Vec::new();
    for name in text.split(',').map(str::trim) {
        let name = parse::resource_name(name)
            .map_err(|why| format!("{name:?} is not the name of a stream: {why}"))?;
        if names.contains(&name) {
            return Err(format!("{name:?} is named twice"));
        }
        names.push(name);
    }
    match names.len() > MOST_STREAMS {
        true => Err(format!("it has {} names", names.len())),
        false => Ok(names),
    }
}
