//! A place in a shard with its iterator, which is fetched when it is first needed and renewed when it expired.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Fetcher, rest_of};
use crate::error::{ErrorKind, Result};
use crate::read::{ShardMemory, Shared};
use crate::service::{KinesisApi, Page, ShardIterator};
use crate::stream::Position;

pub(super) struct Cursor {
    api: Arc<dyn KinesisApi>,
    shared: Arc<Shared>,
    position: Position,
    iterator: Option<ShardIterator>,
    asked: Option<Instant>,
}

impl Cursor {
    /// A cursor at the batch's start, with the iterator that the last batch's reader left there, if it did.
    pub(super) fn new(fetcher: &Fetcher<'_>, position: Position) -> Self {
        let task = &fetcher.shared.task;
        let iterator = fetcher.memory.recall(&task.source, &task.shard, &position);
        Self {
            api: fetcher.api.clone(),
            shared: fetcher.shared.clone(),
            position,
            iterator,
            asked: None,
        }
    }

    /// The next answer. The cursor moves on only with [`Self::stand_at`].
    pub(super) async fn next_page(&mut self, limit: u32) -> Result<Page> {
        let (shard, counters) = (&self.shared.task.shard, &self.shared.counters);
        let mut renewed = false;
        loop {
            let iterator = match &self.iterator {
                Some(iterator) => iterator.clone(),
                None => self.api.shard_iterator(shard, &self.position, counters).await?,
            };
            self.asked = Some(Instant::now());
            match self.api.get_records(shard, &iterator, limit, counters).await {
                Err(error) if error.kind() == ErrorKind::ExpiredIterator && !renewed => {
                    tracing::info!(%shard, position = %self.position, "the shard iterator expired, getting another");
                    self.iterator = None;
                    renewed = true;
                }
                answer => return answer,
            }
        }
    }

    /// Moves to what follows an answer; without an iterator if only a part of it was taken.
    pub(super) fn stand_at(&mut self, position: Position, iterator: Option<ShardIterator>) {
        self.position = position;
        self.iterator = iterator;
    }

    /// Waits until the shard may be asked again.
    pub(super) async fn pause(&self, interval: Duration) -> Result<()> {
        rest_of(interval, self.asked).await;
        Ok(())
    }

    /// Leaves the iterator to the reader of the next batch, if the cursor stands where that starts.
    pub(super) fn leave_at(self, end: &Position, memory: &ShardMemory) {
        let task = &self.shared.task;
        if let Some(iterator) = self
            .iterator
            .filter(|_| self.position == *end && *end != Position::ShardEnd)
        {
            memory.remember(&task.source, &task.shard, end.clone(), iterator);
        }
    }
}
