//! A checkpoint that is set back: the newest offsets are deleted while the query is down.
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::support::{BOTH_CONSUMERS, LocalFiles, Query, Row, World, assert_exact, read_all};
use crate::waits::Warnings;
use kinesis_connector::read::ShardReader;
use kinesis_connector::stream::Offset;
use kinesis_connector::{Engine, SourceConfig};

fn source(offset: &str) -> String {
    Offset::from_json(offset).expect("an offset").source
}

/// Two queries continue from copies of one checkpoint, and keep their claims in the same place.
#[tokio::test]
async fn a_copy_of_a_checkpoint_that_others_go_on_from_was_not_set_back() {
    let world = World::with_shards(1).await;
    let claims = world.checkpoint.path().join("shared");
    let options = [("kinesis.metadataPath", claims.to_str().expect("text"))];
    world.put("r", 0..10).await;
    let mut original = world.query(&options).await;
    assert_exact(&original.rows(10).await, "r", 0..10);
    let copied = original.offset.clone();
    world.put("r", 10..20).await;
    assert_exact(&original.rows(10).await, "r", 10..20);

    let count = Arc::<AtomicU32>::default();
    let _listening = tracing::subscriber::set_default(Warnings {
        words: "was set back",
        count: count.clone(),
    });
    let mut config = world.config(&options);
    config.checkpoint_location = Some(format!("{}/copy", world.checkpoint.path().display()));
    let mut copy = world.query_of(config).await.expect("opens").from(&copied);
    assert_exact(&copy.rows(10).await, "r", 10..20);
    assert_ne!(source(&copy.offset), source(&copied));
    assert_eq!(count.load(Ordering::Relaxed), 0, "warnings");

    // The original's own checkpoint was.
    let mut again = world.query(&options).await.from(&copied);
    assert_exact(&again.rows(10).await, "r", 10..20);
    assert_ne!(source(&again.offset), source(&copied));
    assert_eq!(count.load(Ordering::Relaxed), 1, "warnings");
}

/// Spark's log: the offset from which the query started, and those of its batches with their rows; the last one may be
/// uncommitted.
struct Log {
    offsets: Vec<String>,
    rows: Vec<Vec<Row>>,
    committed: usize,
}

async fn opened(engine: Engine, config: SourceConfig) -> Query {
    let planner = engine
        .open_planner(config.clone(), Arc::new(LocalFiles))
        .await
        .expect("opens");
    let offset = planner.initial_offset().await.expect("an offset");
    Query {
        engine,
        config,
        planner,
        offset,
    }
}

/// Goes on as Spark does: runs the last batch again if it was not committed.
async fn goes_on(query: &mut Query, log: &mut Log) {
    assert_eq!(query.offset, log.offsets[0], "the initial offset is kept");
    query.offset = log.offsets.last().expect("an offset").clone();
    if log.committed + 1 < log.offsets.len() {
        let offset = query.offset.clone();
        let rows = query.run(offset).await.expect("runs again");
        let last = log.rows.last_mut().expect("rows");
        if !last.is_empty() {
            assert_eq!(*last, rows, "a batch that runs again has the same rows");
        }
        *last = rows;
        log.committed += 1;
    }
}

async fn history(seed: u64, options: &[(&str, &str)]) {
    let mut random = fastrand::Rng::with_seed(seed);
    let world = World::with_shards(6).await;
    world.hasten_subscriptions();
    let config = || {
        let mut config = world.config(options);
        (config.few_shards, config.min_batches_to_retain) = (1, 4);
        config
    };
    let mut query = opened(Engine::new(), config()).await;
    let mut log = Log {
        offsets: vec![query.offset.clone()],
        rows: vec![Vec::new()],
        committed: 0,
    };
    let mut zombies: Vec<ShardReader> = Vec::new();
    let (mut put, mut set_back) = (0, 0);
    for _ in 0..60 {
        match random.u32(0..10) {
            0..4 => {
                let more = random.usize(1..4);
                world.put("r", put..put + more).await;
                put += more;
            }
            4..8 => {
                let planned = query.planner.latest_offset(&query.offset).await.expect("planned");
                let Some(next) = planned else { continue };
                log.offsets.push(next.clone());
                log.rows.push(Vec::new());
                let crash = random.u32(0..6) == 0;
                if crash {
                    // Some tasks end, one goes on without its driver.
                    let tasks = query.planner.partitions(&next).expect("tasks");
                    let ended = random.usize(0..tasks.len());
                    for task in &tasks[..ended] {
                        let reader = query.reader(task).expect("a reader");
                        read_all(&reader).await.expect("rows");
                        reader.finish(true).await.expect("finished");
                    }
                    zombies.push(query.reader(&tasks[ended]).expect("a reader"));
                } else {
                    *log.rows.last_mut().expect("rows") = query.run(next).await.expect("rows");
                    if random.u32(0..5) > 0 {
                        log.committed += 1;
                        continue;
                    }
                }
                let engine = if random.bool() {
                    query.engine.clone()
                } else {
                    Engine::new()
                };
                drop(query);
                query = opened(engine, config()).await;
                goes_on(&mut query, &mut log).await;
            }
            _ => {
                let engine = if random.bool() {
                    query.engine.clone()
                } else {
                    Engine::new()
                };
                drop(query);
                let least = if random.u32(0..5) == 0 {
                    0
                } else {
                    (log.offsets.len() - 1).saturating_sub(4)
                };
                let kept = random.usize(least..log.offsets.len());
                set_back += usize::from(kept + 1 < log.offsets.len());
                log.offsets.truncate(kept + 1);
                log.rows.truncate(kept + 1);
                // With the last batch's commit or without it.
                log.committed = if random.bool() {
                    kept
                } else {
                    kept.saturating_sub(1)
                };
                query = opened(engine, config()).await;
                goes_on(&mut query, &mut log).await;
                for zombie in zombies.drain(..) {
                    // It may fail, but it must spoil nothing.
                    if read_all(&zombie).await.is_ok() {
                        drop(zombie.finish(true).await);
                    }
                }
            }
        }
    }
    let delivered = |log: &Log| log.rows.iter().map(Vec::len).sum::<usize>();
    while delivered(&log) < put {
        if let Some(rows) = query.batch().await.expect("a batch") {
            log.rows.push(rows);
        }
    }
    for _ in 0..3 {
        if let Some(rows) = query.batch().await.expect("a batch") {
            log.rows.push(rows);
        }
    }
    println!("seed {seed}: {put} records, {set_back} times set back");
    let rows: Vec<Row> = log.rows.into_iter().flatten().collect();
    assert_exact(&rows, "r", 0..put);
}

/// Whatever is deleted, with tasks of earlier runs that end later: the batches that are left have each record once.
#[tokio::test(flavor = "multi_thread")]
async fn histories_with_set_back_checkpoints_are_exact() {
    for (seed, consumer) in (0..).zip(BOTH_CONSUMERS) {
        for per_task in ["1", "3"] {
            let tasks = [
                ("kinesis.shardsPerTask", per_task),
                ("kinesis.maxFetchRecordsPerShard", "2"),
            ];
            let options = [consumer, &tasks].concat();
            let within = Duration::from_secs(120);
            let ended = tokio::time::timeout(within, history(seed, &options)).await;
            ended.expect("in time");
        }
    }
}
