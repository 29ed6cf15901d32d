//! How subscriptions hear of a shard's records and of its end.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// What happened to a shard, for those who wait for it.
#[derive(Debug, Default)]
pub(crate) struct News {
    arrived: AtomicBool,
    waiting: Notify,
}

impl News {
    /// Notes that there is a record more. Nobody is woken yet: a request puts many.
    pub fn arrived(&self) {
        self.arrived.store(true, Ordering::Release);
    }

    /// Wakes those who wait if something arrived.
    pub fn tell(&self) {
        if self.arrived.load(Ordering::Acquire) && self.arrived.swap(false, Ordering::AcqRel) {
            self.waiting.notify_waiters();
        }
    }

    /// Resolves when something is told after it was enabled.
    pub fn wait(&self) -> Notified<'_> {
        self.waiting.notified()
    }
}
