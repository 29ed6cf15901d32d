//! Putting and getting records.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType};
use md5::{Digest, Md5};

use super::Service;
use super::service::code;

const MIB: usize = 1024 * 1024;

fn entry(key: &str, data: &[u8]) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry::builder()
        .partition_key(key)
        .data(Blob::new(data))
        .build()
        .unwrap()
}

pub async fn what_is_put_is_got(service: &Service) {
    let name = service.stream(1).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let sent: Vec<(String, Vec<u8>)> = vec![
        ("plain".into(), b"text".to_vec()),
        ("quote\" backslash\\ slash/ tab\t newline\n".into(), every_byte),
        ("grün – 水 🐟".into(), vec![0; 1000]),
        ("control \u{1}\u{7f}\u{2028}".into(), b"x".to_vec()),
        ("k".repeat(256), b"yz".to_vec()),
    ];
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let before = now();
    let entries = sent.iter().map(|(key, data)| entry(key, data)).collect();
    let put = service
        .client
        .put_records()
        .stream_name(&name)
        .set_records(Some(entries))
        .send()
        .await
        .unwrap();
    let after = now();
    assert_eq!(put.failed_record_count, Some(0));
    assert_eq!(put.records.len(), sent.len());

    let (got, last) = service.read(&name, "shardId-000000000000").await;
    assert_eq!(got.len(), sent.len());
    assert_eq!(last.millis_behind_latest, Some(0));
    assert!(last.next_shard_iterator.is_some());
    for ((record, put), (key, data)) in got.iter().zip(&put.records).zip(&sent) {
        assert_eq!(record.partition_key(), Some(key.as_str()));
        assert_eq!(record.data.as_ref(), data.as_slice());
        assert_eq!(Some(record.sequence_number()), put.sequence_number());
        assert_eq!(put.shard_id(), Some("shardId-000000000000"));
        assert_eq!((put.error_code(), put.error_message()), (None, None));
        let arrival = record.approximate_arrival_timestamp.unwrap();
        // The SDK parses the time as a float, so its nanoseconds need rounding.
        let arrival = arrival.secs() * 1000 + (i64::from(arrival.subsec_nanos()) + 500_000) / 1_000_000;
        assert!(
            (before..=after).contains(&arrival),
            "{arrival} not in {before}..={after}"
        );
    }
}

pub async fn partition_keys_route_by_md5(service: &Service) {
    let name = service.stream(4).await;
    let shards = service.shards(&name).await;
    for i in 0..40 {
        let key = format!("key-{i}");
        let hash = u128::from_be_bytes(Md5::digest(key.as_bytes()).into());
        let owner = shards.iter().find(|shard| {
            let range = shard.hash_key_range.as_ref().unwrap();
            let bounds: [u128; 2] =
                [&range.starting_hash_key, &range.ending_hash_key].map(|t| t.parse().unwrap());
            (bounds[0]..=bounds[1]).contains(&hash)
        });
        assert_eq!(
            service.put(&name, &key, b"x").await.0,
            owner.unwrap().shard_id,
            "{key}"
        );
    }
}

pub async fn explicit_hash_keys_route(service: &Service) {
    let client = &service.client;
    let name = service.stream(2).await;
    for shard in service.shards(&name).await {
        // Both ends of a range belong to its shard.
        let range = shard.hash_key_range.as_ref().unwrap();
        for hash in [&range.starting_hash_key, &range.ending_hash_key] {
            let put = client
                .put_record()
                .stream_name(&name)
                .partition_key("same")
                .data(Blob::new("x"));
            let put = put.explicit_hash_key(hash).send().await.unwrap();
            assert_eq!(put.shard_id, shard.shard_id, "{hash}");
        }
    }
    let (invalid, validation) = ("InvalidArgumentException", "ValidationException");
    for (bad, documented, kinesis_local) in [
        ("340282366920938463463374607431768211456", invalid, invalid),
        ("-1", validation, invalid),
        // kinesis-local fails on text that is no number.
        ("x", validation, "HTTP 500"),
    ] {
        let put = client
            .put_record()
            .stream_name(&name)
            .partition_key("same")
            .data(Blob::new("x"));
        service.refused(
            bad,
            code(put.explicit_hash_key(bad).send().await),
            documented,
            kinesis_local,
        );
    }
}

pub async fn sequence_numbers_rise(service: &Service) {
    let name = service.stream(1).await;
    let mut numbers = Vec::new();
    for i in 0..5 {
        numbers.push(service.put(&name, &format!("{i}"), b"x").await.1);
        let entries = (0..20).map(|j| entry(&format!("{i}-{j}"), b"x")).collect();
        let put = service
            .client
            .put_records()
            .stream_name(&name)
            .set_records(Some(entries))
            .send()
            .await
            .unwrap();
        numbers.extend(put.records.into_iter().map(|r| r.sequence_number.unwrap()));
    }
    // Decimal strings beyond 128 bits, here all of the same length.
    assert!(
        numbers.iter().all(|n| n.len() == 56 && n.starts_with("49")),
        "{numbers:?}"
    );
    assert!(numbers.windows(2).all(|w| w[0] < w[1]), "{numbers:?}");
    let (got, _) = service.read(&name, "shardId-000000000000").await;
    assert_eq!(
        got.into_iter().map(|r| r.sequence_number).collect::<Vec<_>>(),
        numbers
    );
}

pub async fn a_limit_makes_pages(service: &Service) {
    let name = service.stream(1).await;
    let entries = (0..7).map(|i| entry(&format!("{i}"), b"x")).collect();
    service
        .client
        .put_records()
        .stream_name(&name)
        .set_records(Some(entries))
        .send()
        .await
        .unwrap();
    let mut iterator = service
        .iterator(&name, "shardId-000000000000", ShardIteratorType::TrimHorizon)
        .await;
    let mut keys = Vec::new();
    for expected in [3, 3, 1, 0] {
        let page = service
            .client
            .get_records()
            .shard_iterator(&iterator)
            .limit(3)
            .send()
            .await
            .unwrap();
        assert_eq!(page.records.len(), expected);
        keys.extend(page.records.into_iter().filter_map(|r| r.partition_key));
        iterator = page.next_shard_iterator.unwrap();
    }
    assert_eq!(keys, ["0", "1", "2", "3", "4", "5", "6"]);
    // The last iterator continues with later records.
    service.put(&name, "late", b"x").await;
    let page = service.get(&iterator).await;
    assert_eq!(page.records.len(), 1);
    assert_eq!(page.records[0].partition_key(), Some("late"));
}

pub async fn millis_behind_latest_falls_to_zero(service: &Service) {
    let name = service.stream(1).await;
    service.put(&name, "a", b"x").await;
    service.put(&name, "b", b"x").await;
    // Makes the distance measurable in milliseconds; this waits for the clock, not for the service.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let iterator = service
        .iterator(&name, "shardId-000000000000", ShardIteratorType::TrimHorizon)
        .await;
    let first = service
        .client
        .get_records()
        .shard_iterator(iterator)
        .limit(1)
        .send()
        .await
        .unwrap();
    assert!(first.millis_behind_latest.unwrap() > 0, "{first:?}");
    let second = service.get(first.next_shard_iterator().unwrap()).await;
    assert_eq!((second.records.len(), second.millis_behind_latest), (1, Some(0)));
    let third = service.get(second.next_shard_iterator().unwrap()).await;
    assert_eq!((third.records.len(), third.millis_behind_latest), (0, Some(0)));
}

pub async fn answers_hold_ten_mebibytes_at_most(service: &Service) {
    let name = service.stream(1).await;
    for i in 0..12 {
        service.put(&name, &format!("{i}"), &vec![7; MIB - 100]).await;
    }
    let iterator = service
        .iterator(&name, "shardId-000000000000", ShardIteratorType::TrimHorizon)
        .await;
    let first = service.get(&iterator).await;
    let size: usize = first.records.iter().map(|r| r.data.as_ref().len()).sum();
    assert!(
        (5 * MIB..=10 * MIB).contains(&size),
        "{size} bytes in {} records",
        first.records.len()
    );
    let (rest, _) = service
        .drain(first.next_shard_iterator().unwrap().to_owned())
        .await;
    assert_eq!(first.records.len() + rest.len(), 12);
}

pub async fn too_much_in_a_request_is_refused(service: &Service) {
    let client = &service.client;
    let name = service.stream(1).await;
    let (validation, invalid) = ("ValidationException", "InvalidArgumentException");
    // kinesis-local has its own code for broken constraints of the API model, and accepts any number of entries and
    // any size in PutRecords.
    for (what, entries, documented, kinesis_local) in [
        (
            "501 entries",
            (0..501).map(|_| entry("k", b"x")).collect::<Vec<_>>(),
            validation,
            "accepted",
        ),
        ("no entries", Vec::new(), validation, "accepted"),
        (
            "a record of more than 1 MiB",
            vec![entry("k", &vec![0; MIB + 1])],
            validation,
            "accepted",
        ),
        (
            "an empty partition key",
            vec![entry("", b"x")],
            validation,
            invalid,
        ),
        (
            "a key of 257 characters",
            vec![entry(&"k".repeat(257), b"x")],
            validation,
            invalid,
        ),
        (
            "more than 5 MiB",
            (0..6).map(|_| entry("k", &vec![0; MIB - 10])).collect(),
            invalid,
            "accepted",
        ),
    ] {
        let put = client
            .put_records()
            .stream_name(&name)
            .set_records(Some(entries))
            .send()
            .await;
        service.refused(what, code(put), documented, kinesis_local);
    }
    let one = client
        .put_record()
        .stream_name(&name)
        .partition_key("k")
        .data(Blob::new(vec![0; MIB + 1]));
    service.refused(
        "one of more than 1 MiB",
        code(one.send().await),
        validation,
        invalid,
    );
    // None of the refused entries was stored.
    let (got, _) = service.read(&name, "shardId-000000000000").await;
    assert!(
        got.is_empty() || service.documented_or(false, true),
        "{} records",
        got.len()
    );
}

pub async fn what_is_at_the_limits_is_accepted(service: &Service) {
    let name = service.stream(1).await;
    let put = |entries: Vec<_>| {
        service
            .client
            .put_records()
            .stream_name(&name)
            .set_records(Some(entries))
            .send()
    };
    put((0..500).map(|_| entry("k", b"x")).collect()).await.unwrap();
    put(vec![entry("k", &vec![0; MIB - 1])]).await.unwrap();
    // 256 characters in more than 256 bytes.
    put(vec![entry(&"水".repeat(256), b"x")]).await.unwrap();
    let (got, _) = service.read(&name, "shardId-000000000000").await;
    assert_eq!(got.len(), 502);
    // An empty payload is a record like any other.
    put(vec![entry("empty", b"")]).await.unwrap();
    let (got, _) = service.read(&name, "shardId-000000000000").await;
    assert_eq!(
        got.last().map(|r| (r.partition_key(), r.data.as_ref().len())),
        Some((Some("empty"), 0))
    );
}

pub async fn bad_limits_and_iterators_are_refused(service: &Service) {
    let client = &service.client;
    let name = service.stream(1).await;
    let iterator = service
        .iterator(&name, "shardId-000000000000", ShardIteratorType::Latest)
        .await;
    for limit in [0, 10_001] {
        let get = client
            .get_records()
            .shard_iterator(&iterator)
            .limit(limit)
            .send()
            .await;
        service.refused(
            &format!("limit {limit}"),
            code(get),
            "ValidationException",
            "InvalidArgumentException",
        );
    }
    let get = client
        .get_records()
        .shard_iterator("AAAAAAAAAAHnonsense")
        .send()
        .await;
    service.refused("nonsense", code(get), "InvalidArgumentException", "HTTP 500");
}
