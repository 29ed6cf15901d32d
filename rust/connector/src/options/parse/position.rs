//! Positions in a stream.
use std::collections::BTreeMap;

use super::super::types::{EndingPosition, StartingPosition};
use super::{Refusal, made_of};
use crate::stream::{GivenPosition, SequenceNumber, ShardId, awslabs};
use chrono::DateTime;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// The start of a query.
pub(in crate::options) fn starting_position(text: &str) -> Result<StartingPosition, Refusal> {
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
pub(in crate::options) type GivenPositions = (Option<String>, BTreeMap<ShardId, GivenPosition>);

/// Parses the starts of single shards.
pub(in crate::options) fn starting_positions(text: &str) -> Result<GivenPositions, Refusal> {
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
pub(in crate::options) fn ending_position(text: &str) -> Result<EndingPosition, Refusal> {
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
