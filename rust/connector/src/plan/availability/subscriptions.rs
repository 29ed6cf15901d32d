//! Availability by subscriptions: the service pushes records to executors, which report the status of their
//! subscriptions. The driver probes only the shards without a report.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::Availability;
use crate::error::Result;
use crate::plan::planning::{NextBatch, Planning};
use crate::plan::probe::Extent;
use crate::read::{self, SubscriptionReports};
use crate::stream::{Position, ShardId};

/// Longest wait of a call for pushed records before it returns that nothing is new.
const LONGEST_WAIT: Duration = Duration::from_millis(200);
/// Time after a batch within which its executors report on their subscriptions.
const REPORTED_WITHIN: Duration = Duration::from_millis(100);
/// Time for which a subscription without records counts as idle without a read. After that a reader checks that the
/// subscription's position is the shard's tip.
const READ_WITHIN: Duration = Duration::from_secs(3_600);

/// The subscriptions of this process, and the reports on those of other processes.
#[derive(Debug)]
pub(in crate::plan) struct Subscriptions(pub SubscriptionReports);

/// Knowledge about shards from their subscriptions.
#[derive(Debug, Default)]
struct Known {
    /// True if a subscription has something to read.
    has_records: bool,
    /// Shards whose subscription is at the position, without a record.
    idle: BTreeSet<ShardId>,
    /// Shards whose subscription is at the position.
    reported: BTreeSet<ShardId>,
    /// Shards that ended at the position.
    ended: Vec<ShardId>,
}

#[async_trait]
impl Availability for Subscriptions {
    /// Waits until a subscription has something to read, in this process or in one that reports on it. Shards without
    /// a report are probed; while the stream is busy, the next batch reads them without a probe. Only a report shows
    /// that a shard has nothing: a shard without one gets a task, which opens its subscription.
    async fn anything_to_read(
        &self,
        source: &str,
        planning: &mut Planning,
    ) -> Result<Option<BTreeSet<ShardId>>> {
        if planning.next_batch == NextBatch::Backlog {
            return Ok(Some(self.idle(source, planning)));
        }
        let busy = planning.next_batch == NextBatch::Busy;
        let deadline = Instant::now() + LONGEST_WAIT;
        let pushed = self.0.arrivals(source);
        // Shards without a report whose probes in this call failed; none before the first probe.
        let mut unknown: Option<BTreeSet<ShardId>> = None;
        loop {
            let known = self.known(source, &planning.positions);
            for shard in known.ended {
                self.0.end(source, &shard);
                planning.positions.insert(shard, Position::ShardEnd);
            }
            let unreported = |(shard, at): (&ShardId, &Position)| {
                *at != Position::ShardEnd && !known.reported.contains(shard)
            };
            let elsewhere = planning.positions.iter().any(unreported);
            let now = Instant::now();
            // No executor reports on these shards: start a batch if the stream is busy, otherwise probe them.
            let due = match busy {
                false => planning.prober.due(),
                // Just after a batch its executors are about to report.
                true if self.0.has_reports_on(source) => {
                    let last_call = planning.prober.last_call();
                    last_call.map(|last_call| last_call + REPORTED_WITHIN)
                }
                true => None,
            };
            let due = due.unwrap_or(now);
            if known.has_records || (busy && elsewhere && due <= now) {
                return Ok(Some(self.idle(source, planning)));
            }
            if elsewhere && due <= now {
                let probed = planning.probe(&known.reported, Extent::NextBatch).await?;
                if !probed.available.is_empty() {
                    return Ok(Some(self.idle(source, planning)));
                }
                unknown = Some(probed.still_unknown(unknown.take()));
            }
            if planning.follow().await? {
                // The batch's readers subscribe to the new shards.
                return Ok(Some(self.idle(source, planning)));
            }
            let awaits = planning.awaits_children();
            let all_known = unknown.as_ref().is_some_and(BTreeSet::is_empty);
            let now = Instant::now();
            if now >= deadline && !awaits && (all_known || !elsewhere) {
                let changed = planning.shards_changed();
                return Ok(changed.then(|| self.idle(source, planning)));
            }
            let wake = match (elsewhere && !all_known, now < deadline) {
                (true, _) => planning.prober.due().unwrap_or(now),
                (false, true) => deadline,
                (false, false) => now + LONGEST_WAIT,
            };
            let _ = tokio::time::timeout_at(wake, pushed.notified()).await;
        }
    }
}

impl Subscriptions {
    /// The shards in which the next batch has nothing to read.
    fn idle(&self, source: &str, planning: &Planning) -> BTreeSet<ShardId> {
        let known = self.known(source, &planning.positions);
        let since = Instant::now().checked_sub(READ_WITHIN);
        let idle = &known.idle & &planning.prober.idle_since(since, &planning.positions);
        &idle - &planning.with_backlog
    }

    /// Knowledge about these positions without a probe.
    fn known(&self, source: &str, positions: &BTreeMap<ShardId, Position>) -> Known {
        let mut known = Known::default();
        for (shard, position) in positions {
            match self.0.availability(source, shard, position) {
                Some(read::Availability::Idle) => {
                    known.idle.insert(shard.clone());
                }
                Some(read::Availability::HasRecords) => known.has_records = true,
                Some(read::Availability::Closed) => known.ended.push(shard.clone()),
                None => continue,
            }
            known.reported.insert(shard.clone());
        }
        known
    }
}
