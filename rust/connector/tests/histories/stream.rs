//! A Kinesis stream in memory with a clock of its own, whose shards split, merge and expire as a history says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use kinesis_connector::service::{
    KinesisApi, Page, PutEntry, PutOutcome, RecordColumns, RequestCounters, ShardFilter, ShardIterator,
    StreamSummary,
};
use kinesis_connector::stream::{Position, SequenceNumber, Shard, ShardId};
use kinesis_connector::{Error, ErrorKind, Result};
use tokio::sync::watch;

/// Partition keys; each is the top bits of its own hash key.
pub const KEYS: u8 = 8;

/// Listings that a new shard may be missing in.
const LAG: usize = 3;

/// A record. Its number is unique in the stream and grows with time.
#[derive(Clone, Debug)]
pub struct Record {
    pub number: u64,
    pub key: u8,
    pub arrival: i64,
}

#[derive(Clone, Debug)]
pub struct StreamShard {
    pub shard: Shard,
    pub records: Vec<Record>,
    pub closed: Option<i64>,
    /// Retention took it.
    pub gone: bool,
}

#[derive(Debug)]
pub struct Stream {
    pub now: i64,
    pub shards: Vec<StreamShard>,
    numbers: u64,
    /// Most records in one answer.
    page: usize,
    /// Every other answer of a shard is empty, though more follows.
    sparse: bool,
    /// Shards that are missing in so many listings to come. A listing that has a shard has its parents.
    missing: BTreeMap<ShardId, usize>,
    answers: BTreeMap<ShardId, u64>,
}

/// The stream as the engine reaches it.
#[derive(Debug)]
pub struct Kinesis {
    stream: Mutex<Stream>,
    /// For subscriptions: the stream changed.
    changed: watch::Sender<()>,
}

impl Kinesis {
    pub fn new(shards: u8, page: usize, sparse: bool, now: i64) -> Arc<Self> {
        let mut stream = Stream {
            now,
            shards: Vec::new(),
            numbers: 0,
            page,
            sparse,
            missing: BTreeMap::new(),
            answers: BTreeMap::new(),
        };
        let width = u128::MAX / u128::from(shards);
        for index in 0..u128::from(shards) {
            let end = if index + 1 == u128::from(shards) {
                u128::MAX
            } else {
                (index + 1) * width - 1
            };
            stream.open(&[], index * width, end);
        }
        Arc::new(Self {
            stream: Mutex::new(stream),
            changed: watch::Sender::default(),
        })
    }

    pub fn stream(&self) -> MutexGuard<'_, Stream> {
        self.stream
            .lock()
            .expect("no test panics while it holds the stream")
    }

    pub fn tell_change(&self) {
        self.changed.send_replace(());
    }

    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

impl Stream {
    pub fn put(&mut self, key: u8) {
        let hash = u128::from(key) << (u128::BITS - 3);
        self.numbers += 1;
        let record = Record {
            number: self.numbers,
            key,
            arrival: self.now,
        };
        let shard = self.shards.iter_mut().find(|shard| {
            shard.closed.is_none() && shard.shard.hash_start <= hash && hash <= shard.shard.hash_end
        });
        shard
            .expect("every hash key has an open shard")
            .records
            .push(record);
    }

    /// Splits an open shard; only `shown` of its children are listed at first.
    pub fn split(&mut self, which: u8, shown: usize) {
        let index = self.open_shard(which);
        self.split_at(index);
        self.hide(2 - shown.min(2));
    }

    /// Merges an open shard with the next one.
    pub fn merge(&mut self, which: u8, shown: usize) {
        let open = self.open_shards();
        if open.len() > 1 {
            let left = usize::from(which) % (open.len() - 1);
            self.merge_at(open[left], open[left + 1]);
            self.hide(1 - shown.min(1));
        }
    }

    /// UpdateShardCount to twice as many.
    pub fn double(&mut self) {
        for index in self.open_shards() {
            self.split_at(index);
        }
    }

    /// UpdateShardCount to half as many.
    pub fn halve(&mut self) {
        for pair in self.open_shards().chunks_exact(2) {
            self.merge_at(pair[0], pair[1]);
        }
    }

    /// Retention takes the shards that closed first. That is a day or more after they closed: no listing lags so
    /// far behind.
    pub fn expire(&mut self) {
        self.settle();
        let oldest = self.shards.iter().filter(|shard| !shard.gone);
        let Some(first) = oldest.filter_map(|shard| shard.closed).min() else {
            return;
        };
        for shard in &mut self.shards {
            shard.gone |= shard.closed == Some(first);
        }
    }

    pub fn settle(&mut self) {
        self.missing.clear();
    }

    pub fn find(&self, id: &ShardId) -> &StreamShard {
        let found = self.shards.iter().find(|shard| shard.shard.id == *id);
        found.expect("a shard of this stream")
    }

    pub fn ancestors(&self, id: &ShardId) -> BTreeSet<ShardId> {
        let mut found = BTreeSet::new();
        let mut open = vec![id.clone()];
        while let Some(id) = open.pop() {
            for parent in &self.find(&id).shard.parents {
                if found.insert(parent.clone()) {
                    open.push(parent.clone());
                }
            }
        }
        found
    }

    pub fn open_ids(&self) -> BTreeSet<ShardId> {
        let open = self.shards.iter().filter(|shard| shard.closed.is_none());
        open.map(|shard| shard.shard.id.clone()).collect()
    }

    fn hide(&mut self, newest: usize) {
        let from = self.shards.len() - newest;
        let hidden = self.shards[from..].iter();
        self.missing
            .extend(hidden.map(|shard| (shard.shard.id.clone(), LAG)));
    }

    /// In the order of their hash keys.
    fn open_shards(&self) -> Vec<usize> {
        let mut open: Vec<usize> = (0..self.shards.len())
            .filter(|index| self.shards[*index].closed.is_none())
            .collect();
        open.sort_by_key(|index| self.shards[*index].shard.hash_start);
        open
    }

    fn open_shard(&self, which: u8) -> usize {
        let open = self.open_shards();
        open[usize::from(which) % open.len()]
    }

    fn split_at(&mut self, index: usize) {
        let parent = self.close(index);
        let middle = parent.hash_start + (parent.hash_end - parent.hash_start) / 2;
        self.open(&[&parent.id], parent.hash_start, middle);
        self.open(&[&parent.id], middle + 1, parent.hash_end);
    }

    fn merge_at(&mut self, left: usize, right: usize) {
        let (left, right) = (self.close(left), self.close(right));
        self.open(&[&left.id, &right.id], left.hash_start, right.hash_end);
    }

    fn close(&mut self, index: usize) -> Shard {
        self.shards[index].closed = Some(self.now);
        self.shards[index].shard.closed = true;
        let shard = self.shards[index].shard.clone();
        self.missing.remove(&shard.id);
        shard
    }

    fn open(&mut self, parents: &[&ShardId], hash_start: u128, hash_end: u128) {
        let id = format!("shardId-{:012}", self.shards.len());
        self.shards.push(StreamShard {
            shard: Shard {
                id: ShardId::from(id.as_str()),
                parents: parents.iter().map(|parent| (*parent).clone()).collect(),
                hash_start,
                hash_end,
                closed: false,
            },
            records: Vec::new(),
            closed: None,
            gone: false,
        });
    }

    /// What a reader at this place of a shard gets in one answer or event, and the place after it.
    pub fn page(&mut self, shard: &ShardId, from: usize, limit: usize) -> Result<(Page, usize)> {
        let answers = self.answers.entry(shard.clone()).or_default();
        *answers += 1;
        let (sparse, page) = (self.sparse && answers.is_multiple_of(2), self.page);
        let found = self.listed(shard)?;
        let most = if sparse { 0 } else { page.min(limit) };
        let to = found.records.len().min(from + most);
        let mut records = RecordColumns::with_capacity(to - from, 0);
        for record in &found.records[from..to] {
            let number = record.number.to_string();
            records.push(
                number.as_bytes(),
                &record.key.to_string(),
                &number,
                record.arrival,
            )?;
        }
        let rest = to < found.records.len();
        let end = !rest && found.closed.is_some();
        let page = Page {
            records,
            next: (!end).then(|| ShardIterator(to.to_string())),
            millis_behind_latest: Some(if rest { 1_000 } else { 0 }),
            child_shards: Vec::new(),
            request_id: None,
            service_millis: None,
        };
        Ok((page, to))
    }

    /// A number between the record at this place of a shard and the one before it: a subscription may go on after it.
    pub fn number_before(&self, shard: &ShardId, place: usize) -> u64 {
        let next = self.find(shard).records.get(place);
        next.map_or(self.numbers, |record| record.number - 1)
    }

    pub fn listed(&self, shard: &ShardId) -> Result<&StreamShard> {
        let found = self
            .shards
            .iter()
            .find(|known| known.shard.id == *shard && !known.gone);
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no shard {shard}")))
    }
}

/// How many of the shard's records are before a position.
pub fn index_of(shard: &StreamShard, position: &Position) -> usize {
    let before = |record: &Record| match position {
        Position::TrimHorizon => false,
        Position::AtTimestamp(millis) => record.arrival < *millis,
        Position::AfterQuiet(_, millis) => record.arrival < *millis,
        Position::After(last) => record
            .number
            .to_string()
            .parse()
            .is_ok_and(|number: SequenceNumber| number <= *last),
        Position::ShardEnd => true,
    };
    shard.records.iter().take_while(|record| before(record)).count()
}

/// How many of the shard's records are before the one of this number.
pub fn index_of_record(shard: &StreamShard, number: &SequenceNumber) -> usize {
    let records = shard.records.iter();
    records
        .take_while(|record| record.number.to_string() != number.as_str())
        .count()
}

#[async_trait]
impl KinesisApi for Kinesis {
    async fn describe_stream(&self) -> Result<StreamSummary> {
        Ok(StreamSummary {
            arn: "arn:aws:kinesis:us-east-1:123456789012:stream/events".into(),
            created_millis: 1,
            open_shards: self.stream().open_shards().len() as u32,
            service_millis: None,
        })
    }

    async fn list_shards(&self, filter: ShardFilter) -> Result<Vec<Shard>> {
        let mut stream = self.stream();
        let wanted = |shard: &&StreamShard| match filter {
            ShardFilter::All => true,
            ShardFilter::FromTimestamp(millis) => shard.closed.is_none_or(|closed| closed >= millis),
        };
        let listed = stream.shards.iter().filter(|shard| !shard.gone);
        let shown = listed.filter(|shard| !stream.missing.contains_key(&shard.shard.id));
        let listing = shown.filter(wanted).map(|shard| shard.shard.clone()).collect();
        stream.missing.retain(|_, listings| {
            *listings -= 1;
            *listings > 0
        });
        Ok(listing)
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
        Ok(ShardIterator(
            index_of(self.stream().listed(shard)?, at).to_string(),
        ))
    }

    async fn shard_iterator_at_record(
        &self,
        shard: &ShardId,
        number: &SequenceNumber,
        _: &Arc<RequestCounters>,
    ) -> Result<ShardIterator> {
        let index = index_of_record(self.stream().listed(shard)?, number);
        Ok(ShardIterator(index.to_string()))
    }

    async fn get_records(
        &self,
        shard: &ShardId,
        iterator: &ShardIterator,
        limit: u32,
        _: &Arc<RequestCounters>,
    ) -> Result<Page> {
        let from: usize = iterator.0.parse().expect("one of our iterators");
        let (page, _) = self.stream().page(shard, from, limit as usize)?;
        Ok(page)
    }

    async fn put_records(&self, _: &[PutEntry], _: &Arc<RequestCounters>) -> Result<Vec<PutOutcome>> {
        Err(Error::new(
            ErrorKind::Internal,
            "histories put their records themselves",
        ))
    }
}
