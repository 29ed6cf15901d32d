//! Patience with refusals. While a policy, a grant or a KMS key is changed, single calls are refused that were allowed
//! before and are allowed again a moment later. A refusal of an operation that has worked may pass; one that was
//! refused from the beginning, or is refused for minutes, is final.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::{ErrorKind, Result};

/// Time for which an operation may be refused before that is final.
const PASSES_WITHIN: Duration = Duration::from_secs(120);
/// Time without a refusal after which the next one is another story. Some operations are called rarely.
const ANOTHER_AFTER: Duration = Duration::from_secs(600);

/// What is known of each operation on a stream, or of a store.
#[derive(Debug)]
pub(crate) struct Refusals {
    operations: Mutex<HashMap<&'static str, Refused>>,
    /// Kinds of errors that count as refusals.
    kinds: &'static [ErrorKind],
}

/// An operation that has worked.
#[derive(Clone, Copy, Debug, Default)]
struct Refused {
    /// First and last refusal since then.
    since: Option<(Instant, Instant)>,
}

impl Refusals {
    /// Of a stream. Whether it is missing is decided elsewhere.
    pub(super) fn of_stream() -> Self {
        Self::of(&[ErrorKind::Access, ErrorKind::Kms, ErrorKind::InvalidRequest])
    }

    /// Of a store, whose bucket may be missing for a moment, too.
    pub(crate) fn of_store() -> Self {
        Self::of(&[
            ErrorKind::Access,
            ErrorKind::Kms,
            ErrorKind::InvalidRequest,
            ErrorKind::NotFound,
        ])
    }

    fn of(kinds: &'static [ErrorKind]) -> Self {
        Self {
            operations: Mutex::default(),
            kinds,
        }
    }

    /// The outcome of a call, with a refusal that may pass as a retryable error.
    pub(crate) fn settled<T>(&self, operation: &'static str, outcome: Result<T>) -> Result<T> {
        match &outcome {
            Ok(_) => {
                self.operations.lock().insert(operation, Refused::default());
                outcome
            }
            Err(error) if self.kinds.contains(&error.kind()) && self.may_pass(operation) => {
                outcome.map_err(|error| error.retryable(true))
            }
            Err(_) => outcome,
        }
    }

    fn may_pass(&self, operation: &'static str) -> bool {
        let now = Instant::now();
        let mut operations = self.operations.lock();
        let Some(refused) = operations.get_mut(operation) else {
            return false;
        };
        let recent = refused.since.filter(|(_, last)| now - *last < ANOTHER_AFTER);
        let first = recent.map_or(now, |(first, _)| first);
        refused.since = Some((first, now));
        now - first < PASSES_WITHIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    const LIST: &str = "ListShards";

    fn refused(refusals: &Refusals, operation: &'static str, kind: ErrorKind) -> bool {
        let outcome: Result<()> = Err(Error::new(kind, "no"));
        refusals
            .settled(operation, outcome)
            .expect_err("refused")
            .is_retryable()
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_worked_is_refused_for_good() {
        let refusals = Refusals::of_stream();
        assert!(!refused(&refusals, LIST, ErrorKind::Access));
        refusals.settled("GetRecords", Ok(())).expect("an answer");
        assert!(
            !refused(&refusals, LIST, ErrorKind::Access),
            "another operation says nothing"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_worked_may_be_refused_for_a_while() {
        let refusals = Refusals::of_stream();
        refusals.settled(LIST, Ok(())).expect("an answer");
        // However long that was ago.
        tokio::time::sleep(Duration::from_secs(36_000)).await;
        for kind in [ErrorKind::Access, ErrorKind::Kms, ErrorKind::InvalidRequest] {
            assert!(refused(&refusals, LIST, kind), "{kind:?}");
        }
        for kind in [ErrorKind::RefusedPosition, ErrorKind::NotFound] {
            assert!(!refused(&refusals, LIST, kind), "{kind:?}");
        }
        tokio::time::sleep(PASSES_WITHIN / 2).await;
        assert!(refused(&refusals, LIST, ErrorKind::Access));
        tokio::time::sleep(PASSES_WITHIN / 2).await;
        assert!(
            !refused(&refusals, LIST, ErrorKind::Access),
            "two minutes are enough"
        );
        refusals.settled(LIST, Ok(())).expect("an answer");
        assert!(refused(&refusals, LIST, ErrorKind::Access), "it worked again");
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_that_are_hours_apart_are_two_stories() {
        let refusals = Refusals::of_stream();
        refusals.settled(LIST, Ok(())).expect("an answer");
        assert!(refused(&refusals, LIST, ErrorKind::Access));
        tokio::time::sleep(ANOTHER_AFTER).await;
        assert!(refused(&refusals, LIST, ErrorKind::Access));
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_may_be_missing_for_a_while() {
        let refusals = Refusals::of_store();
        assert!(!refused(&refusals, "PutObject", ErrorKind::NotFound));
        refusals.settled("PutObject", Ok(())).expect("an answer");
        assert!(refused(&refusals, "PutObject", ErrorKind::NotFound));
        tokio::time::sleep(PASSES_WITHIN).await;
        assert!(!refused(&refusals, "PutObject", ErrorKind::NotFound));
    }
}
