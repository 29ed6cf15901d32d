//! Received events of a subscription that no task has taken yet, bounded in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::page_buffer::PageBuffer;
use crate::error::{Error, ErrorKind, Result};
use crate::read::memory_pool::MemoryLimits;
use crate::service::Page;

/// After this time without sight, a subscription's view of its shard is unknown: a renewal takes less.
const BLIND: Duration = Duration::from_secs(1);

/// Receivers of a notification that something arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Bell {
    /// Wakes a planner in this process.
    pub driver_here: Arc<Notify>,
    /// Wakes the task that reports to a driver in another process.
    pub driver_elsewhere: Arc<Notify>,
}

impl Bell {
    fn ring(&self) {
        self.driver_here.notify_one();
        self.driver_elsewhere.notify_one();
    }
}

/// Buffer between the subscriber, which fills it, and the task that has taken the subscription over, if any.
#[derive(Debug)]
pub(super) struct EventBuffer {
    state: Mutex<State>,
    /// Notified for the reader when something arrives or the subscriber gives up.
    arrived: Notify,
    drained: Notify,
    /// Notified when there is something to read.
    bell: Bell,
    attached: AtomicBool,
    limits: MemoryLimits,
}

#[derive(Debug)]
struct State {
    pages: PageBuffer,
    sight: Sight,
    /// Records before the first page have expired; the message describes the loss.
    loss: Option<String>,
    failed: Option<Error>,
}

/// How current the subscription's view of the shard's tip is.
#[derive(Clone, Copy, Debug)]
enum Sight {
    /// No event yet since the buffer was made at this time. A batch waits for the first one: the subscription may
    /// have been opened for records that another process received.
    Opening(Instant),
    /// The subscription runs; its latest event was this many milliseconds behind the tip.
    Following(Option<i64>),
    /// A subscription with events ended at this time, and its successor has had none yet. After a short wait a batch
    /// may end without the shard.
    Renewing(Instant),
}

/// What a reader finds in the buffer.
#[derive(Debug)]
pub(super) enum Found {
    /// Records, or the shard's end.
    Page(Box<Page>),
    /// All that the service announced has been read.
    Tip,
    /// More must still arrive.
    Nothing,
    /// The subscription ended at this time, and its successor has had no event yet.
    Blind(Instant),
}

impl EventBuffer {
    pub(super) fn new(limits: MemoryLimits, bell: Bell) -> Self {
        Self {
            state: Mutex::new(State {
                pages: PageBuffer::default(),
                sight: Sight::Opening(Instant::now()),
                loss: None,
                failed: None,
            }),
            arrived: Notify::new(),
            drained: Notify::new(),
            bell,
            attached: AtomicBool::new(true),
            limits,
        }
    }

    /// Appends an event, waiting for room. An empty buffer accepts an event of any size.
    pub(super) async fn push(&self, page: Page) {
        let bytes = page.records.bytes();
        let ends = page.next.is_none();
        loop {
            let own_room = {
                let mut state = self.state();
                let own_room = state.pages.bytes() + bytes <= self.limits.own;
                // Events without records only report how far the shard was read.
                if page.records.is_empty() && !ends {
                    state.sight = Sight::Following(page.millis_behind_latest);
                    break;
                }
                let reserved = match state.pages.is_empty() {
                    true => Some(self.limits.pool.grow(bytes)),
                    false if own_room => self.limits.pool.try_reserve(bytes, self.limits.all),
                    false => None,
                };
                if let Some(reserved) = reserved {
                    state.sight = Sight::Following(page.millis_behind_latest);
                    state.pages.push_back(page, reserved);
                    self.bell.ring();
                    break;
                }
                own_room
            };
            tokio::select! {
                () = self.drained.notified() => {}
                () = self.limits.pool.wait_for(bytes, self.limits.all), if own_room => {}
            }
        }
        self.arrived.notify_one();
    }

    /// The reader's next page, or the state of the empty buffer.
    pub(super) fn take(&self) -> Result<Found> {
        let mut state = self.state();
        if let Some(mut page) = state.pages.pop_front() {
            self.drained.notify_one();
            // A further page waits, so this one isn't at the tip.
            if !state.pages.is_empty() {
                page.millis_behind_latest = page.millis_behind_latest.map(|millis| millis.max(1));
            }
            return Ok(Found::Page(Box::new(page)));
        }
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        Ok(match state.sight {
            Sight::Following(Some(0)) => Found::Tip,
            Sight::Renewing(since) => Found::Blind(since),
            Sight::Opening(_) | Sight::Following(_) => Found::Nothing,
        })
    }

    /// Puts back what a batch left of the page it took last.
    pub(super) fn put_back(&self, page: Page) {
        let reserved = self.limits.pool.grow(page.records.bytes());
        self.state().pages.push_front(page, reserved);
    }

    /// Records before the next event have expired.
    pub(super) fn record_loss(&self, message: String) {
        self.state().loss = Some(message);
    }

    /// Takes the message about expired records.
    pub(super) fn take_loss(&self) -> Option<String> {
        self.state().loss.take()
    }

    /// Waits for something to arrive since the last wait.
    pub(super) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Marks the end of the subscription: arrivals are unknown until the first event of its successor.
    pub(super) fn lose_sight(&self) {
        let mut state = self.state();
        if let Sight::Following(_) = state.sight {
            state.sight = Sight::Renewing(Instant::now());
            // A waiting reader may have a shorter wait from here on.
            self.arrived.notify_one();
        }
    }

    /// Marks the subscription as failed: the subscriber gave up.
    pub(super) fn fail(&self, error: Error) {
        self.state().failed = Some(error);
        self.arrived.notify_one();
        self.bell.ring();
    }

    /// Why the subscriber gave up, if it did.
    pub(super) fn failure(&self) -> Option<Error> {
        self.state().failed.clone()
    }

    /// True if another reader of the same consumer has taken over the shard.
    pub(super) fn was_taken_over(&self) -> bool {
        self.failure()
            .is_some_and(|error| error.kind() == ErrorKind::InUse)
    }

    /// Some if there is something to read; true if that is only the shard's end.
    pub(super) fn waiting(&self) -> Option<bool> {
        let state = self.state();
        let first = state.pages.front()?;
        Some(first.records.is_empty() && first.next.is_none())
    }

    /// True if nothing has been known of the shard for more than [`BLIND`].
    pub(super) fn is_blind(&self) -> bool {
        match self.state().sight {
            Sight::Opening(since) | Sight::Renewing(since) => since.elapsed() >= BLIND,
            Sight::Following(_) => false,
        }
    }

    /// Bytes of the waiting pages.
    pub(super) fn bytes(&self) -> usize {
        self.state().pages.bytes()
    }

    pub(super) fn attach(&self, attached: bool) {
        self.attached.store(attached, Ordering::Relaxed);
    }

    /// True while a task reads from the buffer.
    pub(super) fn is_attached(&self) -> bool {
        self.attached.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::memory_pool::MemoryPool;
    use crate::service::{RecordColumns, ShardIterator};

    fn buffer() -> EventBuffer {
        let limits = MemoryLimits {
            own: usize::MAX,
            all: usize::MAX,
            pool: MemoryPool::default(),
        };
        EventBuffer::new(limits, Bell::default())
    }

    fn event(millis_behind_latest: i64) -> Page {
        Page {
            records: RecordColumns::with_capacity(0, 0),
            next: Some(ShardIterator("1".into())),
            millis_behind_latest: Some(millis_behind_latest),
            child_shards: Vec::new(),
            request_id: None,
            service_millis: None,
        }
    }

    fn found(buffer: &EventBuffer) -> Found {
        buffer.take().expect("no failure")
    }

    #[tokio::test(start_paused = true)]
    async fn a_buffer_is_blind_until_the_first_event_and_its_readers_wait_for_that() {
        let buffer = buffer();
        assert!(!buffer.is_blind(), "it is being opened");
        tokio::time::advance(BLIND).await;
        assert!(buffer.is_blind());
        buffer.lose_sight();
        assert!(matches!(found(&buffer), Found::Nothing), "it never saw anything");
        buffer.push(event(7)).await;
        assert!(!buffer.is_blind());
        assert!(matches!(found(&buffer), Found::Nothing));
        buffer.push(event(0)).await;
        assert!(matches!(found(&buffer), Found::Tip));
    }

    #[tokio::test(start_paused = true)]
    async fn sight_is_lost_once_until_the_next_event() {
        let buffer = buffer();
        buffer.push(event(0)).await;
        tokio::time::advance(BLIND).await;
        assert!(!buffer.is_blind(), "a quiet subscription sees");
        let ended = Instant::now();
        buffer.lose_sight();
        tokio::time::advance(BLIND).await;
        buffer.lose_sight();
        assert!(matches!(found(&buffer), Found::Blind(since) if since == ended));
        assert!(buffer.is_blind());
        buffer.push(event(0)).await;
        assert!(!buffer.is_blind());
        assert!(matches!(found(&buffer), Found::Tip));
    }
}
