//! A driver whose clock differs from the service's.

use std::sync::Arc;
use std::time::Duration;

use crate::support::altered::{Altered, service};
use crate::support::{LocalFiles, World, assert_exact};
use kinesis_connector::ErrorKind;
use kinesis_connector::claims::backends::memory::MemoryStore;
use kinesis_connector::plan::Planner;
use kinesis_connector::service::KinesisApi;
use kinesis_connector::stream::Position;

const HOUR_MILLIS: i64 = 3_600_000;

fn now_millis() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// Start of a query from LATEST, in milliseconds relative to now, if the service's clock is `apart_millis` off the
/// driver's.
async fn latest_with_a_clock_apart(world: &World, apart_millis: i64) -> i64 {
    let config = world.config(&[("kinesis.startingPosition", "LATEST")]);
    let api = Altered::new(service(&config).await).with_clock(apart_millis);
    let store = Arc::new(MemoryStore::default());
    let planner = Planner::on(Arc::new(api), store, config, Arc::new(LocalFiles)).await;
    let offset = planner.expect("opens").initial_offset().await.expect("an offset");
    let offset: serde_json::Value = serde_json::from_str(&offset).expect("json");
    let initial: Position = offset["initial"]
        .as_str()
        .expect("a position")
        .parse()
        .expect("one");
    match initial {
        Position::AtTimestamp(millis) => millis - now_millis(),
        other => panic!("{other} is no time"),
    }
}

#[tokio::test]
async fn the_service_sends_its_time() {
    let world = World::with_shards(1).await;
    let config = world.config(&[]);
    let before = now_millis();
    let summary = service(&config).await.describe_stream().await.expect("described");
    let service_millis = summary.service_millis.expect("a date");
    // The server updates its date once a second, in whole seconds.
    assert!(
        (before - 2_000..=now_millis()).contains(&service_millis),
        "{service_millis} at {before}"
    );
}

#[tokio::test]
async fn latest_is_the_services_now_when_the_drivers_clock_is_an_hour_off() {
    for apart in [-HOUR_MILLIS, HOUR_MILLIS] {
        let world = World::with_shards(1).await;
        let off = latest_with_a_clock_apart(&world, apart).await - apart;
        assert!((-60_000..=0).contains(&off), "{off} ms from the service's now");
    }
}

#[tokio::test]
async fn latest_is_the_drivers_now_when_the_clocks_agree() {
    let world = World::with_shards(1).await;
    let before = now_millis();
    let off = latest_with_a_clock_apart(&world, 0).await;
    assert!((before - now_millis()..=0).contains(&off), "{off} ms");
}

#[tokio::test]
async fn a_start_in_the_future_is_refused_by_name_and_the_corrected_one_works() {
    let world = World::with_shards(1).await;
    let in_two_hours = time(now_millis() + 2 * HOUR_MILLIS);
    let refused = world
        .try_query(&[("kinesis.startingPosition", &in_two_hours)])
        .await;
    let error = refused.err().expect("refused");
    assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
    assert!(!error.is_retryable());
    let text = error.to_string();
    for part in ["kinesis.startingPosition", "in the future", "nothing was written"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let kept = world.checkpoint.path().join("initial-offset");
    assert!(!kept.exists());
    world.put("r", 0..10).await;
    let corrected = time(now_millis() - HOUR_MILLIS);
    let mut query = world.query(&[("kinesis.startingPosition", &corrected)]).await;
    assert_exact(&query.rows(10).await, "r", 0..10);
    // From now on the checkpoint determines the start, whatever the option is.
    drop(query);
    drop(world.query(&[("kinesis.startingPosition", &in_two_hours)]).await);
}

#[tokio::test]
async fn whether_a_start_is_in_the_future_goes_by_the_services_clock() {
    let world = World::with_shards(1).await;
    for (apart, start, refused) in [
        (-HOUR_MILLIS, -HOUR_MILLIS / 2, true),
        (-HOUR_MILLIS, -2 * HOUR_MILLIS, false),
        (HOUR_MILLIS, HOUR_MILLIS / 2, false),
        (HOUR_MILLIS, 2 * HOUR_MILLIS, true),
    ] {
        let start = time(now_millis() + start);
        let config = world.config(&[("kinesis.startingPosition", &start)]);
        let api = Altered::new(service(&config).await).with_clock(apart);
        let store = Arc::new(MemoryStore::default());
        let planner = Planner::on(Arc::new(api), store, config, Arc::new(LocalFiles)).await;
        let offset = planner.expect("opens").initial_offset().await;
        assert_eq!(offset.is_err(), refused, "{apart} {start}: {offset:?}");
        let _ = std::fs::remove_file(world.checkpoint.path().join("initial-offset"));
    }
}

fn time(millis: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(millis).expect("a time");
    format!("AT_TIMESTAMP {}", time.to_rfc3339())
}

/// The description arrives five seconds after its date.
#[tokio::test]
async fn a_run_for_what_is_there_reads_it_though_the_service_answers_slowly() {
    let world = World::with_shards(1).await;
    let config = world.config(&[]);
    let api = Altered::new(service(&config).await).with_slow_descriptions(Duration::from_secs(5));
    let store = Arc::new(MemoryStore::default());
    let planner = Planner::on(Arc::new(api), store, config, Arc::new(LocalFiles)).await;
    let planner = planner.expect("opens");
    let offset = planner.initial_offset().await.expect("an offset");
    world.put("r", 0..10).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    // The records are in the stream before the run.
    planner.prepare_for_available_now();
    let planned = planner.latest_offset(&offset).await.expect("a look");
    assert!(planned.is_some(), "they were there before the run began");
}
