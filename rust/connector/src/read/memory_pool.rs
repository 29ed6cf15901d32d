//! Memory pool: the bytes that all readers of a process together may fetch ahead.

use std::sync::Arc;

use tokio::sync::watch;

use crate::options::SourceOptions;

/// Counts the bytes that wait in readers' queues and buffers. Cloning shares the count. Each query brings its own
/// bound (`kinesis.prefetch.maxBytesPerExecutor`), but everybody's bytes count against it.
#[derive(Clone, Debug)]
pub(crate) struct MemoryPool {
    used: Arc<watch::Sender<usize>>,
}

impl Default for MemoryPool {
    fn default() -> Self {
        Self {
            used: Arc::new(watch::Sender::new(0)),
        }
    }
}

/// Upper bounds for the bytes that wait for a shard's readers.
#[derive(Clone, Debug)]
pub(crate) struct MemoryLimits {
    /// Bound for the shard (`kinesis.prefetch.maxBytesPerShard`).
    pub own: usize,
    /// Bound for the whole process (`kinesis.prefetch.maxBytesPerExecutor`).
    pub all: usize,
    pub pool: MemoryPool,
}

impl MemoryLimits {
    pub(crate) fn new(options: &SourceOptions, pool: &MemoryPool) -> Self {
        let bytes = |option: u64| usize::try_from(option).unwrap_or(usize::MAX);
        Self {
            own: bytes(options.prefetch_max_bytes_per_shard),
            all: bytes(options.prefetch_max_bytes_per_executor),
            pool: pool.clone(),
        }
    }
}

/// Bytes taken from a pool; dropping the reservation returns them.
#[derive(Debug)]
pub(crate) struct MemoryReservation {
    pool: MemoryPool,
    bytes: usize,
}

impl MemoryPool {
    /// Takes bytes if they fit under the bound `most`.
    pub(crate) fn try_reserve(&self, bytes: usize, most: usize) -> Option<MemoryReservation> {
        let fits = |used: &usize| used.saturating_add(bytes) <= most;
        self.used
            .send_if_modified(|used| {
                let free = fits(used);
                if free {
                    *used += bytes;
                }
                free
            })
            .then(|| self.reserved(bytes))
    }

    /// Takes bytes regardless of any bound: a reader with nothing in hand must always make progress.
    pub(crate) fn grow(&self, bytes: usize) -> MemoryReservation {
        self.used.send_modify(|used| *used += bytes);
        self.reserved(bytes)
    }

    /// Waits until this many bytes fit under the bound. Others may take them before the caller does.
    pub(crate) async fn wait_for(&self, bytes: usize, most: usize) {
        let mut used = self.used.subscribe();
        // The sender lives as long as `self`.
        let _ = used.wait_for(|used| used.saturating_add(bytes) <= most).await;
    }

    /// Free bytes under the bound `most`.
    pub(crate) fn left(&self, most: usize) -> usize {
        most.saturating_sub(*self.used.borrow())
    }

    /// Bytes in use.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        *self.used.borrow()
    }

    fn reserved(&self, bytes: usize) -> MemoryReservation {
        MemoryReservation {
            pool: self.clone(),
            bytes,
        }
    }
}

impl MemoryReservation {
    /// Changes the reservation to `bytes`; false, with nothing changed, if it would have to grow beyond the bound
    /// `most`.
    pub(crate) fn resize(&mut self, bytes: usize, most: usize) -> bool {
        let fits = self.pool.used.send_if_modified(|used| {
            let others = used.saturating_sub(self.bytes);
            let fits = bytes <= self.bytes || others.saturating_add(bytes) <= most;
            if fits {
                *used = others + bytes;
            }
            fits
        });
        if fits {
            self.bytes = bytes;
        }
        fits
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.pool
            .used
            .send_modify(|used| *used = used.saturating_sub(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_back_and_wake_whoever_waits() {
        let pool = MemoryPool::default();
        let first = pool.try_reserve(60, 100).expect("free");
        assert!(pool.try_reserve(60, 100).is_none());
        let over = pool.grow(60);
        assert_eq!(pool.used(), 120);
        let waiting = pool.clone();
        let waiter = tokio::spawn(async move { waiting.wait_for(60, 100).await });
        tokio::task::yield_now().await;
        drop(over);
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(first);
        waiter.await.expect("woken");
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn what_is_reserved_shrinks_always_and_grows_beneath_the_bound() {
        let pool = MemoryPool::default();
        let (mut first, second) = (pool.grow(60), pool.grow(60));
        assert!(first.resize(50, 10));
        assert_eq!(pool.used(), 110);
        assert!(!first.resize(51, 110));
        assert!(first.resize(51, 111));
        assert_eq!(pool.used(), 111);
        drop((first, second));
        assert_eq!(pool.used(), 0);
    }
}
