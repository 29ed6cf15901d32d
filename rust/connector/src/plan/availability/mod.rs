//! Is there anything to read? Decided before a batch in one of two ways: [`Polling`] probes the shards,
//! [`Subscriptions`] uses the status reports of the executors' subscriptions.

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

/// Finds out whether there is anything to read.
#[async_trait]
pub(super) trait Availability: Debug + Send + Sync {
    /// Returns the shards known to have nothing, once a batch of `source` has a purpose: another shard has something
    /// to read after its position in `planning`, or the shards have changed, which only a batch makes durable.
    /// Returns none once every shard is known to have nothing, including the children of ended shards.
    ///
    /// Waits until the shards may be probed, so it may be called in a loop, and replaces ended shards by their
    /// children. A failure that may pass leaves a shard unknown; an error is permanent, or has lasted for minutes.
    /// Dropping the future loses nothing.
    async fn anything_to_read(
        &self,
        source: &str,
        planning: &mut Planning,
    ) -> Result<Option<BTreeSet<ShardId>>>;
}
