//! A Kinesis stream in memory with its own clock, whose shards split, merge and expire as a history prescribes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kinesis_connector::service::{Page, RecordColumns, ShardIterator};
use kinesis_connector::stream::{Position, SequenceNumber, Shard, ShardId};
use kinesis_connector::{Error, ErrorKind, Result};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::history::Ways;
use crate::odd::OddAnswers;

/// Number of partition keys; each key is the top bits of its own hash key.
pub const KEYS: u8 = 8;

/// Number of listings that may lack a new shard.
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
    pub created: i64,
    pub closed: Option<i64>,
    /// True if the shard has expired.
    pub gone: bool,
}

#[derive(Debug)]
pub struct Stream {
    pub now: i64,
    /// Part of the elapsed time that `now` already includes.
    passed: Duration,
    /// Creation time, which distinguishes this stream from earlier ones of the same name.
    pub created: i64,
    /// Last record number of the earlier streams.
    pub before: u64,
    pub shards: Vec<StreamShard>,
    numbers: u64,
    pub ways: Ways,
    /// Shards missing in this number of upcoming listings. A listing that has a shard also has its parents.
    missing: BTreeMap<ShardId, usize>,
    /// Number of upcoming listings that show the state before the last reshard, and the index of the first shard that
    /// it created.
    back: usize,
    newest: usize,
    answers: BTreeMap<ShardId, u64>,
    pub odd: OddAnswers,
}

/// An iterator's place in a shard: the number of records before it, and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub index: usize,
    pub time: i64,
}

/// The engine's access to the stream.
#[derive(Debug)]
pub struct Kinesis {
    stream: Mutex<Stream>,
    started: Instant,
    /// Signals changes of the stream to subscriptions.
    changed: watch::Sender<()>,
}

impl Kinesis {
    pub fn new(shards: u8, ways: Ways, now: i64) -> Arc<Self> {
        let mut stream = Stream {
            now,
            passed: Duration::ZERO,
            created: 1,
            before: 0,
            shards: Vec::new(),
            numbers: 0,
            ways,
            missing: BTreeMap::new(),
            back: 0,
            newest: 0,
            answers: BTreeMap::new(),
            odd: OddAnswers::default(),
        };
        stream.make(shards);
        Arc::new(Self {
            stream: Mutex::new(stream),
            started: Instant::now(),
            changed: watch::Sender::default(),
        })
    }

    /// Locks the stream, with its clock advanced.
    pub fn stream(&self) -> MutexGuard<'_, Stream> {
        let mut stream = self
            .stream
            .lock()
            .expect("no test panics while it holds the stream");
        let passed = self.started.elapsed();
        stream.now += (passed.as_millis() - stream.passed.as_millis()) as i64;
        stream.passed = passed;
        stream
    }

    pub fn notify_change(&self) {
        self.changed.send_replace(());
    }

    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

impl Stream {
    fn make(&mut self, shards: u8) {
        let width = u128::MAX / u128::from(shards);
        for index in 0..u128::from(shards) {
            let end = if index + 1 == u128::from(shards) {
                u128::MAX
            } else {
                (index + 1) * width - 1
            };
            self.open(&[], index * width, end);
        }
        self.newest = self.shards.len();
    }

    /// Replaces the stream by a new one of the same name.
    pub fn make_again(&mut self, shards: u8) {
        self.settle();
        self.shards.clear();
        self.answers.clear();
        (self.created, self.before) = (self.created + 1, self.numbers);
        self.make(shards);
    }

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

    /// Splits an open shard; listings show only `shown` of its children at first.
    pub fn split(&mut self, which: u8, shown: usize) {
        self.begin_reshard();
        let index = self.open_shard(which);
        self.split_at(index);
        self.hide(2 - shown.min(2));
    }

    /// Merges an open shard with the next one.
    pub fn merge(&mut self, which: u8, shown: usize) {
        let open = self.open_shards();
        if open.len() > 1 {
            self.begin_reshard();
            let left = usize::from(which) % (open.len() - 1);
            self.merge_at(open[left], open[left + 1]);
            self.hide(1 - shown.min(1));
        }
    }

    /// Doubles the number of shards by UpdateShardCount.
    pub fn double(&mut self) {
        self.begin_reshard();
        for index in self.open_shards() {
            self.split_at(index);
        }
    }

    /// Halves the number of shards by UpdateShardCount.
    pub fn halve(&mut self) {
        self.begin_reshard();
        for pair in self.open_shards().chunks_exact(2) {
            self.merge_at(pair[0], pair[1]);
        }
    }

    /// Expires the shards that closed first. This happens a day or more after they closed, when all listings are up
    /// to date.
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

    /// Removes all odd responses: the service shows the actual state.
    pub fn settle(&mut self) {
        self.missing.clear();
        self.back = 0;
        self.odd = OddAnswers::default();
    }

    /// Makes this number of listings show the state before the last reshard.
    pub fn go_back(&mut self, listings: usize) {
        self.back = listings;
    }

    fn begin_reshard(&mut self) {
        self.newest = self.shards.len();
    }

    /// Shards of a listing, with the time at which each was closed. A listing that goes back shows the last reshard's
    /// parents as open.
    pub fn list(&mut self) -> Vec<(Shard, Option<i64>)> {
        let back = self.back > 0;
        let newest: BTreeSet<ShardId> = match back {
            true => self.shards[self.newest..]
                .iter()
                .map(|shard| shard.shard.id.clone())
                .collect(),
            false => BTreeSet::new(),
        };
        let parents: BTreeSet<&ShardId> = self
            .shards
            .iter()
            .filter(|shard| newest.contains(&shard.shard.id))
            .flat_map(|shard| &shard.shard.parents)
            .collect();
        let shown = self.shards.iter().filter(|shard| {
            let id = &shard.shard.id;
            !shard.gone && !newest.contains(id) && (back || !self.missing.contains_key(id))
        });
        let closed = |shard: &StreamShard| shard.closed.filter(|_| !parents.contains(&shard.shard.id));
        let listing = shown.map(|found| {
            let closed = closed(found);
            let shard = Shard {
                closed: closed.is_some(),
                ..found.shard.clone()
            };
            (shard, closed)
        });
        let listing = listing.collect();
        self.back = self.back.saturating_sub(1);
        self.missing.retain(|_, listings| {
            *listings -= 1;
            *listings > 0
        });
        listing
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

    /// Open shards in the order of their hash keys.
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
            created: self.now,
            closed: None,
            gone: false,
        });
    }

    /// Content of one response or event from this place of a shard, and the place after it. `slice` is the time that
    /// one response covers; `None` for all of it.
    pub fn page(
        &mut self,
        shard: &ShardId,
        from: Place,
        limit: usize,
        slice: Option<i64>,
    ) -> Result<(Page, Place)> {
        let answers = self.answers.entry(shard.clone()).or_default();
        *answers += 1;
        let sparse = self.ways.sparse && answers.is_multiple_of(2);
        let (page, now, names_children) = (self.ways.page, self.now, self.ways.names_children);
        let found = self.listed(shard)?;
        let began = from.time.max(found.created);
        let most = if sparse { 0 } else { page.min(limit) };
        // A shard has no slices before its creation or after its closing.
        let until = slice.map(|slice| began + slice);
        let until = until.filter(|until| *until < now && found.closed.is_none_or(|closed| *until <= closed));
        let waiting = found.records[from.index..].iter();
        let inside = waiting.take_while(|record| until.is_none_or(|until| record.arrival <= until));
        let inside = inside.count();
        let to = from.index + inside.min(most);
        let mut records = RecordColumns::with_capacity(to - from.index, 0);
        for record in &found.records[from.index..to] {
            let number = record.number.to_string();
            records.push(
                number.as_bytes(),
                &record.key.to_string(),
                &number,
                record.arrival,
            )?;
        }
        let rest = to < found.records.len();
        let end = !rest && until.is_none() && found.closed.is_some();
        let time = match until {
            Some(until) if !sparse && inside <= most => until,
            None if !rest => now,
            _ => found.records[from.index..to]
                .last()
                .map_or(began, |last| last.arrival),
        };
        let behind = match (until, rest) {
            (None, false) => 0,
            _ => (now - time).max(1),
        };
        let children = self
            .shards
            .iter()
            .filter(|child| child.shard.parents.contains(shard));
        let page = Page {
            records,
            next: (!end).then(|| ShardIterator(String::new())),
            millis_behind_latest: Some(behind),
            child_shards: match end && names_children {
                true => children.map(|child| child.shard.id.clone()).collect(),
                false => Vec::new(),
            },
            request_id: None,
            service_millis: Some(now - now.rem_euclid(1_000)),
        };
        Ok((page, Place { index: to, time }))
    }

    /// A number between the record at this place of a shard and the one before it, after which a subscription may
    /// resume.
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

/// Number of the shard's records before a position.
pub fn index_of(shard: &StreamShard, position: &Position) -> usize {
    let before = |record: &Record| match position {
        Position::TrimHorizon => false,
        Position::AtTimestamp(millis) => record.arrival < *millis,
        Position::After(last) | Position::AfterQuiet(last, _) => record
            .number
            .to_string()
            .parse()
            .is_ok_and(|number: SequenceNumber| number <= *last),
        Position::ShardEnd => true,
    };
    shard.records.iter().take_while(|record| before(record)).count()
}

/// Place at which an iterator for this position begins.
pub fn place_of(shard: &StreamShard, position: &Position) -> Place {
    if let Position::AfterQuiet(_, millis) = position {
        // The service has no such position.
        return place_of(shard, &Position::AtTimestamp(*millis));
    }
    let index = index_of(shard, position);
    let time = match position {
        Position::AtTimestamp(millis) | Position::AfterQuiet(_, millis) => *millis,
        Position::After(_) => index.checked_sub(1).map_or(0, |last| shard.records[last].arrival),
        Position::TrimHorizon | Position::ShardEnd => 0,
    };
    Place { index, time }
}

/// Number of the shard's records before the one with this sequence number.
pub fn index_of_record(shard: &StreamShard, number: &SequenceNumber) -> usize {
    let records = shard.records.iter();
    records
        .take_while(|record| record.number.to_string() != number.as_str())
        .count()
}
