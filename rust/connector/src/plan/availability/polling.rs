//! By polling: no executor reads between two batches, so the driver probes the shards.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::Availability;
use crate::error::Result;
use crate::plan::planning::{NextBatch, Planning};
use crate::plan::probe::Extent;
use crate::stream::ShardId;

/// The driver's probes alone.
#[derive(Debug)]
pub(in crate::plan) struct Polling;

#[async_trait]
impl Availability for Polling {
    /// Probes all shards, and those that follow the ones that are found to have ended, until there is something to read
    /// or nothing anywhere. While the stream is busy, the next batch follows without a probe.
    async fn anything_to_read(&self, _source: &str, planning: &mut Planning) -> Result<bool> {
        if planning.next_batch == NextBatch::Busy {
            planning.prober.wait_until_readers_may_ask().await;
            return Ok(true);
        }
        let none = BTreeSet::new();
        // The shards of which nothing could be learnt in this call.
        let mut unknown: Option<BTreeSet<ShardId>> = None;
        let mut pause = true;
        loop {
            if std::mem::replace(&mut pause, true) {
                planning.prober.wait_until_due().await;
            }
            let probed = planning.probe(&none, Extent::FirstRecords).await?;
            if !probed.available.is_empty() {
                return Ok(true);
            }
            let left = probed.still_unknown(unknown);
            if planning.follow().await? {
                // The new shards were not asked yet.
                (unknown, pause) = (None, false);
                continue;
            }
            let settled = left.is_empty() && !planning.awaits_children();
            unknown = Some(left);
            if settled {
                return Ok(planning.shards_changed());
            }
        }
    }
}
