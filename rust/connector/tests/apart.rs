//! Executors whose folder for claims isn't the driver's: an error, before a batch has different rows for each of them.

// Helpers of tests fail as tests do.
#![allow(clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use kinesis_connector::checkpoint::hadoop::FileSystem;
use kinesis_connector::read::ShardReader;
use kinesis_connector::{Engine, ErrorKind, Result};
use support::{LocalFiles, Query, World, read_all};
use tempfile::TempDir;

/// Another machine's local disk, where the same paths lead elsewhere.
struct OtherDisk(TempDir);

impl OtherDisk {
    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.0.path().display())
    }
}

#[async_trait]
impl FileSystem for OtherDisk {
    async fn put_if_absent(&self, path: &str, content: Vec<u8>) -> Result<bool> {
        LocalFiles.put_if_absent(&self.path(path), content).await
    }
    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        LocalFiles.read(&self.path(path)).await
    }
    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        LocalFiles.list(&self.path(folder)).await
    }
    async fn delete(&self, path: &str) -> Result<()> {
        LocalFiles.delete(&self.path(path)).await
    }
}

/// A query with a batch planned, which has one task.
async fn planned(world: &World) -> (Query, String) {
    world.put("r", 0..10).await;
    let query = world.query(&[]).await;
    let offset = loop {
        if let Some(offset) = query.planner.latest_offset(&query.offset).await.expect("planned") {
            break offset;
        }
    };
    let task = query.planner.partitions(&offset).expect("tasks").remove(0);
    (query, task)
}

#[tokio::test]
async fn an_executor_with_a_disk_of_its_own_is_told_so() {
    let world = World::with_shards(1).await;
    let (query, task) = planned(&world).await;
    let elsewhere = Arc::new(OtherDisk(TempDir::new().expect("a folder")));
    let open = |engine: &Engine, files| ShardReader::open(engine, query.config.clone(), &task, files);
    let engine = Engine::new();
    for _ in 0..2 {
        let reader = open(&engine, elsewhere.clone() as Arc<dyn FileSystem>).expect("opened");
        let error = read_all(&reader).await.expect_err("refused");
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Store, false),
            "{error}"
        );
        for part in [
            "isn't shared by the executors",
            "checkpointLocation",
            "kinesis.metadataPath",
        ] {
            assert!(error.message().contains(part), "{error}");
        }
    }
    // The same process sees it once the folder is a shared one.
    let reader = open(&engine, Arc::new(LocalFiles)).expect("opened");
    assert_eq!(read_all(&reader).await.expect("read").len(), 10);
}

#[tokio::test]
async fn a_restarted_query_finds_its_mark_and_a_batch_that_runs_again_needs_none() {
    let world = World::with_shards(1).await;
    let (mut query, task) = planned(&world).await;
    let offset = query
        .planner
        .latest_offset(&query.offset)
        .await
        .expect("planned")
        .expect("a batch");
    assert_eq!(query.run(offset.clone()).await.expect("a batch").len(), 10);
    assert!(task.contains(r#""marked":true"#), "{task}");
    let mut restarted = world.query(&[]).await.from(&offset);
    let again = restarted.planner.partitions(&offset).expect("tasks").remove(0);
    assert!(!again.contains("marked"), "{again}");
    world.put("r", 10..20).await;
    assert_eq!(restarted.rows(10).await.len(), 10);
}
