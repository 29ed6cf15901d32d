//! By polling: no executor reads between two batches, so the driver probes the shards.

use std::collections::BTreeSet;

use async_trait::async_trait;
use tokio::time::Instant;

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
    /// or nothing anywhere. Shards that are sure to have something are not probed; where that is most of them, none is,
    /// and the next batch reads all.
    async fn anything_to_read(
        &self,
        _source: &str,
        planning: &mut Planning,
    ) -> Result<Option<BTreeSet<ShardId>>> {
        if planning.next_batch == NextBatch::Busy {
            planning.prober.wait_until_readers_may_ask().await;
        }
        let probes = planning.next_batch == NextBatch::Probe;
        let sure = match probes {
            true => BTreeSet::new(),
            false => planning.sure(),
        };
        if !probes && planning.are_most(&sure) {
            return Ok(Some(BTreeSet::new()));
        }
        // There is a batch: what was asked lately need not be asked before it.
        let lately = match sure.is_empty() {
            true => BTreeSet::new(),
            false => planning.prober.idle_lately(&planning.positions),
        };
        let skip = &sure | &lately;
        // The shards of which nothing could be learnt in this call.
        let mut unknown: Option<BTreeSet<ShardId>> = None;
        let mut pause = probes;
        loop {
            if std::mem::replace(&mut pause, true) {
                planning.prober.wait_until_due().await;
            }
            if !sure.is_empty() && planning.is_covered_by(&skip) {
                return Ok(Some(&lately - &sure));
            }
            let began = Instant::now();
            let probed = planning.probe(&skip, Extent::NextBatch).await?;
            if !sure.is_empty() || !probed.available.is_empty() {
                let idle = planning.prober.idle_since(Some(began), &planning.positions);
                return Ok(Some(&(&idle | &lately) - &sure));
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
                let idle = planning.prober.idle_since(Some(began), &planning.positions);
                return Ok(planning.shards_changed().then_some(idle));
            }
        }
    }
}
