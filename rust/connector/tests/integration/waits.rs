//! Waits of the driver and their limits: shards that are listed late, refusals, shards that can't be probed, marks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crate::support::altered::{Altered, service};
use crate::support::scripted::{Scripted, State, config, id, planner, shard};
use crate::support::{LocalFiles, SHARD_0, STREAM, World, assert_exact};
use async_trait::async_trait;
use kinesis_connector::claims::backends::memory::MemoryStore;
use kinesis_connector::claims::{Claim, ClaimKey, ClaimStore, PutResult};
use kinesis_connector::plan::Planner;
use kinesis_connector::read::{ReadTask, ShardReader};
use kinesis_connector::stream::{Position, ShardId};
use kinesis_connector::{Error, ErrorKind, Result};
use serde_json::json;
use tempfile::TempDir;
use tracing::field::Field;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

async fn next(planner: &Planner, offset: &str) -> String {
    let planned = planner.latest_offset(offset).await;
    planned.expect("a look").expect("news")
}

#[tokio::test(start_paused = true)]
async fn children_that_are_listed_much_later_are_waited_for() {
    let parent = shard(0, None, None, true);
    let all = vec![
        parent.clone(),
        shard(1, Some(0), Some(0), false),
        shard(2, Some(0), Some(1), false),
    ];
    let service = Scripted::new(State {
        listings: vec![(Duration::ZERO, vec![parent]), (Duration::from_secs(40), all)],
        records: BTreeMap::from([(id(1), 10)]),
        closed: BTreeMap::from([(id(0), vec![id(1), id(2)])]),
        ..State::default()
    });
    let checkpoint = TempDir::new().expect("a folder");
    let planner = planner(&service, Arc::<MemoryStore>::default(), &checkpoint).await;
    let initial = planner.initial_offset().await.expect("an offset");
    let planned = next(&planner, &initial).await;
    for child in [id(1), id(2)] {
        assert!(planned.contains(child.as_str()), "{planned}");
    }
    assert!(!planned.contains("SHARD_END"), "{planned}");
}

/// The driver's probe is refused once, and the reader three times.
#[tokio::test]
async fn a_position_is_not_given_up_after_three_refusals() {
    let world = World::with_shards(1).await;
    world.put("r", 0..100).await;
    let options = [
        ("kinesis.maxFetchRecordsPerShard", "50"),
        ("kinesis.failOnDataLoss", "true"),
    ];
    let mut query = world.query(&options).await;
    let mut rows = query.rows(50).await;
    let mut restarted = world.query(&options).await.from(&query.offset);
    world.knobs(json!({"faults": [{
        "operation": "GetShardIterator", "error": "InvalidArgumentException", "count": 4, "stream": STREAM,
        "shard": SHARD_0
    }]}));
    rows.extend(restarted.rows(50).await);
    assert_exact(&rows, "r", 0..100);
}

#[tokio::test]
async fn latest_is_not_in_the_future_of_a_service_that_is_a_little_behind() {
    let world = World::with_shards(1).await;
    let config = world.config(&[("kinesis.startingPosition", "LATEST")]);
    let api = Altered::new(service(&config).await).with_clock(-3_000);
    let store = Arc::new(MemoryStore::default());
    let planner = Planner::on(Arc::new(api), store, config, Arc::new(LocalFiles)).await;
    let offset = planner.expect("opens").initial_offset().await.expect("an offset");
    let offset: serde_json::Value = serde_json::from_str(&offset).expect("json");
    let initial: Position = offset["initial"]
        .as_str()
        .expect("text")
        .parse()
        .expect("a position");
    let services_now = chrono::Utc::now().timestamp_millis() - 3_000;
    match initial {
        Position::AtTimestamp(millis) => {
            assert!(millis <= services_now, "{} ms ahead", millis - services_now)
        }
        other => panic!("{other} is no time"),
    }
}

/// One shard can't be probed in one call, and again ten minutes later in another one.
#[tokio::test(start_paused = true)]
async fn a_shard_that_is_unknown_in_two_calls_far_apart_ends_no_query() {
    let service = Scripted::new(State {
        listings: vec![(
            Duration::ZERO,
            vec![shard(0, None, Some(0), false), shard(1, None, Some(1), false)],
        )],
        records: BTreeMap::from([(id(1), 10)]),
        // The other shard's failure is known first.
        slow: BTreeSet::from([id(1)]),
        failing: BTreeSet::from([id(0)]),
        ..State::default()
    });
    let checkpoint = TempDir::new().expect("a folder");
    let planner = planner(&service, Arc::<MemoryStore>::default(), &checkpoint).await;
    let initial = planner.initial_offset().await.expect("an offset");
    let first = next(&planner, &initial).await;
    tokio::time::advance(Duration::from_secs(601)).await;
    next(&planner, &first).await;
}

/// Counts this thread's warnings that contain these words.
pub(crate) struct Warnings {
    pub(crate) words: &'static str,
    pub(crate) count: Arc<AtomicU32>,
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut |field: &Field, value: &dyn std::fmt::Debug| {
            if field.name() == "message" && format!("{value:?}").contains(self.words) {
                self.count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn listings_that_fail_are_logged_once_a_minute() {
    let count = Arc::<AtomicU32>::default();
    let _listening = tracing::subscriber::set_default(Warnings {
        words: "could not be listed",
        count: count.clone(),
    });
    let service = Scripted::new(State {
        listings: vec![(Duration::ZERO, vec![shard(0, None, None, true)])],
        unlisted: Some(Duration::from_nanos(1)),
        closed: BTreeMap::from([(id(0), vec![id(1), id(2)])]),
        ..State::default()
    });
    let checkpoint = TempDir::new().expect("a folder");
    let planner = planner(&service, Arc::<MemoryStore>::default(), &checkpoint).await;
    let initial = planner.initial_offset().await.expect("an offset");
    // The driver waits for the children until listings have failed for ten minutes.
    let error = loop {
        match planner.latest_offset(&initial).await {
            Ok(_) => tokio::time::advance(Duration::from_secs(1)).await,
            Err(error) => break error,
        }
    };
    assert!(error.message().contains("no listing"), "{error}");
    let count = count.load(Ordering::Relaxed);
    assert!((9..=11).contains(&count), "{count} warnings");
}

/// A store that counts the driver's marks, and may refuse them.
#[derive(Debug, Default)]
struct Marks {
    kept: MemoryStore,
    left: AtomicU32,
    refused: AtomicBool,
}

#[async_trait]
impl ClaimStore for Marks {
    async fn leave_mark(&self, _: &str, _: &str) -> Result<()> {
        if self.refused.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Store, "the disk is busy").retryable(true));
        }
        self.left.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn put_if_absent(&self, key: &ClaimKey, claim: &Claim) -> Result<PutResult> {
        self.kept.put_if_absent(key, claim).await
    }

    async fn get(&self, key: &ClaimKey) -> Result<Option<Claim>> {
        self.kept.get(key).await
    }

    async fn load(&self, source: &str, batch: u64) -> Result<BTreeMap<ShardId, Claim>> {
        self.kept.load(source, batch).await
    }

    async fn has_from(&self, source: &str, batch: u64) -> Result<bool> {
        self.kept.has_from(source, batch).await
    }

    async fn purge(&self, source: &str, before: u64) -> Result<()> {
        self.kept.purge(source, before).await
    }
}

async fn marked(store: &Arc<Marks>, checkpoint: &TempDir) -> (Planner, String) {
    let service = Scripted::new(State {
        listings: vec![(Duration::ZERO, vec![shard(0, None, None, false)])],
        records: BTreeMap::from([(id(0), 10)]),
        ..State::default()
    });
    let planner = planner(&service, store.clone(), checkpoint).await;
    let initial = planner.initial_offset().await.expect("an offset");
    let first = next(&planner, &initial).await;
    assert_eq!(store.left.load(Ordering::Relaxed), 1);
    (planner, first)
}

#[tokio::test(start_paused = true)]
async fn the_drivers_mark_is_put_again_after_a_minute_and_not_before() {
    let (store, checkpoint) = (Arc::<Marks>::default(), TempDir::new().expect("a folder"));
    let (planner, first) = marked(&store, &checkpoint).await;
    let second = next(&planner, &first).await;
    assert_eq!(store.left.load(Ordering::Relaxed), 1);
    tokio::time::advance(Duration::from_secs(61)).await;
    next(&planner, &second).await;
    assert_eq!(store.left.load(Ordering::Relaxed), 2);
}

/// A mark that can't be put again does not end the query, because the first one still exists.
#[tokio::test(start_paused = true)]
async fn a_mark_that_can_not_be_put_again_ends_no_query() {
    let (store, checkpoint) = (Arc::<Marks>::default(), TempDir::new().expect("a folder"));
    let (planner, first) = marked(&store, &checkpoint).await;
    store.refused.store(true, Ordering::Relaxed);
    tokio::time::advance(Duration::from_secs(61)).await;
    next(&planner, &first).await;
}

#[tokio::test(start_paused = true)]
async fn a_position_inside_a_batch_that_is_refused_once_is_asked_for_again() {
    let expired = Error::new(ErrorKind::ExpiredIterator, "too old");
    let refused = Error::new(ErrorKind::RefusedPosition, "not now");
    let service = Scripted::new(State {
        listings: vec![(std::time::Duration::ZERO, vec![shard(0, None, None, false)])],
        records: BTreeMap::from([(id(0), 60)]),
        page: 20,
        gets: VecDeque::from([None, Some(expired)]),
        iterators: VecDeque::from([None, Some(refused)]),
        ..State::default()
    });
    let checkpoint = tempfile::TempDir::new().expect("a folder");
    let options = config(&checkpoint, &[]).options;
    let task = ReadTask::new("q", 1, id(0), Position::TrimHorizon);
    let reader = ShardReader::on(service, Arc::new(MemoryStore::default()), &options, task);
    let rows = crate::support::read_all(&reader).await.expect("no failed task");
    assert_eq!(rows.len(), 60);
}
