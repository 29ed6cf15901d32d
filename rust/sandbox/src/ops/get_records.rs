//! GetRecords. The response is assembled in one buffer: at 10 MiB a call, anything else costs too much.

use std::sync::Arc;
use std::time::Instant;

use super::token::Iterator;
use super::{bounded, name_in_arn};
use crate::core::Core;
use crate::page::Page;
use crate::protocol::{ErrorCode, GetRecordsRequest, ServiceError, parse};
use crate::stats::add;
use crate::store::{Shard, ShardState, Stream, now_ms, shard_id};

/// Maximum size of one response, in bytes of payload and partition keys.
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
    let next = |place: Iterator| {
        let next = Iterator {
            issued_ms: now,
            epoch: settings.iterator_epoch,
            ..place
        };
        Some(next.encode())
    };
    if core.knobs.take_empty_answer() {
        return Ok(answer(&Page::empty(1000), None, next(iterator)));
    }

    // Lock order: the stream before the shard.
    let lineage = stream.read();
    let mut state = shard.state();
    if let Some(limits) = &settings.shard_limits
        && !state.allowance.take_call(limits, Instant::now())
    {
        add(&shard.counters.get_records_throttled, 1);
        return Err(ServiceError::shard_throttled(&shard.id, &stream.name));
    }
    let limit = settings.max_records_per_get.map_or(limit, |cap| limit.min(cap));
    if let Some((place, behind_ms)) = in_stretch(&state, iterator, now) {
        return Ok(answer(&Page::empty(behind_ms), None, next(place)));
    }
    let index = iterator.index.max(state.first);
    let stretch = state.stretches.placed.range(index + 1..).next();
    let limit = stretch.map_or(limit, |(at, _)| limit.min((at - index) as usize));
    let mut page = Page::at(&lineage, &state, index, (limit, MAX_ANSWER), now);
    if let Some((_, stretch)) = stretch.filter(|(at, _)| **at == page.end) {
        page.before_stretch((now - stretch.from_ms).max(1));
    }
    state.allowance.took_read(page.size);
    let next = if page.children.is_none() {
        let last = page.end.checked_sub(state.first + 1);
        let last = last.and_then(|last| state.records.get(last as usize));
        let time_ms = match last.filter(|_| page.millis_behind_latest > 0) {
            Some(last) => last.arrival_ms,
            None => now,
        };
        next(Iterator {
            index: page.end,
            time_ms,
            ..iterator
        })
    } else {
        None
    };
    add(&shard.counters.records_out, page.count);
    add(&shard.counters.bytes_out, page.size);
    Ok(answer(&page, Some(&state), next))
}

/// For an iterator inside a stretch without records: the next iterator, and MillisBehindLatest.
fn in_stretch(state: &ShardState, iterator: Iterator, now: i64) -> Option<(Iterator, i64)> {
    if let Some(empty) = iterator.empty.checked_sub(1) {
        return Some((Iterator { empty, ..iterator }, i64::from(iterator.empty) * 1000));
    }
    let index = iterator.index.max(state.first);
    let time_ms = state.stretches.placed.get(&index)?.next(iterator.time_ms)?;
    let place = Iterator {
        index,
        time_ms,
        ..iterator
    };
    Some((place, (now - time_ms).max(1)))
}

/// Decodes an iterator and finds its stream and shard.
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

fn answer(page: &Page, state: Option<&ShardState>, next: Option<String>) -> Vec<u8> {
    let mut out = Vec::with_capacity(page.json_len + 1024);
    page.push_records(state, &mut out);
    if let Some(next) = next {
        out.extend_from_slice(b",\"NextShardIterator\":\"");
        out.extend_from_slice(next.as_bytes());
        out.push(b'"');
    }
    page.push_rest(&mut out);
    out
}
