//! One suite over every checkpoint store.

// Helpers of tests fail as tests do.
#![allow(clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kinesis_connector::checkpoint::hadoop::{FileSystem, HadoopStore};
use kinesis_connector::checkpoint::memory::MemoryStore;
use kinesis_connector::checkpoint::{CheckpointStore, Claim, ClaimKey, PutResult};
use kinesis_connector::options::RetryOptions;
use kinesis_connector::stream::{Position, ShardId};
use kinesis_connector::{Error, ErrorKind, Result};
use support::LocalFiles;
use tempfile::TempDir;

const RETRY: RetryOptions = RetryOptions {
    retries: 5,
    interval: Duration::from_millis(1),
    max_interval: Duration::from_millis(2),
};

/// A file system whose every third request fails.
#[derive(Default)]
struct Unreliable {
    requests: AtomicU32,
}

impl Unreliable {
    fn request(&self) -> Result<()> {
        match self.requests.fetch_add(1, Ordering::Relaxed) % 3 {
            2 => Err(Error::new(ErrorKind::Store, "the third request failed").retryable(true)),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl FileSystem for Unreliable {
    async fn put_if_absent(&self, path: &str, content: Vec<u8>) -> Result<bool> {
        self.request()?;
        LocalFiles.put_if_absent(path, content).await
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        self.request()?;
        LocalFiles.read(path).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        self.request()?;
        LocalFiles.list(folder).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.request()?;
        LocalFiles.delete(path).await
    }
}

fn key(source: &str, batch: u64, shard: usize) -> ClaimKey {
    ClaimKey {
        source: source.into(),
        batch,
        shard: ShardId::from(format!("shardId-{shard:012}").as_str()),
    }
}

fn claim(number: usize) -> Claim {
    Claim::new(Position::After(number.to_string().parse().expect("a number")))
}

/// Every store keeps this.
async fn conforms(store: Arc<dyn CheckpointStore>) {
    let contested = key("race", 1, 0);
    let attempts: Vec<_> = (1..=16)
        .map(|number| {
            let (store, key) = (store.clone(), contested.clone());
            tokio::spawn(async move { (number, store.put_if_absent(&key, &claim(number)).await) })
        })
        .collect();
    let mut winners = Vec::new();
    let mut seen = Vec::new();
    for attempt in attempts {
        match attempt.await.expect("ran") {
            (number, Ok(PutResult::Stored)) => winners.push(claim(number)),
            (_, Ok(PutResult::Exists(first))) => seen.push(first),
            (_, Err(error)) => panic!("{error}"),
        }
    }
    assert_eq!(winners.len(), 1, "one attempt wins");
    assert!(
        seen.iter().all(|first| *first == winners[0]),
        "the others see the winner's"
    );
    assert_eq!(
        store.get(&contested).await.expect("read"),
        Some(winners[0].clone())
    );

    assert_eq!(store.get(&key("s", 1, 0)).await.expect("read"), None);
    assert_eq!(store.load("s", 1).await.expect("read"), BTreeMap::new());
    for batch in 1..=5 {
        for shard in 0..3 {
            let put = store.put_if_absent(&key("s", batch, shard), &claim(shard)).await;
            assert_eq!(put.expect("put"), PutResult::Stored);
        }
    }
    store
        .put_if_absent(&key("other", 2, 7), &claim(7))
        .await
        .expect("put");
    let loaded = store.load("s", 2).await.expect("loaded");
    let expected = (0..3)
        .map(|shard| (key("s", 2, shard).shard, claim(shard)))
        .collect();
    assert_eq!(loaded, expected, "exactly the batch's own");

    store.purge("s", 4).await.expect("purged");
    for (batch, claims) in [(3, 0), (4, 3), (5, 3)] {
        assert_eq!(
            store.load("s", batch).await.expect("loaded").len(),
            claims,
            "batch {batch}"
        );
    }
    assert_eq!(
        store.load("other", 2).await.expect("loaded").len(),
        1,
        "another source's stay"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_store_conforms() {
    conforms(Arc::new(MemoryStore::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_store_conforms() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("with space, ünïcode + %20");
    conforms(Arc::new(HadoopStore::new(
        Arc::new(LocalFiles),
        &path.to_string_lossy(),
        RETRY,
    )))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_store_conforms_on_a_file_system_that_fails_every_third_request() {
    let folder = TempDir::new().expect("a folder");
    let files = Arc::new(Unreliable::default());
    conforms(Arc::new(HadoopStore::new(
        files,
        &folder.path().to_string_lossy(),
        RETRY,
    )))
    .await;
}

#[tokio::test]
async fn two_thousand_shards_are_loaded() {
    let folder = TempDir::new().expect("a folder");
    let store = HadoopStore::new(Arc::new(LocalFiles), &folder.path().to_string_lossy(), RETRY);
    for shard in 0..2_000 {
        store
            .put_if_absent(&key("s", 1, shard), &claim(shard))
            .await
            .expect("put");
    }
    assert_eq!(store.load("s", 1).await.expect("loaded").len(), 2_000);
}

#[tokio::test]
async fn a_corrupt_claim_is_an_error_that_names_it_and_the_way_on() {
    let folder = TempDir::new().expect("a folder");
    let store = HadoopStore::new(Arc::new(LocalFiles), &folder.path().to_string_lossy(), RETRY);
    store
        .put_if_absent(&key("s", 1, 0), &claim(1))
        .await
        .expect("put");
    let path = folder.path().join("s/1/shardId-000000000000");
    for content in [
        "",
        "{\"version\":1,\"end\":\"AFT",
        "{\"version\":9,\"end\":\"SHARD_END\"}",
    ] {
        std::fs::write(&path, content).expect("written");
        let error = store.get(&key("s", 1, 0)).await.expect_err("corrupt");
        assert_eq!(error.kind(), ErrorKind::CorruptCheckpoint);
        assert!(error.to_string().contains("s/1/shardId-000000000000"), "{error}");
        assert!(error.message().contains("Remove this one entry"), "{error}");
        assert!(store.load("s", 1).await.is_err());
    }
}
