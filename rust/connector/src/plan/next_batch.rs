//! Whether there is anything to read, and where the shards of the next batch start.

use std::collections::BTreeSet;

use super::Planner;
use super::state::Planned;
use crate::error::Result;

impl Planner {
    /// The offset of the batch after `start`, or none if nothing is new. None means that every shard was probed since
    /// the call began, as were the children of ended shards. Shards known to have nothing get no task in the batch.
    /// On an idle stream the call first waits until the shards may be probed, so it may be called in a loop. Dropping
    /// the future loses nothing.
    pub async fn latest_offset(&self, start: &str) -> Result<Option<String>> {
        let start = self.own_offset(start)?;
        let mut guard = self.planning.lock().await;
        let planning = &mut *guard;
        if planning.batch != Some(start.batch) {
            self.resolve(&start, planning).await?;
        }
        planning.prober.begin_call();
        planning.follow().await?;
        let idle = match self.is_available_now() {
            true => self.anything_left(planning).await?.then(BTreeSet::new),
            false => {
                let available = self.availability.anything_to_read(&start.source, planning);
                available.await?
            }
        };
        let Some(idle) = idle else {
            planning.rest();
            self.state.lock().reports.plan(None, 0);
            return Ok(None);
        };
        let idle = planning.without_task(&idle, &self.config);
        planning.prober.batch_planned(&planning.positions);
        let planned = Planned {
            batch: start.batch + 1,
            at_tip: planning.prober.tips.seen_at(&planning.positions),
            hit: planning.prober.hit(),
            idle: idle.len(),
        };
        let skipped = {
            let mut state = self.state.lock();
            state.planned = planned;
            let left = state.available_now.as_ref();
            left.map_or(idle, |left| left.done_of(&planning.positions))
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
