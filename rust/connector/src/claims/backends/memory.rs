//! A store in the memory of this process, for tests.

use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};

use crate::claims::{Claim, ClaimKey, ClaimStore, PutResult};
use crate::error::Result;
use crate::stream::ShardId;

/// Claims that live as long as this value.
#[derive(Debug, Default)]
pub struct MemoryStore {
    claims: Mutex<BTreeMap<ClaimKey, Claim>>,
}

impl MemoryStore {
    fn claims(&self) -> MutexGuard<'_, BTreeMap<ClaimKey, Claim>> {
        self.claims.lock()
    }
}

#[async_trait]
impl ClaimStore for MemoryStore {
    async fn put_if_absent(&self, key: &ClaimKey, claim: &Claim) -> Result<PutResult> {
        let mut claims = self.claims();
        if let Some(first) = claims.get(key) {
            return Ok(PutResult::Exists(first.clone()));
        }
        claims.insert(key.clone(), claim.clone());
        Ok(PutResult::Stored)
    }

    async fn get(&self, key: &ClaimKey) -> Result<Option<Claim>> {
        Ok(self.claims().get(key).cloned())
    }

    async fn load(&self, source: &str, batch: u64) -> Result<BTreeMap<ShardId, Claim>> {
        let claims = self.claims();
        let of_batch = claims
            .iter()
            .filter(|(key, _)| key.source == source && key.batch == batch);
        Ok(of_batch
            .map(|(key, claim)| (key.shard.clone(), claim.clone()))
            .collect())
    }

    async fn has_from(&self, source: &str, batch: u64) -> Result<bool> {
        let claims = self.claims();
        let mut keys = claims.keys();
        Ok(keys.any(|key| key.source == source && key.batch >= batch))
    }

    async fn purge(&self, source: &str, before: u64) -> Result<()> {
        self.claims()
            .retain(|key, _| key.source != source || key.batch >= before);
        Ok(())
    }
}
