//! A shard: its place in the stream's history, and its records.

use std::collections::VecDeque;

use parking_lot::{Mutex, MutexGuard};

use super::change_signal::ChangeSignal;
use super::limits::Allowance;
use super::stretch::Stretches;
use super::{HashRange, Record, SequenceNumber, now_ms};
use crate::knobs::Trim;
use crate::stats::ShardCounters;

/// One shard. Immutable fields are public here; the rest is behind the shard's own lock.
#[derive(Debug)]
pub(crate) struct Shard {
    pub index: u32,
    pub id: String,
    pub range: HashRange,
    pub parent: Option<u32>,
    pub adjacent_parent: Option<u32>,
    pub created_ms: i64,
    /// Creation time as used in sequence numbers: always later than the parents'.
    pub created_s: u64,
    pub counters: ShardCounters,
    /// Wakes subscriptions.
    pub changes: ChangeSignal,
    state: Mutex<ShardState>,
}

#[derive(Debug)]
pub(crate) struct ShardState {
    /// Records that have not been trimmed; the first one has the index `first`.
    pub records: VecDeque<Record>,
    pub first: u64,
    pub closed_ms: Option<i64>,
    /// Indexes of the child shards.
    pub children: Vec<u32>,
    /// Removed by a knob, as the service removes a shard whose records have all expired.
    pub unlisted: bool,
    pub allowance: Allowance,
    pub stretches: Stretches,
}

/// The id of the shard with this index.
pub(crate) fn shard_id(index: u32) -> String {
    format!("shardId-{index:012}")
}

impl Shard {
    /// `after_s` is a lower bound for the creation time in sequence numbers, which is also later than the parents'.
    pub fn new(
        index: u32,
        range: HashRange,
        parents: [Option<&Shard>; 2],
        created_ms: i64,
        after_s: u64,
    ) -> Shard {
        let after = parents
            .iter()
            .flatten()
            .map(|p| p.created_s + 1)
            .fold(after_s, u64::max);
        Shard {
            index,
            id: shard_id(index),
            range,
            parent: parents[0].map(|p| p.index),
            adjacent_parent: parents[1].map(|p| p.index),
            created_ms,
            created_s: after.max(created_ms.div_euclid(1000) as u64),
            counters: ShardCounters::default(),
            changes: ChangeSignal::default(),
            state: Mutex::new(ShardState {
                records: VecDeque::new(),
                // Index 0 stands for the shard's StartingSequenceNumber.
                first: 1,
                closed_ms: None,
                children: Vec::new(),
                unlisted: false,
                allowance: Allowance::default(),
                stretches: Stretches::default(),
            }),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, ShardState> {
        self.state.lock()
    }

    pub fn parents(&self) -> impl Iterator<Item = u32> {
        self.parent.into_iter().chain(self.adjacent_parent)
    }

    pub fn starting_number(&self) -> SequenceNumber {
        SequenceNumber::new(self.created_s, self.index, 0, self.created_s)
    }

    /// The last sequence number of a closed shard; `None` while it is open.
    pub fn ending_number(&self, state: &ShardState) -> Option<SequenceNumber> {
        let closed = state.closed_ms?;
        Some(SequenceNumber::new(
            self.created_s,
            self.index,
            state.next(),
            closed.div_euclid(1000) as u64,
        ))
    }

    /// Stores a record and returns its sequence number. [`ChangeSignal::notify`] wakes the waiters, once per request.
    pub fn append(
        &self,
        state: &mut ShardState,
        arrival_ms: i64,
        base64: &str,
        data_len: usize,
        key: &str,
    ) -> SequenceNumber {
        let at_s = arrival_ms.div_euclid(1000).max(0) as u64;
        let number = SequenceNumber::new(self.created_s, self.index, state.next(), at_s);
        state
            .records
            .push_back(Record::new(&number, arrival_ms, base64, data_len, key));
        self.changes.mark();
        number
    }

    /// Index of the first record at or behind a sequence number, if this shard issued it.
    pub fn start_at(&self, state: &ShardState, number: &str) -> Option<u64> {
        let behind = SequenceNumber::parse(number).is_some_and(|n| n.is_behind());
        Some(self.index_of(state, number)? + u64::from(behind))
    }

    /// Sequence number for the place before the record with this index. No record has this number, and it grows with
    /// time.
    pub fn place_before(&self, index: u64, now_ms: i64) -> SequenceNumber {
        let now_s = now_ms.div_euclid(1000).max(0) as u64;
        SequenceNumber::behind(self.created_s, self.index, index.saturating_sub(1), now_s)
    }

    /// Index that a sequence number stands for, if this shard issued it.
    pub fn index_of(&self, state: &ShardState, number: &str) -> Option<u64> {
        let number = SequenceNumber::parse(number)?;
        (number.shard() == self.index
            && number.shard_created_s() == self.created_s
            && number.index() <= state.next())
        .then(|| number.index())
    }

    /// Removes records; returns their number, or `None` if the given sequence number is not one of this shard's.
    pub fn trim(&self, trim: &Trim) -> Option<usize> {
        let mut state = self.state();
        let end = match trim {
            Trim::All => state.next(),
            Trim::UpTo(number) => self.index_of(&state, number)? + 1,
            Trim::OlderThanMs(age) => {
                let limit = now_ms() - age;
                state.first + state.records.iter().take_while(|r| r.arrival_ms < limit).count() as u64
            }
        };
        let count = (end.clamp(state.first, state.next()) - state.first) as usize;
        state.records.drain(..count);
        state.first += count as u64;
        Some(count)
    }
}

impl ShardState {
    /// Index of the next record.
    pub fn next(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    /// Index of the first record that arrived at or after this time, or the tip. Arrivals may be out of order, as a
    /// knob shifts them.
    pub fn first_arrived(&self, since_ms: i64) -> u64 {
        let before = self.records.iter().position(|r| r.arrival_ms >= since_ms);
        before.map_or(self.next(), |n| self.first + n as u64)
    }

    /// Offset in `records` of a reader at `index`; trimmed records are skipped.
    pub fn offset(&self, index: u64) -> usize {
        (index.clamp(self.first, self.next()) - self.first) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard() -> Shard {
        Shard::new(
            0,
            HashRange {
                start: 0,
                end: u128::MAX,
            },
            [None, None],
            1_700_000_000_000,
            0,
        )
    }

    fn put(shard: &Shard, arrival_ms: i64) -> String {
        shard
            .append(&mut shard.state(), arrival_ms, "eA==", 1, "k")
            .to_string()
    }

    #[test]
    fn numbers_rise_and_point_back_at_their_records() {
        let shard = shard();
        let numbers: Vec<String> = (0..100).map(|i| put(&shard, 1_700_000_000_000 - i)).collect();
        assert!(numbers.windows(2).all(|w| w[0] < w[1]));
        assert!(numbers[0] > shard.starting_number().to_string());
        let state = shard.state();
        assert_eq!(shard.index_of(&state, &numbers[0]), Some(1));
        assert_eq!(shard.index_of(&state, &numbers[99]), Some(100));
        assert_eq!(
            shard.index_of(&state, &shard.starting_number().to_string()),
            Some(0)
        );
        assert_eq!(state.records[99].sequence_number(), numbers[99]);
        assert_eq!(
            (state.records[5].base64(), state.records[5].partition_key()),
            ("eA==", "k")
        );
    }

    #[test]
    fn numbers_of_another_shard_are_refused() {
        let one = shard();
        let child = Shard::new(1, one.range, [Some(&one), None], one.created_ms, 0);
        let number = put(&one, 1_700_000_000_000);
        assert_eq!(child.index_of(&child.state(), &number), None);
        assert!(put(&child, 1_700_000_000_000) > number);
    }

    #[test]
    fn a_place_before_a_record_starts_there() {
        let shard = shard();
        let numbers: Vec<String> = (0..2).map(|_| put(&shard, 1_700_000_000_000)).collect();
        let state = shard.state();
        for (index, number) in [(1, None), (2, Some(&numbers[0])), (3, Some(&numbers[1]))] {
            let place = shard.place_before(index, 1_700_000_000_000).to_string();
            assert!(number.is_none_or(|n| *n < place));
            assert_eq!(shard.start_at(&state, &place), Some(index));
            assert_eq!(shard.index_of(&state, &place), Some(index - 1));
        }
        assert_eq!(shard.start_at(&state, &numbers[1]), Some(2));
    }

    #[test]
    fn trims() {
        let shard = shard();
        let now = now_ms();
        let numbers: Vec<String> = [50_000, 40_000, 30_000, 0]
            .map(|age| put(&shard, now - age))
            .to_vec();
        assert_eq!(shard.trim(&Trim::UpTo(numbers[0].clone())), Some(1));
        assert_eq!(shard.trim(&Trim::UpTo(numbers[0].clone())), Some(0));
        assert_eq!(shard.trim(&Trim::UpTo("1".into())), None);
        assert_eq!(shard.trim(&Trim::OlderThanMs(35_000)), Some(1));
        assert_eq!(shard.state().records[0].sequence_number(), numbers[2]);
        assert_eq!(shard.state().offset(1), 0);
        assert_eq!(shard.trim(&Trim::All), Some(2));
        assert_eq!(shard.index_of(&shard.state(), &numbers[3]), Some(4));
        assert!(put(&shard, now) > numbers[3]);
    }

    #[test]
    fn finds_the_first_arrival() {
        let shard = shard();
        for arrival in [1000, 2000, 3000] {
            put(&shard, arrival);
        }
        let state = shard.state();
        assert_eq!(
            [0, 1000, 1001, 3000, 3001].map(|t| state.first_arrived(t)),
            [1, 1, 2, 3, 4]
        );
    }
}
