//! Properties of the decoder for arbitrary bytes: it returns a result, its memory is bounded, and it restores what
//! was encoded.

use bytes::Bytes;
use kinesis_fuzzing::fuzz;
use md5::{Digest, Md5};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use prost::Message;

use super::decode::RECORD_BYTES;
use super::message::{AggregatedRecord, Record, Tag};
use super::*;

/// Any message, between magic and its digest.
fn sealed(message: &[u8]) -> Bytes {
    [&MAGIC[..], message, &Md5::digest(message)[..]].concat().into()
}

/// Decodes the data and checks the result against the bounds.
fn check(data: &Bytes) -> Result<(), TestCaseError> {
    let Ok(Decoded::Aggregate(records)) = decode(data) else {
        return Ok(());
    };
    let payload: usize = records.iter().map(|record| record.data.len()).sum();
    prop_assert!(
        payload <= data.len(),
        "payloads are parts of the record, and don't overlap"
    );
    let hash_key = |record: &UserRecord| record.explicit_hash_key.as_ref().map_or(0, |key| key.len());
    let keys: usize = records
        .iter()
        .map(|record| record.partition_key.len() + hash_key(record))
        .sum();
    prop_assert!(RECORD_BYTES * records.len() + keys + payload <= MAX_EXPANDED_BYTES);
    for (place, record) in (0..).zip(&records) {
        prop_assert_eq!(record.sub_sequence, place);
        prop_assert!(record.partition_key.chars().count() <= MAX_KEY_CHARS);
    }
    Ok(())
}

/// A few bytes, or up to more than a key may have.
fn some_bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![vec(any::<u8>(), 0..8), vec(any::<u8>(), 0..1_100)].prop_map(Bytes::from)
}

fn index() -> impl Strategy<Value = Option<u64>> {
    option::weighted(0.95, prop_oneof![20 => 0..4_u64, 1 => any::<u64>()])
}

fn tag() -> impl Strategy<Value = Tag> {
    (option::weighted(0.9, some_bytes()), option::of(some_bytes()))
        .prop_map(|(key, value)| Tag { key, value })
}

fn record() -> impl Strategy<Value = Record> {
    let data = option::weighted(0.95, some_bytes());
    (index(), option::of(0..4_u64), data, vec(tag(), 0..2)).prop_map(
        |(partition_key_index, explicit_hash_key_index, data, tags)| Record {
            partition_key_index,
            explicit_hash_key_index,
            data,
            tags,
        },
    )
}

/// A message of the format, valid or not.
fn message() -> impl Strategy<Value = Vec<u8>> {
    (
        vec(some_bytes(), 0..5),
        vec(some_bytes(), 0..5),
        vec(record(), 0..20),
    )
        .prop_map(|(partition_key_table, explicit_hash_key_table, records)| {
            let message = AggregatedRecord {
                partition_key_table,
                explicit_hash_key_table,
                records,
            };
            message.encode_to_vec()
        })
}

fn user_records() -> impl Strategy<Value = Vec<UserRecord>> {
    let record = ("\\PC{1,40}", option::of(any::<u128>()), vec(any::<u8>(), 0..200));
    vec(record, 1..60).prop_map(|rows| {
        let rows = (0..).zip(rows);
        rows.map(|(sub_sequence, (key, hash_key, data))| UserRecord {
            partition_key: key.into(),
            explicit_hash_key: hash_key.map(|key| key.to_string().into()),
            data: data.into(),
            sub_sequence,
        })
        .collect()
    })
}

/// The same cases in every run, unless PROPTEST_CASES or PROPTEST_RNG_SEED is set.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 1_000;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(42);
    }
    config.failure_persistence = None;
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_bytes_have_an_answer(bytes in vec(any::<u8>(), 0..300)) {
        check(&Bytes::from(bytes.clone()))?;
        check(&Bytes::from([&MAGIC[..], &bytes].concat()))?;
        check(&sealed(&bytes))?;
    }

    #[test]
    fn any_message_has_an_answer_and_so_has_what_is_left_of_a_broken_one(
        message in message(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in option::of(any::<prop::sample::Index>()),
    ) {
        check(&sealed(&message))?;
        let mut broken = message;
        if !broken.is_empty() {
            for (place, byte) in changes {
                let place = place.index(broken.len());
                broken[place] = byte;
            }
            broken.truncate(cut.map_or(broken.len(), |cut| cut.index(broken.len())));
        }
        check(&sealed(&broken))?;
    }

    #[test]
    fn what_is_encoded_comes_back_and_nothing_of_it_once_a_bit_is_wrong(
        records in user_records(),
        place in any::<prop::sample::Index>(),
        bit in 0..8,
    ) {
        let data = encode(&records);
        check(&data)?;
        prop_assert_eq!(decode(&data), Ok(Decoded::Aggregate(records)));
        let mut wrong = data.to_vec();
        let place = place.index(wrong.len());
        wrong[place] ^= 1_u8 << bit;
        prop_assert_eq!(decode(&wrong.into()), Ok(Decoded::Plain));
    }
}

/// The message of an input that starts with the magic, else the whole input.
fn message_of(input: &[u8]) -> &[u8] {
    match input.strip_prefix(&MAGIC) {
        Some(rest) => &rest[..rest.len().saturating_sub(DIGEST_LEN)],
        None => input,
    }
}

#[test]
fn whatever_is_taken_apart_can_be_put_together_again() {
    fuzz!("aggregates", 10_000, |input| {
        let sealed = sealed(message_of(input));
        for data in [Bytes::copy_from_slice(input), sealed] {
            check(&data).expect("within bounds");
            match decode(&data) {
                Ok(Decoded::Aggregate(records)) if !records.is_empty() => {
                    assert_eq!(decode(&encode(&records)), Ok(Decoded::Aggregate(records)));
                }
                _ => {}
            }
        }
    });
}
