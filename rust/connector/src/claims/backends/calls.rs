//! Calls of a store that is an AWS service: their retries.

use std::sync::Arc;

use crate::error::Result;
use crate::options::RetryOptions;
use crate::service::{Refusals, RequestCounters, with_retries};

/// The retries of a store's calls, shared by all its users in this process.
#[derive(Debug)]
pub(super) struct Calls {
    retry: RetryOptions,
    counters: Arc<RequestCounters>,
    refusals: Refusals,
}

impl Calls {
    /// Calls with these retries.
    pub fn new(retry: RetryOptions) -> Self {
        Self {
            retry,
            counters: Arc::default(),
            refusals: Refusals::of_store(),
        }
    }

    /// Runs `attempt` until it succeeds, fails permanently, or the tries are used up. A refusal of an operation that
    /// has worked may pass.
    pub async fn retried<T, F, Fut>(&self, operation: &'static str, mut attempt: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        with_retries(&self.retry, &self.counters, || {
            let attempt = attempt();
            async { self.refusals.settled(operation, None, attempt.await) }
        })
        .await
    }
}
