//! The driver's side: which shards there are, where the last batch ended, what the next one reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::checkpoint::hadoop::FileSystem;
use crate::config::SourceConfig;
use crate::engine::Engine;
use crate::error::Result;

/// Plans the micro-batches of one query source. Calls come one at a time, from the query's thread.
pub struct Planner {}

impl Planner {
    /// Opens the planner: looks at the stream, makes nothing. `files` reaches the checkpoint location.
    pub async fn open(_engine: &Engine, _config: SourceConfig, _files: Arc<dyn FileSystem>) -> Result<Self> {
        unimplemented!()
    }

    /// The offset a new query starts from, as JSON. Made once and kept in the checkpoint location.
    pub async fn initial_offset(&self) -> Result<String> {
        unimplemented!()
    }

    /// The next batch's offset after `start`, or none when nothing is new. On an idle stream it waits for the
    /// next look, so it may be called in a loop. Dropping the future is safe.
    pub async fn latest_offset(&self, _start: &str) -> Result<Option<String>> {
        unimplemented!()
    }

    /// The tasks of a batch, one JSON for each shard.
    pub fn partitions(&self, _offset: &str) -> Result<Vec<String>> {
        unimplemented!()
    }

    /// Takes the report of a reader whose task succeeded.
    pub fn report(&self, _report: &str) -> Result<()> {
        unimplemented!()
    }

    /// The batch of this offset is done: removes claims that are no longer needed.
    pub async fn commit(&self, _offset: &str) -> Result<()> {
        unimplemented!()
    }

    /// Fixes what a query with `Trigger.AvailableNow` reads: what is in the stream now.
    pub async fn prepare_for_available_now(&self) -> Result<()> {
        unimplemented!()
    }

    /// The source's metrics for the query's progress.
    pub fn metrics(&self) -> BTreeMap<String, String> {
        unimplemented!()
    }
}
