//! What a subscription received and no task has taken yet, bounded in bytes.

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

/// A subscription without sight for so long says nothing of its shard: a renewal is done by then.
const BLIND: Duration = Duration::from_secs(1);

/// Who learns that something arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Bell {
    /// A planner in this process.
    pub driver_here: Arc<Notify>,
    /// What tells a driver in another process.
    pub driver_elsewhere: Arc<Notify>,
}

impl Bell {
    fn ring(&self) {
        self.driver_here.notify_one();
        self.driver_elsewhere.notify_one();
    }
}

/// Between the subscriber, which fills it, and the task that has taken the subscription over, or nobody.
#[derive(Debug)]
pub(super) struct EventBuffer {
    state: Mutex<State>,
    /// For the reader: something arrived, or the subscriber gave up.
    arrived: Notify,
    drained: Notify,
    /// There is something to read.
    news: Bell,
    attached: AtomicBool,
    limits: MemoryLimits,
}

#[derive(Debug)]
struct State {
    pages: PageBuffer,
    sight: Sight,
    /// Records before the first page have expired, as this tells.
    loss: Option<String>,
    failed: Option<Error>,
}

/// What the subscription knows of the shard's tip.
#[derive(Clone, Copy, Debug)]
enum Sight {
    /// There was no event yet, since the buffer was made at this time. A batch waits for the first one: the
    /// subscription may have been opened here for what another process received.
    Opening(Instant),
    /// An event came, which was so many milliseconds behind the tip, and the subscription goes on.
    Following(Option<i64>),
    /// A subscription that had events ended at this time, and the next one had none yet. A batch may end without the
    /// shard soon.
    Renewing(Instant),
}

/// What a reader finds.
#[derive(Debug)]
pub(super) enum Found {
    /// Records, or the shard's end.
    Page(Box<Page>),
    /// Everything that the service told of was read.
    Tip,
    /// Something must still arrive.
    Nothing,
    /// The subscription ended at this time, and the next one hasn't told of anything yet.
    Blind(Instant),
}

impl EventBuffer {
    pub(super) fn new(limits: MemoryLimits, news: Bell) -> Self {
        Self {
            state: Mutex::new(State {
                pages: PageBuffer::default(),
                sight: Sight::Opening(Instant::now()),
                loss: None,
                failed: None,
            }),
            arrived: Notify::new(),
            drained: Notify::new(),
            news,
            attached: AtomicBool::new(true),
            limits,
        }
    }

    /// Appends an event, waiting for room. An empty buffer takes it whatever its size.
    pub(super) async fn push(&self, page: Page) {
        let bytes = page.records.bytes();
        let ends = page.next.is_none();
        loop {
            let own_room = {
                let mut state = self.state();
                let own_room = state.pages.bytes() + bytes <= self.limits.own;
                // Events without records only say how far the shard was read.
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
                    self.news.ring();
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

    /// What the reader may take now.
    pub(super) fn take(&self) -> Result<Found> {
        let mut state = self.state();
        if let Some(mut page) = state.pages.pop_front() {
            self.drained.notify_one();
            // What follows it is here already, so this isn't the tip.
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

    /// Puts back what a batch left of the page taken last.
    pub(super) fn put_back(&self, page: Page) {
        let reserved = self.limits.pool.grow(page.records.bytes());
        self.state().pages.push_front(page, reserved);
    }

    /// Records before the ones pushed next have expired.
    pub(super) fn tell_loss(&self, message: String) {
        self.state().loss = Some(message);
    }

    /// What expired, told once.
    pub(super) fn take_loss(&self) -> Option<String> {
        self.state().loss.take()
    }

    /// Waits until something arrived since the last wait.
    pub(super) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// The subscription ended: until the next one's first event nobody knows what comes meanwhile.
    pub(super) fn lose_sight(&self) {
        let mut state = self.state();
        if let Sight::Following(_) = state.sight {
            state.sight = Sight::Renewing(Instant::now());
            // A reader that waits may not wait for long any more.
            self.arrived.notify_one();
        }
    }

    /// The subscriber gave up.
    pub(super) fn fail(&self, error: Error) {
        self.state().failed = Some(error);
        self.arrived.notify_one();
        self.news.ring();
    }

    /// Why the subscriber gave up, if it did.
    pub(super) fn failure(&self) -> Option<Error> {
        self.state().failed.clone()
    }

    /// True if another reader of the same consumer has the shard now.
    pub(super) fn was_taken_over(&self) -> bool {
        self.failure()
            .is_some_and(|error| error.kind() == ErrorKind::InUse)
    }

    /// True if there is something to read; and whether that is nothing but the shard's end.
    pub(super) fn waiting(&self) -> Option<bool> {
        let state = self.state();
        let first = state.pages.front()?;
        Some(first.records.is_empty() && first.next.is_none())
    }

    /// True if it has been unknown for long whether the shard has something new.
    pub(super) fn is_blind(&self) -> bool {
        match self.state().sight {
            Sight::Opening(since) | Sight::Renewing(since) => since.elapsed() >= BLIND,
            Sight::Following(_) => false,
        }
    }

    /// The bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.state().pages.bytes()
    }

    pub(super) fn attach(&self, attached: bool) {
        self.attached.store(attached, Ordering::Relaxed);
    }

    /// True while a task reads from it.
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
