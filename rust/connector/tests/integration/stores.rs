//! The suite over the stores that need no service: memory and local files. The other stores are tested in
//! services/stores.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::store_suite::{CORRUPT, RETRY, claim, conforms, keeps_two_thousand_shards, key, refuses_corrupt};
use crate::support::LocalFiles;
use async_trait::async_trait;
use kinesis_connector::claims::ClaimStore as _;
use kinesis_connector::claims::backends::hadoop::HadoopStore;
use kinesis_connector::claims::backends::memory::MemoryStore;
use kinesis_connector::storage::FileSystem;
use kinesis_connector::{Error, ErrorKind, Result};
use tempfile::TempDir;

/// A file system in which every third request fails.
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

#[tokio::test(flavor = "multi_thread")]
async fn the_file_store_keeps_two_thousand_shards() {
    let folder = TempDir::new().expect("a folder");
    let store = HadoopStore::new(Arc::new(LocalFiles), &folder.path().to_string_lossy(), RETRY);
    keeps_two_thousand_shards(Arc::new(store)).await;
}

#[tokio::test]
async fn a_corrupt_file_is_an_error_that_names_it_and_the_way_on() {
    let folder = TempDir::new().expect("a folder");
    let store = HadoopStore::new(Arc::new(LocalFiles), &folder.path().to_string_lossy(), RETRY);
    let key = key("s", 1, 0);
    store.put_if_absent(&key, &claim(1)).await.expect("put");
    let path = folder.path().join("s/1/shardId-000000000000");
    for content in CORRUPT {
        std::fs::write(&path, content).expect("written");
        refuses_corrupt(&store, &key, "s/1/shardId-000000000000").await;
    }
}
