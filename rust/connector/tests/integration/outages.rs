//! A driver's first requests, and its probes, while the service is out of reach or throttles.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::support::LocalFiles;
use crate::support::scripted::{CREATED, Scripted, State, config, id, planner, shard};
use kinesis_connector::claims::backends::memory::MemoryStore;
use kinesis_connector::plan::Planner;
use kinesis_connector::{Error, ErrorKind};
use tempfile::TempDir;
use tokio::time::Instant;

/// A stream with one shard.
fn service() -> Arc<Scripted> {
    Scripted::new(State {
        listings: vec![(Duration::ZERO, vec![shard(0, None, None, false)])],
        ..State::default()
    })
}

/// Throttles so many descriptions of the stream, each with all its retries.
fn throttle(service: &Scripted, descriptions: usize) {
    let throttled = || Error::new(ErrorKind::Throttled, "rate exceeded").retryable(true);
    let mut state = service.state();
    state.descriptions = std::iter::repeat_with(throttled).take(descriptions).collect();
    state.description_takes = Duration::from_secs(25);
}

/// The time that a probe takes until it has failed is no measure for the pause after it.
#[tokio::test(start_paused = true)]
async fn a_quiet_stream_is_probed_again_soon_after_an_outage() {
    let (service, checkpoint) = (service(), TempDir::new().expect("a folder"));
    let planner = planner(&service, Arc::<MemoryStore>::default(), &checkpoint).await;
    let start = planner.initial_offset().await.expect("an offset");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(70) {
        assert_eq!(planner.latest_offset(&start).await.expect("a probe"), None);
    }
    {
        let mut state = service.state();
        state.failing.insert(id(0));
        state.failure_takes = Duration::from_secs(60);
    }
    let outage = async {
        tokio::time::sleep(Duration::from_secs(59)).await;
        let mut state = service.state();
        state.failing.clear();
        state.records = BTreeMap::from([(id(0), 1)]);
    };
    let began = Instant::now();
    let (planned, ()) = tokio::join!(planner.latest_offset(&start), outage);
    assert!(planned.expect("a probe").is_some());
    assert!(began.elapsed() < Duration::from_secs(65), "{:?}", began.elapsed());
}

/// When all queries of an application start at once, one of them may be throttled many times.
#[tokio::test(start_paused = true)]
async fn a_description_that_is_throttled_delays_a_start() {
    let (service, checkpoint) = (service(), TempDir::new().expect("a folder"));
    throttle(&service, 3);
    planner(&service, Arc::<MemoryStore>::default(), &checkpoint).await;
    assert!(service.state().descriptions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_description_that_is_throttled_for_minutes_is_an_error() {
    let (service, checkpoint) = (service(), TempDir::new().expect("a folder"));
    throttle(&service, 1_000);
    let store = Arc::<MemoryStore>::default();
    let began = Instant::now();
    let opened = Planner::on(service, store, config(&checkpoint, &[]), Arc::new(LocalFiles));
    assert_eq!(opened.await.expect_err("throttled").kind(), ErrorKind::Throttled);
    assert!(began.elapsed() < Duration::from_secs(180));
}

/// An answer without content to the first description left 0 as the stream's time of creation.
#[tokio::test(start_paused = true)]
async fn an_unknown_time_of_creation_is_replaced_by_the_streams() {
    let (service, checkpoint) = (service(), TempDir::new().expect("a folder"));
    let planner = planner(&service, Arc::<MemoryStore>::default(), &checkpoint).await;
    service.state().records = BTreeMap::from([(id(0), 1)]);
    let start = planner.initial_offset().await.expect("an offset");
    let created = format!(r#""created":{CREATED}"#);
    let unknown = start.replace(&created, r#""created":0"#);
    assert_ne!(unknown, start);
    let next = planner.latest_offset(&unknown).await.expect("a probe");
    let next = next.expect("records");
    assert!(next.contains(&created), "{next}");
    assert!(planner.partitions(&next).expect("tasks")[0].contains(&created));
}
