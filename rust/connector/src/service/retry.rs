//! Retries: which requests, how often, and their counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use crate::error::{Error, ErrorKind};
use crate::options::RetryOptions;

/// Request counts, shared by senders and reporters.
#[derive(Debug, Default)]
pub struct RequestCounters {
    requests: AtomicU64,
    retries: AtomicU64,
    throttles: AtomicU64,
    resubscriptions: AtomicU64,
}

impl RequestCounters {
    /// Requests sent, retries included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests repeated after a failure.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Requests that the service throttled.
    pub fn throttles(&self) -> u64 {
        self.throttles.load(Ordering::Relaxed)
    }

    /// Subscriptions reopened after the service ended one or it failed.
    pub fn resubscriptions(&self) -> u64 {
        self.resubscriptions.load(Ordering::Relaxed)
    }

    /// Moves the counts of `other` here: the next task reports what a subscription did between two tasks.
    pub(crate) fn take_over(&self, other: &Self) {
        for (own, others) in [
            (&self.requests, &other.requests),
            (&self.retries, &other.retries),
            (&self.throttles, &other.throttles),
            (&self.resubscriptions, &other.resubscriptions),
        ] {
            own.fetch_add(others.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    pub(crate) fn count_resubscription(&self) {
        self.resubscriptions.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that is about to be repeated.
    pub(crate) fn count_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_failure(&self, error: &Error) {
        self.count_retry();
        if error.kind() == ErrorKind::Throttled {
            self.count_throttle();
        }
    }

    /// Counts a throttled item in a request that succeeded.
    pub fn count_throttle(&self) {
        self.throttles.fetch_add(1, Ordering::Relaxed);
    }
}

/// Delays between tries: doubling from the first to the longest, each with random jitter so that readers that failed
/// together don't return together.
pub fn backoff(options: &RetryOptions) -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(options.interval.max(Duration::from_millis(1)))
        .with_max_delay(options.max_interval.max(options.interval))
        .with_factor(2.0)
        .with_jitter()
        .with_max_times(options.retries as usize)
}

/// A delay with random jitter of up to its own length, as in [`backoff`].
pub(crate) fn jittered(wait: Duration) -> Duration {
    wait.saturating_add(wait.mul_f64(fastrand::f64()))
}

/// Runs `attempt` until it succeeds, fails permanently, or the tries are used up.
pub async fn with_retries<T, F, Fut>(
    options: &RetryOptions,
    counters: &Arc<RequestCounters>,
    attempt: F,
) -> Result<T, Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Error>>,
{
    retried_when(Error::is_retryable, options, counters, attempt).await
}

/// [`with_retries`] for requests under a shared limit: a throttled one is counted and fails at once, and the caller
/// decides when to retry ([`super::Patience`]).
pub async fn with_retries_unless_throttled<T, F, Fut>(
    options: &RetryOptions,
    counters: &Arc<RequestCounters>,
    attempt: F,
) -> Result<T, Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Error>>,
{
    let failed = |error: &Error| error.is_retryable() && error.kind() != ErrorKind::Throttled;
    retried_when(failed, options, counters, attempt)
        .await
        .inspect_err(|error| {
            if error.kind() == ErrorKind::Throttled {
                counters.count_throttle();
            }
        })
}

async fn retried_when<T, F, Fut>(
    retryable: impl FnMut(&Error) -> bool,
    options: &RetryOptions,
    counters: &Arc<RequestCounters>,
    mut attempt: F,
) -> Result<T, Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Error>>,
{
    let counted = || {
        counters.count_request();
        attempt()
    };
    counted
        .retry(backoff(options))
        .when(retryable)
        .notify(|error, wait| {
            counters.count_failure(error);
            tracing::warn!(wait_ms = wait.as_millis() as u64, "trying again after: {error}");
        })
        .await
}

#[cfg(test)]
mod tests {
    use backon::BackoffBuilder;

    use super::*;

    const DEFAULTS: RetryOptions = RetryOptions {
        retries: 5,
        interval: Duration::from_secs(1),
        max_interval: Duration::from_secs(10),
    };

    #[test]
    fn no_two_that_failed_together_come_back_together() {
        let waits = || backoff(&DEFAULTS).build().collect::<Vec<_>>();
        let (one, other) = (waits(), waits());
        assert_eq!(one.len(), 5);
        assert_ne!(one, other);
        let waits = || (0..5).map(|_| jittered(DEFAULTS.interval)).collect::<Vec<_>>();
        assert_ne!(waits(), waits());
    }

    #[test]
    fn a_wait_is_lengthened_up_to_twice_of_it() {
        for wait in [Duration::ZERO, Duration::from_millis(1), DEFAULTS.max_interval] {
            for _ in 0..100 {
                let jittered = jittered(wait);
                assert!(jittered >= wait && jittered <= wait * 2, "{jittered:?}");
            }
        }
    }
}
