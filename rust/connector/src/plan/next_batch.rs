//! The next batch: whether there is anything to read, and where its shards start.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::Planner;
use super::availability::Extent;
use super::fan_out::FanOut;
use super::planning::{NextBatch, Planning};
use super::state::Planned;
use crate::error::Result;
use crate::stream::{Position, ShardId};

/// How long a call waits for subscriptions to push something before it answers that nothing is new.
const LONGEST_WAIT: Duration = Duration::from_millis(200);
/// How long after a batch its executors may take to report on their subscriptions.
const REPORTED_WITHIN: Duration = Duration::from_millis(100);

impl Planner {
    /// The next batch's offset after `start`, or none when nothing is new: every shard was asked since the call began,
    /// and those that follow shards that ended. On an idle stream it first waits until the shards may be asked, so it
    /// may be called in a loop. Dropping the future loses nothing.
    pub async fn latest_offset(&self, start: &str) -> Result<Option<String>> {
        let start = self.own_offset(start)?;
        let mut guard = self.planning.lock().await;
        let planning = &mut *guard;
        if planning.batch != Some(start.batch) {
            self.resolve(&start, planning).await?;
        }
        planning.prober.begin_call();
        self.follow(planning).await?;
        let planned = match (self.is_available_now(), planning.next_batch, &self.fan_out) {
            (true, ..) => self.anything_left(planning).await?,
            (_, NextBatch::Backlog, _) => true,
            (_, NextBatch::Busy, None) => {
                planning.prober.wait_until_readers_may_ask().await;
                true
            }
            (_, NextBatch::Probe, None) => self.anything_new(planning).await?,
            (_, next_batch, Some(fan_out)) => {
                self.anything_pushed(fan_out, &start.source, planning, next_batch == NextBatch::Busy)
                    .await?
            }
        };
        if !planned {
            (planning.busy, planning.next_batch) = (0, NextBatch::Probe);
            self.state.lock().reports.plan(None);
            return Ok(None);
        }
        planning.prober.batch_planned();
        let planned = Planned {
            batch: start.batch + 1,
            at_tip: planning.prober.tips.seen_at(&planning.positions),
            hit: planning.prober.hit(),
        };
        let skipped = {
            let mut state = self.state.lock();
            state.planned = planned;
            let left = state.available_now.as_ref();
            left.map(|left| left.done_of(&planning.positions))
                .unwrap_or_default()
        };
        let next = start.following(
            planning.positions.clone(),
            self.config.options.shards_per_task,
            skipped,
            self.home(),
        );
        self.mark(&next.source).await?;
        next.to_json().map(Some)
    }

    /// Asks all shards, and those that follow the ones that are found to have ended, until there is something to read
    /// or nothing anywhere.
    async fn anything_new(&self, planning: &mut Planning) -> Result<bool> {
        let none = BTreeSet::new();
        // The shards of which nothing could be learnt in this call.
        let mut unknown: Option<BTreeSet<ShardId>> = None;
        let mut pause = true;
        loop {
            if std::mem::replace(&mut pause, true) {
                planning.prober.wait_until_due().await;
            }
            let probed = planning
                .prober
                .probe(
                    &self.api,
                    &mut planning.positions,
                    &none,
                    &self.counters,
                    Extent::FirstRecords,
                )
                .await?;
            if !probed.available.is_empty() {
                return Ok(true);
            }
            let left = probed.still_unknown(unknown);
            if self.follow(planning).await? {
                // The new shards were not asked yet.
                (unknown, pause) = (None, false);
                continue;
            }
            let settled = left.is_empty() && !planning.shards.awaits_children(&planning.positions);
            unknown = Some(left);
            if settled {
                return Ok(planning.shards_changed());
            }
        }
    }

    /// Waits until a subscription has something to read, in this process or in one that reports on it. Shards without a
    /// report are probed; while the stream is busy, their next batch follows without a probe.
    async fn anything_pushed(
        &self,
        fan_out: &FanOut,
        source: &str,
        planning: &mut Planning,
        busy: bool,
    ) -> Result<bool> {
        let deadline = Instant::now() + LONGEST_WAIT;
        let pushed = fan_out.arrivals(source);
        // Shards without a report whose probes in this call failed; none before the first probe.
        let mut unknown: Option<BTreeSet<ShardId>> = None;
        loop {
            let known = fan_out.known(source, &planning.positions);
            for shard in known.ended {
                fan_out.end(source, &shard);
                planning.positions.insert(shard, Position::ShardEnd);
            }
            let unreported = |(shard, at): (&ShardId, &Position)| {
                *at != Position::ShardEnd && !known.standing.contains(shard)
            };
            let elsewhere = planning.positions.iter().any(unreported);
            let now = Instant::now();
            // No executor reports on these shards: start a batch if the stream is busy, otherwise probe them.
            let due = match busy {
                false => planning.prober.due(),
                // Just after a batch its executors are about to report.
                true if fan_out.has_reports_on(source) => {
                    planning.prober.asked_last().map(|asked| asked + REPORTED_WITHIN)
                }
                true => None,
            };
            let due = due.unwrap_or(now);
            if known.has_records || (busy && elsewhere && due <= now) {
                return Ok(true);
            }
            if elsewhere && due <= now {
                let probed = planning
                    .prober
                    .probe(
                        &self.api,
                        &mut planning.positions,
                        &known.standing,
                        &self.counters,
                        Extent::FirstRecords,
                    )
                    .await?;
                if !probed.available.is_empty() {
                    return Ok(true);
                }
                unknown = Some(probed.still_unknown(unknown.take()));
            }
            if self.follow(planning).await? {
                // The batch's readers subscribe to the new shards.
                return Ok(true);
            }
            let awaits = planning.shards.awaits_children(&planning.positions);
            let asked = unknown.as_ref().is_some_and(BTreeSet::is_empty);
            let now = Instant::now();
            if now >= deadline && !awaits && (asked || !elsewhere) {
                return Ok(planning.shards_changed());
            }
            let wake = match (elsewhere && !asked, now < deadline) {
                (true, _) => planning.prober.due().unwrap_or(now),
                (false, true) => deadline,
                (false, false) => now + LONGEST_WAIT,
            };
            let _ = tokio::time::timeout_at(wake, pushed.notified()).await;
        }
    }

    /// Puts the shards that follow in the place of those that ended, where the stream may be listed and can tell
    /// something new. True if there are shards now that were not there before.
    pub(super) async fn follow(&self, planning: &mut Planning) -> Result<bool> {
        let followed = planning
            .shards
            .follow(&*self.api, &self.stream, &planning.positions)
            .await?;
        if !followed.lost.is_empty() {
            self.lost_shards(&followed.lost)?;
        }
        let Some(positions) = followed.positions else {
            return Ok(false);
        };
        let grown = positions
            .keys()
            .any(|shard| !planning.positions.contains_key(shard));
        planning.positions = positions;
        Ok(grown)
    }
}
