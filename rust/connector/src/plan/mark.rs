//! The driver's mark beside the claims, by which executors see that they share the claims' folder with it.

use std::time::Duration;

use tokio::time::Instant;

use super::Planner;
use super::state::State;
use crate::error::Result;

/// The driver's mark is put again with a batch after this time: something may have cleaned it away.
const MARK_AGAIN: Duration = Duration::from_secs(60);

impl Planner {
    /// Leaves the mark of this start of the driver beside the claims of a source, once, in the place of earlier ones'.
    pub(super) async fn mark(&self, source: &str) -> Result<()> {
        let before = self.state.lock().marked.get(source).copied();
        if before.is_some_and(|at| at.elapsed() < MARK_AGAIN) {
            return Ok(());
        }
        match (self.store.leave_mark(source, &self.start).await, before) {
            (Err(error), None) => return Err(error),
            (Ok(()), None) => {
                let (store, source, start) = (self.store.clone(), source.to_owned(), self.start.clone());
                tokio::spawn(async move {
                    // What stays does no harm, and the next start removes it.
                    if let Err(error) = store.remove_other_marks(&source, &start).await {
                        tracing::debug!("marks of earlier starts beside the claims stay: {error}");
                    }
                });
            }
            // The one that was left before is there still, most likely.
            (Err(error), Some(_)) => {
                tracing::warn!(
                    stream = %self.config.options.stream.name,
                    "the mark beside the claims could not be written again: {error}"
                );
            }
            (Ok(()), Some(_)) => {}
        }
        self.state.lock().marked.insert(source.to_owned(), Instant::now());
        Ok(())
    }

    /// Sees to the mark where [`Self::mark`] didn't yet: a batch that Spark runs again after a restart comes before a next
    /// one is asked for. Its executors look for the mark for a while.
    pub(super) fn mark_soon(&self, source: &str, state: &State) {
        if state.marked.contains_key(source) {
            return;
        }
        let (store, source, start) = (self.store.clone(), source.to_owned(), self.start.clone());
        self.runtime.spawn(async move {
            if let Err(error) = store.leave_mark(&source, &start).await {
                tracing::warn!("the mark beside the claims could not be written: {error}");
            }
        });
    }
}
