//! Availability by polling: no executor reads between two batches, so the driver probes the shards.

use std::collections::BTreeSet;

use async_trait::async_trait;
use tokio::time::Instant;

use super::Availability;
use crate::error::Result;
use crate::plan::planning::{NextBatch, Planning};
use crate::plan::probe::Extent;
use crate::stream::ShardId;

/// Availability from the driver's probes alone.
#[derive(Debug)]
pub(in crate::plan) struct Polling;

#[async_trait]
impl Availability for Polling {
    /// Probes all shards, and the children of those found to have ended, until one has records or none has any.
    /// Shards certain to have records are not probed, and wait only briefly for the others. If they are most of the
    /// shards, none is probed and the next batch reads all.
    async fn anything_to_read(
        &self,
        _source: &str,
        planning: &mut Planning,
    ) -> Result<Option<BTreeSet<ShardId>>> {
        if planning.next_batch == NextBatch::Busy {
            planning.prober.wait_until_readers_may_call().await;
        }
        let probes = planning.next_batch == NextBatch::Probe;
        let sure = match probes {
            true => BTreeSet::new(),
            false => planning.sure(),
        };
        if !probes && planning.are_most(&sure) {
            return Ok(Some(BTreeSet::new()));
        }
        if !sure.is_empty() {
            return idle_beside(planning, &sure).await.map(Some);
        }
        // Shards that are unknown after the probes of this call.
        let mut unknown: Option<BTreeSet<ShardId>> = None;
        let mut pause = probes;
        loop {
            if std::mem::replace(&mut pause, true) {
                planning.prober.wait_until_due().await;
            }
            let began = Instant::now();
            let probed = planning.probe(&BTreeSet::new(), Extent::NextBatch).await?;
            if !probed.available.is_empty() {
                return Ok(Some(planning.prober.idle_since(Some(began), &planning.positions)));
            }
            let left = probed.still_unknown(unknown);
            if planning.follow().await? {
                // The new shards were not probed yet.
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

/// The shards outside `sure` that have nothing, by responses that arrive soon or by recent ones. So neither a shard
/// without a response nor the number of shards delays the batch, and a failed call is not repeated with every batch.
async fn idle_beside(planning: &mut Planning, sure: &BTreeSet<ShardId>) -> Result<BTreeSet<ShardId>> {
    let skip = sure | &planning.prober.called_recently();
    let probes = planning.prober.answers_beside() && !planning.is_covered_by(&skip);
    let of_most = probes && planning.probe(&skip, Extent::Beside).await?.of_most;
    let idle = planning.prober.idle_for_now(of_most, &planning.positions);
    Ok(&idle - sure)
}
