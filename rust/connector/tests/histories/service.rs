//! The engine's access to the simulated stream by GetRecords.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kinesis_connector::service::{
    KinesisApi, Page, PutEntry, PutOutcome, RequestCounters, ShardFilter, ShardIterator, StreamSummary,
};
use kinesis_connector::stream::{Position, SequenceNumber, Shard, ShardId};
use kinesis_connector::{Error, ErrorKind, Result};

use crate::history::Call;
use crate::odd::refused;
use crate::stream::{Kinesis, Place, Stream, index_of_record, place_of};

/// Maximum age of an iterator (AWS limit).
const ITERATOR_MILLIS: i64 = 300_000;

impl Stream {
    fn iterator(&self, place: Place) -> ShardIterator {
        let Place { index, time } = place;
        ShardIterator(format!("{}:{}:{index}:{time}", self.created, self.now))
    }

    fn place(&self, iterator: &ShardIterator) -> Result<Place> {
        let parts: Vec<i64> = iterator
            .0
            .split(':')
            .map(|part| part.parse().expect("one of our iterators"))
            .collect();
        if self.now - parts[1] > ITERATOR_MILLIS {
            return Err(Error::new(
                ErrorKind::ExpiredIterator,
                "the iterator is older than five minutes",
            ));
        }
        if parts[0] != self.created {
            return Err(Error::new(ErrorKind::NotFound, "the iterator's stream is gone"));
        }
        Ok(Place {
            index: parts[2] as usize,
            time: parts[3],
        })
    }

    /// Refuses a sequence number that isn't one of this stream's.
    fn know(&mut self, shard: &ShardId, number: &SequenceNumber) -> Result<()> {
        let number: u64 = number.as_str().parse().expect("one of our numbers");
        if number <= self.before {
            return Err(refused());
        }
        self.odd.refuse(shard)
    }
}

#[async_trait]
impl KinesisApi for Kinesis {
    async fn describe_stream(&self) -> Result<StreamSummary> {
        let stream = self.stream();
        Ok(StreamSummary {
            arn: "arn:aws:kinesis:us-east-1:123456789012:stream/events".into(),
            created_millis: stream.created,
            creating: false,
            open_shards: stream.open_ids().len() as u32,
            auto_distribution: false,
            max_record_bytes: None,
            service_millis: Some(stream.now - stream.now.rem_euclid(1_000)),
        })
    }

    async fn list_shards(&self, filter: ShardFilter) -> Result<Vec<Shard>> {
        let listing = self.stream().list().into_iter();
        let wanted = listing.filter(|(_, closed)| match filter {
            ShardFilter::All => true,
            ShardFilter::Open => closed.is_none(),
            ShardFilter::FromTimestamp(millis) => closed.is_none_or(|closed| closed >= millis),
        });
        Ok(wanted.map(|(shard, _)| shard).collect())
    }

    async fn shard_iterator(
        &self,
        shard: &ShardId,
        at: &Position,
        _: &Arc<RequestCounters>,
    ) -> Result<ShardIterator> {
        if *at == Position::ShardEnd {
            return Err(Error::new(ErrorKind::Internal, "an iterator at a shard's end"));
        }
        let mut stream = self.stream();
        stream.odd.meet(shard, Call::GetShardIterator)?;
        stream.listed(shard)?;
        if let Position::After(number) = at {
            stream.know(shard, number)?;
        }
        Ok(stream.iterator(place_of(stream.listed(shard)?, at)))
    }

    async fn shard_iterator_at_record(
        &self,
        shard: &ShardId,
        number: &SequenceNumber,
        _: &Arc<RequestCounters>,
    ) -> Result<ShardIterator> {
        let mut stream = self.stream();
        stream.odd.meet(shard, Call::GetShardIterator)?;
        stream.listed(shard)?;
        stream.know(shard, number)?;
        let found = stream.listed(shard)?;
        let index = index_of_record(found, number);
        let time = found.records.get(index).map_or(0, |record| record.arrival);
        Ok(stream.iterator(Place { index, time }))
    }

    async fn get_records(
        &self,
        shard: &ShardId,
        iterator: &ShardIterator,
        limit: u32,
        _: &Arc<RequestCounters>,
    ) -> Result<Page> {
        let takes = self.stream().ways.answer_millis;
        tokio::time::sleep(Duration::from_millis(takes)).await;
        let mut stream = self.stream();
        stream.odd.meet(shard, Call::GetRecords)?;
        let place = stream.place(iterator)?;
        let slice = stream.ways.slice();
        let (page, after) = stream.page(shard, place, limit as usize, slice)?;
        let next = page.next.map(|_| stream.iterator(after));
        Ok(Page { next, ..page })
    }

    async fn put_records(&self, _: &[PutEntry], _: &Arc<RequestCounters>) -> Result<Vec<PutOutcome>> {
        Err(Error::new(
            ErrorKind::Internal,
            "histories put their records themselves",
        ))
    }
}
