//! Whether there is anything to read, and where the shards of the next batch start.

use std::collections::BTreeSet;

use super::Planner;
use super::state::Planned;
use crate::error::Result;
use crate::stream::Offset;

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
        if planning.started.is_none() {
            planning.started = Some((start.source.clone(), self.other_source(&start).await?));
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
        let mut next = start.following(
            planning.positions.clone(),
            self.config.options.shards_per_task,
            skipped,
            self.home(),
        );
        // Known now, even if it wasn't when the query first started.
        next.created = self.stream.created_millis;
        if let Some((started, Some(other))) = &planning.started
            && next.source == *started
        {
            next.source.clone_from(other);
        }
        self.mark(&next.source).await?;
        next.to_json().map(Some)
    }

    /// The source that takes the place of this offset's own if the checkpoint was set back: if batches after the
    /// offset's were run before. Their claims have ends of other batches.
    async fn other_source(&self, start: &Offset) -> Result<Option<String>> {
        if start.home.as_ref().is_some_and(|home| *home != self.home()) {
            // A copy: it gets another source anyway, and the later batches may be the original's.
            return Ok(None);
        }
        match self
            .store
            .has_from(&start.source, start.batch.saturating_add(1))
            .await
        {
            Ok(false) => Ok(None),
            Ok(true) => {
                tracing::warn!(
                    stream = %start.stream,
                    batch = start.batch,
                    "batches after this one ran before: the checkpoint was set back. The query goes on from here, and \
                     delivers their records again"
                );
                Ok(Some(uuid::Uuid::new_v4().to_string()))
            }
            Err(error) if error.is_retryable() => Err(error),
            Err(error) => {
                tracing::warn!(
                    stream = %start.stream,
                    "whether the checkpoint was set back is not known: {error}"
                );
                Ok(None)
            }
        }
    }
}
