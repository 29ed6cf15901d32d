//! What the writers of one task wait for, and how long.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Shared by all who wait on a task's behalf. Time in which several wait counts once.
#[derive(Debug, Default)]
pub(super) struct SharedWaits {
    news: Notify,
    clock: Mutex<Clock>,
}

#[derive(Debug, Default)]
struct Clock {
    waiting: usize,
    since: Option<Instant>,
    total: Duration,
}

impl SharedWaits {
    /// Tells all who wait: a batch found a connection, a request ended, something failed.
    pub(super) fn notify(&self) {
        self.news.notify_waiters();
    }

    /// Ready after the next [`notify`](Self::notify). Made before a look at what is waited for, it misses no news in
    /// between. Counts as waiting while it is polled.
    pub(super) fn changed(&self) -> impl Future<Output = ()> {
        let news = self.news.notified();
        async move {
            let _counted = Counted::start(self);
            news.await;
        }
    }

    /// How long anybody waited.
    pub(super) fn millis(&self) -> u64 {
        u64::try_from(self.lock().total.as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock()
    }
}

/// One who waits, until it is dropped.
struct Counted<'w>(&'w SharedWaits);

impl<'w> Counted<'w> {
    fn start(waits: &'w SharedWaits) -> Self {
        let mut clock = waits.lock();
        clock.waiting += 1;
        clock.since.get_or_insert_with(Instant::now);
        Self(waits)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut clock = self.0.lock();
        clock.waiting -= 1;
        if clock.waiting == 0
            && let Some(since) = clock.since.take()
        {
            clock.total += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_in_which_several_wait_counts_once() {
        let waits = SharedWaits::default();
        let one = async {
            let changed = waits.changed();
            tokio::time::sleep(Duration::from_secs(1)).await;
            changed.await;
        };
        let other = waits.changed();
        let news = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            waits.notify();
        };
        tokio::join!(one, other, news);
        assert_eq!(waits.millis(), 3_000);
        tokio::time::sleep(Duration::from_secs(5)).await;
        // Nobody waits any longer for what gives up.
        let _ = tokio::time::timeout(Duration::from_secs(2), waits.changed()).await;
        assert_eq!(waits.millis(), 5_000);
    }
}
