//! A queue that keeps the order of each key's records.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::batch::{MAX_ENTRIES, MAX_REQUEST_BYTES};
use super::outgoing::Outgoing;
use super::spans::Spans;
use crate::stream::HashRange;

/// Waiting entries in their order. An entry leaves only if no earlier one that may have the same key waits or is
/// under way: the service may refuse any entry of a request and take those behind it.
#[derive(Debug)]
pub(super) struct Sequence {
    max_buffered_time: Duration,
    waiting: VecDeque<Outgoing>,
    bytes: usize,
    /// Number of entries at the front that need not wait for a full request.
    due: usize,
    deadline: Option<Instant>,
    under_way: Spans,
}

impl Sequence {
    pub(super) fn new(max_buffered_time: Duration) -> Self {
        Self {
            max_buffered_time,
            waiting: VecDeque::new(),
            bytes: 0,
            due: 0,
            deadline: None,
            under_way: Spans::default(),
        }
    }

    /// True while the waiting entries fill less than a request.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < MAX_ENTRIES && self.bytes < MAX_REQUEST_BYTES
    }

    pub(super) fn push(&mut self, entry: Outgoing, now: Instant) {
        if self.waiting.len() == self.due {
            self.deadline = now.checked_add(self.max_buffered_time);
        }
        self.bytes += entry.bytes();
        self.waiting.push_back(entry);
        if !self.has_room() {
            self.seal();
        }
    }

    /// Makes all waiting entries due, without a full request.
    pub(super) fn seal(&mut self) {
        self.due = self.waiting.len();
        self.deadline = None;
    }

    /// The next request's entries. Their keys are under way until [`Self::settled`].
    pub(super) fn pop(&mut self, now: Instant) -> Option<Vec<Outgoing>> {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.seal();
        }
        let (mut taken, mut bytes) = (Vec::new(), 0usize);
        let mut blocked = Spans::default();
        let mut place = 0;
        while place < self.due && taken.len() < MAX_ENTRIES {
            let entry = &self.waiting[place];
            let span = span_of(entry);
            let size = entry.bytes();
            let full = !taken.is_empty() && bytes + size > MAX_REQUEST_BYTES;
            if full || blocked.touch(span) || self.under_way.touch(span) {
                blocked.add(span);
                place += 1;
                continue;
            }
            self.under_way.add(span);
            bytes += size;
            taken.extend(self.waiting.remove(place));
            self.due -= 1;
        }
        self.bytes -= bytes;
        (!taken.is_empty()).then_some(taken)
    }

    /// Frees these hash keys, whose entries were accepted.
    pub(super) fn settled(&mut self, spans: &[HashRange]) {
        for span in spans {
            self.under_way.remove(*span);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Bytes of all waiting entries.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.waiting = VecDeque::new();
        (self.bytes, self.due, self.deadline) = (0, 0, None);
        self.under_way.clear();
    }
}

/// Takes, in order, the entries that `admit` accepts and that can share a request: no key twice, within the request's
/// limits. Leaves the others.
pub(super) fn apart(entries: &mut Vec<Outgoing>, mut admit: impl FnMut(&Outgoing) -> bool) -> Vec<Outgoing> {
    let (mut taken, mut kept) = (Vec::new(), Vec::new());
    let mut before = Spans::default();
    let mut bytes = 0;
    for entry in entries.drain(..) {
        let (span, size) = (span_of(&entry), entry.bytes());
        let fits = taken.is_empty() || (taken.len() < MAX_ENTRIES && bytes + size <= MAX_REQUEST_BYTES);
        let goes = fits && !before.touch(span) && admit(&entry);
        before.add(span);
        bytes += if goes { size } else { 0 };
        if goes { &mut taken } else { &mut kept }.push(entry);
    }
    *entries = kept;
    taken
}

/// Puts failed entries back among the waiting ones, behind those that don't depend on them, so that a shard that
/// takes nothing doesn't hold up another.
pub(super) fn put_back(waiting: &mut Vec<Outgoing>, failed: Vec<Outgoing>) {
    let mut before = Spans::default();
    for entry in &failed {
        before.add(span_of(entry));
    }
    let (mut free, mut bound) = (Vec::new(), Vec::new());
    for entry in waiting.drain(..) {
        let span = span_of(&entry);
        if before.touch(span) {
            before.add(span);
            bound.push(entry);
        } else {
            free.push(entry);
        }
    }
    *waiting = free;
    waiting.extend(failed);
    waiting.append(&mut bound);
}

/// The entry's hash keys; all hash keys if they aren't known.
fn span_of(entry: &Outgoing) -> HashRange {
    entry.span.unwrap_or(HashRange {
        start: 0,
        end: u128::MAX,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::SinkRecord;
    use super::*;

    /// One entry per key, in this order; the data is the entry's index.
    fn entries(keys: &[&str]) -> Vec<Outgoing> {
        let entry = |(place, key): (usize, &&str)| {
            let record = SinkRecord {
                partition_key: Some((*key).into()),
                data: Bytes::from(place.to_string()),
                explicit_hash_key: None,
            };
            Outgoing::of(record, true)
        };
        keys.iter().enumerate().map(entry).collect()
    }

    fn places(entries: &[Outgoing]) -> Vec<usize> {
        let place = |entry: &Outgoing| std::str::from_utf8(&entry.entry.data).unwrap().parse().unwrap();
        entries.iter().map(place).collect()
    }

    fn spans(entries: &[Outgoing]) -> Vec<HashRange> {
        entries.iter().filter_map(|entry| entry.span).collect()
    }

    fn sequence(keys: &[&str]) -> Sequence {
        let mut sequence = Sequence::new(Duration::from_secs(1));
        for entry in entries(keys) {
            sequence.push(entry, Instant::now());
        }
        sequence
    }

    #[test]
    fn a_request_has_each_key_once_and_none_that_is_under_way() {
        let mut sequence = sequence(&["a", "b", "a", "c", "b", "a"]);
        let now = Instant::now();
        assert!(sequence.pop(now).is_none(), "nothing is due");
        sequence.seal();
        let first = sequence.pop(now).unwrap();
        assert_eq!(places(&first), [0, 1, 3]);
        assert!(sequence.pop(now).is_none(), "all keys are under way");
        sequence.settled(&spans(&first[1..2]));
        let second = sequence.pop(now).unwrap();
        assert_eq!(places(&second), [4]);
        sequence.settled(&spans(&first[..1]));
        assert_eq!(places(&sequence.pop(now).unwrap()), [2]);
        assert!(!sequence.is_empty());
        assert!(sequence.pop(now).is_none());
        sequence.settled(&spans(&first[..1]));
        assert_eq!(places(&sequence.pop(now).unwrap()), [5]);
        assert!(sequence.is_empty());
        assert_eq!(sequence.bytes, 0);
    }

    #[test]
    fn what_came_after_a_deadline_waits_for_its_own() {
        let mut sequence = sequence(&["a", "a"]);
        let due = sequence.deadline().unwrap();
        let first = sequence.pop(due).unwrap();
        assert_eq!((places(&first), sequence.deadline()), (vec![0], None));
        let late = entries(&["x", "y", "z"]).remove(2);
        sequence.push(late, due);
        assert_eq!(sequence.deadline(), due.checked_add(Duration::from_secs(1)));
        sequence.settled(&spans(&first));
        assert_eq!(places(&sequence.pop(due).unwrap()), [1], "z is not due");
        let later = sequence.deadline().unwrap();
        assert_eq!(places(&sequence.pop(later).unwrap()), [2]);
    }

    #[test]
    fn it_is_full_with_the_entries_of_a_request() {
        let keys: Vec<_> = (0..MAX_ENTRIES).map(|key| key.to_string()).collect();
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let mut sequence = sequence(&keys);
        assert!(!sequence.has_room());
        assert_eq!(sequence.pop(Instant::now()).unwrap().len(), MAX_ENTRIES);
        assert!(sequence.has_room());
    }

    #[test]
    fn a_round_has_each_key_once_in_order() {
        let mut waiting = entries(&["a", "b", "a", "c", "d"]);
        let mut left = 3;
        let three = |_: &Outgoing| {
            left -= 1;
            left >= 0
        };
        assert_eq!(places(&apart(&mut waiting, three)), [0, 1, 3]);
        assert_eq!(places(&waiting), [2, 4]);
        assert_eq!(places(&apart(&mut waiting, |_| true)), [2, 4]);
    }

    #[test]
    fn what_failed_goes_before_what_waits_for_it_and_behind_the_rest() {
        let all = entries(&["a", "b", "c", "a", "d", "b"]);
        let failed = vec![all[0].clone(), all[2].clone()];
        let mut waiting = vec![all[1].clone(), all[3].clone(), all[4].clone(), all[5].clone()];
        put_back(&mut waiting, failed);
        assert_eq!(places(&waiting), [1, 4, 5, 0, 2, 3]);
    }
}
