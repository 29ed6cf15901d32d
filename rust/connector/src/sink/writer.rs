//! Implementation of the stream writer: takes records, sends batches when connections are free, and keeps the first
//! failure.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::SinkConfig;
use super::connect::Connection;
use super::metrics::Latencies;
use super::outgoing::Outgoing;
use super::progress::SinkStream;
use super::put::{EntryCounters, Putter};
use super::shard_map::ShardMap;
use super::shared_waits::SharedWaits;
use super::validate::validate;
use super::waiting::Waiting;
use super::{SinkRecord, WriterMetrics};
use crate::error::{Error, ErrorKind, Result};
use crate::options::{RetryOptions, SinkOrdering};
use crate::service::RequestCounters;
use crate::stream::HashRange;

/// Largest record, in bytes, that every stream takes unless it is set up for more.
const DEFAULT_RECORD_BYTES: usize = 1024 * 1024;

/// A writer's settings, from the sink's options and the facts about its stream.
#[derive(Clone, Debug)]
pub struct WriterSettings {
    /// The stream's name in messages.
    pub stream: String,
    /// Maximum number of PutRecords requests in flight, at least one.
    pub max_connections: usize,
    /// Longest time that a record waits for others before it is sent.
    pub max_buffered_time: Duration,
    /// Largest record, in bytes of its data and partition key.
    pub max_record_bytes: usize,
    /// True if rows of one shard are put as aggregates in the KPL's format, provided that the shards can be listed.
    pub aggregation: bool,
    /// Rows that must arrive in their order.
    pub ordering: SinkOrdering,
    /// True if the service ignores partition keys: rows need none, and belong to no shard.
    pub auto_distribution: bool,
    /// Time without an accepted record from this process after which waiting records fail.
    pub max_retry_time: Duration,
    /// Retries of entries that were not accepted.
    pub retry: RetryOptions,
}

impl WriterSettings {
    /// The options' settings; the facts about the stream where an option isn't set.
    pub(super) fn of(config: &SinkConfig) -> Self {
        let SinkConfig { options, facts } = config;
        let stream = &facts.stream;
        let max_record_bytes = options.max_record_bytes.or(stream.max_record_bytes);
        Self {
            stream: options.stream.name.clone(),
            max_connections: options.max_connections,
            max_buffered_time: options.max_buffered_time,
            max_record_bytes: max_record_bytes.unwrap_or(DEFAULT_RECORD_BYTES),
            aggregation: options.aggregation,
            ordering: options.ordering,
            auto_distribution: stream.auto_distribution,
            max_retry_time: options.max_retry_time,
            retry: options.client_retry,
        }
    }
}

/// What a writer's tasks may still do. It only moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Send and retry.
    Running,
    /// A put failed for good: requests under way may end, nothing is sent after them.
    Broken,
    /// The writer was dropped: everything ends where it stands.
    Closed,
}

/// Returns when the writer is in this phase or a later one.
pub(super) async fn reached(phase: &mut watch::Receiver<Phase>, at_least: Phase) {
    // An error means that the writer was dropped, which is past every phase. The guard in the result is dropped here.
    let _ = phase.wait_for(|phase| *phase >= at_least).await;
}

/// The part of a writer that its callers and its tasks share.
pub(super) struct Writer {
    putter: Putter,
    max_connections: usize,
    max_record_bytes: usize,
    ordering: SinkOrdering,
    keyless: bool,
    runtime: Handle,
    state: Mutex<State>,
    phase: watch::Sender<Phase>,
    /// Waits of this writer's callers, and of the task's other writers if it has several.
    waits: Arc<SharedWaits>,
    /// Wakes the timer: another open batch has a deadline, or a connection is free for one.
    timer_signal: Notify,
}

struct State {
    queue: Waiting,
    in_flight: usize,
    bytes_in_flight: usize,
    /// Peak of bytes that were taken and not yet accepted.
    most_bytes: usize,
    /// Error of the first put that failed for good.
    failure: Option<Error>,
    /// Error of the first record that was refused before it was taken.
    refusal: Option<Error>,
}

impl State {
    fn may_take(&self) -> Result<()> {
        self.failure
            .as_ref()
            .or(self.refusal.as_ref())
            .map_or(Ok(()), |error| Err(error.clone()))
    }
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        settings: WriterSettings,
        shared: Arc<SinkStream>,
        waits: Arc<SharedWaits>,
    ) -> Result<Arc<Self>> {
        let runtime = Handle::try_current().map_err(|_| {
            Error::new(
                ErrorKind::Internal,
                "A writer was opened outside of the engine's runtime; this is a defect.",
            )
        })?;
        let WriterSettings {
            stream,
            max_connections,
            max_buffered_time,
            max_record_bytes,
            aggregation,
            ordering,
            auto_distribution,
            max_retry_time,
            retry,
        } = settings;
        let writer = Arc::new(Self {
            putter: Putter {
                connection,
                stream,
                retry,
                max_retry_time,
                requests: Arc::new(RequestCounters::default()),
                entries: EntryCounters::default(),
                latencies: Latencies::default(),
                shared,
                aggregation,
                auto_distribution,
                ordering,
                max_record_bytes,
            },
            max_connections: max_connections.max(1),
            max_record_bytes,
            ordering,
            keyless: auto_distribution,
            runtime,
            state: Mutex::new(State {
                queue: Waiting::new(max_buffered_time, max_record_bytes, ordering),
                in_flight: 0,
                bytes_in_flight: 0,
                most_bytes: 0,
                failure: None,
                refusal: None,
            }),
            phase: watch::Sender::new(Phase::Running),
            waits,
            timer_signal: Notify::new(),
        });
        writer.runtime.spawn(Arc::clone(&writer).send_when_due());
        Ok(writer)
    }

    pub(super) async fn write(self: &Arc<Self>, records: Vec<SinkRecord>) -> Result<()> {
        self.check(&records)?;
        self.take_over(records).await
    }

    /// Checks whether these records may be taken. The error for one that may not is also the result of all later
    /// calls.
    pub(super) fn check(&self, records: &[SinkRecord]) -> Result<()> {
        self.lock().may_take()?;
        validate(records, self.max_record_bytes, self.keyless).map_err(|refusal| {
            let refusal = refusal.with("stream", self.putter.stream.clone());
            self.lock().refusal.get_or_insert_with(|| refusal.clone());
            refusal
        })
    }

    /// Takes checked records when there is room.
    pub(super) async fn take_over(self: &Arc<Self>, records: Vec<SinkRecord>) -> Result<()> {
        let map = self.putter.shards_to_pack_for().await;
        let hashed = map.is_some() || self.ordering == SinkOrdering::Key;
        let mut rows: Vec<_> = records
            .into_iter()
            .map(|record| Outgoing::of(record, hashed))
            .collect();
        loop {
            let changed = self.waits.changed();
            if self.take(&mut rows, map.as_ref())? {
                break;
            }
            changed.await;
        }
        self.dispatch();
        Ok(())
    }

    /// Takes all rows or, while a full batch waits for a connection, none.
    fn take(&self, rows: &mut Vec<Outgoing>, map: Option<&Arc<ShardMap>>) -> Result<bool> {
        let mut state = self.lock();
        state.may_take()?;
        if !state.queue.has_room() {
            return Ok(false);
        }
        let now = Instant::now();
        let before = state.queue.deadline();
        state.queue.pack_for(map, now);
        for row in rows.drain(..) {
            state.queue.push(row, now);
        }
        state.most_bytes = state.most_bytes.max(state.queue.bytes() + state.bytes_in_flight);
        let after = state.queue.deadline();
        let opened = after.is_some_and(|after| before.is_none_or(|before| after < before));
        drop(state);
        if opened {
            self.timer_signal.notify_one();
        }
        Ok(true)
    }

    pub(super) async fn flush(self: &Arc<Self>) -> Result<()> {
        loop {
            let changed = self.waits.changed();
            self.send();
            {
                let state = self.lock();
                if state.in_flight == 0 && state.queue.is_empty() {
                    return state.failure.clone().map_or(Ok(()), Err);
                }
            }
            changed.await;
        }
    }

    /// Sends waiting records as connections are free, even in requests that aren't full.
    pub(super) fn send(self: &Arc<Self>) {
        self.lock().queue.seal(Instant::now());
        self.dispatch();
    }

    /// Bytes of all records taken and not yet accepted.
    pub(super) fn bytes(&self) -> usize {
        let state = self.lock();
        state.queue.bytes() + state.bytes_in_flight
    }

    /// Error of the first put that failed for good.
    pub(super) fn failure(&self) -> Option<Error> {
        self.lock().failure.clone()
    }

    /// Stops sending and taking records, as after a put that failed for good.
    pub(super) fn fail(&self, error: &Error) {
        self.broken(&mut self.lock(), error.clone());
        self.waits.notify();
    }

    pub(super) fn metrics(&self) -> WriterMetrics {
        let Putter {
            requests, entries, ..
        } = &self.putter;
        WriterMetrics {
            records: entries.rows(),
            kinesis_records: entries.records(),
            bytes: entries.bytes(),
            requests: requests.requests(),
            retries: entries.retries() + requests.retries(),
            throttles: requests.throttles(),
            wait_millis: self.waits.millis(),
            max_buffered_bytes: self.lock().most_bytes as u64,
            put_latencies: self.putter.latencies.counts(),
        }
    }

    /// Ends all tasks at once and frees the waiting records.
    pub(super) fn close(&self) {
        self.lock().queue.clear();
        self.phase.send_replace(Phase::Closed);
        self.waits.notify();
    }

    /// Starts requests while there are batches to send and connections to send them with.
    fn dispatch(self: &Arc<Self>) {
        // The lock is not held while a task starts: a runtime that shuts down drops the task, and with it its
        // `InFlight`, at once.
        while let Some((entries, bytes)) = self.next_batch() {
            self.waits.notify();
            let in_flight = InFlight {
                writer: Arc::clone(self),
                bytes,
                ended: false,
            };
            self.runtime.spawn(in_flight.run(entries));
        }
    }

    fn next_batch(&self) -> Option<(Vec<Outgoing>, usize)> {
        let mut state = self.lock();
        if state.in_flight >= self.max_connections {
            return None;
        }
        let entries = state.queue.pop(Instant::now())?;
        let bytes = entries.iter().map(Outgoing::bytes).sum();
        state.in_flight += 1;
        state.bytes_in_flight += bytes;
        Some((entries, bytes))
    }

    /// Call when entries with these hash keys are accepted: those that wait for them may go.
    fn settled(self: &Arc<Self>, spans: &[HashRange]) {
        if self.ordering == SinkOrdering::Key {
            self.lock().queue.settled(spans);
            self.dispatch();
        }
    }

    fn request_ended(self: &Arc<Self>, bytes: usize, outcome: Result<()>) {
        {
            let mut state = self.lock();
            state.in_flight -= 1;
            state.bytes_in_flight -= bytes;
            if let Err(error) = outcome {
                self.broken(&mut state, error);
            }
        }
        self.dispatch();
        self.waits.notify();
        self.timer_signal.notify_one();
    }

    fn broken(&self, state: &mut State, error: Error) {
        state.failure.get_or_insert(error);
        state.queue.clear();
        self.phase.send_if_modified(|phase| {
            let running = *phase == Phase::Running;
            if running {
                *phase = Phase::Broken;
            }
            running
        });
    }

    /// Sends the open batch whenever it is due, until the writer closes.
    async fn send_when_due(self: Arc<Self>) {
        let mut phase = self.phase.subscribe();
        loop {
            let deadline = {
                let state = self.lock();
                // While all connections are busy there is nothing to do in time: the end of a request wakes this
                // task.
                state
                    .queue
                    .deadline()
                    .filter(|_| state.in_flight < self.max_connections)
            };
            let due = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.timer_signal.notified() => {}
                () = reached(&mut phase, Phase::Closed) => return,
            }
            self.dispatch();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two statements that hold the lock, so a panic elsewhere doesn't corrupt
        // it.
        self.state.lock()
    }
}

/// A request under way. Its drop takes it off the count however its task ends, even by a panic or with the runtime.
struct InFlight {
    writer: Arc<Writer>,
    bytes: usize,
    ended: bool,
}

impl InFlight {
    async fn run(mut self, entries: Vec<Outgoing>) {
        let writer = Arc::clone(&self.writer);
        let (mut broken, mut closed) = (writer.phase.subscribe(), writer.phase.subscribe());
        tokio::select! {
            outcome = writer.putter.put(entries, &mut broken, |spans| writer.settled(spans)) => {
                self.ended = true;
                writer.request_ended(self.bytes, outcome);
            }
            () = reached(&mut closed, Phase::Closed) => {}
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.ended {
            self.writer.request_ended(self.bytes, Err(Error::new(
                ErrorKind::Internal,
                format!(
                    "Stream {}: a PutRecords request ended without an answer; which of its records were accepted \
                     is unknown.",
                    self.writer.putter.stream
                ),
            )
            .retryable(true)
            .with("stream", self.writer.putter.stream.clone())));
        }
    }
}
