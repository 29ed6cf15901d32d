//! What a reader leaves for the next reader of its shard in this process: the iterator that goes on where it
//! ended, so that the next batch needs one request instead of two, or its subscription.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::fanout::Residents;
use crate::service::ShardIterator;
use crate::stream::{Position, ShardId};

/// Younger than the five minutes that an iterator lives (AWS limit).
const ITERATOR_AGE: Duration = Duration::from_secs(270);

/// Iterators and subscriptions by source and shard. Only a short cut: nothing depends on finding one. And the bytes
/// that all readers may fetch ahead together. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct ShardMemory {
    iterators: Arc<Mutex<HashMap<(String, ShardId), Remembered>>>,
    residents: Residents,
    budget: Budget,
}

#[derive(Debug)]
struct Remembered {
    position: Position,
    iterator: ShardIterator,
    since: Instant,
}

impl ShardMemory {
    /// The subscriptions that no task reads from.
    pub(crate) fn residents(&self) -> &Residents {
        &self.residents
    }

    /// The bytes that all readers may fetch ahead.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Keeps an iterator that stands at this position.
    pub(super) fn remember(
        &self,
        source: &str,
        shard: &ShardId,
        position: Position,
        iterator: ShardIterator,
    ) {
        let mut iterators = self.iterators();
        iterators.retain(|_, kept| kept.since.elapsed() < ITERATOR_AGE);
        let since = Instant::now();
        iterators.insert(
            (source.to_owned(), shard.clone()),
            Remembered {
                position,
                iterator,
                since,
            },
        );
    }

    /// Hands out the iterator that stands at this position. One that stands elsewhere is dropped: its reader's
    /// batch was not the last one.
    pub(super) fn recall(&self, source: &str, shard: &ShardId, position: &Position) -> Option<ShardIterator> {
        let kept = self.iterators().remove(&(source.to_owned(), shard.clone()))?;
        (kept.position == *position && kept.since.elapsed() < ITERATOR_AGE).then_some(kept.iterator)
    }

    fn iterators(&self) -> MutexGuard<'_, HashMap<(String, ShardId), Remembered>> {
        self.iterators.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_position_it_stands_at_gets_the_iterator() {
        let (memory, shard) = (ShardMemory::default(), ShardId::from("shardId-000000000000"));
        let at = |number: &str| Position::After(number.parse().expect("number"));
        let iterator = || ShardIterator("it".into());
        memory.remember("q", &shard, at("5"), iterator());
        assert_eq!(memory.recall("other", &shard, &at("5")), None);
        assert_eq!(memory.recall("q", &shard, &at("5")), Some(iterator()));
        assert_eq!(memory.recall("q", &shard, &at("5")), None);
        memory.remember("q", &shard, at("5"), iterator());
        assert_eq!(memory.recall("q", &shard, &at("6")), None);
        assert_eq!(memory.recall("q", &shard, &at("5")), None);
    }
}
