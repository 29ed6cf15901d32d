//! GetShardIterator.

use serde_json::{Value, json};

use super::position::{Member, Position};
use super::token::Iterator;
use super::{check_shard_id, stream_of};
use crate::core::Core;
use crate::protocol::{GetShardIteratorRequest, ServiceError, parse};
use crate::stats::add;
use crate::store::now_ms;

pub(super) fn get(core: &Core, body: &[u8]) -> Result<Value, ServiceError> {
    let request: GetShardIteratorRequest = parse(body)?;
    let shard_id = check_shard_id(request.shard_id.as_deref(), "shardId")?;
    let position = Position {
        operation: "GetShardIterator",
        kind: Member {
            name: "ShardIteratorType",
            path: "shardIteratorType",
            value: request.shard_iterator_type.as_deref(),
        },
        sequence_number: Member {
            name: "StartingSequenceNumber",
            path: "startingSequenceNumber",
            value: request.starting_sequence_number.as_deref(),
        },
        timestamp: request.timestamp,
    };
    position.require_kind()?;
    let stream = stream_of(
        core,
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    )?;
    stream.require_created()?;
    let shard = stream.shard(shard_id)?;
    let (index, time_ms) = (position.start(&stream, &shard)?, position.time(&shard));
    add(&shard.counters.iterators, 1);
    let iterator = Iterator {
        stream_uid: stream.uid,
        shard: shard.index,
        index,
        issued_ms: now_ms(),
        epoch: core.knobs.settings().iterator_epoch,
        time_ms,
        empty: match position.require_kind()? {
            "LATEST" => 0,
            _ => shard.state().stretches.before_all,
        },
    };
    Ok(json!({ "ShardIterator": iterator.encode() }))
}
