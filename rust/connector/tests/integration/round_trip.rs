//! From the sink to the source through a stream that is split and merged meanwhile: every row arrives exactly once.
//! When one request in three fails in various ways, every row arrives at least once, and the number of duplicates is
//! printed (`--nocapture`). ROUND_TRIP_ROWS sets the number of rows, 20,000 by default.

use std::collections::HashMap;
use std::time::Instant;

use crate::support::written::write_all;
use crate::support::{Query, STREAM, World};
use bytes::Bytes;
use kinesis_connector::sink::{SinkRecord, StreamWriter};
use kinesis_connector::{Engine, ErrorKind};
use kinesis_sandbox::{ErrorCode, Fault, Operation, Schedule};

const AGGREGATED: (&str, &str) = ("kinesis.sink.aggregationEnabled", "true");
const PLAIN: (&str, &str) = ("kinesis.sink.aggregationEnabled", "false");

/// Distinct rows with random bytes and keys; one in four has an explicit hash key.
fn rows(count: usize) -> Vec<SinkRecord> {
    let mut random = fastrand::Rng::with_seed(11);
    let row = |number: usize| {
        let mut data = vec![0; random.usize(8..60)];
        random.fill(&mut data);
        data[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let length = random.usize(1..20);
        SinkRecord {
            partition_key: Some((0..length).map(|_| random.char('!'..='ж')).collect()),
            data: Bytes::from(data),
            explicit_hash_key: number.is_multiple_of(4).then(|| random.u128(..).to_string()),
        }
    };
    (0..count).map(row).collect()
}

type Counts = HashMap<(String, Bytes), usize>;

/// Reads until the planner has no more batches; counts the reads of each row.
async fn read(query: &mut Query) -> Counts {
    let mut counts = Counts::new();
    while let Some(offset) = query.planner.latest_offset(&query.offset).await.expect("planned") {
        for task in query.planner.partitions(&offset).expect("tasks") {
            let reader = query.reader(&task).expect("opened");
            while let Some(batch) = reader.next().await.expect("read") {
                let payloads = batch.data.as_ref().expect("payloads");
                let keys = batch.partition_key.as_ref().expect("keys");
                for row in 0..batch.rows() {
                    let key = keys.value(row).to_owned();
                    let data = Bytes::copy_from_slice(payloads.value(row));
                    *counts.entry((key, data)).or_default() += 1;
                }
            }
            let report = reader.finish(true).await.expect("finished").expect("a report");
            query.planner.report(&report).expect("taken");
        }
        query.planner.commit(&offset).await.expect("committed");
        query.offset = offset;
    }
    counts
}

/// Number of rows that were read more than once. Fails if a row is missing or unknown.
fn repeated(counts: &Counts, rows: &[SinkRecord]) -> usize {
    assert_eq!(counts.len(), rows.len());
    for row in rows {
        let key = row.partition_key.clone().expect("a key");
        assert!(counts.contains_key(&(key, row.data.clone())), "{row:?}");
    }
    counts.values().filter(|count| **count > 1).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_comes_back_once_over_a_split_and_a_merge() {
    let count = std::env::var("ROUND_TRIP_ROWS").map(|count| count.parse().expect("a number"));
    let rows = rows(count.unwrap_or(20_000));
    let (before, after) = rows.split_at(rows.len() / 2);
    for aggregation in [AGGREGATED, PLAIN] {
        let start = Instant::now();
        let world = World::with_shards(4).await;
        let engine = Engine::new();
        write_all(&world.writer_of(&engine, STREAM, &[aggregation]), before).await;
        world.split("shardId-000000000001").await;
        world.merge("shardId-000000000002", "shardId-000000000003").await;
        let writer = world.writer_of(&engine, STREAM, &[aggregation]);
        write_all(&writer, after).await;
        assert_eq!(writer.metrics().records, after.len() as u64);
        // The sink puts rows of misplaced aggregates again, and the source skips those aggregates.
        let mut query = world.query(&[("kinesis.aggregation.outsideShard", "SKIP")]).await;
        assert_eq!(repeated(&read(&mut query).await, &rows), 0);
        println!("{aggregation:?}: {:?}", start.elapsed());
    }
}

/// Makes one request in three fail: throttled, with a service error, with a dropped connection, or in some of its
/// entries.
fn trouble(world: &World) {
    let put = Operation::PutRecords;
    for fault in [
        Fault::Error(ErrorCode::ProvisionedThroughputExceededException),
        Fault::Error(ErrorCode::InternalFailure),
        Fault::DropConnection,
    ] {
        world.sandbox.fail(put, fault, Schedule::Fraction(0.1));
    }
    for error in [
        ErrorCode::ProvisionedThroughputExceededException,
        ErrorCode::InternalFailure,
    ] {
        world.sandbox.fail_entries(error, Schedule::Fraction(0.03));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_arrives_when_requests_fail_in_all_ways() {
    let rows = rows(8_000);
    for aggregation in [AGGREGATED, PLAIN] {
        let world = World::with_shards(2).await;
        trouble(&world);
        let writer = world.writer(&[aggregation]);
        // Many requests, also with aggregates.
        for some in rows.chunks(100) {
            write_all(&writer, some).await;
        }
        let metrics = writer.metrics();
        assert_eq!(metrics.records, rows.len() as u64);
        world.sandbox.clear_faults();
        let repeated = repeated(&read(&mut world.query(&[]).await).await, &rows);
        println!(
            "{aggregation:?}: {repeated} of {} rows arrived more than once; {metrics:?}",
            rows.len()
        );
        assert!(metrics.retries > 0 && metrics.throttles > 0, "{metrics:?}");
    }
}

#[tokio::test]
async fn a_stream_that_is_deleted_meanwhile_is_an_error_that_names_it() {
    let world = World::with_shards(1).await;
    let writer: StreamWriter = world.writer(&[]);
    let rows = rows(2_000);
    write_all(&writer, &rows[..1_000]).await;
    let delete = world.client.delete_stream().stream_name(STREAM);
    delete.send().await.expect("deleted");
    writer.write(rows[1_000..].to_vec()).await.expect("taken");
    let error = writer.flush().await.expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!error.is_retryable());
    for part in [STREAM, "PutRecords"] {
        assert!(error.to_string().contains(part), "{part} in {error}");
    }
    assert_eq!(writer.metrics().records, 1_000);
}
