//! A slow claim store and the checkpoint's files, in memory.
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kinesis_connector::Result;
use kinesis_connector::claims::backends::memory::MemoryStore;
use kinesis_connector::claims::{Claim, ClaimKey, ClaimStore, PutResult};
use kinesis_connector::storage::FileSystem;
use kinesis_connector::stream::ShardId;

/// A slow store, so that concurrent attempts interfere with each other.
#[derive(Debug, Default)]
pub(super) struct SlowStore {
    pub(super) kept: MemoryStore,
    requests: AtomicU64,
}

impl SlowStore {
    async fn take_time(&self) {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(request * 7 % 4)).await;
    }
}

#[async_trait]
impl ClaimStore for SlowStore {
    async fn put_if_absent(&self, key: &ClaimKey, claim: &Claim) -> Result<PutResult> {
        self.take_time().await;
        let result = self.kept.put_if_absent(key, claim).await;
        self.take_time().await;
        result
    }

    async fn get(&self, key: &ClaimKey) -> Result<Option<Claim>> {
        self.take_time().await;
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

/// Files of the checkpoint location.
#[derive(Default)]
pub(super) struct Files(Mutex<HashMap<String, Vec<u8>>>);

impl Files {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<u8>>> {
        self.0.lock().expect("no test panics while it holds the files")
    }
}

#[async_trait]
impl FileSystem for Files {
    async fn put_if_absent(&self, path: &str, content: Vec<u8>) -> Result<bool> {
        match self.all().entry(path.to_owned()) {
            Entry::Occupied(_) => Ok(false),
            Entry::Vacant(free) => {
                free.insert(content);
                Ok(true)
            }
        }
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.all().get(path).cloned())
    }

    async fn list(&self, _: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.all().remove(path);
        Ok(())
    }
}
