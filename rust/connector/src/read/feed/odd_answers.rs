//! Patience of a poller with answers that prove nothing: how many it accepts before its task fails.

use std::time::Duration;

use crate::error::{Error, Result};

/// Maximum number of odd answers before the task fails with the last of them.
const MOST_ODD_ANSWERS: u32 = 20;
/// Consecutive refusals that confirm that the shard has lost a position.
const REFUSALS: u32 = 4;
/// Delay before an odd answer's request is repeated.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Implausible answers to one request.
#[derive(Debug, Default)]
pub(super) struct OddAnswers {
    count: u32,
    pub(super) refusals: u32,
}

impl OddAnswers {
    /// Counts an odd answer; fails with it above the maximum.
    pub(super) fn count(&mut self, error: Error) -> Result<()> {
        self.count += 1;
        match self.count > MOST_ODD_ANSWERS {
            true => Err(error),
            false => Ok(()),
        }
    }

    /// Counts an error that proves nothing but may pass; fails with it at once if it can't.
    pub(super) fn count_if_it_passes(&mut self, error: Error) -> Result<()> {
        match error.is_retryable() {
            true => self.count(error),
            false => Err(error),
        }
    }

    /// Counts a refusal of the position; true once there were enough to believe it.
    pub(super) fn is_repeated_refusal(&mut self) -> bool {
        self.refusals += 1;
        self.refusals >= REFUSALS
    }

    /// Waits before the request is repeated.
    pub(super) async fn wait(&self) {
        tokio::time::sleep(ASK_AGAIN).await;
    }

    /// Waits longer with every odd answer, some 105 s in all: for what may be a refusal that passes.
    pub(super) async fn wait_longer(&self) {
        tokio::time::sleep(ASK_AGAIN * self.count).await;
    }
}
