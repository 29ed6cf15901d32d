//! Independent decoder for CBOR (RFC 8949) that converts a GetRecords answer to JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

enum Item {
    Null,
    Bool(bool),
    Whole(i128),
    Float(f64),
    /// A half-width float or a simple value without a meaning: no member has one.
    Other,
    Bytes(Vec<u8>),
    Text(String),
    List(Vec<Item>),
    Object(Vec<(String, Item)>),
}

/// The answer as JSON; none if it isn't valid.
pub(super) fn json(mut body: &[u8]) -> Option<String> {
    let Item::Object(members) = item(&mut body)? else {
        return None;
    };
    if !body.is_empty() {
        return None;
    }
    let (mut records, mut rest) = (Vec::new(), Map::new());
    for (name, value) in members {
        match (name.as_str(), value) {
            ("Records", Item::List(list)) => records = list,
            ("Records", Item::Null) => {}
            ("Records", _) => return None,
            (_, value) => drop(rest.insert(name, plain(value))),
        }
    }
    let records: Vec<String> = records.into_iter().map(record).collect::<Option<_>>()?;
    let rest: Vec<String> = rest
        .iter()
        .map(|(name, value)| member(name, value.clone()))
        .collect();
    let records = format!("\"Records\":[{}]", records.join(","));
    Some(format!("{{{}}}", [rest, vec![records]].concat().join(",")))
}

fn member(name: &str, value: Value) -> String {
    format!("{}:{value}", Value::from(name))
}

fn record(item: Item) -> Option<String> {
    let Item::Object(members) = item else { return None };
    let mut written = Vec::new();
    for (name, value) in members {
        written.push(match (name.as_str(), value) {
            ("Data", Item::Bytes(data)) => member(&name, STANDARD.encode(data).into()),
            ("ApproximateArrivalTimestamp", Item::Whole(millis)) => time(millis),
            ("ApproximateArrivalTimestamp", Item::Float(millis)) => time(millis.round() as i128),
            ("Data" | "PartitionKey" | "SequenceNumber" | "EncryptionType", Item::Text(text)) => {
                member(&name, text.into())
            }
            (_, Item::Null) => member(&name, Value::Null),
            (
                "Data" | "PartitionKey" | "SequenceNumber" | "EncryptionType" | "ApproximateArrivalTimestamp",
                _,
            ) => return None,
            _ => continue,
        });
    }
    Some(format!("{{{}}}", written.join(",")))
}

/// Milliseconds as seconds.
fn time(millis: i128) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    let millis = millis.unsigned_abs();
    format!(
        "\"ApproximateArrivalTimestamp\":{sign}{}.{:03}",
        millis / 1000,
        millis % 1000
    )
}

fn plain(item: Item) -> Value {
    match item {
        Item::Null | Item::Other | Item::Bytes(_) => Value::Null,
        Item::Bool(truth) => truth.into(),
        Item::Whole(number) => match (i64::try_from(number), u64::try_from(number)) {
            (Ok(number), _) => number.into(),
            (_, Ok(number)) => number.into(),
            _ => Value::Null,
        },
        Item::Float(number) => number.into(),
        Item::Text(text) => text.into(),
        Item::List(items) => items.into_iter().map(plain).collect(),
        Item::Object(members) => members
            .into_iter()
            .map(|(name, item)| (name, plain(item)))
            .collect(),
    }
}

/// The next item without its tags.
fn item(bytes: &mut &[u8]) -> Option<Item> {
    let (kind, short) = (bytes.first()? >> 5, bytes.first()? & 31);
    *bytes = &bytes[1..];
    let number = match short {
        0..=23 => Some(u64::from(short)),
        24..=27 => {
            let (number, rest) = bytes.split_at_checked(1 << (short - 24))?;
            *bytes = rest;
            Some(
                number
                    .iter()
                    .fold(0, |number, byte| number << 8 | u64::from(*byte)),
            )
        }
        31 => None,
        _ => return None,
    };
    Some(match (kind, number) {
        (0, Some(number)) => Item::Whole(number.into()),
        (1, Some(number)) => Item::Whole(-1 - i128::from(number)),
        (2, length) => Item::Bytes(string(bytes, 2, length)?),
        (3, length) => Item::Text(String::from_utf8(string(bytes, 3, length)?).ok()?),
        (4, length) => {
            let mut items = Vec::new();
            while more(bytes, length, items.len())? {
                items.push(item(bytes)?);
            }
            Item::List(items)
        }
        (5, length) => {
            let mut members = Vec::new();
            while more(bytes, length, members.len())? {
                let Item::Text(name) = item(bytes)? else {
                    return None;
                };
                members.push((name, item(bytes)?));
            }
            Item::Object(members)
        }
        (6, Some(_)) => item(bytes)?,
        (7, Some(20 | 21)) if short < 24 => Item::Bool(number == Some(21)),
        (7, Some(22)) if short < 24 => Item::Null,
        (7, Some(bits)) if short == 26 => Item::Float(f32::from_bits(bits as u32).into()),
        (7, Some(bits)) if short == 27 => Item::Float(f64::from_bits(bits)),
        (7, Some(_)) => Item::Other,
        _ => return None,
    })
}

/// True if a list or an object has more than `so_far` items. Consumes the break at its end.
fn more(bytes: &mut &[u8], length: Option<u64>, so_far: usize) -> Option<bool> {
    Some(match length {
        Some(length) => (so_far as u64) < length,
        None => {
            let ended = *bytes.first()? == 0xFF;
            *bytes = &bytes[usize::from(ended)..];
            !ended
        }
    })
}

/// Content of bytes or a text; all parts are of the same kind.
fn string(bytes: &mut &[u8], kind: u8, length: Option<u64>) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    let mut parts = 0;
    while more(bytes, length.map(|_| 1), parts)? {
        match length {
            Some(length) => {
                let (part, rest) = bytes.split_at_checked(length.try_into().ok()?)?;
                *bytes = rest;
                whole.extend_from_slice(part);
            }
            None => match (bytes.first()? >> 5 == kind, item(bytes)?) {
                (true, Item::Bytes(part)) => whole.extend(part),
                (true, Item::Text(part)) => whole.extend(part.into_bytes()),
                _ => return None,
            },
        }
        parts += 1;
    }
    Some(whole)
}
