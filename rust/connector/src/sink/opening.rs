//! Limits the requests under way to a stream that hasn't shown yet what it takes.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::batch::MAX_ENTRIES;
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
/// A request of large entries, such as aggregates, counts as the number of requests of small records that weigh as
/// much: a full one has ten times the weight.
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
    /// Waits until one more request, with entries of this weight, may be under way, at most [`LONGEST`].
    pub(super) async fn enter(&self, weight: f64) -> UnderWay<'_> {
        let requests = ((weight / MAX_ENTRIES as f64).ceil() as usize).max(1);
        let room = async {
            loop {
                let changed = self.changed.notified();
                if let Some(under_way) = self.try_enter(requests) {
                    return under_way;
                }
                changed.await;
            }
        };
        tokio::time::timeout(LONGEST, room).await.unwrap_or_else(|_| {
            self.state.lock().under_way += requests;
            UnderWay {
                opening: self,
                requests,
            }
        })
    }

    fn try_enter(&self, requests: usize) -> Option<UnderWay<'_>> {
        let mut state = self.state.lock();
        if state.under_way == 0 && state.last.is_some_and(|last| last.elapsed() >= FORGOTTEN) {
            state.allowed = FIRST;
        }
        // A request that counts as more than is allowed goes alone.
        let fits = state.under_way == 0 || state.under_way + requests <= state.allowed;
        let enters = fits || state.allowed >= MOST;
        state.under_way += if enters { requests } else { 0 };
        enters.then(|| UnderWay {
            opening: self,
            requests,
        })
    }
}

/// A request under way, until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay<'o> {
    opening: &'o Opening,
    /// Number of requests of small records that weigh as much.
    requests: usize,
}

impl UnderWay<'_> {
    /// Call when the stream accepted most of the request's entries. Raises the bound.
    pub(super) fn passed(self) {
        let mut state = self.opening.state.lock();
        state.allowed = (state.allowed + self.requests).min(MOST);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.opening.state.lock();
        state.under_way -= self.requests;
        state.last = Some(Instant::now());
        drop(state);
        self.opening.changed.notify_waiters();
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
            let round: Vec<_> = (0..1_000).map_while(|_| opening.try_enter(1)).collect();
            rounds.push(round.len());
            round.into_iter().for_each(UnderWay::passed);
        }
        assert_eq!(rounds, [3, 6, 12, 24, 48, 96, 192, 1_000]);
        tokio::time::advance(FORGOTTEN).await;
        assert_eq!(
            (0..1_000)
                .map_while(|_| opening.try_enter(1))
                .collect::<Vec<_>>()
                .len(),
            FIRST
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_of_large_entries_counts_as_many_small_ones() {
        let opening = Opening::default();
        let large = opening.enter(10.0 * MAX_ENTRIES as f64).await;
        assert!(opening.try_enter(1).is_none(), "it goes alone");
        large.passed();
        let small: Vec<_> = (0..1_000).map_while(|_| opening.try_enter(1)).collect();
        assert_eq!(small.len(), FIRST + 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_ends_makes_room_for_one_that_waits() {
        let opening = Opening::default();
        let mut first: Vec<_> = (0..1_000).map_while(|_| opening.try_enter(1)).collect();
        let ends = async {
            tokio::task::yield_now().await;
            first.pop();
        };
        let (_entered, ()) = tokio::join!(opening.enter(1.0), ends);
        assert!(opening.try_enter(1).is_none(), "it didn't pass");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_does_not_answer_holds_nobody_back_for_long() {
        let opening = Opening::default();
        let start = Instant::now();
        let all = futures_util::future::join_all((0..100).map(|_| opening.enter(1.0))).await;
        assert_eq!(all.len(), 100);
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
