//! Batches of entries: each becomes one PutRecords request.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::outgoing::Outgoing;

/// Maximum number of entries in a PutRecords request (AWS limit).
pub const MAX_ENTRIES: usize = 500;

/// Maximum size of a PutRecords request with several records, in bytes of data and partition keys. The service took 5
/// MiB a request for many years, and 10 MiB since it takes records of 10 MiB; the smaller number suits both. A larger
/// record, if `kinesis.sink.maxRecordBytes` allows it, is sent in a request of its own.
pub const MAX_REQUEST_BYTES: usize = 5 * 1024 * 1024;

/// Bytes that the service counts against the limits of records and requests: the data before its encoding, and the
/// partition key. An explicit hash key is not counted.
pub fn counted_bytes(partition_key: Option<&str>, data: &[u8]) -> usize {
    partition_key.map_or(0, str::len) + data.len()
}

/// The entries of a future request.
#[derive(Debug, Default)]
struct Batch {
    entries: Vec<Outgoing>,
    bytes: usize,
    deadline: Option<Instant>,
}

impl Batch {
    /// True if a record of this size fits. Only bytes matter here, because a batch with [`MAX_ENTRIES`] is sealed
    /// already.
    fn takes(&self, bytes: usize) -> bool {
        self.entries.is_empty() || self.bytes.saturating_add(bytes) <= MAX_REQUEST_BYTES
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= MAX_ENTRIES || self.bytes >= MAX_REQUEST_BYTES
    }
}

/// Entries that wait for a request: full batches that wait for a connection, and the open batch.
#[derive(Debug)]
pub(super) struct Queue {
    max_buffered_time: Duration,
    ready: VecDeque<Vec<Outgoing>>,
    open: Batch,
    bytes: usize,
}

impl Queue {
    /// An empty queue whose open batch may wait this long for more entries.
    pub(super) fn new(max_buffered_time: Duration) -> Self {
        Self {
            max_buffered_time,
            ready: VecDeque::new(),
            open: Batch::default(),
            bytes: 0,
        }
    }

    /// True if no full batch waits for a connection, so that more records may be added.
    pub(super) fn has_room(&self) -> bool {
        self.ready.is_empty()
    }

    /// Adds an entry. Closes the open batch first if the entry doesn't fit, and afterwards if the batch is full.
    pub(super) fn push(&mut self, entry: Outgoing, now: Instant) {
        let bytes = entry.bytes();
        if !self.open.takes(bytes) {
            self.seal();
        }
        if self.open.entries.is_empty() {
            // A time beyond the clock's range sets no deadline: the batch then waits until it is full or flushed.
            self.open.deadline = now.checked_add(self.max_buffered_time);
        }
        self.open.entries.push(entry);
        self.open.bytes = self.open.bytes.saturating_add(bytes);
        self.bytes += bytes;
        if self.open.is_full() {
            self.seal();
        }
    }

    /// Closes the open batch, so that it is sent as it is.
    pub(super) fn seal(&mut self) {
        let batch = std::mem::take(&mut self.open);
        if !batch.entries.is_empty() {
            self.ready.push_back(batch.entries);
        }
    }

    /// The next batch to send: a full one, or the open one after its deadline. Until then, the open batch may fill
    /// up.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Vec<Outgoing>> {
        if self.ready.is_empty() && self.open.deadline.is_some_and(|deadline| deadline <= now) {
            self.seal();
        }
        let next = self.ready.pop_front()?;
        self.bytes -= next.iter().map(Outgoing::bytes).sum::<usize>();
        Some(next)
    }

    /// Bytes of all waiting entries.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Deadline of the open batch; `None` if it has none, or there is no open batch.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.deadline
    }

    /// True if no entry waits.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.open.entries.is_empty()
    }

    /// Drops all waiting entries and frees their memory.
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
