//! Wakes subscriptions when their shard gets records or ends.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Change signal of a shard, for its subscriptions.
#[derive(Debug, Default)]
pub(crate) struct ChangeSignal {
    arrived: AtomicBool,
    waiting: Notify,
}

impl ChangeSignal {
    /// Notes a new record. Waiters are woken later by [`notify`](Self::notify), as one request puts many records.
    pub fn mark(&self) {
        self.arrived.store(true, Ordering::Release);
    }

    /// Wakes the waiters if a record arrived.
    pub fn notify(&self) {
        if self.arrived.load(Ordering::Acquire) && self.arrived.swap(false, Ordering::AcqRel) {
            self.waiting.notify_waiters();
        }
    }

    /// Resolves at the next wake-up after the future is enabled.
    pub fn wait(&self) -> Notified<'_> {
        self.waiting.notified()
    }
}
