//! Parsers of values: from a user's text to its meaning. A refusal has the reason only; the caller, which has the
//! row, adds the key and the allowed values.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::DateTime;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::types::{EndingPosition, StartingPosition};
use crate::stream::{GivenPosition, SequenceNumber, ShardId, awslabs};

/// The reason why a value is refused.
pub(super) type Refusal = String;

/// A whole number within bounds.
pub(super) fn whole(text: &str, min: u64, max: u64) -> Result<u64, Refusal> {
    let number = digits(text).ok_or("it is not a whole number")?;
    within(number, min, max)
}

/// A number of bytes; the suffixes are binary, as Spark's are.
pub(super) fn bytes(text: &str, min: u64, max: u64) -> Result<u64, Refusal> {
    let (number, suffix) = split_suffix(text);
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(format!("{suffix:?} is not a suffix")),
    };
    let number = digits(number).ok_or("it is not a number of bytes")?;
    let bytes = number.checked_mul(1 << shift).ok_or("it is too large")?;
    within(bytes, min, max)
}

/// A time with a suffix. A bare number is refused: Spark reads it as milliseconds, people as seconds.
pub(super) fn time(text: &str, min_ms: u64, max_ms: u64) -> Result<Duration, Refusal> {
    let (number, suffix) = split_suffix(text);
    let factor = match suffix.to_ascii_lowercase().as_str() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "" => return Err("it has no suffix".to_owned()),
        _ => return Err(format!("{suffix:?} is not a suffix")),
    };
    let number = digits(number).ok_or("it is not a time")?;
    let millis = number.checked_mul(factor).ok_or("it is too long")?;
    within(millis, min_ms, max_ms).map(Duration::from_millis)
}

/// `true` or `false`, in any case.
pub(super) fn flag(text: &str) -> Result<bool, Refusal> {
    if text.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if text.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(String::new())
    }
}

/// The word of the list that equals the text in any case, in the list's spelling.
pub(super) fn one_of(text: &str, words: &[&'static str]) -> Result<&'static str, Refusal> {
    words
        .iter()
        .find(|word| word.eq_ignore_ascii_case(text))
        .copied()
        .ok_or_else(String::new)
}

/// The start of a query.
pub(super) fn starting_position(text: &str) -> Result<StartingPosition, Refusal> {
    match text.to_ascii_uppercase().as_str() {
        "LATEST" => Ok(StartingPosition::Latest),
        "TRIM_HORIZON" | "EARLIEST" => Ok(StartingPosition::TrimHorizon),
        _ if text.starts_with('{') => {
            Err("positions of single shards, as JSON, go into kinesis.startingPositions".to_owned())
        }
        _ => at_timestamp(text).map(|millis| StartingPosition::AtTimestamp { millis }),
    }
}

/// The starts of single shards, and the stream if the JSON names it. The AWS connector's form is accepted, too: an
/// object for each shard and one of metadata.
pub(super) type GivenPositions = (Option<String>, BTreeMap<ShardId, GivenPosition>);

/// Parses the starts of single shards.
pub(super) fn starting_positions(text: &str) -> Result<GivenPositions, Refusal> {
    let Pairs(pairs) = serde_json::from_str(text).map_err(|error| {
        format!(
            "it is no JSON object: line {}, column {}",
            error.line(),
            error.column()
        )
    })?;
    let (mut stream, mut shards) = (None, BTreeMap::new());
    for (name, value) in pairs {
        let given = match &value {
            Value::Object(metadata) if name == "metadata" => {
                stream = awslabs::named_stream(metadata);
                continue;
            }
            Value::String(text) => given_position(text),
            Value::Object(entry) => awslabs::position(entry),
            _ => Err("its position is not a JSON string".to_owned()),
        };
        let shard =
            made_of(&name, 1, 128, "_.-").map_err(|why| format!("{name:?} is not a shard's id: {why}"))?;
        let given = given.map_err(|why| format!("{name}: {why}"))?;
        if shards.insert(ShardId::from(shard.as_str()), given).is_some() {
            return Err(format!("it names {name} twice"));
        }
    }
    match shards.is_empty() {
        true => Err("it names no shard".to_owned()),
        false => Ok((stream, shards)),
    }
}

/// The start of one shard.
fn given_position(text: &str) -> Result<GivenPosition, Refusal> {
    let (word, rest) = text
        .trim()
        .split_once(char::is_whitespace)
        .unwrap_or((text.trim(), ""));
    let number = || {
        let number = rest.trim().parse::<SequenceNumber>();
        number.map_err(|error| error.message().to_owned())
    };
    match (word.to_ascii_uppercase().as_str(), rest.is_empty()) {
        ("AFTER_SEQUENCE_NUMBER", false) => number().map(GivenPosition::After),
        ("AT_SEQUENCE_NUMBER", false) => number().map(GivenPosition::At),
        ("SHARD_END", true) => Ok(GivenPosition::ShardEnd),
        _ => match starting_position(text.trim()) {
            Ok(StartingPosition::Latest) => Ok(GivenPosition::Latest),
            Ok(StartingPosition::TrimHorizon) => Ok(GivenPosition::TrimHorizon),
            Ok(StartingPosition::AtTimestamp { millis }) => Ok(GivenPosition::AtTimestamp(millis)),
            Err(why) if why.is_empty() => Err(format!("{text:?} is not a position")),
            Err(why) => Err(why),
        },
    }
}

/// The members of a JSON object in their order, including duplicates.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// The end of a batch read.
pub(super) fn ending_position(text: &str) -> Result<EndingPosition, Refusal> {
    if text.eq_ignore_ascii_case("LATEST") {
        Ok(EndingPosition::Latest)
    } else {
        at_timestamp(text).map(|millis| EndingPosition::AtTimestamp { millis })
    }
}

/// Milliseconds since 1970 of `AT_TIMESTAMP <time>`.
fn at_timestamp(text: &str) -> Result<i64, Refusal> {
    const WORD: &str = "AT_TIMESTAMP";
    let time = match (text.get(..WORD.len()), text.get(WORD.len()..)) {
        (Some(word), Some(rest)) if word.eq_ignore_ascii_case(WORD) => rest,
        _ => return Err(String::new()),
    };
    if !time.is_empty() && !time.starts_with(char::is_whitespace) {
        return Err(String::new());
    }
    let time = time.trim();
    if time.is_empty() {
        return Err("it names no time".to_owned());
    }
    let millis = iso_8601(time).ok_or_else(|| {
        if has_offset(time) {
            format!("{time:?} is not a time")
        } else {
            format!("{time:?} has no offset (Z for UTC, or as +02:00)")
        }
    })?;
    if millis < 0 {
        Err("it is before 1970".to_owned())
    } else {
        Ok(millis)
    }
}

/// RFC 3339, and the additional forms of ISO 8601: offsets as `+0200` and `+02`, and times without seconds.
fn iso_8601(time: &str) -> Option<i64> {
    if let Ok(parsed) = DateTime::parse_from_rfc3339(time) {
        return Some(parsed.timestamp_millis());
    }
    let upper = time.to_ascii_uppercase();
    let upper = upper
        .strip_suffix('Z')
        .map_or_else(|| upper.clone(), |local| format!("{local}+00:00"));
    ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"]
        .iter()
        .find_map(|format| DateTime::parse_from_str(&upper, format).ok())
        .map(|parsed| parsed.timestamp_millis())
}

/// True if something like an offset follows the time of day.
fn has_offset(time: &str) -> bool {
    let of_day = time.split_once(['T', 't', ' ']).map_or("", |(_, of_day)| of_day);
    of_day.contains(['Z', 'z', '+', '-'])
}

/// A name of a stream or consumer. The limits are the service's (CreateStream, RegisterStreamConsumer: 1 to 128 of
/// `[a-zA-Z0-9_.-]`).
pub(super) fn resource_name(text: &str) -> Result<String, Refusal> {
    made_of(text, 1, 128, "_.-")
}

/// A region's name. Only its characters are checked: AWS adds regions, and local services have their own.
pub(super) fn region(text: &str) -> Result<String, Refusal> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        Err(String::new())
    }
}

/// Any text.
pub(super) fn any(text: &str) -> Result<String, Refusal> {
    Ok(text.to_owned())
}

/// Any text without white space.
pub(super) fn no_white_space(text: &str) -> Result<String, Refusal> {
    if text.contains(char::is_whitespace) {
        Err(String::new())
    } else {
        Ok(text.to_owned())
    }
}

/// A class's full name in the JVM's spelling: parts of letters, digits, `_` and `$`, none of which begins with a
/// digit.
pub(super) fn class_name(text: &str) -> Result<String, Refusal> {
    let part = |part: &str| {
        !part.starts_with(|c: char| c.is_numeric())
            && !part.is_empty()
            && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$')
    };
    match text.split('.').all(part) {
        true => Ok(text.to_owned()),
        false => Err(String::new()),
    }
}

/// A text of `min` to `max` characters: ASCII letters, digits, and the given signs.
pub(super) fn made_of(text: &str, min: usize, max: usize, signs: &str) -> Result<String, Refusal> {
    let length = text.chars().count();
    if let Some(bad) = text
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !signs.contains(*c))
    {
        return Err(format!("it contains {bad:?}"));
    }
    if length < min || length > max {
        return Err(format!(
            "it has {length} character{}",
            if length == 1 { "" } else { "s" }
        ));
    }
    Ok(text.to_owned())
}

/// The parts of `arn:aws*:kinesis:region:account:stream/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamArn {
    pub(super) arn: String,
    pub(super) region: String,
    pub(super) stream: String,
}

/// A stream's ARN.
pub(super) fn stream_arn(text: &str) -> Result<StreamArn, Refusal> {
    let [region, account, resource] = arn(text, "kinesis")?;
    let stream = resource.strip_prefix("stream/").ok_or("it names no stream")?;
    let stream = resource_name(stream).map_err(|why| format!("the stream's name is not one: {why}"))?;
    self::region(region).map_err(|_| "its region is not one")?;
    account_id(account)?;
    Ok(StreamArn {
        arn: text.to_owned(),
        region: region.to_owned(),
        stream,
    })
}

/// A registered consumer's ARN: the stream's, `/consumer/`, its name, and its creation time.
pub(super) fn consumer_arn(text: &str) -> Result<String, Refusal> {
    let (stream, consumer) = text.split_once("/consumer/").ok_or("it names no consumer")?;
    stream_arn(stream)?;
    let (name, made) = consumer.split_once(':').ok_or("it does not end with a number")?;
    resource_name(name).map_err(|why| format!("the consumer's name is not one: {why}"))?;
    digits(made).ok_or("it does not end with a number")?;
    Ok(text.to_owned())
}

/// A role's ARN; IAM has no regions.
pub(super) fn role_arn(text: &str) -> Result<String, Refusal> {
    let [region, account, resource] = arn(text, "iam")?;
    if !region.is_empty() {
        return Err("a role has no region".to_owned());
    }
    account_id(account)?;
    match resource.strip_prefix("role/") {
        Some(role) if !role.is_empty() && !role.contains(char::is_whitespace) => Ok(text.to_owned()),
        _ => Err("it names no role".to_owned()),
    }
}

/// Region, account and resource of an ARN of one service, in any partition (aws, aws-cn, aws-us-gov …).
fn arn<'a>(text: &'a str, service: &str) -> Result<[&'a str; 3], Refusal> {
    let mut parts = text.splitn(6, ':');
    let mut part = || parts.next().unwrap_or("");
    let (scheme, partition, named, region, account, resource) =
        (part(), part(), part(), part(), part(), part());
    if scheme != "arn" || !partition.starts_with("aws") {
        return Err("it does not start with arn:aws".to_owned());
    }
    if named != service {
        return Err(format!("it is of the service {named:?}, not {service}"));
    }
    Ok([region, account, resource])
}

fn account_id(text: &str) -> Result<(), Refusal> {
    if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
        Ok(())
    } else {
        Err("its account is not 12 digits".to_owned())
    }
}

/// An http or https URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) url: String,
    pub(super) host: String,
}

/// Parses an http or https URL with a host, and optionally a port and a path.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, Refusal> {
    let (scheme, rest) = text
        .split_once("://")
        .ok_or("it does not start with http:// or https://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err("it does not start with http:// or https://".to_owned());
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("it contains white space".to_owned());
    }
    if rest.contains(['?', '#']) {
        return Err("it has a query or a fragment".to_owned());
    }
    let authority = rest.split('/').next().unwrap_or("");
    if authority.contains('@') {
        return Err("it holds a user's name".to_owned());
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            address
                .parse::<std::net::Ipv6Addr>()
                .map_err(|_| "its host is not one")?;
            (
                address,
                port.strip_prefix(':').or((!port.is_empty()).then_some("")),
            )
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host_name(host)?, Some(port)),
            None => (host_name(authority)?, None),
        },
    };
    if let Some(port) = port {
        match digits(port) {
            Some(1..=65_535) => {}
            _ => return Err("its port is not a number from 1 to 65535".to_owned()),
        }
    }
    Ok(Endpoint {
        url: text.to_owned(),
        host: host.to_ascii_lowercase(),
    })
}

fn host_name(host: &str) -> Result<&str, Refusal> {
    if host.is_empty() {
        return Err("it has no host".to_owned());
    }
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if host.strip_suffix('.').unwrap_or(host).split('.').all(label) {
        Ok(host)
    } else {
        Err("its host is not one".to_owned())
    }
}

/// The region in the name of one of AWS's own hosts: the label after the service's, as in
/// `kinesis.us-west-2.amazonaws.com`, `kinesis-fips.us-gov-west-1.amazonaws.com`,
/// `111122223333.data-kinesis.us-east-1.amazonaws.com`, `vpce-….kinesis.us-east-1.vpce.amazonaws.com` and
/// `kinesis.us-east-1.api.aws`.
pub(super) fn region_of_host(host: &str) -> Option<String> {
    region_of_service(host, "kinesis")
}

/// The region in the name of an STS host; us-east-1 for the oldest one, which has none in its name.
pub(super) fn region_of_sts_host(host: &str) -> Option<String> {
    match host.strip_suffix('.').unwrap_or(host) {
        "sts.amazonaws.com" => Some("us-east-1".to_owned()),
        host => region_of_service(host, "sts"),
    }
}

fn region_of_service(host: &str, service: &str) -> Option<String> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if ![".amazonaws.com", ".amazonaws.com.cn", ".api.aws"]
        .iter()
        .any(|domain| host.ends_with(domain))
    {
        return None;
    }
    let mut labels = host.split('.');
    labels.find(|label| {
        let label = label.strip_suffix("-fips").unwrap_or(label);
        label
            .strip_suffix(service)
            .is_some_and(|before| before.is_empty() || before.ends_with('-'))
    })?;
    let region = labels.next()?;
    let looks_like_one = region.contains('-') && region.ends_with(|c: char| c.is_ascii_digit());
    looks_like_one.then(|| region.to_owned())
}

/// A number of digits only, without a sign; none if there are too many.
fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

fn split_suffix(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    text.split_at(end)
}

fn within(number: u64, min: u64, max: u64) -> Result<u64, Refusal> {
    if number < min {
        Err("it is too small".to_owned())
    } else if number > max {
        Err("it is too large".to_owned())
    } else {
        Ok(number)
    }
}
