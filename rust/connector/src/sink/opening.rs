//! How many requests a stream gets before it has shown what it takes.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::rate::FORGOTTEN;

/// Requests under way to a stream that hasn't answered yet.
const FIRST: usize = 3;

/// With so many there is nothing to learn any more.
const MOST: usize = 256;

/// So long a request waits at most: a stream that answers late or not at all tells everybody so.
const LONGEST: Duration = Duration::from_secs(3);

/// Lets a stream's first requests go a few at a time: of those that many tasks send at once before the first answer a
/// stream of few shards would refuse nearly all.
///
/// With every request that passes one more may be under way, so that their number doubles with every round trip, and
/// soon there is no bound. What waits its turn at a shard's limit is not counted: its pace is known.
#[derive(Debug)]
pub(super) struct Opening {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    under_way: usize,
    allowed: usize,
    last: Option<Instant>,
}

impl Default for Opening {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                under_way: 0,
                allowed: FIRST,
                last: None,
            }),
            changed: Notify::new(),
        }
    }
}

impl Opening {
    /// Waits until one more request may be under way, or long enough.
    pub(super) async fn enter(&self) -> UnderWay<'_> {
        let room = async {
            loop {
                let changed = self.changed.notified();
                if let Some(under_way) = self.try_enter() {
                    return under_way;
                }
                changed.await;
            }
        };
        tokio::time::timeout(LONGEST, room).await.unwrap_or_else(|_| {
            self.state.lock().under_way += 1;
            UnderWay(self)
        })
    }

    fn try_enter(&self) -> Option<UnderWay<'_>> {
        let mut state = self.state.lock();
        if state.under_way == 0 && state.last.is_some_and(|last| last.elapsed() >= FORGOTTEN) {
            state.allowed = FIRST;
        }
        let enters = state.under_way < state.allowed || state.allowed >= MOST;
        state.under_way += usize::from(enters);
        enters.then(|| UnderWay(self))
    }
}

/// A request under way, until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay<'o>(&'o Opening);

impl UnderWay<'_> {
    /// The stream accepted most of it.
    pub(super) fn passed(self) {
        let mut state = self.0.state.lock();
        state.allowed = (state.allowed + 1).min(MOST);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.under_way -= 1;
        state.last = Some(Instant::now());
        drop(state);
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_under_way_double_with_every_round_trip() {
        let opening = Opening::default();
        let mut rounds = Vec::new();
        while rounds.last() != Some(&1_000) {
            let round: Vec<_> = (0..1_000).map_while(|_| opening.try_enter()).collect();
            rounds.push(round.len());
            round.into_iter().for_each(UnderWay::passed);
        }
        assert_eq!(rounds, [3, 6, 12, 24, 48, 96, 192, 1_000]);
        tokio::time::advance(FORGOTTEN).await;
        assert_eq!(
            (0..1_000)
                .map_while(|_| opening.try_enter())
                .collect::<Vec<_>>()
                .len(),
            FIRST
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_ends_makes_room_for_one_that_waits() {
        let opening = Opening::default();
        let mut first: Vec<_> = (0..1_000).map_while(|_| opening.try_enter()).collect();
        let ends = async {
            tokio::task::yield_now().await;
            first.pop();
        };
        let (_entered, ()) = tokio::join!(opening.enter(), ends);
        assert!(opening.try_enter().is_none(), "it didn't pass");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_does_not_answer_holds_nobody_back_for_long() {
        let opening = Opening::default();
        let start = Instant::now();
        let all = futures_util::future::join_all((0..100).map(|_| opening.enter())).await;
        assert_eq!(all.len(), 100);
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
