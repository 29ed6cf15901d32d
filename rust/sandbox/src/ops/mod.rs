//! The service's operations: from a request's body to a response's.

mod consumers;
mod get_records;
mod iterator;
mod list_shards;
mod position;
mod put_records;
mod resharding;
mod streams;
mod subscribe;
mod token;

use std::sync::Arc;

use serde_json::Value;

use crate::core::Core;
use crate::knobs::Target;
use crate::protocol::{ACCOUNT, Operation, ServiceError};
use crate::store::{Stream, shard_id};
use crate::subscription::Subscription;

/// Response of an operation.
#[derive(Debug)]
pub(crate) enum Answer {
    /// JSON, or an empty body.
    Body(Vec<u8>),
    /// An event stream, which lasts until the subscription ends.
    Events(Box<Subscription>),
}

/// Runs an operation. `region` is the region that the request was signed for.
pub(crate) fn call(
    core: &Arc<Core>,
    operation: Operation,
    region: &str,
    body: &[u8],
) -> Result<Answer, ServiceError> {
    let content = match operation {
        Operation::SubscribeToShard => {
            let subscription = subscribe::subscribe(core, body)?;
            return Ok(Answer::Events(Box::new(subscription)));
        }
        Operation::CreateStream => streams::create(core, region, body).map(empty),
        Operation::DeleteStream => streams::delete(core, body).map(empty),
        Operation::DescribeStream => streams::describe(core, body).map(json),
        Operation::DescribeStreamSummary => streams::summary(core, body).map(json),
        Operation::ListStreams => streams::list(core, body).map(json),
        Operation::IncreaseStreamRetentionPeriod => streams::retention(core, body, true).map(empty),
        Operation::DecreaseStreamRetentionPeriod => streams::retention(core, body, false).map(empty),
        Operation::UpdateMaxRecordSize => streams::max_record_size(core, body).map(empty),
        Operation::RegisterStreamConsumer => consumers::register(core, body).map(json),
        Operation::DescribeStreamConsumer => consumers::describe(core, body).map(json),
        Operation::ListStreamConsumers => consumers::list(core, body).map(json),
        Operation::DeregisterStreamConsumer => consumers::deregister(core, body).map(empty),
        Operation::ListShards => list_shards::list(core, body).map(json),
        Operation::GetShardIterator => iterator::get(core, body).map(json),
        Operation::GetRecords => get_records::get(core, body),
        Operation::PutRecord => put_records::put_one(core, body).map(json),
        Operation::PutRecords => put_records::put(core, body),
        Operation::SplitShard => resharding::split(core, body).map(empty),
        Operation::MergeShards => resharding::merge(core, body).map(empty),
        Operation::UpdateShardCount => resharding::update_count(core, body).map(json),
    };
    content.map(Answer::Body)
}

/// Stream and shard that a call concerns. A body that can't be parsed concerns none.
pub(crate) fn target(core: &Core, body: &[u8]) -> Target {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let member = |name: &str| request[name].as_str();
    if let Some(iterator) = member("ShardIterator").and_then(token::Iterator::decode) {
        return Target {
            stream: core
                .streams
                .by_uid(iterator.stream_uid)
                .map(|stream| stream.name.clone()),
            shard: Some(shard_id(iterator.shard)),
        };
    }
    let arn = member("StreamARN").or_else(|| member("ConsumerARN"));
    // The second part of the ARN is the stream's name, also in a consumer's ARN.
    let in_arn = arn.and_then(|arn| arn.split('/').nth(1));
    Target {
        stream: member("StreamName").or(in_arn).map(str::to_owned),
        shard: member("ShardId").map(str::to_owned),
    }
}

/// Body of a response without members: empty, as in the service.
fn empty((): ()) -> Vec<u8> {
    Vec::new()
}

fn json(value: Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// Account of callers that don't own the streams.
const FOREIGN_ACCOUNT: &str = "111111111111";

/// Finds the stream that a request names, by name, by ARN, or by both if they agree.
fn stream_of(core: &Core, name: Option<&str>, arn: Option<&str>) -> Result<Arc<Stream>, ServiceError> {
    let by_arn = arn.map(name_in_arn).transpose()?;
    if let (Some(name), None) = (name, by_arn)
        && core.knobs.settings().foreign_callers
    {
        return Err(ServiceError::not_found(format!(
            "Stream {name} under account {FOREIGN_ACCOUNT} not found."
        )));
    }
    match (name, by_arn) {
        (Some(name), Some(other)) if name != other => Err(ServiceError::invalid_argument(
            "StreamName and StreamARN name different streams; give one of them",
        )),
        (Some(name), _) => core.streams.get(check_name(name)?),
        (None, Some(name)) => core.streams.get(name),
        (None, None) => Err(ServiceError::invalid_argument(
            "Either StreamName or StreamARN must be provided.",
        )),
    }
}

fn check_name(name: &str) -> Result<&str, ServiceError> {
    if name.is_empty() || name.len() > 128 {
        let limit = if name.is_empty() {
            "Member must have length greater than or equal to 1"
        } else {
            "Member must have length less than or equal to 128"
        };
        return Err(ServiceError::constraint(name, "streamName", limit));
    }
    if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
    {
        let pattern = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+";
        return Err(ServiceError::constraint(name, "streamName", pattern));
    }
    Ok(name)
}

fn name_in_arn(arn: &str) -> Result<&str, ServiceError> {
    let mut parts = arn.splitn(6, ':');
    let head = (parts.next(), parts.next(), parts.next());
    let (_region, account, resource) = (parts.next(), parts.next(), parts.next());
    match (head, resource.and_then(|r| r.strip_prefix("stream/"))) {
        ((Some("arn"), Some(partition), Some("kinesis")), Some(name)) if partition.starts_with("aws") => {
            if account == Some(ACCOUNT) {
                return Ok(name);
            }
            Err(ServiceError::not_found(format!(
                "Stream {name} under account {} not found.",
                account.unwrap_or_default()
            )))
        }
        _ => Err(ServiceError::constraint(
            arn,
            "streamARN",
            "Member must satisfy regular expression pattern: arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+",
        )),
    }
}

/// Checks a number against its bounds; returns the default if it is absent.
fn bounded(
    value: Option<i64>,
    member: &str,
    bounds: (i64, i64),
    default: i64,
) -> Result<usize, ServiceError> {
    let value = value.unwrap_or(default);
    if value < bounds.0 {
        let text = format!("Member must have value greater than or equal to {}", bounds.0);
        return Err(ServiceError::constraint(value, member, &text));
    }
    if value > bounds.1 {
        let text = format!("Member must have value less than or equal to {}", bounds.1);
        return Err(ServiceError::constraint(value, member, &text));
    }
    Ok(value as usize)
}

/// Converts a request's timestamp to whole milliseconds.
fn millis(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

/// Checks a shard id of a request: any text up to 128 characters that the model allows.
fn check_shard_id<'a>(id: Option<&'a str>, member: &str) -> Result<&'a str, ServiceError> {
    let id = id.ok_or_else(|| ServiceError::missing(member))?;
    let good = (1..=128).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if good {
        Ok(id)
    } else {
        let pattern = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+";
        Err(ServiceError::constraint(id, member, pattern))
    }
}
