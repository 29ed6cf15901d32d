//! The order of each key's records while one entry in twenty is refused.

use std::collections::BTreeMap;

use crate::support::World;
use crate::support::written::{Written, write_all};
use bytes::Bytes;
use kinesis_connector::sink::SinkRecord;
use kinesis_sandbox::{ErrorCode, Schedule};

const BY_KEY: (&str, &str) = ("kinesis.sink.ordering", "key");
const AGGREGATED: (&str, &str) = ("kinesis.sink.aggregationEnabled", "true");

fn rows(count: usize, keys: usize, bytes: usize) -> Vec<SinkRecord> {
    (0..count)
        .map(|number| {
            let mut data = format!("{number:08}").into_bytes();
            data.resize(bytes.max(8), b'.');
            SinkRecord {
                partition_key: Some(format!("key-{}", number % keys)),
                data: Bytes::from(data),
                explicit_hash_key: None,
            }
        })
        .collect()
}

async fn throttled(shards: i32) -> World {
    let world = World::with_shards(shards).await;
    world.sandbox.fail_entries(
        ErrorCode::ProvisionedThroughputExceededException,
        Schedule::Fraction(0.05),
    );
    world
}

/// Number of rows that come after a later row of their key.
fn inversions(written: &[Written]) -> usize {
    let mut latest = BTreeMap::<String, Bytes>::new();
    let mut inversions = 0;
    for row in written.iter().flat_map(Written::rows) {
        let before = latest.entry(row.partition_key.to_string()).or_default();
        if row.data < *before {
            inversions += 1;
        } else {
            *before = row.data;
        }
    }
    inversions
}

fn count(written: &[Written]) -> usize {
    written.iter().map(|record| record.rows().len()).sum()
}

#[tokio::test]
async fn without_it_retries_and_requests_overtake_one_another() {
    let world = throttled(1).await;
    write_all(&world.writer(&[]), &rows(2_400, 1, 8)).await;
    let written = world.written().await;
    assert_eq!(count(&written), 2_400);
    assert!(inversions(&written) > 0);
}

#[tokio::test]
async fn one_keys_records_arrive_in_the_order_of_their_rows() {
    let world = throttled(1).await;
    write_all(&world.writer(&[BY_KEY]), &rows(150, 1, 8)).await;
    let written = world.written().await;
    assert_eq!((count(&written), inversions(&written)), (150, 0));
}

#[tokio::test]
async fn many_keys_records_arrive_each_in_the_order_of_their_rows() {
    let world = throttled(3).await;
    let writer = world.writer(&[BY_KEY]);
    write_all(&writer, &rows(10_000, 1_000, 100)).await;
    let written = world.written().await;
    assert_eq!((count(&written), inversions(&written)), (10_000, 0));
    // Requests are full where keys differ.
    let requests = writer.metrics().requests;
    assert!(requests < 400, "{requests}");
}

#[tokio::test]
async fn aggregates_of_a_shard_go_one_after_the_other() {
    let world = throttled(2).await;
    let writer = world.writer(&[BY_KEY, AGGREGATED]);
    write_all(&writer, &rows(10_000, 7, 300)).await;
    let written = world.written().await;
    assert_eq!((count(&written), inversions(&written)), (10_000, 0));
    assert!(written.len() < 100, "{}", written.len());
}

#[tokio::test]
async fn order_is_kept_over_a_split_too() {
    let world = throttled(1).await;
    let writer = world.writer(&[BY_KEY, AGGREGATED]);
    let rows = rows(6_000, 5, 100);
    write_all(&writer, &rows[..3_000]).await;
    world.split("shardId-000000000000").await;
    write_all(&writer, &rows[3_000..]).await;
    // Aggregates that a reader such as the KCL skips were put again.
    let at_home: Vec<_> = world
        .written()
        .await
        .into_iter()
        .filter(Written::is_at_home)
        .collect();
    assert_eq!((count(&at_home), inversions(&at_home)), (6_000, 0));
}
