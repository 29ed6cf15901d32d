//! Puts entries with PutRecords requests, and retries the ones that were not accepted.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::astray::{Astray, rows_of};
use super::connect::Connection;
use super::gate::Tally;
use super::metrics::Latencies;
use super::ordered;
use super::outgoing::Outgoing;
use super::progress::SinkStream;
use super::round::{Lines, limited, past_lines, unlimited_weight};
use super::shard_map::ShardMap;
use super::waits::Waits;
use super::writer::{Phase, reached};
use crate::error::{Error, ErrorKind, Result, unstopped};
use crate::options::{RetryOptions, SinkOrdering};
use crate::service::{KinesisApi, PutEntry, PutOutcome, RequestCounters};
use crate::stream::HashRange;

/// Delay before the next round if no entry could go although the turn of some had come.
const NOTHING_DUE: Duration = Duration::from_millis(5);

const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// Counts of entries, shared by a writer's requests.
#[derive(Debug, Default)]
pub(super) struct EntryCounters {
    rows: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    retries: AtomicU64,
}

impl EntryCounters {
    /// Rows accepted.
    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Entries accepted.
    pub(super) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Bytes of the accepted entries' data.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Entries put again.
    pub(super) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }
}

/// Settings and shared state of a writer's puts.
pub(super) struct Putter {
    pub(super) connection: Connection,
    pub(super) stream: String,
    pub(super) retry: RetryOptions,
    /// Time for which the stream may accept nothing from this process before a put fails.
    pub(super) max_retry_time: Duration,
    pub(super) requests: Arc<RequestCounters>,
    pub(super) entries: EntryCounters,
    /// Shared by all writers of the stream in this process.
    pub(super) shared: Arc<SinkStream>,
    pub(super) latencies: Latencies,
    pub(super) aggregation: bool,
    pub(super) auto_distribution: bool,
    pub(super) ordering: SinkOrdering,
    pub(super) max_record_bytes: usize,
}

impl Putter {
    /// Shards to make aggregates for. `None` if rows are put one by one.
    pub(super) async fn shards_to_pack_for(&self) -> Option<Arc<ShardMap>> {
        if !self.aggregation {
            return None;
        }
        if self.auto_distribution {
            // The service distributes aggregates like records.
            return Some(ShardMap::of_one());
        }
        // Without a client there is no map, and the first put returns the error.
        let api = self.connection.get().await.ok()?;
        self.shared.shards.get(&*api, &self.stream).await
    }

    /// Puts entries, and retries those that fail, until all are accepted. Fails if the stream accepted nothing from
    /// this process for `max_retry_time`, if a failure is permanent, or if the writer failed meanwhile. `settled`
    /// gets the hash keys of the accepted entries, once for each entry.
    pub(super) async fn put(
        &self,
        mut pending: Vec<Outgoing>,
        phase: &mut watch::Receiver<Phase>,
        settled: impl Fn(&[HashRange]),
    ) -> Result<()> {
        let api = self.connection.get().await?;
        let total = pending.len();
        let mut waits = Waits::new(&self.retry);
        let mut failing = None::<(Instant, Failure)>;
        let (mut in_line, mut last_try) = (false, false);
        let mut put_apart = Vec::new();
        let mut lines = Lines::default();
        loop {
            self.place(&mut pending);
            let mut under_way = None;
            let unlimited = |pending: &[Outgoing]| pending.iter().any(|entry| limited(entry).is_none());
            if !in_line && unlimited(&pending) {
                let entered = tokio::select! {
                    biased;
                    () = reached(phase, Phase::Broken) => return Err(self.stopped(pending.len(), total)),
                    entered = self.shared.opening.enter(unlimited_weight(&pending)) => entered,
                };
                // The gates may have changed during the wait.
                self.place(&mut pending);
                under_way = Some(entered).filter(|_| unlimited(&pending));
            }
            let ready = tokio::select! {
                biased;
                () = reached(phase, Phase::Broken) => return Err(self.stopped(pending.len(), total)),
                () = lines.ready(&pending, in_line) => true,
                () = self.out_of_patience(failing.as_ref().map(|(since, _)| *since)) => false,
            };
            if ready && !in_line && under_way.is_none() && unlimited(&pending) {
                // A shard was split or left its limit: its entries have to enter as those of any other shard do.
                continue;
            }
            let (mut sent, failure) = match (ready, failing.take()) {
                (true, failure) => (lines.take(&mut pending, waits.most(), self.ordering), failure),
                // This process's own gates held entries back: try them once more, so that only the stream's answer
                // ends the put.
                (false, failure @ Some(_))
                    if !last_try && pending.iter().any(|entry| limited(entry).is_some()) =>
                {
                    last_try = true;
                    (past_lines(&mut pending, waits.most(), self.ordering), failure)
                }
                (false, Some((_, failure))) => return Err(self.give_up(pending.len(), total, failure)),
                (false, None) => continue,
            };
            failing = failure;
            if sent.is_empty() {
                // With ordering by key, entries that need no gate may all have to wait for earlier ones at a gate.
                if in_line {
                    tokio::time::sleep(NOTHING_DUE).await;
                }
                in_line = true;
                continue;
            }
            in_line = false;
            let count = sent.len();
            let paced = sent.iter().filter(|entry| limited(entry).is_some()).count();
            under_way = under_way.filter(|_| paced < count);
            let entries: Vec<PutEntry> = sent.iter().map(|outgoing| outgoing.entry.clone()).collect();
            let start = Instant::now();
            let answer = api.put_records(&entries, &self.requests).await;
            self.latencies.add(start.elapsed());
            let (failure, astray) = match answer {
                Ok(outcomes) if outcomes.len() == count => self.keep_failed(&mut sent, outcomes, &settled),
                Ok(outcomes) => return Err(self.misaligned(count, outcomes.len())),
                Err(error) => {
                    let failure = self.failed_whole(error, count + pending.len())?;
                    (Some(failure), Astray::default())
                }
            };
            drop(entries);
            let failed = sent.len();
            if let Some(under_way) = under_way.filter(|_| failed * 2 < count) {
                under_way.passed();
            }
            if failed < count {
                self.shared.progress.accepted();
                last_try = false;
            }
            match self.ordering {
                // Failed entries go to the end: they may all be for a shard that takes none for long.
                SinkOrdering::None => pending.append(&mut sent),
                SinkOrdering::Key => ordered::put_back(&mut pending, sent),
            }
            self.put_rows_again(&*api, astray, &mut pending, &mut put_apart, &settled)
                .await;
            if pending.is_empty() {
                settled(&put_apart);
                return Ok(());
            }
            let (again, unanswered) = match &failure {
                Some(Failure::Entry { .. }) => (failed, false),
                Some(Failure::Request(_)) => (0, true),
                None => (0, false),
            };
            let mut wait = match unanswered || paced < count {
                true => waits.after(count, count - failed),
                false => Duration::ZERO,
            };
            if !unanswered && pending.iter().all(|entry| limited(entry).is_some()) {
                // The entries wait at their gates.
                wait = Duration::ZERO;
            }
            if let Some(failure) = failure {
                let since = failing.take().map_or_else(Instant::now, |(since, _)| since);
                let patience = self.shared.progress.patience(since, self.max_retry_time);
                let Some(patience) = patience.filter(|_| self.retry.retries > 0) else {
                    return Err(self.give_up(pending.len(), total, failure));
                };
                wait = wait.min(patience);
                self.report(&failure, pending.len(), count - failed, wait);
                failing = Some((since, failure));
            }
            tokio::select! {
                biased;
                // Another request failed for good: the writer keeps that error, whatever this one returns.
                () = reached(phase, Phase::Broken) => return Err(self.stopped(pending.len(), total)),
                () = tokio::time::sleep(wait) => {}
            }
            self.entries.retries.fetch_add(again as u64, Ordering::Relaxed);
        }
    }

    /// Assigns entries to the gates of shards at their limit. Does nothing if keys don't determine the shard.
    fn place(&self, pending: &mut [Outgoing]) {
        if !self.auto_distribution {
            self.shared.gates.place(pending);
        }
    }

    /// Returns when the time to retry entries that failed first at `since` is over, and never if none failed.
    async fn out_of_patience(&self, since: Option<Instant>) {
        let Some(since) = since else {
            return std::future::pending().await;
        };
        while let Some(left) = self.shared.progress.patience(since, self.max_retry_time) {
            tokio::time::sleep(left).await;
        }
    }

    /// Adds the rows of aggregates that landed in shards that don't take all of the rows' hash keys to `pending`.
    /// Readers such as the KCL skip such rows and rely on the producer to put them again.
    async fn put_rows_again(
        &self,
        api: &dyn KinesisApi,
        astray: Astray,
        pending: &mut Vec<Outgoing>,
        put_apart: &mut Vec<HashRange>,
        settled: &impl Fn(&[HashRange]),
    ) {
        let Some(outdated) = astray.outdated() else {
            return;
        };
        let map = self.shared.shards.newer_than(outdated, api, &self.stream).await;
        for (outgoing, shard) in astray.aggregates {
            let holds = |map: &Arc<ShardMap>| outgoing.span.is_some_and(|span| map.holds(&shard, span));
            // Pack rows into aggregates for the current shards. Put them one by one if the shard is unknown, or if
            // they were put again before.
            let known = map.as_ref().filter(|map| !outgoing.again && map.knows(&shard));
            let first = outgoing.span.filter(|_| !outgoing.again);
            let rows = match map.as_ref().is_some_and(holds) {
                true => None,
                false => rows_of(&outgoing, known, self.max_record_bytes),
            };
            let Some(rows) = rows else {
                self.count(&outgoing);
                settled(first.as_slice());
                continue;
            };
            tracing::debug!(
                stream = %self.stream,
                rows = outgoing.rows,
                "an aggregate landed in a shard that doesn't take all of its hash keys; putting its rows again"
            );
            put_apart.extend(first);
            pending.extend(rows);
        }
    }

    /// Result of a request that failed with all its retries. Its entries are put again if the stream only throttles
    /// or accepted something not long ago, as the failure is then likely to pass. Otherwise it is an error.
    fn failed_whole(&self, error: Error, left: usize) -> Result<Failure> {
        let may_pass =
            error.kind() == ErrorKind::Throttled || self.shared.progress.accepts(self.max_retry_time);
        if self.retry.retries == 0 || !error.is_retryable() || !may_pass {
            return Err(error.with("recordsNotAccepted", left.to_string()));
        }
        self.requests.count_failure(&error);
        Ok(Failure::Request(error))
    }

    fn report(&self, failure: &Failure, waiting: usize, accepted: usize, wait: Duration) {
        let wait_ms = wait.as_millis() as u64;
        if accepted == 0 && self.shared.progress.warning_due() {
            tracing::warn!(
                stream = %self.stream,
                waiting,
                wait_ms,
                "the stream takes less than is written, or nothing; putting records again after: {failure}"
            );
        } else {
            tracing::debug!(stream = %self.stream, waiting, accepted, wait_ms, "putting records again after: \
                {failure}");
        }
    }

    /// Counts the accepted entries and leaves the failed ones in `sent`, in their order. Returns the last failure,
    /// and the evidence of entries that landed in the wrong shard.
    fn keep_failed(
        &self,
        sent: &mut Vec<Outgoing>,
        outcomes: Vec<PutOutcome>,
        settled: &impl Fn(&[HashRange]),
    ) -> (Option<Failure>, Astray) {
        let map = self.shared.shards.known();
        let map = map.filter(|_| self.aggregation && !self.auto_distribution);
        let (mut failed, mut spans) = (Vec::new(), Vec::new());
        let mut last = None;
        let mut astray = Astray::of(map);
        let mut tally = Tally::of(!self.auto_distribution);
        for (mut outgoing, outcome) in sent.drain(..).zip(outcomes) {
            // If keys don't determine the shard, an answer of another shard is no evidence of a split.
            let gate = outgoing.gate.take().filter(|_| !self.auto_distribution);
            last = Some(match outcome {
                PutOutcome::Accepted { shard, .. } => {
                    tally.accepted(&shard, &outgoing);
                    if let Some(gate) = gate {
                        gate.answered_by(&shard);
                    }
                    if let Some(kept) = astray.unless_right(outgoing, shard) {
                        self.count(&kept);
                        spans.extend(kept.span.filter(|_| !kept.again));
                    }
                    continue;
                }
                PutOutcome::Throttled { message } => {
                    self.requests.count_throttle();
                    if !self.auto_distribution {
                        outgoing.know_hash();
                    }
                    let shard = tally.throttled(&message, &outgoing);
                    if let Some(gate) = gate {
                        gate.answered_by(&shard);
                    }
                    outgoing.gate = Some(self.shared.gates.of(&shard));
                    Failure::Entry {
                        throttled: true,
                        code: THROTTLED.to_owned(),
                        message,
                    }
                }
                PutOutcome::Failed { code, message } => Failure::Entry {
                    throttled: false,
                    code,
                    message,
                },
            });
            failed.push(outgoing);
        }
        *sent = failed;
        self.shared.gates.learn(&tally);
        settled(&spans);
        (last, astray)
    }

    /// Counts an accepted entry whose rows needn't be put again.
    fn count(&self, outgoing: &Outgoing) {
        let entries = &self.entries;
        entries.rows.fetch_add(outgoing.rows.into(), Ordering::Relaxed);
        entries.records.fetch_add(1, Ordering::Relaxed);
        entries
            .bytes
            .fetch_add(outgoing.entry.data.len() as u64, Ordering::Relaxed);
    }

    fn give_up(&self, left: usize, total: usize, failure: Failure) -> Error {
        let (throttled, code, message) = match failure {
            Failure::Entry {
                throttled,
                code,
                message,
            } => (throttled, code, message),
            Failure::Request(error) => return error.with("recordsNotAccepted", left.to_string()),
        };
        let message = unstopped(&message);
        let cure = if throttled {
            "A shard takes 1,000 records and 1 MiB a second: add shards or switch the stream to on-demand capacity, \
             spread the partition keys, write with fewer tasks"
        } else {
            "The service failed inside: wait for it to recover"
        };
        let (tried, or) = match self.retry.retries {
            0 => (
                "and the options allow no retries".to_owned(),
                ", or raise kinesis.clientNumRetries",
            ),
            _ => (
                format!(
                    "and for {} s (kinesis.sink.maxRetryTimeSec) the stream accepted no record of this process",
                    self.max_retry_time.as_secs()
                ),
                "",
            ),
        };
        Error::new(
            ErrorKind::PutFailed,
            format!(
                "Stream {}: {left} of {total} records of a PutRecords request were not accepted, {tried}; the last \
                 answer was {code}: {message}. {cure}{or}.",
                self.stream
            ),
        )
        .retryable(true)
        .with("stream", self.stream.clone())
        .with("code", code)
        .with("recordsNotAccepted", left.to_string())
    }

    /// Error of a put that ends because the writer failed. The writer replaces it by the failure that broke it.
    fn stopped(&self, left: usize, total: usize) -> Error {
        Error::new(
            ErrorKind::PutFailed,
            format!(
                "Stream {}: {left} of {total} records of a PutRecords request were not accepted, and are not put \
                 again since another request failed.",
                self.stream
            ),
        )
        .retryable(true)
        .with("stream", self.stream.clone())
    }

    fn misaligned(&self, sent: usize, answered: usize) -> Error {
        Error::new(
            ErrorKind::PutFailed,
            format!(
                "Stream {}: PutRecords answered {answered} outcomes for {sent} records, so which of them were \
                 accepted is unknown. The endpoint does not behave as Kinesis does: check kinesis.endpointUrl and \
                 any proxy on the way.",
                self.stream
            ),
        )
        .retryable(true)
        .with("stream", self.stream.clone())
    }
}

/// Why entries were not accepted.
#[derive(Debug)]
enum Failure {
    /// The response reports that an entry failed.
    Entry {
        throttled: bool,
        code: String,
        message: String,
    },
    /// There was no response.
    Request(Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry { code, message, .. } => write!(f, "{code}: {message}"),
            Self::Request(error) => error.fmt(f),
        }
    }
}
