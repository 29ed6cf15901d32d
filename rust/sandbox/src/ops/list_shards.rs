//! ListShards, with its filters and pages.

use std::sync::Arc;

use serde_json::{Value, json};

use super::token::Page;
use super::{bounded, millis, stream_of, streams};
use crate::core::Core;
use crate::knobs::Listing;
use crate::page::range_json;
use crate::protocol::{ListShardsRequest, ServiceError, ShardFilter, parse};
use crate::store::{Shard, Stream, StreamState, now_ms};

/// Filter for the shards of a list.
enum Filter {
    All,
    AfterShardId(String),
    AtTrimHorizon,
    AtLatest,
    AtTimestamp(i64),
    FromTimestamp(i64),
}

impl Filter {
    fn new(request: &ShardFilter) -> Result<Filter, ServiceError> {
        let kind = request
            .kind
            .as_deref()
            .ok_or_else(|| ServiceError::missing("shardFilter.type"))?;
        let time = || {
            request.timestamp.map(millis).ok_or_else(|| {
                ServiceError::invalid_argument(format!(
                    "Timestamp is required for the shard filter type {kind}."
                ))
            })
        };
        Ok(match kind {
            "AFTER_SHARD_ID" => Filter::AfterShardId(request.shard_id.clone().ok_or_else(|| {
                ServiceError::invalid_argument(
                    "ShardId is required for the shard filter type AFTER_SHARD_ID.",
                )
            })?),
            "AT_TRIM_HORIZON" => Filter::AtTrimHorizon,
            "FROM_TRIM_HORIZON" => Filter::All,
            "AT_LATEST" => Filter::AtLatest,
            "AT_TIMESTAMP" => Filter::AtTimestamp(time()?),
            "FROM_TIMESTAMP" => Filter::FromTimestamp(time()?),
            other => {
                let values = "Member must satisfy enum value set: [AFTER_SHARD_ID, AT_TRIM_HORIZON, \
                              FROM_TRIM_HORIZON, AT_LATEST, AT_TIMESTAMP, FROM_TIMESTAMP]";
                return Err(ServiceError::constraint(other, "shardFilter.type", values));
            }
        })
    }

    fn takes(&self, shard: &Shard, closed: Option<i64>, state: &StreamState) -> bool {
        match self {
            Filter::All => true,
            Filter::AfterShardId(id) => shard.id > *id,
            // No clock expires data here, so the trim horizon lies before the oldest listed shards.
            Filter::AtTrimHorizon => shard.parents().all(|parent| {
                state
                    .shards
                    .get(parent as usize)
                    .is_none_or(|parent| parent.state().unlisted)
            }),
            Filter::AtLatest => closed.is_none(),
            Filter::AtTimestamp(at) => shard.created_ms <= *at && closed.is_none_or(|end| end >= *at),
            Filter::FromTimestamp(from) => closed.is_none_or(|end| end >= *from),
        }
    }
}

pub(super) fn list(core: &Core, body: &[u8]) -> Result<Value, ServiceError> {
    let request: ListShardsRequest = parse(body)?;
    // The service accepts up to 10,000 and returns 1,000 at most.
    let limit = bounded(request.max_results, "maxResults", (1, 10_000), 1000)?.min(1000);
    let now = now_ms();
    let (stream, after, filter, listing) = match &request.next_token {
        Some(token) => continued(core, &request, token, now)?,
        None => {
            let stream = stream_of(
                core,
                request.stream_name.as_deref(),
                request.stream_arn.as_deref(),
            )?;
            if request
                .stream_creation_timestamp
                .is_some_and(|at| millis(at) != stream.created_ms)
            {
                return Err(ServiceError::not_found(format!(
                    "Stream {} with the given StreamCreationTimestamp not found.",
                    stream.name
                )));
            }
            let listing = stream.take_listing();
            (
                stream,
                request.exclusive_start_shard_id,
                request.shard_filter,
                listing,
            )
        }
    };
    let state = stream.read();
    if state.status() == "CREATING" {
        stream.require_active(&state)?;
    }
    let chosen = filter.as_ref().map_or(Ok(Filter::All), Filter::new)?;
    let mut rest = state
        .listed()
        .filter(|s| after.as_deref().is_none_or(|after| s.id.as_str() > after))
        .filter(|s| listing.is_none() || s.index < state.newest)
        .filter(|s| chosen.takes(s, shown_closed(s, &state, listing), &state));
    let page: Vec<&Arc<Shard>> = rest.by_ref().take(limit).collect();
    let shown = page.iter().map(|s| match shown_closed(s, &state, listing) {
        Some(_) => shard_json(s),
        None => open_json(s),
    });
    let mut answer = json!({ "Shards": shown.collect::<Vec<_>>() });
    if let (Some(last), true) = (page.last(), rest.next().is_some()) {
        let filter = filter.map(|f| {
            (
                f.kind.unwrap_or_default(),
                f.shard_id.unwrap_or_default(),
                f.timestamp.unwrap_or_default(),
            )
        });
        let token = Page {
            stream_uid: Some(stream.uid),
            after: last.id.clone(),
            filter,
            issued_ms: now,
            listing,
        };
        answer["NextToken"] = token.encode().into();
    }
    Ok(answer)
}

type Continued = (Arc<Stream>, Option<String>, Option<ShardFilter>, Option<Listing>);

/// Time at which a shard was closed, as the list shows it.
fn shown_closed(shard: &Shard, state: &StreamState, listing: Option<Listing>) -> Option<i64> {
    let shard = shard.state();
    let by_newest = shard.children.iter().any(|child| *child >= state.newest);
    shard
        .closed_ms
        .filter(|_| !(by_newest && listing == Some(Listing::BeforeReshard)))
}

/// Continues a list from its token. The token carries the first request's members, which must not be given again.
fn continued(
    core: &Core,
    request: &ListShardsRequest,
    token: &str,
    now: i64,
) -> Result<Continued, ServiceError> {
    let twice = [
        (request.stream_name.is_some(), "StreamName"),
        (
            request.exclusive_start_shard_id.is_some(),
            "ExclusiveStartShardId",
        ),
        (
            request.stream_creation_timestamp.is_some(),
            "StreamCreationTimestamp",
        ),
        (request.shard_filter.is_some(), "ShardFilter"),
    ];
    if let Some((_, member)) = twice.iter().find(|(given, _)| *given) {
        return Err(ServiceError::invalid_argument(format!(
            "NextToken and {member} cannot be provided together."
        )));
    }
    let page = streams::page(core, token, now)?;
    let stream = page
        .stream_uid
        .and_then(|uid| core.streams.by_uid(uid))
        .ok_or_else(|| ServiceError::not_found("The stream that NextToken was given for does not exist."))?;
    let filter = page.filter.map(|(kind, shard_id, timestamp)| ShardFilter {
        kind: Some(kind),
        shard_id: Some(shard_id),
        timestamp: Some(timestamp),
    });
    Ok((stream, Some(page.after), filter, page.listing))
}

/// A shard as lists and descriptions show it.
pub(super) fn shard_json(shard: &Shard) -> Value {
    let mut out = open_json(shard);
    if let Some(ending) = shard.ending_number(&shard.state()) {
        out["SequenceNumberRange"]["EndingSequenceNumber"] = ending.to_string().into();
    }
    out
}

/// A shard without its ending number, which only a closed shard has.
fn open_json(shard: &Shard) -> Value {
    let mut out = json!({
        "ShardId": shard.id,
        "HashKeyRange": range_json(shard),
        "SequenceNumberRange": { "StartingSequenceNumber": shard.starting_number().to_string() },
    });
    if let Some(parent) = shard.parent {
        out["ParentShardId"] = crate::store::shard_id(parent).into();
    }
    if let Some(parent) = shard.adjacent_parent {
        out["AdjacentParentShardId"] = crate::store::shard_id(parent).into();
    }
    out
}
