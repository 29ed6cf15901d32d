//! The store on a Hadoop file system, reached through an up-call: one file for each claim,
//! `<folder>/<source>/<batch>/<shard>`, and the driver's mark beside the batches.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::claims::{Claim, ClaimKey, ClaimStore, PutResult, not_shared};
use crate::error::{Error, ErrorKind, Result};
use crate::options::RetryOptions;
use crate::service::{RequestCounters, with_retries};
use crate::storage::FileSystem;
use crate::stream::ShardId;

/// Prefix of the mark's file name. The file lies beside a source's batches and shows executors that they see the
/// driver's folder. The rest of its name is the query's start, so that a mark of an earlier driver, on that driver's
/// own disk, does not count. An earlier release's file has only this name.
const MARK: &str = "driver";
/// Maximum number of earlier starts' marks to remove at a time.
const MARKS_REMOVED: usize = 100;
/// Number of attempts to find the mark before the folder counts as another one than the driver's. Some file systems
/// show another machine's files seconds later (cached folders, HDFS's observer nodes).
const MARK_ATTEMPTS: u32 = 6;
/// Wait before the second attempt. Each further wait is twice as long: 8 s in all.
const MARK_RETRY_PAUSE: Duration = Duration::from_millis(250);
/// Number of claims of one batch that are read at once.
const READS_AT_ONCE: usize = 16;

/// Claims as files.
#[derive(Clone)]
pub struct HadoopStore {
    files: Arc<dyn FileSystem>,
    folder: String,
    retry: RetryOptions,
    counters: Arc<RequestCounters>,
}

impl fmt::Debug for HadoopStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HadoopStore")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl HadoopStore {
    /// A store under this folder, which need not exist yet.
    pub fn new(files: Arc<dyn FileSystem>, folder: &str, retry: RetryOptions) -> Self {
        Self {
            files,
            folder: folder.trim_end_matches('/').to_owned(),
            retry,
            counters: Arc::default(),
        }
    }

    fn batch_folder(&self, source: &str, batch: u64) -> String {
        format!("{}/{source}/{batch}", self.folder)
    }

    fn mark(&self, source: &str, start: &str) -> String {
        format!("{}/{source}/{MARK}-{start}", self.folder)
    }

    fn path(&self, key: &ClaimKey) -> String {
        format!("{}/{}", self.batch_folder(&key.source, key.batch), key.shard)
    }

    async fn retried<T, F, Fut>(&self, attempt: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        with_retries(&self.retry, &self.counters, attempt).await
    }
}

#[async_trait]
impl ClaimStore for HadoopStore {
    async fn leave_mark(&self, source: &str, start: &str) -> Result<()> {
        let path = self.mark(source, start);
        self.retried(|| self.files.put_if_absent(&path, source.as_bytes().to_vec()))
            .await?;
        Ok(())
    }

    async fn remove_other_marks(&self, source: &str, start: &str) -> Result<()> {
        let folder = format!("{}/{source}", self.folder);
        let own = format!("{MARK}-{start}");
        // Without retries: after a failure the next start tries again.
        let names = self.files.list(&folder).await?;
        let others = names
            .iter()
            .filter(|name| name.starts_with(MARK) && **name != own);
        for name in others.take(MARKS_REMOVED) {
            let path = format!("{folder}/{name}");
            self.files.delete(&path).await?;
        }
        Ok(())
    }

    async fn find_mark(&self, source: &str, start: &str) -> Result<()> {
        let path = self.mark(source, start);
        for attempt in 0..MARK_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(MARK_RETRY_PAUSE * 2_u32.pow(attempt - 1)).await;
            }
            if self.retried(|| self.files.read(&path)).await?.is_some() {
                return Ok(());
            }
        }
        Err(not_shared(&format!(
            "this executor doesn't find {path}, which the driver wrote"
        )))
    }

    async fn put_if_absent(&self, key: &ClaimKey, claim: &Claim) -> Result<PutResult> {
        let (path, content) = (self.path(key), claim.to_json()?);
        // A put whose response was lost finds its own claim on the second try; that claim counts like any other.
        if self
            .retried(|| self.files.put_if_absent(&path, content.clone()))
            .await?
        {
            return Ok(PutResult::Stored);
        }
        match self.get(key).await? {
            Some(first) => Ok(PutResult::Exists(first)),
            None => Err(Error::new(
                ErrorKind::Store,
                format!("the claim at {path} vanished between two looks; was the folder cleaned?"),
            )
            .retryable(true)),
        }
    }

    async fn get(&self, key: &ClaimKey) -> Result<Option<Claim>> {
        let path = self.path(key);
        let content = self.retried(|| self.files.read(&path)).await?;
        content.map(|json| Claim::from_json(&json, &path)).transpose()
    }

    async fn load(&self, source: &str, batch: u64) -> Result<BTreeMap<ShardId, Claim>> {
        let folder = self.batch_folder(source, batch);
        let names = self.retried(|| self.files.list(&folder)).await?;
        let keys: Vec<ClaimKey> = names
            .iter()
            .map(|name| ClaimKey {
                source: source.to_owned(),
                batch,
                shard: ShardId::from(name.as_str()),
            })
            .collect();
        let claims: Vec<(ShardId, Option<Claim>)> = stream::iter(keys)
            .map(|key| async move { self.get(&key).await.map(|claim| (key.shard, claim)) })
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(claims
            .into_iter()
            .filter_map(|(shard, claim)| Some((shard, claim?)))
            .collect())
    }

    async fn has_from(&self, source: &str, batch: u64) -> Result<bool> {
        let folder = format!("{}/{source}", self.folder);
        let names = self.retried(|| self.files.list(&folder)).await?;
        let mut batches = names.iter().filter_map(|name| name.parse::<u64>().ok());
        Ok(batches.any(|known| known >= batch))
    }

    async fn purge(&self, source: &str, before: u64) -> Result<()> {
        let folder = format!("{}/{source}", self.folder);
        let names = self.retried(|| self.files.list(&folder)).await?;
        for name in names
            .iter()
            .filter(|name| name.parse::<u64>().is_ok_and(|batch| batch < before))
        {
            let path = format!("{folder}/{name}");
            self.retried(|| self.files.delete(&path)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// Shows another machine's files five seconds late, and removes nothing.
    struct Lagging(Instant);

    #[async_trait]
    impl FileSystem for Lagging {
        async fn put_if_absent(&self, _: &str, _: Vec<u8>) -> Result<bool> {
            Ok(true)
        }
        async fn read(&self, _: &str) -> Result<Option<Vec<u8>>> {
            Ok((self.0.elapsed() >= Duration::from_secs(5)).then(Vec::new))
        }
        async fn list(&self, _: &str) -> Result<Vec<String>> {
            Ok(vec!["driver-1".to_owned(), "driver-2".to_owned()])
        }
        async fn delete(&self, path: &str) -> Result<()> {
            Err(Error::new(ErrorKind::Store, format!("{path} can't be removed")).retryable(true))
        }
    }

    fn lagging() -> HadoopStore {
        let retry = RetryOptions {
            retries: 5,
            interval: Duration::from_secs(1),
            max_interval: Duration::from_secs(10),
        };
        HadoopStore::new(Arc::new(Lagging(Instant::now())), "/claims", retry)
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_that_is_seen_late_is_waited_for() {
        lagging().find_mark("source", "1").await.expect("seen");
    }

    #[tokio::test(start_paused = true)]
    async fn marks_that_stay_hold_no_batch_up() {
        let began = Instant::now();
        let left = lagging().remove_other_marks("source", "1").await;
        assert!(left.is_err());
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
