//! Many tasks at one shard's limit, by both models of it, with the options' defaults.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::fake::{FakeStream, Model};
use super::tests::records;
use super::{SinkFacts, SinkStream, StreamWriter, WriterSettings};
use crate::config::SinkConfig;
use crate::options;

/// The writer's part of the options' defaults.
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

/// How writing went.
#[derive(Debug)]
struct Outcome {
    /// Of the least that the limit allows.
    time: f64,
    /// How often a record was sent on average.
    sends: f64,
    /// The part of the entries sent after the first five seconds that was refused.
    refused: f64,
}

/// Writes so many rows in each of so many tasks of each of so many processes.
async fn written(model: Model, per_second: u32, processes: usize, tasks: usize, rows: usize) -> Outcome {
    let stream = FakeStream::limited(model, per_second);
    let start = Instant::now();
    let mut writing = Vec::new();
    for process in 0..processes {
        let shared = Arc::<SinkStream>::default();
        for task in 0..tasks {
            let (stream, shared) = (Arc::<FakeStream>::clone(&stream), Arc::clone(&shared));
            let first = (process * tasks + task) * rows;
            writing.push(tokio::spawn(async move {
                let writer = StreamWriter::sharing(stream, defaults(), shared).unwrap();
                for chunk in records(first..first + rows).chunks(100) {
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
        // A second's worth is taken at once.
        time: took / (count as f64 / f64::from(per_second) - 1.0),
        sends: sent as f64 / count as f64,
        refused: late_refused as f64 / late_sent.max(1) as f64,
    };
    println!(
        "{model:?} {per_second}/s, {processes} processes of {tasks} tasks of {rows} rows: {took:.0} s, {} requests, {outcome:.2?}",
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
            let Outcome { time, sends, refused } = written(model, per_second, processes, tasks, rows).await;
            let _ = (time, sends, refused);
        }
    }
}
