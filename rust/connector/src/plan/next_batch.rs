//! The next batch: whether there is anything to read, and where its shards start.

use super::Planner;
use super::planning::NextBatch;
use super::state::Planned;
use crate::error::Result;

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
        planning.follow().await?;
        let worth_a_batch = match (self.is_available_now(), planning.next_batch) {
            (true, _) => self.anything_left(planning).await?,
            (false, NextBatch::Backlog) => true,
            (false, NextBatch::Busy | NextBatch::Probe) => {
                let available = self.availability.anything_to_read(&start.source, planning);
                available.await?
            }
        };
        if !worth_a_batch {
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
}
