//! Many tasks at one shard's limit, by both models of it, with the options' defaults.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::fake::{FakeStream, Model};
use super::tests::records;
use super::{SinkFacts, StreamWriter, WriterSettings};
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

/// Writes so many rows in each of so many tasks and answers how often the records were sent: on average, and most.
async fn sent(model: Model, per_second: u32, tasks: usize, rows: usize) -> (f64, usize) {
    let stream = FakeStream::limited(model, per_second);
    let start = Instant::now();
    let writing: Vec<_> = (0..tasks)
        .map(|task| {
            let stream: Arc<FakeStream> = Arc::clone(&stream);
            tokio::spawn(async move {
                let writer = StreamWriter::new(stream, defaults()).unwrap();
                for chunk in records(task * rows..(task + 1) * rows).chunks(100) {
                    writer.write(chunk.to_vec()).await?;
                }
                writer.flush().await
            })
        })
        .collect();
    let mut failures = Vec::new();
    for task in writing {
        failures.extend(task.await.unwrap().err());
    }
    let mut times = BTreeMap::<String, usize>::new();
    for key in stream.calls().into_iter().flatten() {
        *times.entry(key).or_default() += 1;
    }
    let (all, most) = (times.values().sum::<usize>(), times.values().max().copied());
    let (mean, most) = (all as f64 / times.len() as f64, most.unwrap_or_default());
    println!(
        "{tasks} tasks of {rows} rows, {per_second} records/s ({model:?}): {} failures, {} of {} records accepted in \
         {:.0} s, sent {mean:.1} times on average, {most} times at most",
        failures.len(),
        stream.accepted().len(),
        tasks * rows,
        start.elapsed().as_secs_f64(),
    );
    assert!(failures.is_empty(), "{}", failures[0]);
    assert_eq!(stream.accepted().len(), tasks * rows);
    (mean, most)
}

#[tokio::test(start_paused = true)]
async fn tasks_at_the_limit_of_a_shard_wait_and_do_not_fail() {
    for model in [Model::Windows, Model::Bucket] {
        for (per_second, tasks, rows) in [(1_000, 4, 5_000), (1_000, 16, 5_000), (20, 4, 600), (20, 16, 150)]
        {
            let (mean, most) = sent(model, per_second, tasks, rows).await;
            assert!(mean < 10.0 && most < 50, "{mean} {most}");
        }
    }
}
