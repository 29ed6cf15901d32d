//! What goes into one PutRecords request, and what waits for its turn.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::outgoing::Outgoing;

/// Most entries in a PutRecords request (AWS limit).
pub const MAX_ENTRIES: usize = 500;

/// Most bytes of data and partition keys that records share a PutRecords request for. The service took 5 MiB a
/// request for many years, and 10 MiB since it takes records of 10 MiB; the smaller number suits both. A single
/// record above it, where `kinesis.sink.maxRecordBytes` allows that, goes out in a request of its own.
pub const MAX_REQUEST_BYTES: usize = 5 * 1024 * 1024;

/// What the service counts against the limits of records and requests: the data before its encoding, and the
/// partition key. An explicit hash key is not counted.
pub fn counted_bytes(partition_key: Option<&str>, data: &[u8]) -> usize {
    partition_key.map_or(0, str::len) + data.len()
}

/// The entries of a request to come.
#[derive(Debug, Default)]
struct Batch {
    entries: Vec<Outgoing>,
    bytes: usize,
    deadline: Option<Instant>,
}

impl Batch {
    /// Whether a record of this size fits. A batch with all its entries is sealed, so only bytes matter here.
    fn takes(&self, bytes: usize) -> bool {
        self.entries.is_empty() || self.bytes.saturating_add(bytes) <= MAX_REQUEST_BYTES
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= MAX_ENTRIES || self.bytes >= MAX_REQUEST_BYTES
    }
}

/// Records on their way to a request: full batches that wait for a connection, and the one still open.
#[derive(Debug)]
pub(super) struct Queue {
    max_buffered_time: Duration,
    ready: VecDeque<Vec<Outgoing>>,
    open: Batch,
    bytes: usize,
}

impl Queue {
    /// An empty queue whose open batch may wait this long for company.
    pub(super) fn new(max_buffered_time: Duration) -> Self {
        Self {
            max_buffered_time,
            ready: VecDeque::new(),
            open: Batch::default(),
            bytes: 0,
        }
    }

    /// True when no full batch waits for a connection, so that more records may come.
    pub(super) fn has_room(&self) -> bool {
        self.ready.is_empty()
    }

    /// Adds an entry, closing the open batch before it where it doesn't fit and after it where it fills up.
    pub(super) fn push(&mut self, entry: Outgoing, now: Instant) {
        let bytes = entry.bytes();
        if !self.open.takes(bytes) {
            self.seal();
        }
        if self.open.entries.is_empty() {
            // A time too long for the clock is no deadline: the batch then waits for size or flush.
            self.open.deadline = now.checked_add(self.max_buffered_time);
        }
        self.open.entries.push(entry);
        self.open.bytes = self.open.bytes.saturating_add(bytes);
        self.bytes += bytes;
        if self.open.is_full() {
            self.seal();
        }
    }

    /// Closes the open batch: it goes out as it is.
    pub(super) fn seal(&mut self) {
        let batch = std::mem::take(&mut self.open);
        if !batch.entries.is_empty() {
            self.ready.push_back(batch.entries);
        }
    }

    /// The next batch to send: a full one, or the open one once it has waited long enough. It stays open, and may
    /// fill up, while nobody asks for it.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Vec<Outgoing>> {
        if self.ready.is_empty() && self.open.deadline.is_some_and(|deadline| deadline <= now) {
            self.seal();
        }
        let next = self.ready.pop_front()?;
        self.bytes -= next.iter().map(Outgoing::bytes).sum::<usize>();
        Some(next)
    }

    /// The bytes of all that waits.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the open batch has waited long enough; none without an open batch.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.deadline
    }

    /// True when nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.open.entries.is_empty()
    }

    /// Forgets all that waits, and frees its memory.
    pub(super) fn clear(&mut self) {
        self.ready = VecDeque::new();
        self.open = Batch::default();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::SinkRecord;
    use super::*;

    fn entry(bytes: usize) -> Outgoing {
        let record = SinkRecord {
            partition_key: Some("key".into()),
            data: Bytes::from(vec![0; bytes - 3]),
            explicit_hash_key: None,
        };
        Outgoing::of(record, false)
    }

    fn sealed(queue: &mut Queue) -> Vec<usize> {
        queue.ready.drain(..).map(|entries| entries.len()).collect()
    }

    #[test]
    fn a_batch_closes_with_its_500th_entry() {
        let (mut queue, now) = (Queue::new(Duration::from_secs(1)), Instant::now());
        for _ in 0..MAX_ENTRIES - 1 {
            queue.push(entry(3), now);
        }
        assert!(queue.has_room());
        queue.push(entry(3), now);
        assert!(!queue.has_room());
        assert_eq!(queue.deadline(), None);
        queue.push(entry(3), now);
        assert_eq!(sealed(&mut queue), [500]);
        assert_eq!(queue.open.entries.len(), 1);
    }

    #[test]
    fn exactly_five_mebibytes_with_keys_are_one_batch() {
        let (mut queue, now) = (Queue::new(Duration::from_secs(1)), Instant::now());
        for _ in 0..4 {
            queue.push(entry(1024 * 1024), now);
        }
        queue.push(entry(1024 * 1024 - 3), now);
        assert!(queue.has_room(), "three bytes are left");
        queue.push(entry(3), now);
        assert_eq!(sealed(&mut queue), [6]);
        assert!(queue.is_empty());
    }

    #[test]
    fn one_byte_too_many_goes_into_the_next_batch() {
        let (mut queue, now) = (Queue::new(Duration::from_secs(1)), Instant::now());
        queue.push(entry(MAX_REQUEST_BYTES - 3), now);
        queue.push(entry(4), now);
        assert_eq!(sealed(&mut queue), [1]);
        assert_eq!((queue.open.entries.len(), queue.open.bytes), (1, 4));
    }

    #[test]
    fn a_record_above_the_request_limit_goes_alone() {
        let (mut queue, now) = (Queue::new(Duration::from_secs(1)), Instant::now());
        queue.push(entry(10), now);
        queue.push(entry(2 * MAX_REQUEST_BYTES), now);
        queue.push(entry(10), now);
        assert_eq!(sealed(&mut queue), [1, 1]);
        assert_eq!(queue.open.bytes, 10);
    }

    #[test]
    fn keys_count_in_bytes_not_in_characters() {
        assert_eq!(counted_bytes(Some("é"), b"ab"), 4);
    }

    #[test]
    fn the_open_batch_is_due_after_its_first_records_time() {
        let (mut queue, start) = (Queue::new(Duration::from_secs(1)), Instant::now());
        queue.push(entry(10), start);
        queue.push(entry(10), start + Duration::from_millis(900));
        let due = start + Duration::from_secs(1);
        assert_eq!(queue.deadline(), Some(due));
        assert!(queue.pop(due - Duration::from_millis(1)).is_none());
        assert_eq!(queue.pop(due).map(|entries| entries.len()), Some(2));
        assert_eq!(queue.deadline(), None);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_time_beyond_the_clock_is_no_deadline() {
        let mut queue = Queue::new(Duration::MAX);
        queue.push(entry(10), Instant::now());
        assert_eq!(queue.deadline(), None);
        assert!(!queue.is_empty());
    }
}
