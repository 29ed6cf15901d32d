//! Creating, describing, listing, changing and deleting streams.

use serde_json::{Value, json};

use super::token::Page;
use super::{bounded, check_name, list_shards, stream_of};
use crate::core::Core;
use crate::protocol::{
    ACCOUNT, CreateStreamRequest, DeleteStreamRequest, DescribeStreamRequest, ErrorCode, ListStreamsRequest,
    MaxRecordSizeRequest, RetentionRequest, ServiceError, StreamRequest, parse, seconds,
};
use crate::store::{NewStream, Stream, StreamState, now_ms};

/// Initial number of shards of an on-demand stream.
const ON_DEMAND_SHARDS: i64 = 4;

pub(super) fn create(core: &Core, region: &str, body: &[u8]) -> Result<(), ServiceError> {
    let request: CreateStreamRequest = parse(body)?;
    let name = check_name(
        request
            .stream_name
            .as_deref()
            .ok_or_else(|| ServiceError::missing("streamName"))?,
    )?;
    let mode = request.stream_mode_details.and_then(|m| m.stream_mode);
    let on_demand = match mode.as_deref() {
        None | Some("PROVISIONED") => false,
        Some("ON_DEMAND") => true,
        Some(other) => {
            let values = "Member must satisfy enum value set: [PROVISIONED, ON_DEMAND]";
            return Err(ServiceError::constraint(
                other,
                "streamModeDetails.streamMode",
                values,
            ));
        }
    };
    let count = match (request.shard_count, on_demand) {
        (Some(_), true) => {
            return Err(ServiceError::invalid_argument(
                "ShardCount must not be given for a stream in ON_DEMAND mode.",
            ));
        }
        (None, false) => return Err(ServiceError::invalid_argument("ShardCount is required.")),
        (None, true) => ON_DEMAND_SHARDS,
        (count, false) => bounded(count, "shardCount", (1, 100_000), 1)? as i64,
    };
    let max_record_kib = match request.max_record_size_in_kib {
        None => core.config.max_record_kib,
        kib => Some(bounded(kib, "maxRecordSizeInKiB", (1024, 10_240), 1024)? as i64),
    };
    let new = NewStream {
        name,
        region,
        shard_count: count as u32,
        on_demand,
        max_record_kib,
        creating_for_ms: core.knobs.settings().transition_ms,
    };
    core.streams.create(&new, core.config.shard_limit)
}

pub(super) fn delete(core: &Core, body: &[u8]) -> Result<(), ServiceError> {
    let request: DeleteStreamRequest = parse(body)?;
    let stream = stream_of(
        core,
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    )?;
    let enforced = request.enforce_consumer_deletion.unwrap_or(false);
    if !enforced && stream.consumers().all().len() > 0 {
        return Err(ServiceError::in_use(format!(
            "Stream {} under account {ACCOUNT} has registered consumers; deregister them, or set \
             EnforceConsumerDeletion.",
            stream.name
        )));
    }
    core.streams.delete(&stream.name)
}

/// Members that DescribeStream and DescribeStreamSummary have in common.
fn description(stream: &Stream, state: &StreamState) -> Value {
    json!({
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "StreamStatus": state.status(),
        "StreamModeDetails": { "StreamMode": mode(state) },
        "RetentionPeriodHours": state.retention_hours,
        "StreamCreationTimestamp": seconds(stream.created_ms),
        "EnhancedMonitoring": [{ "ShardLevelMetrics": [] }],
        "EncryptionType": "NONE",
    })
}

fn mode(state: &StreamState) -> &'static str {
    if state.on_demand {
        "ON_DEMAND"
    } else {
        "PROVISIONED"
    }
}

pub(super) fn summary(core: &Core, body: &[u8]) -> Result<Value, ServiceError> {
    let request: StreamRequest = parse(body)?;
    let stream = stream_of(
        core,
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    )?;
    let state = stream.read();
    let mut summary = description(&stream, &state);
    summary["OpenShardCount"] = state.open.len().into();
    summary["ConsumerCount"] = stream.consumers().all().len().into();
    summary["MaxRecordSizeInKiB"] = state.max_record_kib.into();
    summary["RecordDistributionStrategy"] = match core.knobs.settings().auto_distribution {
        true => "AUTO".into(),
        false => "USER_PARTITION_KEY".into(),
    };
    Ok(json!({ "StreamDescriptionSummary": summary }))
}

pub(super) fn describe(core: &Core, body: &[u8]) -> Result<Value, ServiceError> {
    let request: DescribeStreamRequest = parse(body)?;
    let limit = bounded(request.limit, "limit", (1, 10_000), 100)?;
    let stream = stream_of(
        core,
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    )?;
    let state = stream.read();
    let after = request.exclusive_start_shard_id.unwrap_or_default();
    let mut listed = state.listed().filter(|s| s.id.as_str() > after.as_str());
    let shards: Vec<Value> = if state.status() == "CREATING" {
        Vec::new()
    } else {
        listed
            .by_ref()
            .take(limit)
            .map(|s| list_shards::shard_json(s))
            .collect()
    };
    let mut all = description(&stream, &state);
    all["HasMoreShards"] = (!shards.is_empty() && listed.next().is_some()).into();
    all["Shards"] = Value::Array(shards);
    Ok(json!({ "StreamDescription": all }))
}

pub(super) fn list(core: &Core, body: &[u8]) -> Result<Value, ServiceError> {
    let request: ListStreamsRequest = parse(body)?;
    let limit = bounded(request.limit, "limit", (1, 10_000), 100)?;
    let now = now_ms();
    let after = match request.next_token {
        None => request.exclusive_start_stream_name,
        Some(token) => Some(page(core, &token, now)?.after),
    };
    let streams = core.streams.all();
    let mut rest = streams
        .iter()
        .filter(|s| after.as_deref().is_none_or(|after| s.name.as_str() > after));
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let more = rest.next().is_some();
    let mut answer = json!({
        "HasMoreStreams": more,
        "StreamNames": page.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
        "StreamSummaries": page.iter().map(|s| {
            let state = s.read();
            json!({
                "StreamName": s.name,
                "StreamARN": s.arn,
                "StreamStatus": state.status(),
                "StreamModeDetails": { "StreamMode": mode(&state) },
                "StreamCreationTimestamp": seconds(s.created_ms),
            })
        }).collect::<Vec<_>>(),
    });
    if let (true, Some(last)) = (more, page.last()) {
        let token = Page {
            stream_uid: None,
            after: last.name.clone(),
            filter: None,
            issued_ms: now,
            listing: None,
        };
        answer["NextToken"] = token.encode().into();
    }
    Ok(answer)
}

/// Decodes a page token of any list and checks its age.
pub(super) fn page(core: &Core, token: &str, now: i64) -> Result<Page, ServiceError> {
    let page = Page::decode(token)
        .ok_or_else(|| ServiceError::invalid_argument("NextToken is not a valid token."))?;
    let max_age = core.knobs.settings().next_token_max_age_ms;
    if now - page.issued_ms > max_age as i64 {
        return Err(ServiceError::new(
            ErrorCode::ExpiredNextTokenException,
            format!("The pagination token passed to the operation is older than {max_age} ms."),
        ));
    }
    Ok(page)
}

pub(super) fn retention(core: &Core, body: &[u8], increase: bool) -> Result<(), ServiceError> {
    let request: RetentionRequest = parse(body)?;
    if request.retention_period_hours.is_none() {
        return Err(ServiceError::missing("retentionPeriodHours"));
    }
    let hours = bounded(
        request.retention_period_hours,
        "retentionPeriodHours",
        (24, 8760),
        24,
    )? as i64;
    let stream = stream_of(
        core,
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    )?;
    let mut state = stream.write();
    stream.require_active(&state)?;
    let (wrong, word) = if increase {
        (hours < state.retention_hours, "less")
    } else {
        (hours > state.retention_hours, "greater")
    };
    if wrong {
        return Err(ServiceError::invalid_argument(format!(
            "Requested retention period ({hours} hours) for stream {} under account {ACCOUNT} is {word} than the \
             current one ({} hours).",
            stream.name, state.retention_hours
        )));
    }
    state.retention_hours = hours;
    Ok(())
}

pub(super) fn max_record_size(core: &Core, body: &[u8]) -> Result<(), ServiceError> {
    let request: MaxRecordSizeRequest = parse(body)?;
    if request.max_record_size_in_kib.is_none() {
        return Err(ServiceError::missing("maxRecordSizeInKiB"));
    }
    let kib = bounded(
        request.max_record_size_in_kib,
        "maxRecordSizeInKiB",
        (1024, 10_240),
        1024,
    )? as i64;
    let stream = stream_of(core, None, request.stream_arn.as_deref())?;
    let mut state = stream.write();
    stream.require_active(&state)?;
    state.max_record_kib = kib;
    Ok(())
}
