//! The driver's mark beside the claims, which shows executors that they share the claims' folder with the driver.

use std::time::Duration;

use tokio::time::Instant;

use super::Planner;
use super::state::State;
use crate::error::Result;

/// Time after which a batch writes the mark again: a clean-up may have removed it.
const MARK_AGAIN: Duration = Duration::from_secs(60);

impl Planner {
    /// Writes the mark of this start of the driver beside a source's claims. The first write removes the marks of
    /// earlier starts; later ones follow at most once in [`MARK_AGAIN`].
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
                    // A mark that stays does no harm, and the next start removes it.
                    if let Err(error) = store.remove_other_marks(&source, &start).await {
                        tracing::debug!("marks of earlier starts beside the claims stay: {error}");
                    }
                });
            }
            // The mark written before is most likely still there.
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

    /// Writes the mark in the background if [`Self::mark`] has not written it: after a restart, Spark runs the last
    /// batch again before it asks for the next one. That batch's executors look for the mark for a while.
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
