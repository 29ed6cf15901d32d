//! Patience with refusals. While a policy, a grant or a KMS key is changed, single calls are refused that were allowed
//! before and are allowed again a moment later. A refusal of an operation that has worked may pass; one that was
//! refused from the beginning, or is refused for minutes, is final.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::{ErrorKind, Result};
use crate::stream::ShardId;

/// Time for which an operation may be refused before that is final.
const PASSES_WITHIN: Duration = Duration::from_secs(120);
/// Time for which the stream of PutRecords may be missing.
const MISSING_FOR: Duration = Duration::from_secs(10);
/// Time without a refusal after which the next one is another story. Some operations are called rarely.
const ANOTHER_AFTER: Duration = Duration::from_secs(600);

/// What is known of the operations on a stream, or of a store.
#[derive(Debug)]
pub(crate) struct Refusals {
    known: Mutex<Known>,
    /// Kinds of errors that count as refusals.
    kinds: &'static [ErrorKind],
}

#[derive(Debug, Default)]
struct Known {
    /// Operations that have worked.
    worked: HashSet<&'static str>,
    /// First and last refusal since the same call worked last.
    refused: HashMap<Refused, (Instant, Instant)>,
}

/// The calls of an operation, of one shard or of none, that fail in one way: a key may be refused for the records of
/// one shard only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Refused {
    operation: &'static str,
    shard: Option<ShardId>,
    kind: ErrorKind,
}

impl Refusals {
    /// Of a stream. Whether a stream that is read is missing is decided elsewhere.
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
            known: Mutex::default(),
            kinds,
        }
    }

    /// The outcome of a call, with a refusal that may pass as a retryable error.
    pub(crate) fn settled<T>(
        &self,
        operation: &'static str,
        shard: Option<&ShardId>,
        outcome: Result<T>,
    ) -> Result<T> {
        match &outcome {
            Ok(_) => {
                let mut known = self.known.lock();
                known.worked.insert(operation);
                known
                    .refused
                    .retain(|call, _| call.operation != operation || call.shard.as_ref() != shard);
                drop(known);
                outcome
            }
            Err(error) => match self.passes_within(operation, error.kind()) {
                Some(time) => {
                    let call = Refused {
                        operation,
                        shard: shard.cloned(),
                        kind: error.kind(),
                    };
                    match self.may_pass(call, time) {
                        true => outcome.map_err(|error| error.retryable(true)),
                        false => outcome,
                    }
                }
                None => outcome,
            },
        }
    }

    /// Call when an operation worked in a way that doesn't show that it isn't refused any more.
    pub(super) fn works(&self, operation: &'static str) {
        self.known.lock().worked.insert(operation);
    }

    /// Time for which an operation may fail with this error before that is final; none if it is final at once. An
    /// invalid PutRecords has a record that will never do.
    fn passes_within(&self, operation: &str, kind: ErrorKind) -> Option<Duration> {
        match (operation, kind) {
            ("PutRecords", ErrorKind::InvalidRequest) => None,
            ("PutRecords", ErrorKind::NotFound) => Some(MISSING_FOR),
            _ => self.kinds.contains(&kind).then_some(PASSES_WITHIN),
        }
    }

    fn may_pass(&self, call: Refused, time: Duration) -> bool {
        let mut known = self.known.lock();
        if !known.worked.contains(call.operation) {
            return false;
        }
        let now = Instant::now();
        known.refused.retain(|_, (_, last)| now - *last < ANOTHER_AFTER);
        let (first, last) = known.refused.entry(call).or_insert((now, now));
        *last = now;
        now - *first < time
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
            .settled(operation, None, outcome)
            .expect_err("refused")
            .is_retryable()
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_worked_is_refused_for_good() {
        let refusals = Refusals::of_stream();
        assert!(!refused(&refusals, LIST, ErrorKind::Access));
        refusals.settled("GetRecords", None, Ok(())).expect("an answer");
        assert!(
            !refused(&refusals, LIST, ErrorKind::Access),
            "another operation says nothing"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_worked_may_be_refused_for_a_while() {
        let refusals = Refusals::of_stream();
        refusals.settled(LIST, None, Ok(())).expect("an answer");
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
        refusals.settled(LIST, None, Ok(())).expect("an answer");
        assert!(refused(&refusals, LIST, ErrorKind::Access), "it worked again");
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_that_are_hours_apart_are_two_stories() {
        let refusals = Refusals::of_stream();
        refusals.settled(LIST, None, Ok(())).expect("an answer");
        assert!(refused(&refusals, LIST, ErrorKind::Access));
        tokio::time::sleep(ANOTHER_AFTER).await;
        assert!(refused(&refusals, LIST, ErrorKind::Access));
    }

    /// The old records of one shard may be encrypted with a key that was disabled, for example.
    #[tokio::test(start_paused = true)]
    async fn a_shard_that_is_refused_for_minutes_is_refused_for_good_though_others_are_read() {
        let refusals = Refusals::of_stream();
        let (read, refused) = (ShardId::from("shardId-1"), ShardId::from("shardId-2"));
        let mut last = true;
        for _ in 0..30 {
            let answered = refusals.settled("GetRecords", Some(&read), Ok(()));
            answered.expect("an answer");
            let outcome: Result<()> = Err(Error::new(ErrorKind::Kms, "no"));
            let outcome = refusals.settled("GetRecords", Some(&refused), outcome);
            last = outcome.expect_err("refused").is_retryable();
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        assert!(!last, "five minutes are enough");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_invalid_by_itself_is_refused_for_good() {
        let refusals = Refusals::of_stream();
        refusals.settled("PutRecords", None, Ok(())).expect("an answer");
        assert!(!refused(&refusals, "PutRecords", ErrorKind::InvalidRequest));
        assert!(refused(&refusals, "PutRecords", ErrorKind::Access));
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_and_a_stream_that_is_written_to_may_be_missing_for_a_while() {
        for (refusals, operation, time) in [
            (Refusals::of_stream(), "PutRecords", MISSING_FOR),
            (Refusals::of_store(), "PutObject", PASSES_WITHIN),
        ] {
            assert!(!refused(&refusals, operation, ErrorKind::NotFound));
            refusals.settled(operation, None, Ok(())).expect("an answer");
            assert!(refused(&refusals, operation, ErrorKind::NotFound));
            tokio::time::sleep(time).await;
            assert!(!refused(&refusals, operation, ErrorKind::NotFound));
        }
    }
}
