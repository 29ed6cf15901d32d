//! A driver whose clock is not the service's.

// Helpers of tests fail as tests do.
#![allow(clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;

use kinesis_connector::checkpoint::memory::MemoryStore;
use kinesis_connector::plan::Planner;
use kinesis_connector::service::KinesisApi;
use kinesis_connector::stream::Position;
use support::altered::{Altered, service};
use support::{LocalFiles, World};

const HOUR_MILLIS: i64 = 3_600_000;

fn now_millis() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// Where a query from LATEST starts whose service's clock is so far from the driver's, relative to now.
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
async fn the_service_tells_its_time() {
    let world = World::with_shards(1).await;
    let config = world.config(&[]);
    let before = now_millis();
    let summary = service(&config).await.describe_stream().await.expect("described");
    let told = summary.service_millis.expect("a date");
    // The server's date is renewed once in a second, and has no fraction of one.
    assert!(
        (before - 2_000..=now_millis()).contains(&told),
        "{told} at {before}"
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
