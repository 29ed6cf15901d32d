//! Executors whose folder for claims isn't the driver's: this must be an error before a batch has different rows on
//! each of them.

use std::sync::Arc;

use crate::support::{LocalFiles, Query, World, read_all, until};
use async_trait::async_trait;
use kinesis_connector::plan::Planner;
use kinesis_connector::storage::FileSystem;
use kinesis_connector::{Engine, Error, ErrorKind, Result};
use tempfile::TempDir;

/// Another machine's local disk, where the same paths lead to other files.
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

/// A query with a planned batch, which has one task.
async fn planned(world: &World) -> (Query, String) {
    world.put("r", 0..10).await;
    let query = world.query(&[]).await;
    let task = first_task(&query.planner, &query.offset).await;
    (query, task)
}

/// The only task of the batch after this offset.
async fn first_task(planner: &Planner, start: &str) -> String {
    let offset = loop {
        if let Some(offset) = planner.latest_offset(start).await.expect("planned") {
            break offset;
        }
    };
    planner.partitions(&offset).expect("tasks").remove(0)
}

fn assert_not_shared(error: &Error) {
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

#[tokio::test]
async fn an_executor_with_a_disk_of_its_own_is_refused() {
    let world = World::with_shards(1).await;
    let (query, task) = planned(&world).await;
    let elsewhere = Arc::new(OtherDisk(TempDir::new().expect("a folder")));
    let open = |engine: &Engine, files| engine.open_reader(query.config.clone(), &task, files);
    let engine = Engine::new();
    let reader = open(&engine, elsewhere as Arc<dyn FileSystem>).expect("opened");
    tokio::time::pause();
    assert_not_shared(&read_all(&reader).await.expect_err("refused"));
    tokio::time::resume();
    // The same process succeeds once the folder is a shared one.
    let reader = open(&engine, Arc::new(LocalFiles)).expect("opened");
    assert_eq!(read_all(&reader).await.expect("read").len(), 10);
}

#[tokio::test]
async fn a_batch_that_runs_again_after_a_restart_has_a_mark_too() {
    let world = World::with_shards(1).await;
    let (mut query, task) = planned(&world).await;
    let offset = query
        .planner
        .latest_offset(&query.offset)
        .await
        .expect("planned")
        .expect("a batch");
    assert_eq!(query.run(offset.clone()).await.expect("a batch").len(), 10);
    assert!(task.contains(r#""mark":"#), "{task}");
    let mut restarted = world.query(&[]).await.from(&offset);
    let again = restarted.planner.partitions(&offset).expect("tasks").remove(0);
    let elsewhere = Arc::new(OtherDisk(folder()));
    let reader = Engine::new()
        .open_reader(query.config.clone(), &again, elsewhere)
        .expect("opened");
    tokio::time::pause();
    assert_not_shared(&read_all(&reader).await.expect_err("refused"));
    tokio::time::resume();
    assert_eq!(restarted.run(offset.clone()).await.expect("run again").len(), 10);
    world.put("r", 10..20).await;
    assert_eq!(restarted.rows(10).await.len(), 10);
}

/// The checkpoint is shared, the claims' folder is not: the files of the driver's first machine stay there.
#[tokio::test]
async fn the_mark_of_an_earlier_start_on_an_executors_own_disk_is_none() {
    let world = World::with_shards(1).await;
    world.put("r", 0..10).await;
    let config = world.config(&[]);
    let (one, other) = (OtherDisk(folder()), OtherDisk(folder()));
    let (one, other): (Arc<dyn FileSystem>, Arc<dyn FileSystem>) = (Arc::new(one), Arc::new(other));
    let executor = Engine::new();
    let read = |task: String| {
        let reader = executor
            .open_reader(config.clone(), &task, one.clone())
            .expect("opened");
        async move { read_all(&reader).await }
    };
    let first = Engine::new().open_planner(config.clone(), one.clone()).await;
    let first = first.expect("opens");
    let offset = first.initial_offset().await.expect("an offset");
    let task = first_task(&first, &offset).await;
    assert_eq!(read(task).await.expect("on the driver's machine").len(), 10);

    let moved = Engine::new().open_planner(config.clone(), other).await;
    let moved = moved.expect("opens");
    let task = first_task(&moved, &offset).await;
    tokio::time::pause();
    assert_not_shared(&read(task).await.expect_err("the driver is elsewhere"));
}

#[tokio::test]
async fn marks_of_earlier_starts_are_removed() {
    let world = World::with_shards(1).await;
    world.put("r", 0..10).await;
    let marks = |source: &std::path::Path| -> Vec<String> {
        let names = std::fs::read_dir(source).expect("a folder").map(|entry| {
            let name = entry.expect("an entry").file_name();
            name.to_string_lossy().into_owned()
        });
        names.filter(|name| name.starts_with("driver")).collect()
    };
    let mut query = world.query(&[]).await;
    query.rows(10).await;
    let claims = world.checkpoint.path().join("claims");
    let source = std::fs::read_dir(claims).expect("a folder").next();
    let source = source.expect("a source").expect("an entry").path();
    let first = marks(&source);
    assert_eq!(first.len(), 1, "{first:?}");
    // A mark as an earlier release wrote it.
    std::fs::write(source.join("driver"), "").expect("written");
    let mut restarted = world.query(&[]).await.from(&query.offset);
    world.put("r", 10..20).await;
    assert_eq!(restarted.rows(10).await.len(), 10);
    until(|| marks(&source).len() == 1).await;
    assert_ne!(first, marks(&source));
}

fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}
