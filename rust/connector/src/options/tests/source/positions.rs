//! Starting and ending positions, of all shards and of single ones.
use super::super::*;
use crate::stream::{GivenPosition, SequenceNumber};

#[test]
fn starting_positions() {
    let at = |text: &str| read(&[("kinesis.startingPosition", text)]).starting_position;
    assert_eq!(at("Latest"), StartingPosition::Latest);
    assert_eq!(at("earliest"), StartingPosition::TrimHorizon);
    let expected = StartingPosition::AtTimestamp {
        millis: 1_788_116_405_000,
    };
    for text in [
        "AT_TIMESTAMP 2026-08-30T19:00:05Z",
        "at_timestamp 2026-08-30t19:00:05z",
        "AT_TIMESTAMP   2026-08-30T21:00:05+02:00",
        "AT_TIMESTAMP 2026-08-30T21:00:05+0200",
        "AT_TIMESTAMP 2026-08-30T21:00:05+02",
        "AT_TIMESTAMP 2026-08-30T13:30:05-05:30",
        "AT_TIMESTAMP 2026-08-30T19:00:05.000Z",
    ] {
        assert_eq!(at(text), expected, "{text}");
    }
    assert_eq!(
        at("AT_TIMESTAMP 2026-08-30T19:00Z"),
        StartingPosition::AtTimestamp {
            millis: 1_788_116_400_000
        }
    );
    assert_eq!(
        at("AT_TIMESTAMP 2026-08-30T19:00:05.678Z"),
        StartingPosition::AtTimestamp {
            millis: 1_788_116_405_678
        }
    );
    for (bad, why) in [
        ("NEWEST", ""),
        ("AT_TIMESTAMPS", ""),
        (
            "{\"shardId-000000000000\":{}}",
            ": positions of single shards, as JSON, go into kinesis.startingPositions",
        ),
        ("AT_TIMESTAMP", ": it names no time"),
        (
            "AT_TIMESTAMP 2026-08-30T19:00:05",
            ": \"2026-08-30T19:00:05\" has no offset (Z for UTC, or as +02:00)",
        ),
        (
            "AT_TIMESTAMP 2026-02-30T19:00:05Z",
            ": \"2026-02-30T19:00:05Z\" is not a time",
        ),
        (
            "AT_TIMESTAMP 2026-08-30",
            ": \"2026-08-30\" has no offset (Z for UTC, or as +02:00)",
        ),
        ("AT_TIMESTAMP 1960-01-01T00:00:00Z", ": it is before 1970"),
    ] {
        assert_refused(
            &read_error(&[("kinesis.startingPosition", bad)]),
            "kinesis.startingPosition",
            &format!(
                "kinesis.startingPosition is \"{bad}\"{why}. Allowed: LATEST, TRIM_HORIZON, EARLIEST, or AT_TIMESTAMP \
                 with a time and its offset as in AT_TIMESTAMP 2026-08-30T19:00:05Z or \
                 AT_TIMESTAMP 2026-08-30T21:00:05+02:00"
            ),
        );
    }
}

#[test]
fn ending_positions_of_batch_reads() {
    let start = ("kinesis.startingPosition", "AT_TIMESTAMP 2026-08-30T19:00:05Z");
    let parsed = batch_read(&with_name(&[
        start,
        ("kinesis.endingPosition", "AT_TIMESTAMP 2026-08-30T19:00:06Z"),
    ]))
    .unwrap();
    assert_eq!(
        parsed.options.ending_position,
        Some(EndingPosition::AtTimestamp {
            millis: 1_788_116_406_000
        })
    );
    assert_eq!(parsed.warnings, Vec::<String>::new());
    assert_refused(
        &batch_read(&with_name(&[start, ("kinesis.endingPosition", start.1)])).unwrap_err(),
        "kinesis.endingPosition",
        "kinesis.endingPosition is not after kinesis.startingPosition: nothing would be read",
    );
    assert_refused(
        &batch_read(&with_name(&[("kinesis.endingPosition", "TRIM_HORIZON")])).unwrap_err(),
        "kinesis.endingPosition",
        "kinesis.endingPosition is \"TRIM_HORIZON\". Allowed: LATEST, or AT_TIMESTAMP with a time and its offset as in \
         AT_TIMESTAMP 2026-08-30T19:00:05Z",
    );
    let default = batch_read(&with_name(&[])).unwrap();
    assert_eq!(default.options.starting_position, StartingPosition::TrimHorizon);
    assert_eq!(default.warnings, Vec::<String>::new());
    assert_refused(
        &batch_read(&with_name(&[("kinesis.startingPosition", "latest")])).unwrap_err(),
        "kinesis.startingPosition",
        "kinesis.startingPosition is LATEST: a batch read would read nothing. Set it to TRIM_HORIZON, the default of \
         batch reads, or to AT_TIMESTAMP …",
    );
}

#[test]
fn a_batch_read_warns_of_options_of_micro_batches() {
    let pairs = [
        ("kinesis.startingPosition", "EARLIEST"),
        ("kinesis.maxFetchRecordsPerShard", "10"),
    ];
    assert_eq!(
        batch_read(&with_name(&pairs)).unwrap().warnings,
        [
            "kinesis.maxFetchRecordsPerShard has no effect: a batch read has no micro-batches and no checkpoint"
        ]
    );
    assert!(batch_read(&with_name(&[("kinesis.maxFetchRecordsPerShard", "x")])).is_err());
    assert_eq!(source(&with_name(&pairs)).unwrap().warnings, Vec::<String>::new());
}

fn number(text: &str) -> SequenceNumber {
    text.parse().unwrap()
}

const POSITIONS: &str = "kinesis.startingPositions";

#[test]
fn single_shards_start_at_their_given_positions() {
    let positions = |json: &str| read(&[(POSITIONS, json)]).starting_positions;
    let expected = BTreeMap::from([
        (
            "shardId-000000000000".into(),
            GivenPosition::After(number("4957")),
        ),
        ("shardId-000000000001".into(), GivenPosition::At(number("4958"))),
        (
            "shardId-000000000002".into(),
            GivenPosition::AtTimestamp(1_788_116_405_000),
        ),
        ("shardId-000000000003".into(), GivenPosition::TrimHorizon),
        ("shardId-000000000004".into(), GivenPosition::Latest),
        ("shardId-000000000005".into(), GivenPosition::ShardEnd),
    ]);
    let ours = r#"{"shardId-000000000000": "AFTER_SEQUENCE_NUMBER 4957", "shardId-000000000001": "at_sequence_number 4958",
        "shardId-000000000002": "AT_TIMESTAMP 2026-08-30T21:00:05+02:00", "shardId-000000000003": "EARLIEST",
        "shardId-000000000004": "LATEST", "shardId-000000000005": "SHARD_END"}"#;
    assert_eq!(positions(ours), expected);
    // In the form that the AWS connector's users write.
    let theirs = r#"{"shardId-000000000000": {"iteratorType": "AFTER_SEQUENCE_NUMBER", "iteratorPosition": "4957",
        "subSequenceNumber": "-1", "isLast": "true"}, "metadata": {"streamName": "orders", "batchId": "7"}}"#;
    let expected = BTreeMap::from([(
        "shardId-000000000000".into(),
        GivenPosition::After(number("4957")),
    )]);
    assert_eq!(positions(theirs), expected);
}

#[test]
fn positions_that_are_none_are_refused_by_name() {
    for (json, why) in [
        ("[]", "it is no JSON object"),
        ("{", "it is no JSON object"),
        ("{}", "it names no shard"),
        (
            r#"{"shardId-0": 17}"#,
            "shardId-0: its position is not a JSON string",
        ),
        (
            r#"{"shardId-0": "AFTER 17"}"#,
            "shardId-0: \"AFTER 17\" is not a position",
        ),
        (r#"{"shardId-0": "AFTER_SEQUENCE_NUMBER"}"#, "is not a position"),
        (
            r#"{"shardId-0": "AFTER_SEQUENCE_NUMBER 1x"}"#,
            "'1x' is not a sequence number",
        ),
        (
            r#"{"shardId-0": "AT_TIMESTAMP 2026-08-30T21:00:05"}"#,
            "has no offset",
        ),
        (
            r#"{"shardId-0": "LATEST", "shardId-0": "LATEST"}"#,
            "it names shardId-0 twice",
        ),
        (r#"{"a b": "LATEST"}"#, "is not a shard's id"),
        (
            r#"{"shardId-0": {"iteratorType": "LATEST"}, "metadata": {"streamName": "others"}}"#,
            "has the positions of the stream others, but orders is read",
        ),
    ] {
        let error = read_error(&[(POSITIONS, json)]);
        assert!(
            error.message().contains(why) && error.message().contains(POSITIONS),
            "{json}: {error}"
        );
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{json}");
    }
    let error = read_error(&[("kinesis.startingPosition", r#"{"shardId-0": "LATEST"}"#)]);
    assert!(
        error.message().contains("go into kinesis.startingPositions"),
        "{error}"
    );
    let error = batch_read(&with_name(&[(POSITIONS, r#"{"shardId-0": "LATEST"}"#)])).unwrap_err();
    assert!(
        error.message().contains("a batch read would read nothing of it"),
        "{error}"
    );
}

#[test]
fn a_checkpoint_to_import_says_where_all_shards_start() {
    let import = ("kinesis.importCheckpoint", "s3://bucket/old/");
    assert_eq!(
        read(&[import]).import_checkpoint.as_deref(),
        Some("s3://bucket/old")
    );
    let error = read_error(&[import, (POSITIONS, r#"{"shardId-0": "LATEST"}"#)]);
    assert!(error.message().contains("both say where shards start"), "{error}");
    let batch = batch_read(&with_name(&[import])).unwrap();
    assert_eq!(batch.options.import_checkpoint, None);
    assert!(
        batch.warnings.iter().any(|warning| warning.contains(import.0)),
        "{:?}",
        batch.warnings
    );
}
