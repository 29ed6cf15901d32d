//! Registered consumers in use by the queries of this process. No two queries share a consumer, and none is
//! deregistered after the next query has taken it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All consumers in use. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Consumers {
    uses: Arc<Mutex<Uses>>,
}

#[derive(Debug, Default)]
struct Uses {
    by_consumer: HashMap<String, Use>,
    last: u64,
}

#[derive(Debug)]
struct Use {
    /// Identifies the query.
    number: u64,
    stage: Stage,
    /// What the previous query left, until this one is known to continue with it.
    left_before: Option<Left>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// A query reads with it.
    Reads,
    /// The query that registered it has stopped, for good or not: that is known later.
    Left(String),
    /// The consumer is being deregistered.
    Deregisters,
}

#[derive(Clone, Debug)]
struct Left {
    number: u64,
    arn: String,
}

/// Why a query can't have a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// Another query reads with it.
    Read,
    /// A query that ended is deregistering it, which takes only moments.
    Deregistered,
}

/// A consumer that a query of this process reads with, until the query leaves it or this value is dropped.
#[derive(Debug)]
pub(crate) struct InUseByQuery {
    consumers: Consumers,
    consumer: String,
    number: u64,
    inherited: Option<String>,
}

impl Consumers {
    /// Takes the consumer for a query.
    pub(super) fn claim(&self, consumer: &str) -> Result<InUseByQuery, Busy> {
        let mut uses = self.uses();
        let left_before = match uses.by_consumer.get(consumer) {
            None => None,
            Some(taken) => match &taken.stage {
                Stage::Reads => return Err(Busy::Read),
                Stage::Deregisters => return Err(Busy::Deregistered),
                Stage::Left(arn) => Some(Left {
                    number: taken.number,
                    arn: arn.clone(),
                }),
            },
        };
        uses.last += 1;
        let number = uses.last;
        let inherited = left_before.as_ref().map(|left| left.arn.clone());
        let taken = Use {
            number,
            stage: Stage::Reads,
            left_before,
        };
        uses.by_consumer.insert(consumer.to_owned(), taken);
        Ok(InUseByQuery {
            consumers: self.clone(),
            consumer: consumer.to_owned(),
            number,
            inherited,
        })
    }

    fn uses(&self) -> MutexGuard<'_, Uses> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InUseByQuery {
    /// ARN of the consumer that the previous query registered and hasn't deregistered. Deregistering it is up to this
    /// query, once it [goes on](Self::goes_on).
    pub(crate) fn inherited(&self) -> Option<&str> {
        self.inherited.as_deref()
    }

    /// Makes the consumer this query's own, including anything inherited.
    pub(crate) fn goes_on(&self) {
        self.with(|own| own.left_before = None);
    }

    /// Frees the consumer for another query when this one stops. `registered` is the consumer's ARN if the query must
    /// deregister it after its final stop.
    pub(crate) fn leave(&self, registered: Option<&str>) {
        let mut uses = self.consumers.uses();
        let Some(own) = uses.by_consumer.get_mut(&self.consumer) else {
            return;
        };
        if own.number != self.number || own.stage != Stage::Reads {
            return;
        }
        match registered {
            Some(arn) => own.stage = Stage::Left(arn.to_owned()),
            None => {
                uses.by_consumer.remove(&self.consumer);
            }
        }
    }

    /// True if nobody has taken the consumer since the query left it. Nobody can take it then until this value is
    /// dropped.
    pub(crate) fn may_deregister(&self) -> bool {
        self.with(|own| own.stage = Stage::Deregisters).is_some()
    }

    fn with<T>(&self, change: impl FnOnce(&mut Use) -> T) -> Option<T> {
        let mut uses = self.consumers.uses();
        let own = uses.by_consumer.get_mut(&self.consumer)?;
        (own.number == self.number).then(|| change(own))
    }
}

impl Drop for InUseByQuery {
    fn drop(&mut self) {
        let mut uses = self.consumers.uses();
        let Some(own) = uses.by_consumer.get_mut(&self.consumer) else {
            return;
        };
        if own.number != self.number {
            return;
        }
        match own.left_before.take() {
            // The query never began to read: restore what the previous one left.
            Some(left) => {
                own.number = left.number;
                own.stage = Stage::Left(left.arn);
            }
            None => {
                uses.by_consumer.remove(&self.consumer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_query_at_a_time_has_a_consumer() {
        let consumers = Consumers::default();
        let one = consumers.claim("app").expect("free");
        assert_eq!(consumers.claim("app").err(), Some(Busy::Read));
        consumers.claim("other").expect("another one is free");
        drop(one);
        let one = consumers.claim("app").expect("free again");
        one.leave(None);
        let two = consumers.claim("app").expect("left");
        assert_eq!(two.inherited(), None);
        drop(one);
        assert_eq!(
            consumers.claim("app").err(),
            Some(Busy::Read),
            "it is the second one's"
        );
    }

    #[test]
    fn what_the_next_query_took_is_not_deregistered() {
        let consumers = Consumers::default();
        let one = consumers.claim("app").expect("free");
        one.leave(Some("app:1"));
        let two = consumers.claim("app").expect("left");
        assert_eq!(two.inherited(), Some("app:1"));
        two.goes_on();
        assert!(!one.may_deregister());
        drop(one);
        two.leave(Some("app:1"));
        assert!(two.may_deregister());
        assert_eq!(consumers.claim("app").err(), Some(Busy::Deregistered));
        drop(two);
        assert_eq!(consumers.claim("app").expect("free").inherited(), None);
    }

    #[test]
    fn a_query_that_fails_to_start_leaves_it_to_the_one_before() {
        let consumers = Consumers::default();
        let one = consumers.claim("app").expect("free");
        one.leave(Some("app:1"));
        let two = consumers.claim("app").expect("left");
        drop(two);
        let three = consumers.claim("app").expect("left");
        assert_eq!(three.inherited(), Some("app:1"));
        drop(three);
        assert!(one.may_deregister());
    }
}
