//! Is there anything to read? One question before a batch, answered in one of two ways: [`Polling`] probes the shards,
//! [`Subscriptions`] goes by what the executors' subscriptions report.

mod polling;
mod subscriptions;

use std::collections::BTreeSet;
use std::fmt::Debug;

use async_trait::async_trait;

use super::planning::Planning;
use crate::error::Result;
use crate::stream::ShardId;
pub(super) use polling::Polling;
pub(super) use subscriptions::Subscriptions;

/// How the driver learns whether there is anything to read.
#[async_trait]
pub(super) trait Availability: Debug + Send + Sync {
    /// The shards that are known to have nothing, if the source's next batch has something to read in any other from
    /// where `planning` stands, or keeps that the shards are others now. None once every shard is known to have nothing,
    /// those included that follow shards that ended.
    ///
    /// Waits until the shards may be asked, so it may be called in a loop, and moves shards that ended on. A failure that
    /// passes leaves a shard unknown; an error is one that doesn't pass, or that lasted for minutes. Dropping the future
    /// loses nothing.
    async fn anything_to_read(
        &self,
        source: &str,
        planning: &mut Planning,
    ) -> Result<Option<BTreeSet<ShardId>>>;
}
