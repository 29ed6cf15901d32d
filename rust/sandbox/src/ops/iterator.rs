//! GetShardIterator.

use serde_json::{Value, json};

use super::token::Iterator;
use super::{check_shard_id, millis, stream_of};
use crate::core::Core;
use crate::protocol::{GetShardIteratorRequest, ServiceError, parse};
use crate::stats::add;
use crate::store::{ACCOUNT, Shard, ShardState, Stream, now_ms};

pub(super) fn get(core: &Core, body: &[u8]) -> Result<Value, ServiceError> {
    let request: GetShardIteratorRequest = parse(body)?;
    let shard_id = check_shard_id(request.shard_id.as_deref(), "shardId")?;
    let kind = request
        .shard_iterator_type
        .as_deref()
        .ok_or_else(|| ServiceError::missing("shardIteratorType"))?;
    let stream = stream_of(
        core,
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    )?;
    stream.require_created()?;
    let shard = stream.shard(shard_id)?;
    let index = start(&request, kind, &stream, &shard)?;
    add(&shard.counters.iterators, 1);
    let iterator = Iterator {
        stream_uid: stream.uid,
        shard: shard.index,
        index,
        issued_ms: now_ms(),
        epoch: core.knobs.settings().iterator_epoch,
    };
    Ok(json!({ "ShardIterator": iterator.encode() }))
}

/// The index of the first record that the iterator gives.
fn start(
    request: &GetShardIteratorRequest,
    kind: &str,
    stream: &Stream,
    shard: &Shard,
) -> Result<u64, ServiceError> {
    let by_number = matches!(kind, "AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER");
    if request.starting_sequence_number.is_some() && !by_number {
        return Err(ServiceError::invalid_argument(
            "Request can not include both StartingSequenceNumber and a ShardIteratorType that does not use it.",
        ));
    }
    if request.timestamp.is_some() && kind != "AT_TIMESTAMP" {
        return Err(ServiceError::invalid_argument(
            "Request can not include both Timestamp and a ShardIteratorType other than AT_TIMESTAMP.",
        ));
    }
    let state = shard.state();
    match kind {
        "TRIM_HORIZON" => Ok(state.first),
        "LATEST" => Ok(state.next()),
        "AT_SEQUENCE_NUMBER" => numbered(request, stream, shard, &state),
        "AFTER_SEQUENCE_NUMBER" => Ok(numbered(request, stream, shard, &state)? + 1),
        "AT_TIMESTAMP" => {
            let at = request.timestamp.map(millis).ok_or_else(|| {
                ServiceError::invalid_argument(
                    "Must either specify timestamp or a ShardIteratorType other than AT_TIMESTAMP.",
                )
            })?;
            if at > now_ms() {
                return Err(ServiceError::invalid_argument(
                    "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis.",
                ));
            }
            Ok(state.first_arrived(at))
        }
        other => {
            let values = "Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, \
                          AT_SEQUENCE_NUMBER, TRIM_HORIZON]";
            Err(ServiceError::constraint(other, "shardIteratorType", values))
        }
    }
}

fn numbered(
    request: &GetShardIteratorRequest,
    stream: &Stream,
    shard: &Shard,
    state: &ShardState,
) -> Result<u64, ServiceError> {
    let number = request.starting_sequence_number.as_deref().ok_or_else(|| {
        ServiceError::invalid_argument(
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER with a StartingSequenceNumber \
             or (2) TRIM_HORIZON, LATEST or AT_TIMESTAMP without it.",
        )
    })?;
    if number != "0"
        && (number.is_empty() || number.starts_with('0') || !number.bytes().all(|b| b.is_ascii_digit()))
    {
        let pattern = "Member must satisfy regular expression pattern: 0|([1-9]\\d{0,128})";
        return Err(ServiceError::constraint(
            number,
            "startingSequenceNumber",
            pattern,
        ));
    }
    shard.index_of(state, number).ok_or_else(|| {
        ServiceError::invalid_argument(format!(
            "StartingSequenceNumber {number} used in GetShardIterator on shard {} in stream {} under account \
             {ACCOUNT} is invalid because it did not come from this shard.",
            shard.id, stream.name
        ))
    })
}
