//! The positions that awslabs/spark-sql-kinesis-connector keeps: the starts of a batch's shards in Spark's offset
//! log, and the ends beside it, in one file or item for each shard and batch.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{GivenPosition, SequenceNumber, ShardId};

/// Key of an offset's member that is not a shard.
const METADATA: &str = "metadata";

/// The shards and positions of an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AwslabsOffset {
    /// The connector's own number of the batch, under which its ends are kept; none before the first batch.
    pub batch: Option<u64>,
    /// The stream's name.
    pub stream: String,
    /// The starts of the batch's shards.
    pub shards: BTreeMap<ShardId, GivenPosition>,
}

impl AwslabsOffset {
    /// Parses an offset, or returns the reason why it is none.
    pub(crate) fn parse(json: &str) -> Result<Self, String> {
        let offset: Map<String, Value> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let metadata = offset.get(METADATA).and_then(Value::as_object);
        let metadata = metadata.ok_or("it has no field metadata")?;
        let stream = text(metadata, "streamName").ok_or("it names no stream")?;
        let batch = text(metadata, "batchId").ok_or("it names no batch")?;
        let mut shards = BTreeMap::new();
        for (shard, entry) in offset.iter().filter(|(name, _)| *name != METADATA) {
            let entry = entry.as_object().ok_or(format!("{shard} is not an object"))?;
            let at = position(entry).map_err(|why| format!("{shard}: {why}"))?;
            shards.insert(ShardId::from(shard.as_str()), at);
        }
        Ok(Self {
            batch: batch.parse().ok(),
            stream,
            shards,
        })
    }
}

/// Parses the kept end of a shard's part of a batch.
pub(crate) fn end(json: &str) -> Result<GivenPosition, String> {
    let entry: Map<String, Value> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    position(&entry)
}

/// The stream's name in the `metadata` of positions that a user gives in this form.
pub(crate) fn named_stream(metadata: &Map<String, Value>) -> Option<String> {
    text(metadata, "streamName")
}

/// A shard's position. A position inside an aggregate with unread records is the position of the aggregate.
pub(crate) fn position(entry: &Map<String, Value>) -> Result<GivenPosition, String> {
    let kind = text(entry, "iteratorType").ok_or("it has no iteratorType")?;
    let at = text(entry, "iteratorPosition").unwrap_or_default();
    let number = || {
        at.parse::<SequenceNumber>()
            .map_err(|error| error.message().to_owned())
    };
    let aggregate = text(entry, "subSequenceNumber").is_some_and(|place| place != "-1");
    // Without the field, some of the aggregate may be unread.
    let read_whole = text(entry, "isLast").is_some_and(|last| last.eq_ignore_ascii_case("true"));
    let inside = aggregate && !read_whole;
    Ok(match kind.to_ascii_uppercase().as_str() {
        "LATEST" => GivenPosition::Latest,
        "TRIM_HORIZON" => GivenPosition::TrimHorizon,
        "AT_TIMESTAMP" => match at.parse() {
            Ok(millis @ 0..) => GivenPosition::AtTimestamp(millis),
            _ => return Err(format!("{at:?} is not a number of milliseconds since 1970")),
        },
        "AFTER_SEQUENCE_NUMBER" if !inside => GivenPosition::After(number()?),
        "AFTER_SEQUENCE_NUMBER" | "AT_SEQUENCE_NUMBER" => GivenPosition::At(number()?),
        "SHARD_END" => GivenPosition::ShardEnd,
        _ => return Err(format!("{kind:?} is not an iteratorType")),
    })
}

/// A field's text; numbers and booleans occur with and without quotes.
fn text(object: &Map<String, Value>, field: &str) -> Option<String> {
    match object.get(field)? {
        Value::String(text) => Some(text.clone()),
        value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> SequenceNumber {
        text.parse().expect("a sequence number")
    }

    #[test]
    fn an_offset_is_read() {
        let json = r#"{"shardId-000000000001":{"subSequenceNumber":"-1","isLast":"true","iteratorType":
            "AFTER_SEQUENCE_NUMBER","iteratorPosition":"49600001"},"metadata":{"batchId":"7","streamName":"orders"},
            "shardId-000000000000":{"subSequenceNumber":"-1","isLast":"true","iteratorType":"TRIM_HORIZON",
            "iteratorPosition":""}}"#;
        let offset = AwslabsOffset::parse(json).expect("reads");
        assert_eq!((offset.batch, offset.stream.as_str()), (Some(7), "orders"));
        let expected = BTreeMap::from([
            ("shardId-000000000000".into(), GivenPosition::TrimHorizon),
            (
                "shardId-000000000001".into(),
                GivenPosition::After(number("49600001")),
            ),
        ]);
        assert_eq!(offset.shards, expected);
        let before = r#"{"metadata":{"batchId":"-1","streamName":"orders"}}"#;
        assert_eq!(AwslabsOffset::parse(before).expect("reads").batch, None);
    }

    #[test]
    fn what_is_no_offset_of_it_is_refused() {
        for other in [
            "",
            "17",
            r#"{"orders":{"0":17}}"#,
            r#"{"metadata":{"streamName":"orders"}}"#,
            r#"{"metadata":{"batchId":"1","streamName":"orders"},"shardId-0":{"iteratorType":"NOWHERE"}}"#,
            r#"{"version":1,"source":"s","stream":"orders","created":17,"batch":1,"shards":{"a":"AFTER 5"}}"#,
        ] {
            AwslabsOffset::parse(other).expect_err(other);
        }
    }

    #[test]
    fn an_aggregate_not_known_to_be_read_whole_is_read_again() {
        let json =
            r#"{"iteratorType":"AFTER_SEQUENCE_NUMBER","iteratorPosition":"496","subSequenceNumber":"1"}"#;
        assert_eq!(end(json), Ok(GivenPosition::At(number("496"))));
        let whole = json.replace('}', r#","isLast":"True"}"#);
        assert_eq!(end(&whole), Ok(GivenPosition::After(number("496"))));
    }

    #[test]
    fn positions_are_read_as_they_are_kept() {
        let entry = |kind: &str, at: &str, place: i64, last: bool| {
            let json = serde_json::json!({"shardId": "shardId-000000000000", "iteratorType": kind,
                "iteratorPosition": at, "subSequenceNumber": place, "isLast": last});
            end(&json.to_string())
        };
        for (kind, at, place, last, expected) in [
            ("TRIM_HORIZON", "", -1, true, GivenPosition::TrimHorizon),
            ("LATEST", "", -1, true, GivenPosition::Latest),
            (
                "AT_TIMESTAMP",
                "1795671078000",
                -1,
                true,
                GivenPosition::AtTimestamp(1_795_671_078_000),
            ),
            (
                "AFTER_SEQUENCE_NUMBER",
                "496",
                -1,
                true,
                GivenPosition::After(number("496")),
            ),
            (
                "AFTER_SEQUENCE_NUMBER",
                "496",
                3,
                true,
                GivenPosition::After(number("496")),
            ),
            // Some records of the aggregate were not read.
            (
                "AFTER_SEQUENCE_NUMBER",
                "496",
                2,
                false,
                GivenPosition::At(number("496")),
            ),
            (
                "AT_SEQUENCE_NUMBER",
                "496",
                -1,
                true,
                GivenPosition::At(number("496")),
            ),
            ("SHARD_END", "", -1, true, GivenPosition::ShardEnd),
        ] {
            assert_eq!(
                entry(kind, at, place, last).expect("reads"),
                expected,
                "{kind} {place}"
            );
        }
        for (kind, at) in [
            ("AFTER_SEQUENCE_NUMBER", ""),
            ("AT_TIMESTAMP", "today"),
            ("LATER", ""),
        ] {
            entry(kind, at, -1, true).expect_err(kind);
        }
        end(r#"{"shardId":"shardId-000000000000","iterat"#).expect_err("cut short");
    }
}
