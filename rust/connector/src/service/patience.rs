//! Patience with throttled reads, which are no failures: all readers of a shard share its limits (AWS limit: five
//! GetRecords a second). A throttled reader retries soon, at random intervals, until it gets a turn.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::stream::ShardId;

/// Delay between two tries in milliseconds, drawn anew each time. Growing delays would lose against readers that
/// retry constantly.
const WAIT_MILLIS: RangeInclusive<u64> = 200..=1_000;
/// Time without any answer after which a reader gives up. Its task's next attempt continues.
const LONGEST: Duration = Duration::from_secs(600);
/// Interval between two log messages about a starved shard.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// Number of shards above which those without recent throttling are forgotten.
const FORGET_AT: usize = 1_000;

/// A reader's throttled requests since its last answer.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    since: Option<Instant>,
}

impl Patience {
    /// Delay before the next try; the error itself if it can't pass or has lasted too long.
    pub(crate) fn wait_after(&mut self, error: Error) -> Result<Duration> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if error.kind() != ErrorKind::Throttled {
            return Err(error);
        }
        if since.elapsed() < LONGEST {
            return Ok(Duration::from_millis(fastrand::u64(WAIT_MILLIS)));
        }
        let message = format!(
            "every request was throttled for {} minutes: {}. Most likely others read the same shard all the time; \
             enhanced fan-out (kinesis.consumerType SubscribeToShard) has a limit of its own",
            LONGEST.as_secs() / 60,
            error.message()
        );
        Err(error.reworded(message).retryable(true))
    }

    /// Resets the state after an answer.
    pub(crate) fn answered(&mut self) {
        self.since = None;
    }
}

/// Logs starved shards, at most once a minute each.
#[derive(Debug, Default)]
pub(super) struct Starved(Mutex<HashMap<ShardId, Turns>>);

/// A shard's requests since its last log message.
#[derive(Clone, Copy, Debug)]
struct Turns {
    since: Instant,
    answered: u32,
    throttled: u32,
}

impl Starved {
    /// Counts an answer from the shard.
    pub(super) fn answered(&self, shard: &ShardId) {
        let mut shards = self.0.lock();
        if let Some(turns) = shards.get_mut(shard) {
            turns.answered += 1;
        }
    }

    /// Counts a throttled request for the shard, and logs if due.
    pub(super) fn throttled(&self, stream: &str, shard: &ShardId) {
        if let Some(Turns {
            answered, throttled, ..
        }) = self.count(shard)
        {
            tracing::warn!(
                stream,
                %shard,
                throttled,
                answered,
                "the shard is starved: most of its requests were throttled within the last minute. Others read it, \
                 too, and a shard allows five GetRecords a second in all; reading goes on as its turn comes"
            );
        }
    }

    /// Counts a throttled request; returns the counts to log if a message is due.
    fn count(&self, shard: &ShardId) -> Option<Turns> {
        let mut shards = self.0.lock();
        if shards.len() > FORGET_AT {
            shards.retain(|_, turns| turns.since.elapsed() < LOG_EVERY);
        }
        let fresh = Turns {
            since: Instant::now(),
            answered: 0,
            throttled: 0,
        };
        let turns = shards.entry(shard.clone()).or_insert(fresh);
        turns.throttled += 1;
        if turns.since.elapsed() < LOG_EVERY {
            return None;
        }
        let past = std::mem::replace(turns, fresh);
        (past.throttled > past.answered).then_some(past)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttled() -> Error {
        Error::new(ErrorKind::Throttled, "not now")
            .retryable(true)
            .with("shard", "s-1")
    }

    #[tokio::test(start_paused = true)]
    async fn waits_differ_and_end_when_nothing_could_be_learnt_for_minutes() {
        let mut patience = Patience::default();
        let waits: Vec<Duration> = (0..20)
            .map(|_| patience.wait_after(throttled()).expect("a wait"))
            .collect();
        assert!(waits.iter().all(|wait| (200..=1_000).contains(&wait.as_millis())));
        assert!(waits.iter().any(|wait| *wait != waits[0]));
        tokio::time::advance(LONGEST - Duration::from_secs(1)).await;
        patience.wait_after(throttled()).expect("a wait");
        patience.answered();
        patience.wait_after(throttled()).expect("a wait");
        tokio::time::advance(LONGEST).await;
        let error = patience.wait_after(throttled()).expect_err("too long");
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Throttled, true));
        assert!(error.to_string().contains("10 minutes: not now"), "{error}");
        assert!(error.to_string().contains("shard=s-1"), "{error}");
        let other = Patience::default().wait_after(Error::new(ErrorKind::Access, "no"));
        assert_eq!(other.expect_err("can't pass").kind(), ErrorKind::Access);
    }

    #[tokio::test(start_paused = true)]
    async fn starved_shards_are_logged_once_a_minute() {
        let (starved, shard) = (Starved::default(), ShardId::from("s-1"));
        let counts = || {
            starved
                .count(&shard)
                .map(|turns| (turns.throttled, turns.answered))
        };
        assert_eq!(counts(), None);
        starved.answered(&shard);
        tokio::time::advance(LOG_EVERY).await;
        assert_eq!(counts(), Some((2, 1)));
        assert_eq!(counts(), None);
        starved.answered(&shard);
        starved.answered(&shard);
        tokio::time::advance(LOG_EVERY).await;
        assert_eq!(counts(), None, "it gets its turns");
        let old = starved.count(&shard);
        assert!(old.is_none());
        for number in 0..=FORGET_AT {
            starved.count(&ShardId::from(format!("t-{number}").as_str()));
        }
        tokio::time::advance(LOG_EVERY).await;
        starved.count(&"u".into());
        assert_eq!(starved.0.lock().len(), 1);
    }
}
