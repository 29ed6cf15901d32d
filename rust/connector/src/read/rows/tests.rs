//! From an answer's records to rows.

use std::collections::BTreeMap;

use super::*;
use crate::batch::ExtraValues;
use crate::error::ErrorKind;
use crate::options::{self, AggregationOptions, BrokenAggregate, OutsideShard};
use crate::service::Encryption;
use crate::stream::{HashRange, Position};
use arrow_array::Array;
use bytes::Bytes;
use kinesis_aggregation::{MAGIC, UserRecord, encode};
use md5::{Digest, Md5};

/// Default: everything is delivered and nothing added.
fn rules() -> RowRules {
    RowRules {
        shard: "shardId-000000000007".into(),
        aggregates: treated(OutsideShard::Skip, BrokenAggregate::Fail, None),
        held: Held::ALL,
        extra: Vec::new(),
    }
}

fn treated(outside_shard: OutsideShard, broken: BrokenAggregate, range: Option<HashRange>) -> Aggregates {
    let options = AggregationOptions {
        outside_shard,
        broken,
    };
    Aggregates::new(options, range)
}

fn take(records: RecordColumns, bounds: &Bounds) -> Result<Taken> {
    take_by(records, bounds, &rules(), true)
}

/// Takes an answer that fits into one part.
fn take_by(records: RecordColumns, bounds: &Bounds, rules: &RowRules, keep_rest: bool) -> Result<Taken> {
    let taken = Taking::new(records, bounds, rules, keep_rest).part()?;
    assert!(!taken.more);
    Ok(taken)
}

fn records(payloads: &[&[u8]]) -> RecordColumns {
    let mut columns = RecordColumns::with_capacity(payloads.len(), 0);
    for (row, payload) in payloads.iter().enumerate() {
        columns
            .push(payload, "outer", &(row + 10).to_string(), 1_000 + row as i64)
            .expect("fits");
    }
    columns
}

fn aggregate(users: &[(&str, &str)]) -> Vec<u8> {
    let users: Vec<_> = users.iter().map(|(key, data)| (*key, *data, None)).collect();
    aggregate_with_hash_keys(&users)
}

fn aggregate_with_hash_keys(users: &[(&str, &str, Option<&str>)]) -> Vec<u8> {
    let users: Vec<UserRecord> = users
        .iter()
        .map(|(key, data, hash_key)| UserRecord {
            partition_key: (*key).into(),
            explicit_hash_key: hash_key.map(Into::into),
            data: Bytes::copy_from_slice(data.as_bytes()),
            sub_sequence: 0,
        })
        .collect();
    encode(&users).to_vec()
}

/// An aggregate with a correct digest whose user record refers to a missing key.
fn broken() -> Vec<u8> {
    let mut broken = aggregate(&[("k", "x")]);
    let index = broken.windows(2).position(|pair| pair == [0x08, 0x00]);
    broken[index.expect("partition_key_index 0") + 1] = 9;
    let end = broken.len() - 16;
    let digest = Md5::digest(&broken[4..end]);
    broken[end..].copy_from_slice(&digest);
    broken
}

fn rows(taken: &Taken) -> Vec<(String, String, String)> {
    let mut rows = Vec::new();
    for batch in &taken.batches {
        let data = batch.data.as_ref().expect("payloads");
        let keys = batch.partition_key.as_ref().expect("keys");
        for row in 0..batch.rows() {
            rows.push((
                String::from_utf8_lossy(data.value(row)).into_owned(),
                keys.value(row).to_owned(),
                batch.sequence_number.value(row).to_owned(),
            ));
        }
    }
    rows
}

fn row(data: &str, key: &str, number: &str) -> (String, String, String) {
    (data.into(), key.into(), number.into())
}

#[test]
fn plain_records_are_rows() {
    let taken = take(records(&[b"a", b"", b"c"]), &Bounds::default()).expect("taken");
    assert_eq!(
        rows(&taken),
        [
            row("a", "outer", "10"),
            row("", "outer", "11"),
            row("c", "outer", "12")
        ]
    );
    assert_eq!((taken.rows, taken.bytes, taken.cut), (3, 2, None));
    assert_eq!(taken.last.expect("last").as_str(), "12");
}

#[test]
fn aggregates_are_taken_apart_in_their_place() {
    let aggregate = aggregate(&[("k1", "x"), ("k2", "yy")]);
    let taken = take(records(&[b"a", &aggregate, b"c"]), &Bounds::default()).expect("taken");
    let expected = [
        row("a", "outer", "10"),
        row("x", "k1", "11"),
        row("yy", "k2", "11"),
        row("c", "outer", "12"),
    ];
    assert_eq!(rows(&taken), expected);
    assert_eq!((taken.rows, taken.bytes), (4, 5));
}

#[test]
fn what_only_begins_like_an_aggregate_is_a_plain_record() {
    let broken = [MAGIC.as_slice(), b"not an aggregate at all, just bytes"].concat();
    let taken = take(records(&[&broken]), &Bounds::default()).expect("taken");
    let data = taken.batches[0].data.as_ref().expect("payloads");
    assert_eq!(data.value(0), broken);
}

#[test]
fn the_cut_falls_before_the_record_that_is_too_much() {
    let aggregate = aggregate(&[("k", "x"), ("k", "y"), ("k", "z")]);
    let page = || records(&[b"a", &aggregate, b"c"]);
    let within = |rows| Bounds {
        rows: Some(rows),
        ..Bounds::default()
    };
    let taken = take(page(), &within(3)).expect("taken");
    assert_eq!((taken.rows, taken.cut), (1, Some(Cut::Full)));
    assert_eq!(taken.last.expect("last").as_str(), "10");
    let rest = taken.rest.expect("the rest");
    assert_eq!(
        (rest.len(), rest.sequence_number(0), rest.data(1)),
        (2, "11", b"c".as_slice())
    );
    assert_eq!(take(page(), &within(4)).expect("taken").rows, 4);
    assert_eq!(take(page(), &within(5)).expect("taken").cut, None);
}

#[test]
fn the_first_record_of_a_batch_passes_however_large() {
    let page = records(&[b"far too large", b"b"]);
    let bounds = Bounds {
        bytes: Some(3),
        first: true,
        ..Bounds::default()
    };
    let taken = take(page, &bounds).expect("taken");
    assert_eq!((taken.rows, taken.cut), (1, Some(Cut::Full)));
}

#[test]
fn later_arrivals_are_left() {
    let bounds = Bounds {
        until: Some(1_001),
        ..Bounds::default()
    };
    let taken = take(records(&[b"a", b"b", b"c"]), &bounds).expect("taken");
    assert_eq!((taken.rows, taken.cut), (2, Some(Cut::Time)));
}

#[test]
fn a_claim_is_kept_exactly_whatever_the_limits() {
    let through = Some("11".parse().expect("number"));
    let bounds = Bounds {
        rows: Some(1),
        through,
        ..Bounds::default()
    };
    let taken = take(records(&[b"a", b"b", b"c"]), &bounds).expect("taken");
    assert_eq!((taken.rows, taken.cut), (2, Some(Cut::Claim)));
}

const LOW: HashRange = HashRange { start: 0, end: 99 };

/// One aggregate inside [`LOW`] and one with a stranger among its records, between plain records.
fn with_stranger() -> RecordColumns {
    let inside = aggregate_with_hash_keys(&[("k", "in", Some("0")), ("k", "in", Some("99"))]);
    let outside = aggregate_with_hash_keys(&[
        ("k", "out", Some("7")),
        ("k", "out", Some("100")),
        ("k", "out", Some("8")),
    ]);
    records(&[b"a", &inside, &outside, b"d"])
}

#[test]
fn an_aggregate_with_one_record_of_another_shard_is_left_out_whole() {
    let rules = RowRules {
        aggregates: treated(OutsideShard::Skip, BrokenAggregate::Fail, Some(LOW)),
        ..rules()
    };
    let taken = take_by(with_stranger(), &Bounds::default(), &rules, false).expect("taken");
    let data: Vec<String> = rows(&taken).into_iter().map(|(data, ..)| data).collect();
    assert_eq!(data, ["a", "in", "in", "d"]);
    assert_eq!((taken.rows, taken.bytes, taken.skipped.count), (4, 6, 1));
    let first = taken.skipped.first.expect("a reason");
    assert!(
        first.contains("sequence number 12") && first.contains("user record 1 is 100"),
        "{first}"
    );
    // It counts as read.
    let only = RowRules { ..rules };
    let stranger = aggregate_with_hash_keys(&[("k", "out", Some("100"))]);
    let taken = take_by(records(&[b"a", &stranger]), &Bounds::default(), &only, false).expect("taken");
    assert_eq!(taken.last.expect("last").as_str(), "11");
}

#[test]
fn a_partition_key_s_md5_is_its_hash_key() {
    // md5("a") is 0x0cc1… and md5("b") 0x92eb….
    let half = u128::MAX / 2;
    let upper = HashRange {
        start: half + 1,
        end: u128::MAX,
    };
    let lower = HashRange { start: 0, end: half };
    for (key, range, skipped) in [("a", lower, 0), ("a", upper, 1), ("b", lower, 1), ("b", upper, 0)] {
        let rules = RowRules {
            aggregates: treated(OutsideShard::Skip, BrokenAggregate::Fail, Some(range)),
            ..rules()
        };
        let page = records(&[&aggregate(&[(key, "x")])]);
        let taken = take_by(page, &Bounds::default(), &rules, false).expect("taken");
        assert_eq!(taken.skipped.count, skipped, "{key} in {range}");
    }
}

#[test]
fn strangers_are_delivered_or_fail_the_read_if_that_is_wanted() {
    let whole = HashRange {
        start: 0,
        end: u128::MAX,
    };
    for (outside, range) in [
        (OutsideShard::Deliver, Some(LOW)),
        (OutsideShard::Skip, None),
        (OutsideShard::Fail, Some(whole)),
    ] {
        let rules = RowRules {
            aggregates: treated(outside, BrokenAggregate::Fail, range),
            ..rules()
        };
        let taken = take_by(with_stranger(), &Bounds::default(), &rules, false).expect("taken");
        assert_eq!((taken.rows, taken.skipped.count), (7, 0), "{outside:?} {range:?}");
    }
    let fail = RowRules {
        aggregates: treated(OutsideShard::Fail, BrokenAggregate::Fail, Some(LOW)),
        ..rules()
    };
    let error = take_by(with_stranger(), &Bounds::default(), &fail, false).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::MalformedRecord);
    for part in ["sequence number 12", "is 100", "takes 0-99", "DELIVER"] {
        assert!(error.message().contains(part), "{part} in: {error}");
    }
}

#[test]
fn a_broken_aggregate_fails_the_read_or_is_left_out() {
    let page = || records(&[b"a", &broken(), b"c"]);
    let error = take(page(), &Bounds::default()).expect_err("broken");
    assert_eq!(error.kind(), ErrorKind::MalformedRecord);
    assert!(error.message().contains("kinesis.aggregation.broken"), "{error}");
    let skip = RowRules {
        aggregates: treated(OutsideShard::Skip, BrokenAggregate::Skip, None),
        ..rules()
    };
    let taken = take_by(page(), &Bounds::default(), &skip, false).expect("taken");
    assert_eq!((taken.rows, taken.skipped.count), (2, 1));
    // Records beyond the batch can't fail it.
    let bounds = Bounds {
        rows: Some(1),
        ..Bounds::default()
    };
    let taken = take(page(), &bounds).expect("taken");
    assert_eq!((taken.rows, taken.cut), (1, Some(Cut::Full)));
}

fn texts(values: &ExtraValues) -> Vec<Option<String>> {
    match values {
        ExtraValues::Texts(texts) => texts.iter().map(|text| text.map(str::to_owned)).collect(),
        other => panic!("not texts: {other:?}"),
    }
}

#[test]
fn extra_columns_hold_what_is_known_in_the_given_order() {
    let mixed = aggregate_with_hash_keys(&[("k", "x", None), ("k", "y", Some("42")), ("k", "z", None)]);
    let payloads: [&[u8]; 4] = [b"a", &mixed, b"c", b"later"];
    let mut page = RecordColumns::with_capacity(4, 0);
    for (row, payload) in payloads.into_iter().enumerate() {
        page.push(payload, "outer", &(row + 10).to_string(), 0)
            .expect("fits");
        if row != 2 {
            page.set_encryption(if row == 0 {
                Encryption::None
            } else {
                Encryption::Kms
            });
        }
    }
    let rules = RowRules {
        extra: vec![
            ExtraColumn::ExplicitHashKey,
            ExtraColumn::SubSequenceNumber,
            ExtraColumn::ShardId,
            ExtraColumn::EncryptionType,
        ],
        ..rules()
    };
    let bounds = Bounds {
        rows: Some(5),
        ..Bounds::default()
    };
    let taken = take_by(page, &bounds, &rules, false).expect("taken");
    let [batch] = taken.batches.as_slice() else {
        panic!("one batch")
    };
    assert_eq!(batch.rows(), 5);
    let [hash_keys, sub_sequences, shards, encryptions] = batch.extra.as_slice() else {
        panic!("four columns: {:?}", batch.extra)
    };
    assert_eq!(texts(hash_keys), [None, None, Some("42".to_owned()), None, None]);
    assert!(matches!(sub_sequences, ExtraValues::Numbers(numbers) if **numbers.values() == [0, 0, 1, 2, 0]));
    assert!(
        matches!(shards, ExtraValues::Same(shard) if shard.len() == 1 && shard.value(0) == "shardId-000000000007")
    );
    let kms = || Some("KMS".to_owned());
    assert_eq!(
        texts(encryptions),
        [Some("NONE".to_owned()), kms(), kms(), kms(), None]
    );
}

#[test]
fn a_column_without_values_and_columns_nobody_asked_for_take_no_memory() {
    let taken = take(records(&[b"a"]), &Bounds::default()).expect("taken");
    assert!(taken.batches[0].extra.is_empty());
    let rules = RowRules {
        extra: vec![ExtraColumn::ExplicitHashKey, ExtraColumn::EncryptionType],
        ..rules()
    };
    let taken = take_by(records(&[b"a"]), &Bounds::default(), &rules, false).expect("taken");
    assert!(matches!(
        taken.batches[0].extra.as_slice(),
        [ExtraValues::Nulls, ExtraValues::Nulls]
    ));
}

/// Rules for a task of a batch read, or for one that makes a claim.
fn rules_of(columns: &[Column], claims: bool) -> RowRules {
    let options = BTreeMap::from(
        [("kinesis.streamName", "s"), ("kinesis.region", "us-east-1")]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    let options = options::source(&options).expect("options").options;
    let task = ReadTask {
        until: (!claims).then_some(i64::MAX),
        ..ReadTask::new("q", 1, "shardId-000000000007".into(), Position::TrimHorizon)
    };
    RowRules::new(&options, columns, &task)
}

#[test]
fn rows_have_only_the_columns_asked_for_and_end_at_the_same_record() {
    let users = aggregate_with_hash_keys(&[("k1", "x", None), ("k2", "yy", Some("42"))]);
    let bounds = Bounds {
        rows: Some(3),
        ..Bounds::default()
    };
    let asked = [
        Column::Extra(ExtraColumn::SubSequenceNumber),
        Column::StreamName,
        Column::PartitionKey,
    ];
    // Plain records are handed over as they are; those beside an aggregate are copied.
    let pages: [[&[u8]; 4]; 2] = [[b"a", b"bb", b"c", b"d"], [b"a", &users, b"c", b"d"]];
    for payloads in pages {
        let whole = take(records(&payloads), &bounds).expect("taken");
        let taken = take_by(records(&payloads), &bounds, &rules_of(&asked, false), true).expect("taken");
        assert_eq!((taken.rows, taken.cut), (3, Some(Cut::Full)));
        assert_eq!((taken.bytes, &taken.last), (whole.bytes, &whole.last));
        assert_eq!(taken.last_arrival, whole.last_arrival);
        let rest = taken.rest.expect("the rest");
        assert_eq!(rest.len(), whole.rest.as_ref().expect("the rest").len());
        assert_eq!(rest.data(rest.len() - 1), b"d", "what is left is whole");
        let [batch] = taken.batches.as_slice() else {
            panic!("one batch")
        };
        assert!(batch.data.is_none() && batch.arrival.is_none());
        assert!(matches!(batch.extra.as_slice(), [ExtraValues::Numbers(numbers)] if numbers.len() == 3));
        let keys = batch.partition_key.as_ref().expect("keys").iter().flatten();
        let keys_and_numbers: Vec<_> = keys.zip(batch.sequence_number.iter().flatten()).collect();
        let expected = rows(&whole);
        let expected: Vec<_> = expected
            .iter()
            .map(|(_, key, number)| (key.as_str(), number.as_str()))
            .collect();
        assert_eq!(keys_and_numbers, expected);
    }
}

#[test]
fn rows_are_counted_without_any_column_and_only_readers_that_make_claims_keep_the_payloads() {
    let counted = |claims: bool| {
        let users = aggregate(&[("k", "x"), ("k", "yy")]);
        let rules = rules_of(&[], claims);
        let taken = take_by(records(&[b"a", &users]), &Bounds::default(), &rules, false).expect("taken");
        let [batch] = taken.batches.as_slice() else {
            panic!("one batch")
        };
        assert!(batch.partition_key.is_none() && batch.arrival.is_none() && batch.extra.is_empty());
        (taken.rows, taken.bytes, batch.rows(), batch.data_bytes())
    };
    assert_eq!(counted(false), (3, 4, 3, 0));
    assert_eq!(counted(true), (3, 4, 3, 4));
}

/// All parts of what belongs to the batch.
fn parts(records: RecordColumns, bounds: &Bounds, rules: &RowRules) -> Vec<Taken> {
    let mut taking = Taking::new(records, bounds, rules, true);
    let mut parts = vec![taking.part().expect("taken")];
    while parts.last().is_some_and(|part| part.more) {
        let taken = parts.iter().map(|part| part.last.as_ref()).next_back().flatten();
        let rest = taking.rest().expect("a copy").expect("kept");
        assert!(rest.sequence_number(0).parse::<SequenceNumber>().expect("number") > *taken.expect("last"));
        parts.push(taking.part().expect("taken"));
    }
    parts
}

/// This many user records without data. The key has 128 to 16,383 bytes.
fn empties(key: &str, count: usize) -> Vec<u8> {
    let mut message = vec![0x0A, key.len() as u8 | 0x80, (key.len() >> 7) as u8];
    message.extend_from_slice(key.as_bytes());
    message.extend([0x1A, 4, 0x08, 0, 0x1A, 0].repeat(count));
    let digest = Md5::digest(&message);
    [&MAGIC[..], &message, &digest[..]].concat()
}

#[test]
fn what_grows_is_taken_in_parts() {
    let key = "k".repeat(200);
    let grown = empties(&key, 60_000);
    let page = || records(&[b"a", &grown, b"b", &grown, &grown, b"c"]);
    let rules = RowRules {
        extra: vec![ExtraColumn::SubSequenceNumber],
        ..rules()
    };
    let parts_of = |bounds| parts(page(), &bounds, &rules);
    let all = parts_of(Bounds::default());
    assert_eq!(
        all.iter().map(|part| (part.rows, part.more)).collect::<Vec<_>>(),
        [(60_001, true), (60_001, true), (60_000, true), (1, false)]
    );
    let ends: Vec<_> = all
        .iter()
        .map(|part| {
            (
                part.last.as_ref().map(|number| number.as_str()),
                part.last_arrival,
            )
        })
        .collect();
    assert_eq!(
        ends,
        [
            (Some("11"), Some(1_001)),
            (Some("13"), Some(1_003)),
            (Some("14"), Some(1_004)),
            (Some("15"), Some(1_005))
        ]
    );
    assert_eq!(all.iter().map(|part| part.bytes).sum::<u64>(), 3);
    let rows: Vec<_> = all.iter().flat_map(rows).collect();
    assert_eq!(rows.len(), 180_003);
    assert_eq!(rows[60_001], row("b", "outer", "12"));
    assert_eq!(rows[60_002], row("", &key, "13"));
    for part in all.iter().flat_map(|part| &part.batches) {
        assert!(part.bytes() < 2 * MAX_BATCH_BYTES, "{}", part.bytes());
        assert_eq!(part.extra.len(), 1);
    }
    // Limits and claims apply to all parts together.
    let cut = parts_of(Bounds {
        rows: Some(120_003),
        ..Bounds::default()
    });
    let last = cut.last().expect("parts");
    assert_eq!(cut.iter().map(|part| part.rows).sum::<u64>(), 120_002);
    assert_eq!((last.cut, last.more), (Some(Cut::Full), false));
    assert_eq!(last.rest.as_ref().expect("the rest").len(), 2);
    let through = Some("13".parse().expect("number"));
    let claimed = parts_of(Bounds {
        through,
        ..Bounds::default()
    });
    let last = claimed.last().expect("parts");
    assert_eq!(claimed.iter().map(|part| part.rows).sum::<u64>(), 120_002);
    assert_eq!((last.cut, last.more), (Some(Cut::Claim), false));
}

#[test]
fn a_hostile_aggregate_is_a_broken_one() {
    // A key longer than a stream allows, and a valid one with which the records exceed 64 MiB.
    let long = empties(&"k".repeat(11_000), 172_000);
    let grown = empties(&"k".repeat(256), 200_000);
    for (hostile, why) in [
        (long, "more than 256 characters"),
        (grown, "would take more than 64 MiB"),
    ] {
        let page = || records(&[b"a", &hostile, b"c"]);
        let error = take(page(), &Bounds::default()).expect_err("broken");
        assert_eq!(error.kind(), ErrorKind::MalformedRecord);
        for part in ["sequence number 11", why, "kinesis.aggregation.broken"] {
            assert!(error.message().contains(part), "{part} in {error}");
        }
        let skip = RowRules {
            aggregates: treated(OutsideShard::Skip, BrokenAggregate::Skip, Some(LOW)),
            ..rules()
        };
        let taken = take_by(page(), &Bounds::default(), &skip, false).expect("taken");
        assert_eq!((taken.rows, taken.skipped.count), (2, 1));
    }
}
