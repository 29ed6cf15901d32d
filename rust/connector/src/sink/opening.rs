//! Limits the requests under way to a stream that hasn't shown yet what it takes.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::rate::FORGOTTEN;

/// Maximum number of requests under way to a stream that hasn't answered yet.
const FIRST: usize = 3;

/// Value of the bound at which it is lifted: beyond it, there is nothing left to learn about the stream.
const MOST: usize = 256;

/// Upper bound for one request's wait. If a stream answers late or never, every task's own request shows it.
const LONGEST: Duration = Duration::from_secs(3);

/// Bounds the number of requests under way while a stream is new. Many tasks send their first requests at once, and a
/// stream of few shards would refuse nearly all of these entries.
///
/// Every request that passes raises the bound by one, so that it doubles with every round trip and is soon lifted.
/// Requests that contain only entries of shards at their limit aren't counted: the rate of these entries is known.
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
    /// Waits until one more request may be under way, at most [`LONGEST`].
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
    /// Call when the stream accepted most of the request's entries. Raises the bound.
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
