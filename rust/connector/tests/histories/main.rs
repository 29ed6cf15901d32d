//! Random histories of a stream and of the query that reads it: shards split, merge and expire, the listing lags
//! behind, batches end anywhere, tasks fail and race, the driver crashes. In every history, each record is in exactly
//! one batch, parents come before their children, each key's records stay in order, offsets only move forward,
//! finished shards leave the offset, and an idle stream makes no batch. The same holds with enhanced fan-out, where
//! subscriptions end, break and fall silent, and tasks of several executors take them over from each other.
//!
//! A failing history is minimized and printed. `PROPTEST_RNG_SEED` and `PROPTEST_CASES` vary the run.

// Helpers fail as tests do.
#![allow(clippy::expect_used, clippy::panic)]

mod fan_out;
mod history;
mod ledger;
mod odd;
mod pace;
mod query;
mod service;
mod stream;
#[path = "../integration/support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use history::{Finish, History, Start, Step, Weights, polled, pushed};
use query::{Checked, Query, change, offset};
use stream::{KEYS, Kinesis};

/// Time of the first step, in milliseconds since the epoch. Half of the histories begin now, so that none of their
/// data can have expired, and half long ago.
fn epoch(history: &History) -> i64 {
    static NOW: OnceLock<i64> = OnceLock::new();
    match history.ways.page % 2 {
        0 => 1_700_000_000_000,
        _ => *NOW.get_or_init(|| chrono::Utc::now().timestamp_millis()),
    }
}

/// Number of tasks in all histories that continued with prefetched records.
static PREFETCH_HITS: AtomicU64 = AtomicU64::new(0);
/// Number of shards without a task, in all batches of all histories.
static SKIPPED: AtomicU64 = AtomicU64::new(0);
/// Default seed, which makes runs reproducible.
const SEED: u64 = 1;
/// Number of histories in a run.
const HISTORIES: u32 = 2_000;
/// Number of histories with enhanced fan-out. They take longer, because subscriptions have events in all the time
/// that passes.
const PUSHED_HISTORIES: u32 = 400;

#[test]
fn every_history_is_read_exactly_once_and_in_order() {
    let weights = std::env::var("HISTORIES").map_or(Weights::polled(), |text| Weights::parse(&text));
    live_through(polled(weights), HISTORIES);
}

#[test]
fn by_enhanced_fan_out_too() {
    live_through(pushed(), PUSHED_HISTORIES);
}

fn live_through(histories: impl Strategy<Value = History>, count: u32) {
    let mut config = Config::default();
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(SEED);
    }
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = count;
    }
    config.failure_persistence = None;
    config.max_shrink_iters = 2_000;
    config.max_shrink_time = 15_000;
    let seed = config.rng_seed;
    let failed = TestRunner::new(config).run(&histories, |history| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(live(&history)).map_err(TestCaseError::fail)
    });
    match failed {
        Ok(()) => {
            assert_ne!(PREFETCH_HITS.load(Ordering::Relaxed), 0);
            assert_ne!(SKIPPED.load(Ordering::Relaxed), 0);
        }
        Err(TestError::Fail(why, history)) => panic!("{why}\nseed {seed}, cut down to {history:#?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// Runs a history, and then reads the rest of its stream.
async fn live(history: &History) -> Checked {
    let kinesis = Kinesis::new(history.shards, history.ways, epoch(history));
    let mut times = vec![epoch(history)];
    for step in &history.before {
        kinesis.stream().now += 10;
        change(&kinesis, step);
        times.push(kinesis.stream().now);
    }
    kinesis.stream().now += 10;
    let mut query = match history.start {
        Start::TrimHorizon => Query::start(kinesis, "TRIM_HORIZON", history).await?,
        Start::Latest => latest(kinesis, history).await?,
        Start::AfterStep(steps) => {
            let millis = times[steps % times.len()];
            let time = chrono::DateTime::from_timestamp_millis(millis).ok_or("no time")?;
            let position = format!("AT_TIMESTAMP {}", time.to_rfc3339());
            let mut query = Query::start(kinesis, &position, history).await?;
            query.ledger.from = Some(millis);
            query
        }
    };
    query.ledger.expired(&query.kinesis.stream());
    for step in &history.steps {
        query.step(step).await?;
    }
    query.kinesis.stream().settle();
    query.kinesis.stream().now += 10;
    query.drain(history.finish).await?;
    if matches!(history.finish, Finish::AnotherStream { .. }) {
        return Ok(());
    }
    query.ledger.is_complete(&query.kinesis.stream())?;
    stands_in_open_shards(&mut query).await?;
    query.stay_idle().await?;
    query.restart().await?;
    PREFETCH_HITS.fetch_add(query.prefetch_hits.load(Ordering::Relaxed), Ordering::Relaxed);
    SKIPPED.fetch_add(query.skipped, Ordering::Relaxed);
    query.stay_idle().await
}

/// Starts a query from LATEST. The time it pins is close to the stream's, so the stream's clock advances to it.
async fn latest(kinesis: Arc<Kinesis>, history: &History) -> Checked<Query> {
    let mut query = Query::start(kinesis, "LATEST", history).await?;
    let pinned = offset(&query.offset)?.initial;
    let Some(kinesis_connector::stream::Position::AtTimestamp(millis)) = pinned else {
        return Err(format!("LATEST became {pinned:?}"));
    };
    {
        let mut stream = query.kinesis.stream();
        stream.now = stream.now.max(millis);
    }
    query.ledger.from = Some(millis);
    Ok(query)
}

/// Checks that, once all was read, the offset has exactly the open shards.
async fn stands_in_open_shards(query: &mut Query) -> Checked {
    // A run with Trigger.AvailableNow may have ended before.
    query.restart().await?;
    query.walk_through().await?;
    for key in 0..KEYS {
        query.step(&Step::Put { key, count: 1 }).await?;
    }
    query.drain(Finish::Running).await?;
    query.ledger.is_complete(&query.kinesis.stream())?;
    let actual: Vec<_> = offset(&query.offset)?.shards.into_keys().collect();
    let open: Vec<_> = query.kinesis.stream().open_ids().into_iter().collect();
    if actual == open {
        Ok(())
    } else {
        Err(format!(
            "the offset has {actual:?}, the stream's open shards are {open:?}"
        ))
    }
}
