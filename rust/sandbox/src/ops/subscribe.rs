//! The SubscribeToShard call. It opens a [`Subscription`].

use std::sync::Arc;
use std::time::Duration;

use super::position::{Member, Position};
use super::{check_shard_id, consumers};
use crate::core::Core;
use crate::protocol::{ServiceError, SubscribeToShardRequest, parse};
use crate::stats::add;
use crate::store::SubscribeLimits;
use crate::subscription::Subscription;

pub(super) fn subscribe(core: &Arc<Core>, body: &[u8]) -> Result<Subscription, ServiceError> {
    let request: SubscribeToShardRequest = parse(body)?;
    let arn = request
        .consumer_arn
        .as_deref()
        .ok_or_else(|| ServiceError::missing("consumerARN"))?;
    let shard_id = check_shard_id(request.shard_id.as_deref(), "shardId")?;
    let position = request
        .starting_position
        .as_ref()
        .ok_or_else(|| ServiceError::missing("startingPosition"))?;
    let position = Position {
        operation: "SubscribeToShard",
        kind: Member {
            name: "StartingPosition Type",
            path: "startingPosition.type",
            value: position.kind.as_deref(),
        },
        sequence_number: Member {
            name: "SequenceNumber",
            path: "startingPosition.sequenceNumber",
            value: position.sequence_number.as_deref(),
        },
        timestamp: position.timestamp,
    };
    position.require_kind()?;
    let (stream, consumer) = consumers::by_arn(core, arn)?;
    let shard = stream.shard(shard_id)?;
    add(&shard.counters.subscribe_calls, 1);
    let index = position.start(&stream, &shard)?;
    let settings = core.knobs.settings().subscriptions;
    let limits = SubscribeLimits {
        exclusive: Duration::from_millis(settings.exclusive_ms),
        between_calls: Duration::from_millis(settings.between_calls_ms),
    };
    let control = consumer.subscribe(&stream, &shard, limits, request.dry_run.unwrap_or(false))?;
    if let Some(fault) = core.knobs.subscription_fault(&stream.name, &shard.id) {
        control.plan(fault);
    }
    Ok(Subscription::new(
        Arc::clone(core),
        stream,
        shard,
        consumer,
        control,
        index,
    ))
}
