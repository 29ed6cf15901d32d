//! Waits of a task's writers: their wake-ups and their total time.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Wake-up signal and clock of all that wait on a task's behalf. Time in which several wait counts once.
#[derive(Debug, Default)]
pub(super) struct SharedWaits {
    signal: Notify,
    clock: Mutex<Clock>,
}

#[derive(Debug, Default)]
struct Clock {
    waiting: usize,
    since: Option<Instant>,
    total: Duration,
}

impl SharedWaits {
    /// Wakes all waiters: a batch found a connection, a request ended, or something failed.
    pub(super) fn notify(&self) {
        self.signal.notify_waiters();
    }

    /// Ready after the next [`notify`](Self::notify). Call it before checking the awaited condition, so that no
    /// notification in between is missed. Counts as waiting from its first poll on.
    pub(super) fn changed(&self) -> impl Future<Output = ()> {
        let signal = self.signal.notified();
        async move {
            let _counted = Counted::start(self);
            signal.await;
        }
    }

    /// Time in which at least one waited, in milliseconds.
    pub(super) fn millis(&self) -> u64 {
        u64::try_from(self.lock().total.as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock()
    }
}

/// Counts one waiter until it is dropped.
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
        let signal = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            waits.notify();
        };
        tokio::join!(one, other, signal);
        assert_eq!(waits.millis(), 3_000);
        tokio::time::sleep(Duration::from_secs(5)).await;
        // A waiter that gives up counts up to that time.
        let _ = tokio::time::timeout(Duration::from_secs(2), waits.changed()).await;
        assert_eq!(waits.millis(), 5_000);
    }
}
