//! Random histories of a stream and of the query that reads it: shards split, merge and expire, the listing lags behind,
//! batches end anywhere, tasks fail and are raced, the driver dies. Whatever happens, every record is in exactly one
//! batch, parents come before their children, each key's records stay in order, offsets only go forward, finished shards
//! leave the offset, and an idle stream makes no batch.
//!
//! A history that fails is cut down and printed. `PROPTEST_RNG_SEED` and `PROPTEST_CASES` vary the run.

// Helpers of tests fail as tests do.
#![allow(clippy::expect_used, clippy::panic)]

mod history;
mod ledger;
mod query;
mod stream;

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use history::{History, Start, Step, histories};
use query::{Checked, Query, change, offset};
use stream::{KEYS, Kinesis};

/// The first step's time, milliseconds since the epoch.
const EPOCH: i64 = 1_700_000_000_000;
/// The default seed: a run is the same everywhere.
const SEED: u64 = 1;
/// Histories in a run.
const HISTORIES: u32 = 2_000;

#[test]
fn every_history_is_read_exactly_once_and_in_order() {
    let mut config = Config::default();
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(SEED);
    }
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = HISTORIES;
    }
    config.failure_persistence = None;
    config.max_shrink_iters = 2_000;
    config.max_shrink_time = 15_000;
    let seed = config.rng_seed;
    let failed = TestRunner::new(config).run(&histories(), |history| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(live(&history)).map_err(TestCaseError::fail)
    });
    match failed {
        Ok(()) => {}
        Err(TestError::Fail(why, history)) => panic!("{why}\nseed {seed}, cut down to {history:#?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// Lives through a history, and then reads the rest of its stream.
async fn live(history: &History) -> Checked {
    let kinesis = Kinesis::new(history.shards, history.page, history.sparse, EPOCH);
    let mut times = vec![EPOCH];
    for step in &history.before {
        kinesis.stream().now += 10;
        change(&kinesis, step);
        times.push(kinesis.stream().now);
    }
    kinesis.stream().now += 10;
    let mut query = match history.start {
        Start::TrimHorizon => Query::start(kinesis, "TRIM_HORIZON").await?,
        Start::Latest => latest(kinesis).await?,
        Start::AfterStep(steps) => {
            let millis = times[steps % times.len()];
            let time = chrono::DateTime::from_timestamp_millis(millis).ok_or("no time")?;
            let mut query = Query::start(kinesis, &format!("AT_TIMESTAMP {}", time.to_rfc3339())).await?;
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
    query.drain(history.available_now).await?;
    query.ledger.is_complete(&query.kinesis.stream())?;
    stands_in_open_shards(&mut query).await?;
    query.stay_idle().await?;
    query.restart().await?;
    query.stay_idle().await
}

/// A query from LATEST: the time that it pins is the machine's, and becomes the stream's.
async fn latest(kinesis: std::sync::Arc<Kinesis>) -> Checked<Query> {
    let mut query = Query::start(kinesis, "LATEST").await?;
    let pinned = offset(&query.offset)?.initial;
    let Some(kinesis_connector::stream::Position::AtTimestamp(millis)) = pinned else {
        return Err(format!("LATEST became {pinned:?}"));
    };
    query.kinesis.stream().now = millis;
    query.ledger.from = Some(millis);
    Ok(query)
}

/// Once all was read, the next batch has every open shard and nothing else.
async fn stands_in_open_shards(query: &mut Query) -> Checked {
    // After a run with Trigger.AvailableNow.
    query.restart().await?;
    query.walk_through().await?;
    for key in 0..KEYS {
        query.step(&Step::Put { key, count: 1 }).await?;
    }
    query.drain(false).await?;
    query.ledger.is_complete(&query.kinesis.stream())?;
    let standing: Vec<_> = offset(&query.offset)?.shards.into_keys().collect();
    let open: Vec<_> = query.kinesis.stream().open_ids().into_iter().collect();
    if standing == open {
        Ok(())
    } else {
        Err(format!(
            "the offset has {standing:?}, the stream's open shards are {open:?}"
        ))
    }
}
