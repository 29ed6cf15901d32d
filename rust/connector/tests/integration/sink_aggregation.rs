//! Rows put as aggregates: the stream's records are decoded and compared completely, each row in its shard.

use std::collections::BTreeMap;

use crate::support::written::{Written, write_all};
use crate::support::{STREAM, World};
use bytes::Bytes;
use kinesis_connector::Engine;
use kinesis_connector::sink::SinkRecord;
use kinesis_sandbox::{ErrorCode, Fault, Operation, Schedule};

const AGGREGATED: (&str, &str) = ("kinesis.sink.aggregationEnabled", "true");

/// Rows with data of many lengths, shared keys, and an explicit hash key for some.
fn rows(numbers: std::ops::Range<usize>) -> Vec<SinkRecord> {
    let bytes = |number: usize| {
        let head = (number as u32).to_be_bytes();
        let tail = (0..number * 7 % 300).map(move |place| (place * number) as u8);
        head.into_iter().chain(tail).collect::<Vec<_>>()
    };
    numbers
        .map(|number| SinkRecord {
            partition_key: Some(format!("schlüssel-{}", number % 1_000)),
            data: Bytes::from(bytes(number)),
            explicit_hash_key: (number % 5 == 0)
                .then(|| (u128::MAX / 997 * (number % 997) as u128).to_string()),
        })
        .collect()
}

type Row = (String, Bytes);

/// Number of occurrences of each row in the stream, without aggregates that a reader such as the KCL skips.
fn counted(written: &[Written]) -> BTreeMap<Row, usize> {
    let mut counts = BTreeMap::new();
    for row in written
        .iter()
        .filter(|record| record.is_at_home())
        .flat_map(Written::rows)
    {
        let key = row.partition_key.to_string();
        *counts.entry((key, row.data)).or_default() += 1;
    }
    counts
}

/// The expected counts: each row once.
fn once(rows: &[SinkRecord]) -> BTreeMap<Row, usize> {
    let row = |row: &SinkRecord| (row.partition_key.clone().expect("a key"), row.data.clone());
    rows.iter().map(|it| (row(it), 1)).collect()
}

#[tokio::test]
async fn rows_are_put_in_aggregates_each_in_its_shard() {
    let world = World::with_shards(4).await;
    let writer = world.writer(&[AGGREGATED]);
    let rows = rows(0..10_000);
    write_all(&writer, &rows).await;
    let written = world.written().await;
    assert!(written.iter().all(Written::is_at_home));
    let hash_keys = written
        .iter()
        .flat_map(Written::rows)
        .filter(|row| row.explicit_hash_key.is_some());
    assert_eq!(hash_keys.count(), 2_000, "those given are kept");
    assert!(counted(&written) == once(&rows));
    // 1.8 MB in aggregates of at most 50 KiB, and a smaller one for each shard.
    assert!(written.len() < 50, "{}", written.len());
    assert!(written.iter().all(|record| record.data.len() <= 51_200));
    let metrics = writer.metrics();
    assert_eq!(metrics.records, 10_000);
    assert_eq!(metrics.kinesis_records, written.len() as u64);
    assert_eq!(
        metrics.bytes,
        written.iter().map(|record| record.data.len() as u64).sum::<u64>()
    );
    assert_eq!(world.calls("ListShards"), 2, "the writer's, and the test's own");
}

#[tokio::test]
async fn a_row_by_itself_and_a_large_one_are_put_plain() {
    let world = World::with_shards(1).await;
    let writer = world.writer(&[AGGREGATED]);
    let row = |size: usize| SinkRecord {
        partition_key: Some("key".into()),
        data: Bytes::from(vec![b'x'; size]),
        explicit_hash_key: None,
    };
    write_all(&writer, &[row(5)]).await;
    write_all(&writer, &[row(60_000), row(7), row(8), row(70_000)]).await;
    let written = world.written().await;
    let sizes: Vec<_> = written
        .iter()
        .map(|record| record.rows().iter().map(|row| row.data.len()).collect::<Vec<_>>())
        .collect();
    assert_eq!(sizes, [vec![5], vec![60_000], vec![7, 8], vec![70_000]]);
    let plain: Vec<_> = written.iter().map(|record| !record.is_aggregate()).collect();
    assert_eq!(plain, [true, true, false, true]);
}

#[tokio::test]
async fn aggregates_that_are_refused_are_put_again_and_no_others() {
    let world = World::with_shards(3).await;
    world.sandbox.fail_entries(
        ErrorCode::ProvisionedThroughputExceededException,
        Schedule::Fraction(0.4),
    );
    let writer = world.writer(&[AGGREGATED]);
    let rows = rows(0..10_000);
    write_all(&writer, &rows).await;
    assert!(counted(&world.written().await) == once(&rows));
    let metrics = writer.metrics();
    assert_eq!(metrics.records, 10_000);
    assert!(
        metrics.throttles > 0 && metrics.retries == metrics.throttles,
        "{metrics:?}"
    );
}

/// Aggregates for a shard that was split arrive in one of its children, whose range does not contain all of their
/// rows.
#[tokio::test]
async fn every_row_reaches_its_shard_over_splits_and_merges() {
    let world = World::with_shards(2).await;
    let engine = Engine::new();
    let rows = rows(0..12_000);
    let parts: Vec<_> = rows.chunks(3_000).collect();
    for (part, some) in parts.iter().enumerate() {
        let writer = world.writer_of(&engine, STREAM, &[AGGREGATED]);
        write_all(&writer, some).await;
        assert_eq!(writer.metrics().records, 3_000, "rows put again count once");
        match part {
            0 => world.split("shardId-000000000000").await,
            1 => world.split("shardId-000000000001").await,
            2 => world.merge("shardId-000000000002", "shardId-000000000003").await,
            _ => {}
        }
    }
    let written = world.written().await;
    assert!(!written.iter().all(Written::is_at_home), "the test shows nothing");
    assert!(counted(&written) == once(&rows));
}

#[tokio::test]
async fn a_stream_whose_shards_may_not_be_listed_gets_plain_records() {
    let world = World::with_shards(2).await;
    world.sandbox.fail(
        Operation::ListShards,
        Fault::Error(ErrorCode::AccessDeniedException),
        Schedule::Next(1),
    );
    let engine = Engine::new();
    let rows = rows(0..2_000);
    for some in rows.chunks(500) {
        write_all(&world.writer_of(&engine, STREAM, &[AGGREGATED]), some).await;
    }
    assert_eq!(world.calls("ListShards"), 1, "asked once, not for every task");
    let written = world.written().await;
    assert_eq!(written.len(), 2_000);
    assert!(counted(&written) == once(&rows));
}
