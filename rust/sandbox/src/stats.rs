//! Counters of connections, calls and records, for tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::protocol::{ErrorCode, Operation};

/// Counters since the start or the last reset. A deleted stream's counters are removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Connections accepted, over HTTP and HTTPS.
    #[serde(default)]
    pub connections: u64,
    /// Connections open now; a reset leaves this count.
    #[serde(default)]
    pub connections_open: u64,
    /// Calls by operation name.
    pub operations: BTreeMap<String, OperationStats>,
    /// Shard counters by stream, then by shard id.
    pub streams: BTreeMap<String, BTreeMap<String, ShardStats>>,
}

/// Counters of one operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationStats {
    /// All calls, including failed ones.
    pub calls: u64,
    /// Calls answered with an error, by the error's name; `DroppedConnection` for calls without a response.
    pub errors: BTreeMap<String, u64>,
}

/// Counters of one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStats {
    /// GetRecords calls with a valid iterator of the shard, throttled ones included.
    pub get_records: u64,
    /// GetRecords calls refused by the shard's limits.
    pub get_records_throttled: u64,
    /// Records returned by GetRecords.
    pub records_out: u64,
    /// Payload and partition keys returned by GetRecords, in bytes.
    pub bytes_out: u64,
    /// GetShardIterator calls.
    pub iterators: u64,
    /// Records accepted.
    pub records_in: u64,
    /// Payload and partition keys accepted, in bytes.
    pub bytes_in: u64,
    /// Records refused by the shard's limits or by a knob.
    pub records_refused: u64,
    /// SubscribeToShard calls that named the shard and a consumer, refused ones included.
    pub subscribe_calls: u64,
    /// Subscriptions opened.
    pub subscriptions: u64,
    /// Subscriptions ended, for any reason.
    pub subscriptions_ended: u64,
    /// Events pushed to subscriptions, empty ones included.
    pub events_pushed: u64,
    /// Records pushed to subscriptions.
    pub records_pushed: u64,
    /// Payload and partition keys pushed to subscriptions, in bytes.
    pub bytes_pushed: u64,
}

impl ShardStats {
    /// Subscriptions open now.
    pub fn subscriptions_active(&self) -> u64 {
        self.subscriptions.saturating_sub(self.subscriptions_ended)
    }
}

impl Stats {
    /// Calls of this operation.
    pub fn calls(&self, operation: &str) -> u64 {
        self.operations.get(operation).map_or(0, |o| o.calls)
    }

    /// The counters of this shard; all zero if it has none.
    pub fn shard(&self, stream: &str, shard_id: &str) -> ShardStats {
        self.streams
            .get(stream)
            .and_then(|s| s.get(shard_id))
            .copied()
            .unwrap_or_default()
    }
}

/// Live counters of one shard.
#[derive(Debug, Default)]
pub(crate) struct ShardCounters {
    pub get_records: AtomicU64,
    pub get_records_throttled: AtomicU64,
    pub records_out: AtomicU64,
    pub bytes_out: AtomicU64,
    pub iterators: AtomicU64,
    pub records_in: AtomicU64,
    pub bytes_in: AtomicU64,
    pub records_refused: AtomicU64,
    pub subscribe_calls: AtomicU64,
    pub subscriptions: AtomicU64,
    pub subscriptions_ended: AtomicU64,
    pub events_pushed: AtomicU64,
    pub records_pushed: AtomicU64,
    pub bytes_pushed: AtomicU64,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Relaxed);
}

impl ShardCounters {
    pub fn read(&self) -> ShardStats {
        ShardStats {
            get_records: self.get_records.load(Relaxed),
            get_records_throttled: self.get_records_throttled.load(Relaxed),
            records_out: self.records_out.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            iterators: self.iterators.load(Relaxed),
            records_in: self.records_in.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            records_refused: self.records_refused.load(Relaxed),
            subscribe_calls: self.subscribe_calls.load(Relaxed),
            subscriptions: self.subscriptions.load(Relaxed),
            subscriptions_ended: self.subscriptions_ended.load(Relaxed),
            events_pushed: self.events_pushed.load(Relaxed),
            records_pushed: self.records_pushed.load(Relaxed),
            bytes_pushed: self.bytes_pushed.load(Relaxed),
        }
    }
}

/// Live counters of connections and operations.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    connections: AtomicU64,
    connections_open: AtomicU64,
    operations: Mutex<BTreeMap<Operation, OperationStats>>,
}

/// Counts a connection as open until dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection<'a>(&'a Counters);

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Relaxed);
    }
}

impl Counters {
    /// Counts a connection.
    pub fn connected(&self) -> OpenConnection<'_> {
        self.connections.fetch_add(1, Relaxed);
        self.connections_open.fetch_add(1, Relaxed);
        OpenConnection(self)
    }

    pub fn called(&self, operation: Operation) {
        self.operations.lock().entry(operation).or_default().calls += 1;
    }

    /// Counts a failed call; `None` stands for a connection dropped without a response.
    pub fn failed(&self, operation: Operation, code: Option<ErrorCode>) {
        let name = code.map_or("DroppedConnection", ErrorCode::name);
        let mut operations = self.operations.lock();
        *operations
            .entry(operation)
            .or_default()
            .errors
            .entry(name.to_owned())
            .or_default() += 1;
    }

    pub fn clear(&self) {
        self.connections.store(0, Relaxed);
        self.operations.lock().clear();
    }

    /// Snapshot of the counters, combined with those of the shards: by stream, then by shard id.
    pub fn read(&self, streams: BTreeMap<String, BTreeMap<String, ShardStats>>) -> Stats {
        let operations = self.operations.lock();
        Stats {
            connections: self.connections.load(Relaxed),
            connections_open: self.connections_open.load(Relaxed),
            operations: operations
                .iter()
                .map(|(operation, stats)| (operation.name().to_owned(), stats.clone()))
                .collect(),
            streams,
        }
    }
}
