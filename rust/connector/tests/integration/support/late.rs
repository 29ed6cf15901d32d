//! A store that hides its claim from a reader's first request, as when two attempts begin at the same time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use kinesis_connector::Result;
use kinesis_connector::claims::backends::memory::MemoryStore;
use kinesis_connector::claims::{Claim, ClaimKey, ClaimStore, PutResult};
use kinesis_connector::stream::ShardId;

#[derive(Debug, Default)]
pub struct LateStore {
    kept: MemoryStore,
    open: AtomicBool,
    /// Notified when a reader is about to claim its end.
    pub claiming: tokio::sync::Notify,
}

impl LateStore {
    pub async fn with_claim(key: &ClaimKey, claim: &Claim) -> Arc<Self> {
        let store = Self::default();
        store.kept.put_if_absent(key, claim).await.expect("claimed");
        Arc::new(store)
    }
}

#[async_trait]
impl ClaimStore for LateStore {
    async fn put_if_absent(&self, key: &ClaimKey, claim: &Claim) -> Result<PutResult> {
        // The reader handles the result before it yields again, as these tests have one thread.
        self.claiming.notify_one();
        self.kept.put_if_absent(key, claim).await
    }

    async fn get(&self, key: &ClaimKey) -> Result<Option<Claim>> {
        match self.open.swap(true, Ordering::Relaxed) {
            true => self.kept.get(key).await,
            false => Ok(None),
        }
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
