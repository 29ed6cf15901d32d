//! GetRecords. The answer is copied together in one buffer: at 10 MiB a call, anything else costs too much.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::list_shards::range_json;
use super::token::Iterator;
use super::{bounded, name_in_arn};
use crate::core::Core;
use crate::protocol::{ErrorCode, GetRecordsRequest, ServiceError, parse};
use crate::stats::add;
use crate::store::{Shard, ShardState, Stream, StreamState, now_ms, shard_id};

/// What one answer carries at most, in bytes of payload and partition keys.
const MAX_ANSWER: usize = 10 * 1024 * 1024;
const MAX_RECORDS: i64 = 10_000;

pub(super) fn get(core: &Core, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let request: GetRecordsRequest = parse(body)?;
    let limit = bounded(request.limit, "limit", (1, MAX_RECORDS), MAX_RECORDS)?;
    let text = request
        .shard_iterator
        .as_deref()
        .ok_or_else(|| ServiceError::missing("shardIterator"))?;
    let (iterator, stream, shard) = resolve(core, text, request.stream_arn.as_deref())?;
    add(&shard.counters.get_records, 1);

    let settings = core.knobs.settings();
    let now = now_ms();
    let next = |index| {
        let next = Iterator {
            index,
            issued_ms: now,
            epoch: settings.iterator_epoch,
            ..iterator
        };
        Some(next.encode())
    };
    if core.knobs.take_empty_answer() {
        return Ok(answer(&[], 0, 0, next(iterator.index), 1000, None));
    }

    // The stream's lock is taken before the shard's, as everywhere.
    let lineage = stream.read();
    let mut state = shard.state();
    if let Some(limits) = &settings.shard_limits
        && !state.allowance.take_call(limits, Instant::now())
    {
        add(&shard.counters.get_records_throttled, 1);
        return Err(ServiceError::shard_throttled(&shard.id, &stream.name));
    }
    let limit = settings.max_records_per_get.map_or(limit, |cap| limit.min(cap));
    let from = state.offset(iterator.index);
    let (mut size, mut json_len, mut count) = (0, 0, 0);
    for record in state.records.range(from..).take(limit) {
        if count > 0 && size + record.size() > MAX_ANSWER {
            break;
        }
        size += record.size();
        json_len += record.json_len();
        count += 1;
    }
    state.allowance.took_read(size);
    let end = state.first + (from + count) as u64;
    let behind = state
        .records
        .get(from + count)
        .map_or(0, |next| (now - next.arrival_ms).max(1));
    let at_end = state.closed_ms.is_some() && from + count == state.records.len();
    let (next, children) = if at_end {
        (None, Some(children(&lineage, &state)))
    } else {
        (next(end), None)
    };
    add(&shard.counters.records_out, count);
    add(&shard.counters.bytes_out, size);
    let (head, tail) = state.records.as_slices();
    let (a, b) = (from.min(head.len()), (from + count).min(head.len()));
    let (c, d) = (
        from.saturating_sub(head.len()),
        (from + count).saturating_sub(head.len()),
    );
    Ok(answer(
        &[&head[a..b], &tail[c..d]],
        count,
        json_len,
        next,
        behind,
        children,
    ))
}

/// Reads an iterator and finds what it points to.
fn resolve(
    core: &Core,
    text: &str,
    arn: Option<&str>,
) -> Result<(Iterator, Arc<Stream>, Arc<Shard>), ServiceError> {
    let iterator =
        Iterator::decode(text).ok_or_else(|| ServiceError::invalid_argument("Invalid ShardIterator."))?;
    let settings = core.knobs.settings();
    let now = now_ms();
    let max_age = settings.iterator_max_age_ms;
    if iterator.epoch < settings.iterator_epoch || now - iterator.issued_ms > max_age as i64 {
        return Err(ServiceError::new(
            ErrorCode::ExpiredIteratorException,
            format!(
                "Iterator expired. The iterator was created at time {} while right now it is {now} which is \
                 further in the future than the tolerated delay of {max_age} milliseconds.",
                iterator.issued_ms
            ),
        ));
    }
    let gone = || ServiceError::not_found("The stream that the ShardIterator was given for does not exist.");
    let stream = core.streams.by_uid(iterator.stream_uid).ok_or_else(gone)?;
    if let Some(arn) = arn
        && name_in_arn(arn)? != stream.name
    {
        return Err(ServiceError::invalid_argument(
            "ShardIterator and StreamARN are of different streams.",
        ));
    }
    let shard = stream.shard(&shard_id(iterator.shard))?;
    Ok((iterator, stream, shard))
}

/// The children of a shard that was read to its end.
fn children(lineage: &StreamState, state: &ShardState) -> String {
    let children = state
        .children
        .iter()
        .filter_map(|index| lineage.shards.get(*index as usize));
    let children = children.map(|child| {
        json!({
            "ShardId": child.id,
            "ParentShards": child.parents().map(shard_id).collect::<Vec<_>>(),
            "HashKeyRange": range_json(child),
        })
    });
    serde_json::Value::Array(children.collect()).to_string()
}

fn answer(
    records: &[&[crate::store::Record]],
    count: usize,
    json_len: usize,
    next: Option<String>,
    behind: i64,
    children: Option<String>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(json_len + 1024);
    out.extend_from_slice(b"{\"Records\":[");
    for (at, record) in records.iter().flat_map(|part| part.iter()).enumerate() {
        record.push_json(&mut out);
        if at + 1 < count {
            out.push(b',');
        }
    }
    out.push(b']');
    if let Some(next) = next {
        out.extend_from_slice(b",\"NextShardIterator\":\"");
        out.extend_from_slice(next.as_bytes());
        out.push(b'"');
    }
    if let Some(children) = children {
        out.extend_from_slice(b",\"ChildShards\":");
        out.extend_from_slice(children.as_bytes());
    }
    out.extend_from_slice(format!(",\"MillisBehindLatest\":{behind}}}").as_bytes());
    out
}
