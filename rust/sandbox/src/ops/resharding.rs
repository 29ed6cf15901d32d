//! SplitShard, MergeShards and UpdateShardCount.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{check_shard_id, stream_of};
use crate::core::Core;
use crate::protocol::{
    ACCOUNT, ErrorCode, MergeShardsRequest, ServiceError, SplitShardRequest, UpdateShardCountRequest, parse,
};
use crate::store::{Shard, Stream, StreamState, check_shard_limit, parse_hash_key};

/// Finds an open shard, which may still be split or merged.
fn open(stream: &Stream, state: &StreamState, id: &str) -> Result<Arc<Shard>, ServiceError> {
    let shard = state.listed().find(|s| s.id == id).cloned().ok_or_else(|| {
        ServiceError::not_found(format!(
            "Could not find shard {id} in stream {} under account {ACCOUNT}.",
            stream.name
        ))
    })?;
    if shard.state().closed_ms.is_some() {
        return Err(ServiceError::invalid_argument(format!(
            "Shard {id} in stream {} under account {ACCOUNT} has already been merged or split, and thus is not \
             eligible for merging or splitting.",
            stream.name
        )));
    }
    Ok(shard)
}

pub(super) fn split(core: &Core, body: &[u8]) -> Result<(), ServiceError> {
    let request: SplitShardRequest = parse(body)?;
    let id = check_shard_id(request.shard_to_split.as_deref(), "shardToSplit")?;
    let text = request
        .new_starting_hash_key
        .as_deref()
        .ok_or_else(|| ServiceError::missing("newStartingHashKey"))?;
    let at = parse_hash_key(text).ok_or_else(|| {
        let pattern = "Member must satisfy regular expression pattern: 0|([1-9]\\d{0,38})";
        ServiceError::constraint(text, "newStartingHashKey", pattern)
    })?;
    let stream = stream_of(
        core,
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    )?;
    let open_shards = core.streams.open_shards();
    let mut state = stream.write();
    stream.require_active(&state)?;
    let shard = open(&stream, &state, id)?;
    if at <= shard.range.start.saturating_add(1) || at >= shard.range.end {
        return Err(ServiceError::invalid_argument(format!(
            "NewStartingHashKey {at} used in SplitShard() on shard {id} in stream {} under account {ACCOUNT} is not \
             both greater than one plus the shard's StartingHashKey {} and less than the shard's EndingHashKey {}.",
            stream.name, shard.range.start, shard.range.end
        )));
    }
    check_shard_limit(open_shards + 1, core.config.shard_limit)?;
    state.begin_reshard();
    state.split(&shard, at);
    state.busy("UPDATING", core.knobs.settings().transition_ms);
    Ok(())
}

pub(super) fn merge(core: &Core, body: &[u8]) -> Result<(), ServiceError> {
    let request: MergeShardsRequest = parse(body)?;
    let id = check_shard_id(request.shard_to_merge.as_deref(), "shardToMerge")?;
    let other = check_shard_id(request.adjacent_shard_to_merge.as_deref(), "adjacentShardToMerge")?;
    let stream = stream_of(
        core,
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    )?;
    let mut state = stream.write();
    stream.require_active(&state)?;
    let (shard, adjacent) = (open(&stream, &state, id)?, open(&stream, &state, other)?);
    let touch = |a: &Shard, b: &Shard| a.range.end.checked_add(1) == Some(b.range.start);
    if !touch(&shard, &adjacent) && !touch(&adjacent, &shard) {
        return Err(ServiceError::invalid_argument(format!(
            "Shards {id} and {other} in stream {} under account {ACCOUNT} are not an adjacent pair of shards \
             eligible for merging",
            stream.name
        )));
    }
    state.begin_reshard();
    state.merge(&shard, &adjacent);
    state.busy("UPDATING", core.knobs.settings().transition_ms);
    Ok(())
}

pub(super) fn update_count(core: &Core, body: &[u8]) -> Result<Value, ServiceError> {
    let request: UpdateShardCountRequest = parse(body)?;
    let target = request
        .target_shard_count
        .ok_or_else(|| ServiceError::missing("targetShardCount"))?;
    let kind = request
        .scaling_type
        .as_deref()
        .ok_or_else(|| ServiceError::missing("scalingType"))?;
    if kind != "UNIFORM_SCALING" {
        let values = "Member must satisfy enum value set: [UNIFORM_SCALING]";
        return Err(ServiceError::constraint(kind, "scalingType", values));
    }
    if target < 1 {
        let text = "Member must have value greater than or equal to 1";
        return Err(ServiceError::constraint(target, "targetShardCount", text));
    }
    let stream = stream_of(
        core,
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    )?;
    let open_shards = core.streams.open_shards();
    let mut state = stream.write();
    stream.require_active(&state)?;
    let current = state.open.len();
    if state.on_demand {
        return Err(ServiceError::invalid_argument(format!(
            "UpdateShardCount is only for streams in PROVISIONED mode; stream {} is ON_DEMAND.",
            stream.name
        )));
    }
    let target = target as usize;
    if target > 2 * current {
        return Err(scaling_limit(
            "more than double your current shard count",
            current,
            target,
        ));
    }
    if 2 * target < current {
        return Err(scaling_limit(
            "below half your current shard count",
            current,
            target,
        ));
    }
    check_shard_limit(
        open_shards.saturating_sub(current) + target,
        core.config.shard_limit,
    )?;
    state.begin_reshard();
    state.make_uniform(target as u32);
    state.busy("UPDATING", core.knobs.settings().transition_ms);
    Ok(json!({
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "CurrentShardCount": current,
        "TargetShardCount": target,
    }))
}

fn scaling_limit(what: &str, current: usize, target: usize) -> ServiceError {
    ServiceError::new(
        ErrorCode::LimitExceededException,
        format!(
            "UpdateShardCount cannot scale {what} for your stream. Current shard count: {current}. \
             Target shard count: {target}."
        ),
    )
}
