use super::message::{AggregatedRecord, Record, Tag};
use super::*;
use md5::{Digest, Md5};
use prost::Message;

fn user(partition_key: &str, explicit_hash_key: Option<&str>, data: &[u8], sub_sequence: u32) -> UserRecord {
    UserRecord {
        partition_key: partition_key.into(),
        explicit_hash_key: explicit_hash_key.map(Arc::from),
        data: Bytes::copy_from_slice(data),
        sub_sequence,
    }
}

/// Any message, between magic and its digest.
fn sealed(message: &[u8]) -> Bytes {
    [&MAGIC[..], message, &Md5::digest(message)[..]].concat().into()
}

fn aggregate(message: &AggregatedRecord) -> Bytes {
    sealed(&message.encode_to_vec())
}

fn record(
    partition_key_index: Option<u64>,
    explicit_hash_key_index: Option<u64>,
    data: Option<&'static str>,
) -> Record {
    Record {
        partition_key_index,
        explicit_hash_key_index,
        data: data.map(Bytes::from),
        tags: vec![],
    }
}

fn three() -> [UserRecord; 3] {
    [
        user("a", None, b"x", 0),
        user("bb", Some("7"), b"yz", 1),
        user("a", None, b"", 2),
    ]
}

/// Written by hand from the format's description; the digest was computed with another implementation of MD5.
#[rustfmt::skip]
const THREE: &[u8] = &[
    0xF3, 0x89, 0x9A, 0xC2,
    0x0A, 1, b'a',                                   // partition_key_table[0]
    0x0A, 2, b'b', b'b',                             // partition_key_table[1]
    0x12, 1, b'7',                                   // explicit_hash_key_table[0]
    0x1A, 5, 0x08, 0, 0x1A, 1, b'x',                 // records[0]: key 0, data
    0x1A, 8, 0x08, 1, 0x10, 0, 0x1A, 2, b'y', b'z',  // records[1]: key 1, hash key 0, data
    0x1A, 4, 0x08, 0, 0x1A, 0,                       // records[2]: key 0, no bytes
    0x7E, 0x9F, 0xF8, 0x01, 0x28, 0xC5, 0x3C, 0xE2,
    0x04, 0x8A, 0x6F, 0xCA, 0xB2, 0x9A, 0x49, 0x87,
];

#[test]
fn the_hash_key_is_the_explicit_one_else_the_partition_key_s() {
    let user = |key: &str, hash: Option<&str>| UserRecord {
        partition_key: key.into(),
        explicit_hash_key: hash.map(Into::into),
        data: Bytes::new(),
        sub_sequence: 0,
    };
    // md5("a") is 0cc175b9c0f1b6a831c399e269772661.
    assert_eq!(
        user("a", None).hash_key(),
        Some(0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661)
    );
    let largest = u128::MAX.to_string();
    assert_eq!(user("a", Some(&largest)).hash_key(), Some(u128::MAX));
    for odd in ["", "+1", "-1", "x", "340282366920938463463374607431768211456"] {
        assert_eq!(user("a", Some(odd)).hash_key(), None, "{odd}");
    }
}

#[test]
fn the_known_vector_is_encoded_and_decoded() {
    assert_eq!(&encode(&three())[..], THREE);
    assert_eq!(
        decode(&Bytes::from_static(THREE)),
        Ok(Decoded::Aggregate(three().to_vec()))
    );
}

/// Three records, encoded by AWS's own aggregator for Python (the package aws_kinesis_agg).
const FROM_AWS: &[u8] =
    b"\xf3\x89\x9a\xc2\x0a\x01\x61\x0a\x02\x62\x62\x12\x01\x31\x12\x01\x37\x1a\x07\x08\x00\x10\x00\x1a\
      \x01\x78\x1a\x08\x08\x01\x10\x01\x1a\x02\x79\x7a\x1a\x06\x08\x00\x10\x00\x1a\x00\x6a\x81\xf5\x69\
      \x7d\x99\xd3\xa5\xc0\x06\x2b\x9d\x9c\x94\xe8\x08";

#[test]
fn an_aggregate_of_another_producer_is_decoded_and_encoded_alike() {
    let records = vec![
        user("a", Some("1"), b"x", 0),
        user("bb", Some("7"), b"yz", 1),
        user("a", Some("1"), b"", 2),
    ];
    assert_eq!(encode(&records), FROM_AWS);
    assert_eq!(
        decode(&Bytes::from_static(FROM_AWS)),
        Ok(Decoded::Aggregate(records))
    );
}

#[test]
fn payloads_are_slices_and_keys_are_shared() {
    let data = Bytes::from_static(THREE);
    let Ok(Decoded::Aggregate(records)) = decode(&data) else {
        panic!("not an aggregate")
    };
    let within = data.as_ptr_range();
    for record in &records[..2] {
        assert!(within.contains(&record.data.as_ptr()));
    }
    assert!(Arc::ptr_eq(&records[0].partition_key, &records[2].partition_key));
}

#[test]
fn records_without_the_magic_are_plain() {
    for data in [
        &b""[..],
        b"\xF3",
        b"\xF3\x89\x9A",
        b"hello",
        b"{\"a\":1}",
        b"\xF3\x89\x9A\xC3 and a lot more behind it",
    ] {
        assert_eq!(
            decode(&Bytes::copy_from_slice(data)),
            Ok(Decoded::Plain),
            "{data:?}"
        );
        assert!(!has_magic(data));
    }
    assert!(has_magic(THREE));
    assert_eq!(decode(&Bytes::from_static(&MAGIC)), Ok(Decoded::Plain));
}

#[test]
fn an_aggregate_cut_short_anywhere_is_plain() {
    for end in 0..THREE.len() {
        assert_eq!(
            decode(&Bytes::from_static(&THREE[..end])),
            Ok(Decoded::Plain),
            "{end} bytes"
        );
    }
    let longer = [THREE, b"!"].concat();
    assert_eq!(decode(&longer.into()), Ok(Decoded::Plain));
}

#[test]
fn an_aggregate_with_any_bit_flipped_is_plain() {
    for bit in 0..THREE.len() * 8 {
        let mut data = THREE.to_vec();
        data[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decode(&data.into()), Ok(Decoded::Plain), "bit {bit}");
    }
}

#[test]
fn a_sealed_message_that_cannot_be_parsed_is_plain() {
    for message in [
        &b"\x0A\x05a"[..],                                   // a key longer than the message
        b"\xFF\xFF\xFF",                                     // a tag that doesn't end
        b"\x08\x01",                                         // a number where a key is due
        b"\x1A\x02\x08",                                     // a record longer than the message
        b"\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", // a length that doesn't fit
        b"\x0B",                                             // a group that doesn't end
        b"\x00\x00",                                         // field number 0
        b"plain text in the place of a message",
    ] {
        assert_eq!(decode(&sealed(message)), Ok(Decoded::Plain), "{message:?}");
    }
}

#[test]
fn a_missing_required_field_makes_it_plain() {
    let tag = |key: Option<&'static str>| Tag {
        key: key.map(Bytes::from),
        value: None,
    };
    let with = |record| {
        aggregate(&AggregatedRecord {
            partition_key_table: vec!["k".into()],
            explicit_hash_key_table: vec![],
            records: vec![record],
        })
    };
    assert_eq!(decode(&with(record(None, None, Some("x")))), Ok(Decoded::Plain));
    assert_eq!(decode(&with(record(Some(0), None, None))), Ok(Decoded::Plain));
    assert_eq!(
        decode(&with(Record {
            tags: vec![tag(None)],
            ..record(Some(0), None, Some("x"))
        })),
        Ok(Decoded::Plain)
    );
    assert_eq!(
        decode(&with(Record {
            tags: vec![tag(Some("t"))],
            ..record(Some(0), None, Some("x"))
        })),
        Ok(Decoded::Aggregate(vec![user("k", None, b"x", 0)]))
    );
}

#[test]
fn an_index_outside_its_table_is_an_error() {
    let with = |partition_key_index, explicit_hash_key_index| {
        aggregate(&AggregatedRecord {
            partition_key_table: vec!["k".into()],
            explicit_hash_key_table: vec!["1".into(), "2".into()],
            records: vec![
                record(Some(0), Some(1), Some("x")),
                record(Some(partition_key_index), explicit_hash_key_index, Some("y")),
            ],
        })
    };
    assert!(matches!(decode(&with(0, Some(1))), Ok(Decoded::Aggregate(records)) if records.len() == 2));
    let error = decode(&with(1, None)).unwrap_err();
    assert_eq!(
        error,
        MalformedAggregate::Index {
            record: 1,
            records: 2,
            table: "partition key",
            index: 1,
            table_len: 1
        }
    );
    assert_eq!(
        error.to_string(),
        "malformed aggregated record: user record 1 of 2 has partition key index 1, but that table has 1 entries"
    );
    assert_eq!(
        decode(&with(0, Some(2))).unwrap_err(),
        MalformedAggregate::Index {
            record: 1,
            records: 2,
            table: "explicit hash key",
            index: 2,
            table_len: 2
        }
    );
    // After a cast to 32 bits, the first would be index 0.
    for index in [1 << 32, u64::MAX] {
        let error = decode(&with(index, None)).unwrap_err();
        assert!(
            matches!(error, MalformedAggregate::Index { index: actual, .. } if actual == index),
            "{error}"
        );
    }
    let no_keys = aggregate(&AggregatedRecord {
        records: vec![record(Some(0), None, Some("x"))],
        ..Default::default()
    });
    let error = decode(&no_keys).unwrap_err();
    assert!(
        matches!(error, MalformedAggregate::Index { table_len: 0, .. }),
        "{error}"
    );
}

#[test]
fn a_key_has_256_characters_at_most() {
    let with = |partition_key: &str, hash_key: &str| {
        aggregate(&AggregatedRecord {
            partition_key_table: vec!["k".into(), Bytes::copy_from_slice(partition_key.as_bytes())],
            explicit_hash_key_table: vec![Bytes::copy_from_slice(hash_key.as_bytes())],
            records: vec![record(Some(0), None, Some("x"))],
        })
    };
    let (longest, longer) = ("🔑".repeat(256), "k".repeat(257));
    assert!(decode(&with(&longest, &"0".repeat(256))).is_ok());
    let error = decode(&with(&longer, "1")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "malformed aggregated record: partition key 1 has more than 256 characters"
    );
    let error = decode(&with("k", &"0".repeat(11_000))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "malformed aggregated record: explicit hash key 0 has more than 256 characters"
    );
}

/// An aggregate of `count` user records without data, all with the same key.
fn empty_records(key: &str, count: usize) -> Bytes {
    aggregate(&AggregatedRecord {
        partition_key_table: vec![Bytes::copy_from_slice(key.as_bytes())],
        explicit_hash_key_table: vec![],
        records: vec![record(Some(0), None, Some("")); count],
    })
}

/// Number of empty user records that fit into a record of 1 MiB.
const MOST_RECORDS: usize = 172_918;

#[test]
fn user_records_that_would_take_too_much_memory_are_an_error() {
    let uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
    match decode(&empty_records(uuid, MOST_RECORDS)) {
        Ok(Decoded::Aggregate(records)) => assert_eq!(records.len(), MOST_RECORDS),
        other => panic!("{other:?}"),
    }
    let long = "k".repeat(MAX_KEY_CHARS);
    let error = decode(&empty_records(&long, 200_000)).unwrap_err();
    assert_eq!(error, MalformedAggregate::TooLarge);
    assert_eq!(
        error.to_string(),
        "malformed aggregated record: its user records would take more than 64 MiB"
    );
    // Four MiB; a stream can be set up for records of ten.
    let error = decode(&empty_records("k", 700_000)).unwrap_err();
    assert_eq!(error, MalformedAggregate::TooLarge);
}

#[test]
fn parts_that_cost_more_memory_than_bytes_are_counted_before_they_are_decoded() {
    let many = 1_000_000;
    // User records without a field, keys without a character, and tags without a key: two bytes each.
    for part in [b"\x1A\x00", b"\x0A\x00", b"\x12\x00"] {
        assert_eq!(
            decode(&sealed(&part.repeat(many))),
            Err(MalformedAggregate::TooLarge)
        );
    }
    let mut message = vec![0x1A];
    prost::encode_length_delimiter(2 * many, &mut message).unwrap();
    message.extend(b"\x22\x00".repeat(many));
    assert_eq!(decode(&sealed(&message)), Err(MalformedAggregate::TooLarge));
    // A message that can't be parsed stays plain.
    let broken = [b"\x1A\x00".repeat(3), b"\x1A\x7F".to_vec()].concat();
    assert_eq!(decode(&sealed(&broken)), Ok(Decoded::Plain));
}

#[test]
fn aggregates_without_records() {
    let empty = encode(&[]);
    assert_eq!(empty.len(), OVERHEAD);
    assert_eq!(empty, sealed(b""));
    assert_eq!(decode(&empty), Ok(Decoded::Plain));
    let keys_only = aggregate(&AggregatedRecord {
        partition_key_table: vec!["k".into()],
        ..Default::default()
    });
    assert_eq!(decode(&keys_only), Ok(Decoded::Aggregate(vec![])));
}

#[test]
fn tables_may_repeat_keys_and_hold_unused_ones() {
    let data = aggregate(&AggregatedRecord {
        partition_key_table: vec!["k".into(), "unused".into(), "k".into()],
        explicit_hash_key_table: vec!["9".into()],
        records: vec![record(Some(2), None, Some("x")), record(Some(0), None, Some("y"))],
    });
    assert_eq!(
        decode(&data),
        Ok(Decoded::Aggregate(vec![
            user("k", None, b"x", 0),
            user("k", None, b"y", 1)
        ]))
    );
}

#[test]
fn fields_in_any_order_and_unknown_fields_are_read() {
    // `records` comes before the table, with fields 15 (a string) and 14 (a number) in between.
    let message = b"\x1A\x05\x08\x00\x1A\x01x\x7A\x01?\x70\x05\x0A\x01k";
    assert_eq!(
        decode(&sealed(message)),
        Ok(Decoded::Aggregate(vec![user("k", None, b"x", 0)]))
    );
}

#[test]
fn keys_that_are_not_utf_8_are_replaced() {
    let data = aggregate(&AggregatedRecord {
        partition_key_table: vec![Bytes::from_static(b"k\xFF")],
        explicit_hash_key_table: vec![],
        records: vec![record(Some(0), None, Some("x"))],
    });
    assert_eq!(
        decode(&data),
        Ok(Decoded::Aggregate(vec![user("k\u{FFFD}", None, b"x", 0)]))
    );
}

#[test]
fn an_aggregate_within_an_aggregate_stays_a_payload() {
    let data = encode(&[user("k", None, THREE, 0)]);
    assert_eq!(
        decode(&data),
        Ok(Decoded::Aggregate(vec![user("k", None, THREE, 0)]))
    );
}

/// Random numbers that are the same in every run (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn records(&mut self) -> Vec<UserRecord> {
        let keys = 1 + self.below(250);
        let longest = [1, 20, 200, 20_000][self.below(4) as usize];
        (0..1 + self.below(400) as u32)
            .map(|place| {
                let key = format!("ключ-{}", "k".repeat(self.below(keys) as usize));
                let hash_key = (self.below(2) == 0).then(|| self.below(keys).to_string());
                let data: Vec<u8> = (0..self.below(longest)).map(|_| self.below(256) as u8).collect();
                user(&key, hash_key.as_deref(), &data, place)
            })
            .collect()
    }
}

#[test]
fn what_is_encoded_is_decoded() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for round in 0..60 {
        let records = random.records();
        assert_eq!(
            decode(&encode(&records)),
            Ok(Decoded::Aggregate(records)),
            "round {round}"
        );
    }
}

#[test]
fn the_length_is_known_before_encoding() {
    let mut random = Random(42);
    let mut aggregator = Aggregator::new();
    for round in 0..20 {
        assert!(aggregator.is_empty());
        assert_eq!(aggregator.encoded_len(), OVERHEAD);
        for (place, record) in random.records().into_iter().enumerate() {
            let (key, hash_key) = (&*record.partition_key, record.explicit_hash_key.as_deref());
            let expected = aggregator.encoded_len_with(key, hash_key, record.data.len());
            aggregator.push(key, hash_key, &record.data);
            assert_eq!(aggregator.encoded_len(), expected);
            assert_eq!(aggregator.len(), place + 1);
        }
        let expected = aggregator.encoded_len();
        assert_eq!(aggregator.finish().len(), expected, "round {round}");
    }
}

/// Messages with random bytes, with the right digest: decoding always returns a result.
#[test]
fn no_message_makes_it_panic() {
    let mut random = Random(7);
    let body = &THREE[MAGIC.len()..THREE.len() - DIGEST_LEN];
    let (mut plain, mut aggregates, mut malformed) = (0, 0, 0);
    for _ in 0..20_000 {
        let mut message = body.to_vec();
        for _ in 0..1 + random.below(3) {
            let at = random.below(message.len() as u64) as usize;
            message[at] = random.below(256) as u8;
        }
        match decode(&sealed(&message)) {
            Ok(Decoded::Plain) => plain += 1,
            Ok(Decoded::Aggregate(_)) => aggregates += 1,
            Err(_) => malformed += 1,
        }
    }
    assert!(
        plain > 0 && aggregates > 0 && malformed > 0,
        "{plain} {aggregates} {malformed}"
    );
}
