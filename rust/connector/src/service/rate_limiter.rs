//! Client-side rate limit: five GetRecords a second and shard (AWS limit), over all readers. A call above it would be
//! throttled and retried much later than necessary.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::stream::ShardId;

/// Time window of the service's limit.
const WINDOW: Duration = Duration::from_secs(1);
/// GetRecords allowed within [`WINDOW`] (AWS limit).
const MOST: usize = 5;
/// Number of shards above which those without recent calls are forgotten.
const FORGET_AT: usize = 1_000;

/// Schedules the GetRecords calls of a process, by the calls to each shard within the last second.
#[derive(Debug)]
pub struct RateLimiter {
    most: usize,
    shards: Mutex<Shards>,
}

#[derive(Debug, Default)]
struct Shards {
    calls: HashMap<ShardId, Calls>,
    forget_at: usize,
}

/// The calls to a shard.
#[derive(Debug, Default)]
struct Calls {
    /// Times of this process's own calls.
    own: VecDeque<Instant>,
    /// Last count reported by another process and the time of the report, at which its calls count as made.
    elsewhere: Option<(usize, Instant)>,
}

impl RateLimiter {
    /// Allows as many calls per second as fit at this interval, but at least the AWS limit. A shorter interval is for
    /// services other than AWS, or with other limits.
    pub fn of_interval(interval: Duration) -> Self {
        let by_interval = WINDOW
            .as_millis()
            .checked_div(interval.as_millis())
            .map_or(usize::MAX, |calls| usize::try_from(calls).unwrap_or(usize::MAX));
        Self {
            most: by_interval.max(MOST),
            shards: Mutex::default(),
        }
    }

    /// Waits for the shard's next turn and counts the call. Reports of other processes delay nobody beyond the
    /// service's window: after that wait a caller gets its turn anyway.
    pub async fn turn(&self, shard: &ShardId) {
        let began = Instant::now();
        loop {
            let heeds_others = began.elapsed() < WINDOW;
            let free = self.shards().take_turn(shard, self.most, heeds_others);
            match free {
                Some(free) => tokio::time::sleep_until(free).await,
                None => return,
            }
        }
    }

    /// Number of this process's calls to the shard within the last second.
    pub fn lately(&self, shard: &ShardId) -> u32 {
        let mut shards = self.shards();
        let own = shards.calls.get_mut(shard).map_or(0, |calls| {
            calls.drop_old();
            calls.own.len()
        });
        u32::try_from(own).unwrap_or(u32::MAX)
    }

    /// Records another process's number of calls to the shard within the last second. Replaces its earlier report.
    pub fn count(&self, shard: &ShardId, times: u32) {
        let times = usize::try_from(times).unwrap_or(usize::MAX);
        let mut shards = self.shards();
        let calls = shards.calls.entry(shard.clone()).or_default();
        calls.elsewhere = Some((times, Instant::now()));
    }

    fn shards(&self) -> MutexGuard<'_, Shards> {
        self.shards.lock()
    }
}

impl Shards {
    /// Counts a call; if none is allowed yet, returns when the next one is.
    fn take_turn(&mut self, shard: &ShardId, most: usize, heeds_others: bool) -> Option<Instant> {
        self.forget();
        let calls = self.calls.entry(shard.clone()).or_default();
        calls.drop_old();
        let count = match heeds_others {
            true => calls.count(),
            false => calls.own.len(),
        };
        if count < most {
            calls.own.push_back(Instant::now());
            return None;
        }
        let elsewhere = calls.elsewhere.filter(|_| heeds_others).map(|(_, at)| at);
        let oldest = calls.own.front().copied().into_iter().chain(elsewhere).min();
        oldest.map(|oldest| oldest + WINDOW)
    }

    fn forget(&mut self) {
        if self.calls.len() > self.forget_at.max(FORGET_AT) {
            self.calls.retain(|_, calls| {
                calls.drop_old();
                calls.count() > 0
            });
            self.forget_at = self.calls.len() * 2;
        }
    }
}

impl Calls {
    fn count(&self) -> usize {
        let elsewhere = self.elsewhere.map_or(0, |(times, _)| times);
        self.own.len().saturating_add(elsewhere)
    }

    fn drop_old(&mut self) {
        while self.own.front().is_some_and(|at| at.elapsed() >= WINDOW) {
            self.own.pop_front();
        }
        self.elsewhere = self.elsewhere.filter(|(_, at)| at.elapsed() < WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn takes(pace: &RateLimiter, shard: &ShardId, calls: u32) -> Duration {
        let started = Instant::now();
        for _ in 0..calls {
            pace.turn(shard).await;
        }
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn no_second_has_more_calls_than_the_service_allows() {
        let pace = RateLimiter::of_interval(Duration::from_millis(200));
        let (shard, other) = (ShardId::from("s-1"), ShardId::from("s-2"));
        assert_eq!(takes(&pace, &shard, 5).await, Duration::ZERO);
        assert_eq!(takes(&pace, &other, 5).await, Duration::ZERO);
        assert_eq!(pace.lately(&shard), 5);
        assert_eq!(takes(&pace, &shard, 11).await.as_secs(), 3);
        tokio::time::advance(WINDOW).await;
        assert_eq!(pace.lately(&shard), 0);
        pace.count(&shard, 5);
        pace.count(&shard, 4);
        assert_eq!(pace.lately(&shard), 0, "calls of its own");
        assert_eq!(takes(&pace, &shard, 1).await, Duration::ZERO);
        assert_eq!(takes(&pace, &shard, 1).await.as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_interval_allows_more() {
        let shard = ShardId::from("s-1");
        let pace = RateLimiter::of_interval(Duration::from_millis(10));
        assert_eq!(takes(&pace, &shard, 100).await, Duration::ZERO);
        assert_eq!(takes(&pace, &shard, 1).await.as_secs(), 1);
        let pace = RateLimiter::of_interval(Duration::ZERO);
        assert_eq!(takes(&pace, &shard, 10_000).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn shards_without_recent_calls_are_forgotten() {
        let mut shards = Shards::default();
        let old = Instant::now();
        for number in 0..=FORGET_AT {
            let id = format!("s-{number}");
            let own = VecDeque::from([old]);
            shards
                .calls
                .insert(id.as_str().into(), Calls { own, elsewhere: None });
        }
        tokio::time::advance(WINDOW).await;
        assert_eq!(shards.take_turn(&"new".into(), MOST, true), None);
        assert_eq!(shards.calls.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gets_reports_of_others_all_the_time_gets_its_turn() {
        let pace = std::sync::Arc::new(RateLimiter::of_interval(Duration::from_millis(200)));
        let (shard, shared) = (ShardId::from("s-1"), pace.clone());
        let others = tokio::spawn(async move {
            loop {
                shared.count(&ShardId::from("s-1"), 5);
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        });
        tokio::task::yield_now().await;
        let turn = tokio::time::timeout(Duration::from_secs(60), pace.turn(&shard)).await;
        others.abort();
        turn.expect("a turn within a minute");
    }
}
