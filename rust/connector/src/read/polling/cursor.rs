//! A place in a shard with its iterator, which is fetched when it is first needed and renewed when it expired.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::retention::{Retention, expired_after};
use super::{Fetcher, MAX_RECORDS, rest_of};
use crate::error::{Error, ErrorKind, Result};
use crate::read::{ShardMemory, Shared};
use crate::service::{KinesisApi, Page, RecordColumns, ShardIterator};
use crate::stream::{Position, SequenceNumber};

pub(in crate::read) struct PollingCursor {
    api: Arc<dyn KinesisApi>,
    shared: Arc<Shared>,
    retention: Retention,
    position: Position,
    iterator: Option<ShardIterator>,
    /// The record that the position follows, until it is known whether the shard still has it. The service leaves
    /// out in silence what expired, so the record itself is asked for: if it comes, nothing after it is missing.
    before: Option<SequenceNumber>,
    /// The last answer held as many records as were asked for: more may follow, whatever it says of the tip.
    full: bool,
    asked: Option<Instant>,
}

impl PollingCursor {
    /// A cursor at the batch's start, with the iterator that the last batch's reader left there, if it did.
    pub(in crate::read) fn new(fetcher: &Fetcher<'_>) -> Self {
        let task = &fetcher.shared.task;
        let position = task.start.clone();
        let before = match &position {
            Position::After(number) if !task.tip_seen => Some(number.clone()),
            _ => None,
        };
        let iterator = fetcher.memory.recall(&task.source, &task.shard, &position);
        Self {
            api: fetcher.api.clone(),
            shared: fetcher.shared.clone(),
            retention: fetcher.retention(),
            position,
            iterator: iterator.filter(|_| before.is_none()),
            before,
            full: false,
            asked: None,
        }
    }

    /// The next answer. The cursor moves on only with [`Self::stand_at`].
    pub(in crate::read) async fn next_page(&mut self, limit: u32) -> Result<Page> {
        let limit = match self.before {
            Some(_) => (limit + 1).min(MAX_RECORDS),
            None => limit,
        };
        let mut renewed = false;
        loop {
            let iterator = match self.iterator().await {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return self.end_of_gone_shard(error).await;
                }
                iterator => iterator?,
            };
            let (shard, counters) = (&self.shared.task.shard, &self.shared.counters);
            self.asked = Some(Instant::now());
            match self.api.get_records(shard, &iterator, limit, counters).await {
                Err(error) if error.kind() == ErrorKind::ExpiredIterator && !renewed => {
                    tracing::info!(%shard, position = %self.position, "the shard iterator expired, getting another");
                    self.iterator = None;
                    renewed = true;
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return self.end_of_gone_shard(error).await;
                }
                Err(error) => return Err(error),
                Ok(mut page) => {
                    self.full = page.records.len() >= limit as usize;
                    self.drop_what_was_read(&mut page)?;
                    return Ok(page);
                }
            }
        }
    }

    async fn iterator(&mut self) -> Result<ShardIterator> {
        if let Some(iterator) = &self.iterator {
            return Ok(iterator.clone());
        }
        let (shard, counters) = (&self.shared.task.shard, &self.shared.counters);
        let answer = match &self.before {
            Some(number) => self.api.shard_iterator_at_record(shard, number, counters).await,
            None => self.api.shard_iterator(shard, &self.position, counters).await,
        };
        match answer {
            Err(error) if error.kind() == ErrorKind::RefusedPosition && self.stands_at_last_batch() => {
                self.retention.lost(&format!(
                    "the shard can't be read on from where the query stood in it, so records that were not read may \
                     be lost: {}",
                    error.message()
                ))?;
                self.position = Position::TrimHorizon;
                self.before = None;
                self.shared.progress().position = Position::TrimHorizon;
                self.api.shard_iterator(shard, &self.position, counters).await
            }
            answer => answer,
        }
    }

    /// True at the end of an earlier batch, that is before anything of this one was read.
    fn stands_at_last_batch(&self) -> bool {
        matches!(self.position, Position::After(_)) && self.position == self.shared.task.start
    }

    /// The service doesn't find the shard. If there is the stream, the shard has expired: an answer like that at the
    /// end of a closed shard then, so that the shards that follow it can be read.
    async fn end_of_gone_shard(&self, error: Error) -> Result<Page> {
        // A missing stream is told as such.
        self.api.describe_stream().await?;
        self.retention.lost(&format!(
            "the stream doesn't have the shard any more, whose records were not all read: closed shards go when the \
             stream's retention has passed ({})",
            error.message()
        ))?;
        Ok(Page {
            records: RecordColumns::with_capacity(0, 0),
            next: None,
            millis_behind_latest: None,
            child_shards: Vec::new(),
            request_id: None,
        })
    }

    /// True if more records may follow the last answer at once, though it says that none do: services count
    /// `MillisBehindLatest` between arrivals, and those of many records fall into one millisecond.
    pub(in crate::read) fn was_full(&self) -> bool {
        self.full
    }

    /// Takes the record before the position, which an earlier batch had, out of an answer. If another comes first,
    /// it has expired, and unread ones may have with it.
    fn drop_what_was_read(&mut self, page: &mut Page) -> Result<()> {
        let records = &mut page.records;
        let Some(before) = self.before.take_if(|_| !records.is_empty()) else {
            return Ok(());
        };
        let mut read = 0;
        while read < records.len() && records.sequence_number(read).parse::<SequenceNumber>()? <= before {
            read += 1;
        }
        if read > 0 {
            records.remove_first(read);
            return Ok(());
        }
        self.retention.lost(&expired_after(&before, records))
    }

    /// Moves to what follows an answer; without an iterator if only a part of it was taken.
    pub(in crate::read) fn stand_at(&mut self, position: Position, iterator: Option<ShardIterator>) {
        self.position = position;
        self.iterator = iterator;
    }

    /// Waits until the shard may be asked again.
    pub(in crate::read) async fn pause(&self, interval: Duration) -> Result<()> {
        rest_of(interval, self.asked).await;
        Ok(())
    }

    /// Leaves the iterator to the reader of the next batch, if the cursor stands where that starts. One that may
    /// still give the record before the position is of no use to it.
    pub(in crate::read) fn leave_at(self, end: &Position, memory: &ShardMemory) {
        let task = &self.shared.task;
        let stands_there = self.before.is_none() && self.position == *end && *end != Position::ShardEnd;
        if let Some(iterator) = self.iterator.filter(|_| stands_there) {
            memory.remember(&task.source, &task.shard, end.clone(), iterator);
        }
    }
}
