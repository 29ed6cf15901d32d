//! PutRecord and PutRecords.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::stream_of;
use crate::core::Core;
use crate::knobs::Settings;
use crate::protocol::{
    ErrorCode, PutEntry, PutRecordRequest, PutRecordsRequest, ServiceError, parse_borrowed, push_json_string,
};
use crate::stats::add;
use crate::store::{SequenceNumber, Stream, StreamState, hash_of, now_ms, parse_hash_key};

const MAX_ENTRIES: usize = 500;
const MIB: usize = 1024 * 1024;

/// An entry that passed all checks.
struct Entry<'a> {
    base64: &'a str,
    data_len: usize,
    key: &'a str,
    hash: u128,
}

impl Entry<'_> {
    fn size(&self) -> usize {
        self.data_len + self.key.len()
    }
}

/// Shard id and sequence number of an accepted record, or the error.
type Outcome = Result<(String, SequenceNumber), ServiceError>;

pub(super) fn put_one(core: &Core, body: &[u8]) -> Result<Value, ServiceError> {
    let request: PutRecordRequest = parse_borrowed(body)?;
    let stream = stream_of(
        core,
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    )?;
    stream.require_created()?;
    let settings = core.knobs.settings();
    let state = stream.read();
    let entry = PutEntry {
        data: request.data,
        partition_key: request.partition_key,
        explicit_hash_key: request.explicit_hash_key,
    };
    let rules = (max_record(&state), settings.auto_distribution);
    let entry = check(&entry, "", rules, &mut Vec::new())?;
    let (shard, number) = store(
        &stream,
        &state,
        &entry,
        &settings,
        now_ms() + settings.arrival_offset_ms,
    )?;
    state.notify_subscriptions();
    Ok(json!({ "ShardId": shard, "SequenceNumber": number.to_string(), "EncryptionType": "NONE" }))
}

pub(super) fn put(core: &Core, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let request: PutRecordsRequest = parse_borrowed(body)?;
    let records = request
        .records
        .as_deref()
        .ok_or_else(|| ServiceError::missing("records"))?;
    if records.is_empty() {
        let text = "Member must have length greater than or equal to 1";
        return Err(ServiceError::constraint("[]", "records", text));
    }
    if records.len() > MAX_ENTRIES {
        let text = format!("Member must have length less than or equal to {MAX_ENTRIES}");
        return Err(ServiceError::constraint(
            format!("[{} records]", records.len()),
            "records",
            &text,
        ));
    }
    let stream = stream_of(
        core,
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    )?;
    stream.require_created()?;
    let settings = core.knobs.settings();
    let state = stream.read();

    let max_record = max_record(&state);
    let mut scratch = Vec::new();
    let entries = records.iter().enumerate().map(|(at, entry)| {
        let path = format!("records.{}.member.", at + 1);
        check(
            entry,
            &path,
            (max_record, settings.auto_distribution),
            &mut scratch,
        )
    });
    let entries = entries.collect::<Result<Vec<Entry<'_>>, ServiceError>>()?;
    let total: usize = entries.iter().map(Entry::size).sum();
    // A request may have 5 MiB, or 10 MiB if the stream takes records above 1 MiB.
    let max_request = if max_record > MIB { 10 * MIB } else { 5 * MIB };
    if total > max_request {
        return Err(ServiceError::invalid_argument(format!(
            "Records size exceeds {} MB limit",
            max_request / MIB
        )));
    }

    let faults = core.knobs.entry_faults(entries.len());
    let arrival = now_ms() + settings.arrival_offset_ms;
    let mut failed = 0;
    let mut out = Vec::with_capacity(64 + entries.len() * 200);
    out.extend_from_slice(b"{\"Records\":[");
    for (at, entry) in entries.iter().enumerate() {
        let outcome = match faults.get(at).copied().flatten() {
            Some(code) => Err(refuse(&stream, &state, entry, code)),
            None => store(&stream, &state, entry, &settings, arrival),
        };
        if at > 0 {
            out.push(b',');
        }
        failed += usize::from(outcome.is_err());
        push_outcome(&mut out, &outcome);
    }
    state.notify_subscriptions();
    out.extend_from_slice(
        format!("],\"FailedRecordCount\":{failed},\"EncryptionType\":\"NONE\"}}").as_bytes(),
    );
    Ok(out)
}

fn push_outcome(out: &mut Vec<u8>, outcome: &Outcome) {
    match outcome {
        Ok((shard, number)) => {
            out.extend_from_slice(b"{\"SequenceNumber\":\"");
            out.extend_from_slice(&number.digits());
            out.extend_from_slice(b"\",\"ShardId\":\"");
            out.extend_from_slice(shard.as_bytes());
            out.extend_from_slice(b"\"}");
        }
        Err(error) => {
            out.extend_from_slice(b"{\"ErrorCode\":\"");
            out.extend_from_slice(error.code.name().as_bytes());
            out.extend_from_slice(b"\",\"ErrorMessage\":");
            push_json_string(out, &error.message);
            out.push(b'}');
        }
    }
}

fn max_record(state: &StreamState) -> usize {
    state.max_record_kib as usize * 1024
}

/// Checks an entry. `path` is the entry's path in the request, for error messages.
fn check<'a>(
    entry: &'a PutEntry<'_>,
    path: &str,
    (max_record, keyless): (usize, bool),
    scratch: &mut Vec<u8>,
) -> Result<Entry<'a>, ServiceError> {
    let member = |name: &str| format!("{path}{name}");
    let base64 = &entry
        .data
        .as_ref()
        .ok_or_else(|| ServiceError::missing(&member("data")))?
        .0;
    let key = match &entry.partition_key {
        Some(key) => key.0.as_ref(),
        None if keyless => "",
        None => return Err(ServiceError::missing(&member("partitionKey"))),
    };
    if key.is_empty() && entry.partition_key.is_some() {
        let text = "Member must have length greater than or equal to 1";
        return Err(ServiceError::constraint("", &member("partitionKey"), text));
    }
    // The limit is 256 characters, not bytes.
    if key.len() > 256 && key.chars().count() > 256 {
        let text = "Member must have length less than or equal to 256";
        return Err(ServiceError::constraint(key, &member("partitionKey"), text));
    }
    scratch.resize(base64.len() / 4 * 3 + 3, 0);
    let data_len = STANDARD
        .decode_slice(base64.as_bytes(), scratch)
        .map_err(|error| ServiceError::serialization(format!("{} is not base64: {error}", member("data"))))?;
    if data_len + key.len() > max_record {
        let text = format!(
            "Member must have length less than or equal to {max_record}, the stream's maximum record size, \
             together with the partition key"
        );
        return Err(ServiceError::constraint(
            format!("[{data_len} bytes]"),
            &member("data"),
            &text,
        ));
    }
    let hash = match &entry.explicit_hash_key {
        None if key.is_empty() => hash_of(base64),
        None => hash_of(key),
        Some(text) => explicit_hash(&text.0, &member("explicitHashKey"))?,
    };
    Ok(Entry {
        base64,
        data_len,
        key,
        hash,
    })
}

fn explicit_hash(text: &str, member: &str) -> Result<u128, ServiceError> {
    if let Some(hash) = parse_hash_key(text) {
        return Ok(hash);
    }
    if text.len() <= 39
        && !text.is_empty()
        && !text.starts_with('0')
        && text.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(ServiceError::invalid_argument(format!(
            "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {text}"
        )));
    }
    let pattern = "Member must satisfy regular expression pattern: 0|([1-9]\\d{0,38})";
    Err(ServiceError::constraint(text, member, pattern))
}

/// Puts a checked entry into its shard, if the shard's limits allow it.
fn store(
    stream: &Stream,
    state: &StreamState,
    entry: &Entry<'_>,
    settings: &Settings,
    arrival: i64,
) -> Outcome {
    let shard = state.route(entry.hash).ok_or_else(|| unrouted(&stream.name))?;
    let mut records = shard.state();
    if let Some(limits) = &settings.shard_limits
        && !records.allowance.take_write(limits, entry.size(), Instant::now())
    {
        add(&shard.counters.records_refused, 1);
        return Err(ServiceError::shard_throttled(&shard.id, &stream.name));
    }
    let number = shard.append(&mut records, arrival, entry.base64, entry.data_len, entry.key);
    add(&shard.counters.records_in, 1);
    add(&shard.counters.bytes_in, entry.size());
    Ok((shard.id.clone(), number))
}

/// Error of an entry that fails because of a knob.
fn refuse(stream: &Stream, state: &StreamState, entry: &Entry<'_>, code: ErrorCode) -> ServiceError {
    let Some(shard) = state.route(entry.hash) else {
        return unrouted(&stream.name);
    };
    add(&shard.counters.records_refused, 1);
    match code {
        ErrorCode::ProvisionedThroughputExceededException => {
            ServiceError::shard_throttled(&shard.id, &stream.name)
        }
        code => ServiceError::new(code, "Internal service failure."),
    }
}

fn unrouted(stream: &str) -> ServiceError {
    ServiceError::new(
        ErrorCode::InternalFailure,
        format!("No open shard of stream {stream} takes this hash key."),
    )
}
