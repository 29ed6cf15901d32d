//! Registering, describing, listing and deregistering consumers.

use std::sync::Arc;

use serde_json::{Value, json};

use super::token::Page;
use super::{bounded, millis, name_in_arn, stream_of, streams};
use crate::core::Core;
use crate::protocol::{
    ACCOUNT, ConsumerRequest, ListConsumersRequest, RegisterConsumerRequest, ServiceError, parse, seconds,
};
use crate::store::{Consumer, Stream, now_ms};

/// Maximum page size of ListStreamConsumers in the service.
const MOST_LISTED: usize = 100;

pub(super) fn register(core: &Core, body: &[u8]) -> Result<Value, ServiceError> {
    let request: RegisterConsumerRequest = parse(body)?;
    let name = request
        .consumer_name
        .as_deref()
        .ok_or_else(|| ServiceError::missing("consumerName"))?;
    check_name(name)?;
    let stream = stream(core, request.stream_arn.as_deref())?;
    stream.require_active(&stream.read())?;
    let settings = core.knobs.settings();
    let limit = settings.subscriptions.most_consumers;
    let consumer = stream
        .consumers()
        .register(&stream, name, settings.transition_ms, limit)?;
    Ok(json!({ "Consumer": listed(&consumer) }))
}

pub(super) fn describe(core: &Core, body: &[u8]) -> Result<Value, ServiceError> {
    let request: ConsumerRequest = parse(body)?;
    let (stream, consumer) = consumer(core, &request)?;
    let mut description = listed(&consumer);
    description["StreamARN"] = stream.arn.as_str().into();
    Ok(json!({ "ConsumerDescription": description }))
}

pub(super) fn deregister(core: &Core, body: &[u8]) -> Result<(), ServiceError> {
    let request: ConsumerRequest = parse(body)?;
    let (stream, consumer) = consumer(core, &request)?;
    let deleting_for_ms = core.knobs.settings().transition_ms;
    stream.consumers().deregister(&stream, &consumer, deleting_for_ms)
}

pub(super) fn list(core: &Core, body: &[u8]) -> Result<Value, ServiceError> {
    let request: ListConsumersRequest = parse(body)?;
    let limit = bounded(request.max_results, "maxResults", (1, 10_000), MOST_LISTED as i64)?.min(MOST_LISTED);
    let stream = stream(core, request.stream_arn.as_deref())?;
    let now = now_ms();
    let after = match &request.next_token {
        Some(_) if request.stream_creation_timestamp.is_some() => {
            return Err(ServiceError::invalid_argument(
                "NextToken and StreamCreationTimestamp cannot be provided together.",
            ));
        }
        Some(token) => {
            let page = streams::page(core, token, now)?;
            if page.stream_uid != Some(stream.uid) {
                return Err(ServiceError::invalid_argument(
                    "NextToken was given for another stream.",
                ));
            }
            Some(page.after)
        }
        None => None,
    };
    if request
        .stream_creation_timestamp
        .is_some_and(|at| millis(at) != stream.created_ms)
    {
        return Err(ServiceError::not_found(format!(
            "Stream {} with the given StreamCreationTimestamp not found.",
            stream.name
        )));
    }
    let consumers = stream.consumers();
    let mut rest = consumers
        .all()
        .filter(|c| after.as_deref().is_none_or(|after| c.name.as_str() > after));
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let mut answer = json!({ "Consumers": page.iter().map(|c| listed(c)).collect::<Vec<_>>() });
    if let (Some(last), true) = (page.last(), rest.next().is_some()) {
        let token = Page {
            stream_uid: Some(stream.uid),
            after: last.name.clone(),
            filter: None,
            issued_ms: now,
            listing: None,
        };
        answer["NextToken"] = token.encode().into();
    }
    Ok(answer)
}

fn listed(consumer: &Consumer) -> Value {
    json!({
        "ConsumerName": consumer.name,
        "ConsumerARN": consumer.arn,
        "ConsumerStatus": consumer.status(),
        "ConsumerCreationTimestamp": seconds(consumer.created_s * 1000),
    })
}

/// The stream of a required `StreamARN`.
fn stream(core: &Core, arn: Option<&str>) -> Result<Arc<Stream>, ServiceError> {
    let arn = arn.ok_or_else(|| ServiceError::missing("streamARN"))?;
    stream_of(core, None, Some(arn))
}

fn check_name(name: &str) -> Result<(), ServiceError> {
    let good = (1..=128).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if good {
        return Ok(());
    }
    let pattern =
        "Member must have a length of 1 to 128 and satisfy regular expression pattern: [a-zA-Z0-9_.-]+";
    Err(ServiceError::constraint(name, "consumerName", pattern))
}

type Found = (Arc<Stream>, Arc<Consumer>);

/// Finds the consumer that a request names; name and ARN must agree if both are given.
fn consumer(core: &Core, request: &ConsumerRequest) -> Result<Found, ServiceError> {
    let by_name = match (&request.stream_arn, &request.consumer_name) {
        (Some(arn), Some(name)) => Some((name_in_arn(arn)?, name.as_str())),
        _ => None,
    };
    let Some(arn) = request.consumer_arn.as_deref() else {
        let Some((stream, name)) = by_name else {
            return Err(ServiceError::invalid_argument(
                "Either ConsumerARN, or both StreamARN and ConsumerName must be provided.",
            ));
        };
        let stream = core.streams.get(stream)?;
        let found = stream.consumers().named(name).cloned();
        let not_found = || {
            ServiceError::not_found(format!(
                "Consumer {name} under stream {}, account {ACCOUNT} not found.",
                stream.name
            ))
        };
        return found.ok_or_else(not_found).map(|found| (stream, found));
    };
    let (stream, consumer) = by_arn(core, arn)?;
    let other_stream = match &request.stream_arn {
        Some(arn) => name_in_arn(arn)? != stream.name,
        None => false,
    };
    if other_stream
        || request
            .consumer_name
            .as_ref()
            .is_some_and(|name| *name != consumer.name)
    {
        return Err(ServiceError::invalid_argument(
            "ConsumerARN names another consumer than StreamARN and ConsumerName.",
        ));
    }
    Ok((stream, consumer))
}

/// Finds a consumer by its ARN. A consumer that is registered again under its name gets another ARN.
pub(super) fn by_arn(core: &Core, arn: &str) -> Result<Found, ServiceError> {
    let Some((stream, name)) = parts(arn) else {
        let pattern = "Member must satisfy regular expression pattern: ^(arn):aws.*:kinesis:.*:\\d{12}:.*stream\\/\
                       [a-zA-Z0-9_.-]+\\/consumer\\/[a-zA-Z0-9_.-]+:[0-9]+";
        return Err(ServiceError::constraint(arn, "consumerARN", pattern));
    };
    let stream = core.streams.get(name_in_arn(stream)?)?;
    let found = stream.consumers().named(name).filter(|c| c.arn == arn).cloned();
    let not_found = || ServiceError::not_found(format!("Consumer {arn} not found."));
    found.ok_or_else(not_found).map(|found| (stream, found))
}

/// The stream's ARN and the consumer's name from a consumer's ARN.
fn parts(arn: &str) -> Option<(&str, &str)> {
    let (stream, consumer) = arn.split_once("/consumer/")?;
    let (name, created) = consumer.rsplit_once(':')?;
    let number = !created.is_empty() && created.bytes().all(|b| b.is_ascii_digit());
    (number && !name.is_empty() && !name.contains(['/', ':'])).then_some((stream, name))
}
