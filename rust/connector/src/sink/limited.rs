//! Tests of many tasks at the limit of their shards, with default options and both models of the limit.

mod refusals;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::SinkConfig;
use super::fake::{FakeStream, SHARD};
use super::limits::{Change, Distribution, Limits, Model};
use super::tests::records;
use super::{SinkFacts, SinkStream, StreamWriter, WriterSettings};
use crate::options;

/// Writer settings with default options.
fn defaults() -> WriterSettings {
    let given = BTreeMap::from([
        ("kinesis.streamName".to_owned(), "orders".to_owned()),
        ("kinesis.region".to_owned(), "us-east-1".to_owned()),
    ]);
    WriterSettings::of(&SinkConfig {
        options: options::sink(&given).unwrap().options,
        facts: SinkFacts::default(),
    })
}

/// Measurements of a run.
#[derive(Debug)]
struct Outcome {
    /// Elapsed time, relative to the least time that the limit allows.
    time: f64,
    /// Average number of times that a record was sent.
    sends: f64,
    /// Refused fraction of the entries sent after the first five seconds.
    refused: f64,
    /// Refused fraction of all entries.
    refused_at_all: f64,
}

/// Writes `rows` rows in each of `tasks` tasks in each of `processes` processes. `least` is the shortest possible
/// time, in seconds.
async fn written(
    stream: Arc<FakeStream>,
    processes: usize,
    tasks: usize,
    rows: usize,
    least: f64,
) -> Outcome {
    written_of(None, stream, processes, tasks, rows, least).await
}

/// As [`written`], with rows of `size` bytes.
async fn written_of(
    size: Option<usize>,
    stream: Arc<FakeStream>,
    processes: usize,
    tasks: usize,
    rows: usize,
    least: f64,
) -> Outcome {
    // The same waits in every run: all tasks run on this thread.
    fastrand::seed(1);
    let start = Instant::now();
    let mut writing = Vec::new();
    for process in 0..processes {
        let shared = Arc::<SinkStream>::default();
        for task in 0..tasks {
            let (stream, shared) = (Arc::<FakeStream>::clone(&stream), Arc::clone(&shared));
            let first = (process * tasks + task) * rows;
            let data = size.map(|bytes| Bytes::from(vec![0; bytes]));
            writing.push(tokio::spawn(async move {
                let writer = StreamWriter::sharing(stream, defaults(), shared).unwrap();
                let mut rows = records(first..first + rows);
                if let Some(data) = data {
                    rows.iter_mut().for_each(|row| row.data = data.clone());
                }
                for chunk in rows.chunks(100) {
                    writer.write(chunk.to_vec()).await?;
                }
                writer.flush().await
            }));
        }
    }
    for task in writing {
        task.await.unwrap().unwrap();
    }
    let took = start.elapsed().as_secs_f64();
    let count = processes * tasks * rows;
    let mut accepted: Vec<_> = stream
        .accepted()
        .into_iter()
        .map(|entry| entry.partition_key)
        .collect();
    accepted.sort_unstable();
    accepted.dedup();
    assert_eq!((accepted.len(), stream.accepted().len()), (count, count));
    let late: Vec<_> = stream
        .rounds()
        .into_iter()
        .filter(|round| round.at.as_secs() >= 5)
        .collect();
    let late_sent: usize = late.iter().map(|round| round.sent).sum();
    let late_refused: usize = late.iter().map(|round| round.refused).sum();
    let sent: usize = stream.call_sizes().iter().sum();
    let outcome = Outcome {
        time: took / least,
        sends: sent as f64 / count as f64,
        refused: late_refused as f64 / late_sent.max(1) as f64,
        refused_at_all: 1.0 - count as f64 / sent as f64,
    };
    println!(
        "{processes} processes of {tasks} tasks of {rows} rows: {took:.0} s, {} requests, {outcome:.2?}",
        stream.call_sizes().len()
    );
    outcome
}

#[tokio::test(start_paused = true)]
async fn a_shard_is_driven_at_its_limit_whoever_writes() {
    for model in [Model::Windows, Model::Bucket] {
        for (per_second, processes, tasks, rows) in [
            (20, 1, 16, 150),
            (20, 2, 16, 150),
            (20, 8, 16, 50),
            (20, 16, 16, 25),
            (20, 8, 1, 300),
            (20, 16, 1, 150),
            (20, 1, 4, 600),
            (20, 1, 1, 2_400),
            (150, 1, 16, 150),
            (1_000, 1, 4, 5_000),
            (1_000, 1, 16, 5_000),
            (1_000, 8, 16, 500),
        ] {
            let stream = FakeStream::limited(Limits::of_one(model, per_second));
            // A second's worth is accepted at once.
            let least = (processes * tasks * rows) as f64 / f64::from(per_second) - 1.0;
            print!("{model:?} {per_second}/s, ");
            let Outcome {
                time, sends, refused, ..
            } = written(stream, processes, tasks, rows, least).await;
            let (most_sends, most_refused) = match processes {
                1 => (2.5, 0.35),
                _ => (4.5, 0.75),
            };
            assert!(
                time < 1.2 && sends < most_sends && refused < most_refused,
                "{time} {sends} {refused}"
            );
        }
    }
}

/// Writers pause as they do between micro-batches, and a shard at its limit stays paced during the pauses.
#[tokio::test(start_paused = true)]
async fn a_shard_at_its_limit_refuses_little_though_writers_pause() {
    for model in [Model::Windows, Model::Bucket] {
        let stream = FakeStream::limited(Limits::of_one(model, 1_000));
        let shared = Arc::<SinkStream>::default();
        for batch in 0..8 {
            let writing = (0..16).map(|task| {
                let writer =
                    StreamWriter::sharing(Arc::clone(&stream) as Arc<_>, defaults(), Arc::clone(&shared));
                async move {
                    let writer = writer.unwrap();
                    let first = (batch * 16 + task) * 500;
                    writer.write(records(first..first + 500)).await.unwrap();
                    writer.flush().await.unwrap();
                }
            });
            futures_util::future::join_all(writing).await;
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
        let sent: usize = stream.call_sizes().iter().sum();
        let refused = 1.0 - stream.accepted().len() as f64 / sent as f64;
        println!("{model:?} with pauses: {refused:.3} refused");
        assert!(refused < 0.15, "{model:?}: {refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_of_large_records_is_driven_at_its_limit() {
    for model in [Model::Windows, Model::Bucket] {
        for (per_second, rows) in [(1, 20), (2, 40), (4, 60)] {
            let stream = FakeStream::limited(Limits::of_one(model, per_second));
            let least = (16 * rows) as f64 / f64::from(per_second) - 1.0;
            let size = Some(1 << 19);
            let Outcome { time, .. } = written_of(size, stream, 1, 16, rows, least).await;
            assert!(time < 1.1, "{model:?} {per_second}/s: {time}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_changes_is_driven_at_what_it_takes_then() {
    for (per_second, then, shard) in [
        (20, 100, "shardId-000000000001"),
        (20, 100, SHARD),
        (100, 20, SHARD),
    ] {
        for (model, processes, tasks) in [
            (Model::Windows, 1, 16),
            (Model::Bucket, 1, 16),
            (Model::Windows, 4, 4),
            (Model::Bucket, 4, 4),
        ] {
            let change = Change {
                after: Duration::from_secs(20),
                per_second: then,
                shard,
            };
            let rows = 300;
            let before = f64::from(per_second * 21);
            let least = 20.0 + ((tasks * processes * rows) as f64 - before) / f64::from(then);
            print!("{model:?} {per_second}/s, then {then}/s of {shard}, ");
            let stream = FakeStream::limited(Limits::of_one(model, per_second).changing(change));
            let Outcome { time, .. } = written(stream, processes, tasks, rows, least).await;
            assert!(time < 1.2, "{time}");
        }
    }
}

/// Number of rows that `shards` shards take in `seconds` seconds. A row has `bytes` bytes, and a few more for its
/// key.
fn rows_in(seconds: usize, shards: usize, bytes: usize) -> usize {
    let a_second = ((1 << 20) as f64 / (bytes as f64 + 6.0)).min(1_000.0);
    (a_second * (seconds * shards) as f64) as usize
}

#[tokio::test(start_paused = true)]
async fn shards_at_their_limit_refuse_little_and_miss_nothing() {
    for (shards, seconds, bytes) in [
        (1, 60, 1_024),
        (1, 60, 100),
        (2, 60, 100),
        (4, 60, 1_500),
        (32, 40, 4_096),
    ] {
        let stream = FakeStream::limited(Limits::of(Model::Bucket, shards));
        let rows = rows_in(seconds, shards, bytes) / 16;
        print!("{shards} shards {bytes} B, ");
        let outcome = written_of(Some(bytes), stream, 1, 16, rows, seconds as f64 - 1.0).await;
        assert!(outcome.time < 1.0 / 0.95 && outcome.refused < 0.05, "{outcome:?}");
        // The same bound holds with the start included.
        assert!(outcome.refused_at_all < 0.05, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_does_not_answer_gets_every_tasks_request_in_seconds() {
    let stream = FakeStream::gated([]);
    let shared = Arc::<SinkStream>::default();
    let start = Instant::now();
    let mut writers = Vec::new();
    for task in 0..64 {
        let stream: Arc<FakeStream> = Arc::clone(&stream);
        let writer = StreamWriter::sharing(stream, defaults(), Arc::clone(&shared)).unwrap();
        writer.write(records(task * 500..(task + 1) * 500)).await.unwrap();
        writers.push(writer);
    }
    tokio::time::timeout(Duration::from_secs(600), stream.called(writers.len()))
        .await
        .unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn shards_whose_seconds_are_the_clocks_are_nearly_driven_at_their_limit() {
    for (shards, bytes) in [(1, 100), (4, 1_500)] {
        let stream = FakeStream::limited(Limits::of(Model::Windows, shards));
        let rows = rows_in(30, shards, bytes) / 16;
        print!("{shards} shards {bytes} B, ");
        let outcome = written_of(Some(bytes), stream, 1, 16, rows, 29.0).await;
        assert!(outcome.time < 1.2 && outcome.refused < 0.1, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_split_is_left_at_once() {
    for model in [Model::Windows, Model::Bucket] {
        let split = Duration::from_secs(10);
        let stream = FakeStream::limited(Limits::of(model, 1).splitting(split));
        let rows = rows_in(40, 1, 100) / 16;
        print!("{model:?} split, ");
        let outcome = written_of(Some(100), stream, 1, 16, rows, 10.0 + 30.0 / 2.0 - 1.0).await;
        assert!(outcome.time < 1.2, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_keys_do_not_decide_on_the_shard_it_is_driven_at_its_limit_all_the_same() {
    for model in [Model::Windows, Model::Bucket] {
        let stream = FakeStream::limited(Limits::of(model, 4).distributing(Distribution::Auto));
        let rows = rows_in(20, 4, 100) / 16;
        print!("{model:?} any shard, ");
        let outcome = written_of(Some(100), stream, 1, 16, rows, 19.0).await;
        assert!(outcome.time < 1.25, "{outcome:?}");
    }
}
