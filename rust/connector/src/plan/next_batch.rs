//! The next batch: whether there is anything to read, and where its shards start.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::Planner;
use super::availability::Extent;
use super::fan_out::FanOut;
use super::state::{NextBatch, State};
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
        let mut guard = self.state.lock().await;
        let state = &mut *guard;
        if state.batch != Some(start.batch) {
            self.resolve(&start, state).await?;
        }
        state.prober.forget_unknown();
        self.follow(state).await?;
        if let Some(fan_out) = &self.fan_out {
            fan_out.saw([]);
        }
        let planned = match (self.is_available_now(), state.next_batch, &self.fan_out) {
            (true, ..) => self.anything_left(state).await?,
            (_, NextBatch::Backlog, _) => true,
            (_, NextBatch::Busy, None) => {
                state.prober.wait_until_readers_may_ask().await;
                true
            }
            (_, NextBatch::Probe, None) => self.anything_new(state).await?,
            (_, next_batch, Some(fan_out)) => {
                self.anything_pushed(fan_out, &start.source, state, next_batch == NextBatch::Busy)
                    .await?
            }
        };
        if !planned {
            (state.busy, state.next_batch) = (0, NextBatch::Probe);
            self.reports().plan(None);
            return Ok(None);
        }
        state.prober.batch_planned();
        *self.at_tip() = (start.batch + 1, state.prober.tips.seen_at(&state.positions));
        let skipped = self
            .available()
            .as_ref()
            .map(|left| left.done_of(&state.positions))
            .unwrap_or_default();
        let next = start.following(
            state.positions.clone(),
            self.config.options.shards_per_task,
            skipped,
            self.home(),
        );
        self.mark(&next.source).await?;
        next.to_json().map(Some)
    }

    /// Asks all shards, and those that follow the ones that are found to have ended, until there is something to read
    /// or nothing anywhere.
    async fn anything_new(&self, state: &mut State) -> Result<bool> {
        let none = BTreeSet::new();
        // The shards of which nothing could be learnt in this call.
        let mut unknown: Option<BTreeSet<ShardId>> = None;
        let mut pause = true;
        loop {
            if std::mem::replace(&mut pause, true) {
                state.prober.wait_until_due().await;
            }
            let probed = state
                .prober
                .probe(
                    &self.api,
                    &mut state.positions,
                    &none,
                    &self.counters,
                    Extent::FirstRecords,
                )
                .await?;
            if !probed.available.is_empty() {
                return Ok(true);
            }
            let left = probed.still_unknown(unknown);
            if self.follow(state).await? {
                // The new shards were not asked yet.
                (unknown, pause) = (None, false);
                continue;
            }
            let settled = left.is_empty() && !state.shards.awaits_children(&state.positions);
            unknown = Some(left);
            if settled {
                return Ok(state.shards_changed());
            }
        }
    }

    /// Waits until a subscription has something to read, in this process or in one that reports on it. Shards without a
    /// report are probed; while the stream is busy, their next batch follows without a probe.
    async fn anything_pushed(
        &self,
        fan_out: &FanOut,
        source: &str,
        state: &mut State,
        busy: bool,
    ) -> Result<bool> {
        let deadline = Instant::now() + LONGEST_WAIT;
        let pushed = fan_out.arrivals(source);
        // Shards without a report whose probes in this call failed; none before the first probe.
        let mut unknown: Option<BTreeSet<ShardId>> = None;
        loop {
            let known = fan_out.known(source, &state.positions);
            for shard in known.ended {
                fan_out.end(source, &shard);
                state.positions.insert(shard, Position::ShardEnd);
            }
            let unreported = |(shard, at): (&ShardId, &Position)| {
                *at != Position::ShardEnd && !known.standing.contains(shard)
            };
            let elsewhere = state.positions.iter().any(unreported);
            let now = Instant::now();
            // No executor reports on these shards: start a batch if the stream is busy, otherwise probe them.
            let due = match busy {
                false => state.prober.due(),
                // Just after a batch its executors are about to report.
                true if fan_out.has_reports_on(source) => {
                    state.prober.asked_last().map(|asked| asked + REPORTED_WITHIN)
                }
                true => None,
            };
            let due = due.unwrap_or(now);
            if known.has_records || (busy && elsewhere && due <= now) {
                return Ok(true);
            }
            if elsewhere && due <= now {
                let probed = state
                    .prober
                    .probe(
                        &self.api,
                        &mut state.positions,
                        &known.standing,
                        &self.counters,
                        Extent::FirstRecords,
                    )
                    .await?;
                if !probed.available.is_empty() {
                    fan_out.saw(state.prober.hit());
                    return Ok(true);
                }
                unknown = Some(probed.still_unknown(unknown.take()));
            }
            if self.follow(state).await? {
                // The batch's readers subscribe to the new shards.
                return Ok(true);
            }
            let awaits = state.shards.awaits_children(&state.positions);
            let asked = unknown.as_ref().is_some_and(BTreeSet::is_empty);
            let now = Instant::now();
            if now >= deadline && !awaits && (asked || !elsewhere) {
                return Ok(state.shards_changed());
            }
            let wake = match (elsewhere && !asked, now < deadline) {
                (true, _) => state.prober.due().unwrap_or(now),
                (false, true) => deadline,
                (false, false) => now + LONGEST_WAIT,
            };
            let _ = tokio::time::timeout_at(wake, pushed.notified()).await;
        }
    }

    /// Puts the shards that follow in the place of those that ended, where the stream may be listed and can tell
    /// something new. True if there are shards now that were not there before.
    pub(super) async fn follow(&self, state: &mut State) -> Result<bool> {
        let followed = state
            .shards
            .follow(&*self.api, &self.stream, &state.positions)
            .await?;
        if !followed.lost.is_empty() {
            self.lost_shards(&followed.lost)?;
        }
        let Some(positions) = followed.positions else {
            return Ok(false);
        };
        let grown = positions.keys().any(|shard| !state.positions.contains_key(shard));
        state.positions = positions;
        Ok(grown)
    }
}
