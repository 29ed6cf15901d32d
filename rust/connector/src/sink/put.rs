//! One PutRecords request and the further ones for the entries that were not accepted.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::connect::Connection;
use super::progress::{PATIENCE, Progress};
use super::waits::Waits;
use super::writer::{Phase, reached};
use crate::error::{Error, ErrorKind, Result, unstopped};
use crate::options::RetryOptions;
use crate::service::{PutEntry, PutOutcome, RequestCounters};

const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// Counts of entries, shared by a writer's requests.
#[derive(Debug, Default)]
pub(super) struct EntryCounters {
    records: AtomicU64,
    bytes: AtomicU64,
    retries: AtomicU64,
}

impl EntryCounters {
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

/// What puts need besides their entries.
pub(super) struct Putter {
    pub(super) connection: Connection,
    pub(super) stream: String,
    pub(super) retry: RetryOptions,
    pub(super) requests: Arc<RequestCounters>,
    pub(super) entries: EntryCounters,
    /// Shared by all writers of the stream in this process.
    pub(super) progress: Arc<Progress>,
}

impl Putter {
    /// Puts entries, and those that fail again, until all are accepted. Gives up when the stream took nothing from
    /// this process for [`PATIENCE`], when a failure can't pass, or when the writer failed meanwhile.
    pub(super) async fn put(
        &self,
        mut pending: Vec<PutEntry>,
        phase: &mut watch::Receiver<Phase>,
    ) -> Result<()> {
        let api = self.connection.get().await?;
        let total = pending.len();
        let mut waits = Waits::new(&self.retry);
        let mut failing_since = None;
        loop {
            let mut rest = pending.split_off(pending.len().min(waits.most()));
            let sent = pending.len();
            let failure = match api.put_records(&pending, &self.requests).await {
                Ok(outcomes) if outcomes.len() == sent => self.keep_failed(&mut pending, outcomes),
                Ok(outcomes) => return Err(self.misaligned(sent, outcomes.len())),
                Err(error) => Some(self.failed_whole(error, sent + rest.len())?),
            };
            let failed = pending.len();
            if failed < sent {
                self.progress.accepted();
            }
            // To the end with those that failed: they may all be of a shard that takes none for long.
            rest.append(&mut pending);
            pending = rest;
            if pending.is_empty() {
                return Ok(());
            }
            let mut wait = waits.after(sent, sent - failed);
            let again = match &failure {
                Some(Failure::Entry { .. }) => failed,
                Some(Failure::Request(_)) | None => 0,
            };
            if let Some(failure) = failure {
                let since = *failing_since.get_or_insert_with(Instant::now);
                let patience = self.progress.patience(since).filter(|_| self.retry.retries > 0);
                let Some(patience) = patience else {
                    return Err(self.give_up(pending.len(), total, failure));
                };
                wait = wait.min(patience);
                self.report(&failure, pending.len(), sent - failed, wait);
            }
            tokio::select! {
                biased;
                // Another request failed for good: the writer keeps that error, whatever is answered here.
                () = reached(phase, Phase::Broken) => return Err(self.stopped(pending.len(), total)),
                () = tokio::time::sleep(wait) => {}
            }
            self.entries.retries.fetch_add(again as u64, Ordering::Relaxed);
        }
    }

    /// What a request that failed, all its retries too, means for its entries. They are put again if the stream only
    /// throttles, or took something not long ago: then the failure is likely to pass.
    fn failed_whole(&self, error: Error, left: usize) -> Result<Failure> {
        let may_pass = error.kind() == ErrorKind::Throttled || self.progress.accepts();
        if self.retry.retries == 0 || !error.is_retryable() || !may_pass {
            return Err(error.with("recordsNotAccepted", left.to_string()));
        }
        self.requests.count_failure(&error);
        Ok(Failure::Request(error))
    }

    fn report(&self, failure: &Failure, waiting: usize, accepted: usize, wait: Duration) {
        let wait_ms = wait.as_millis() as u64;
        if accepted == 0 && self.progress.warning_due() {
            tracing::warn!(
                stream = %self.stream,
                waiting,
                wait_ms,
                "the stream takes less than is written, or nothing; putting records again after: {failure}"
            );
        } else {
            tracing::debug!(stream = %self.stream, waiting, accepted, wait_ms, "putting records again after: {failure}");
        }
    }

    /// Counts what was accepted and leaves the failed entries, in their order; answers the last failure.
    fn keep_failed(&self, pending: &mut Vec<PutEntry>, outcomes: Vec<PutOutcome>) -> Option<Failure> {
        let mut failed = Vec::new();
        let mut last = None;
        let (mut records, mut bytes) = (0u64, 0u64);
        for (entry, outcome) in pending.drain(..).zip(outcomes) {
            last = Some(match outcome {
                PutOutcome::Accepted { .. } => {
                    records += 1;
                    bytes += entry.data.len() as u64;
                    continue;
                }
                PutOutcome::Throttled { message } => {
                    self.requests.count_throttle();
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
            failed.push(entry);
        }
        *pending = failed;
        self.entries.records.fetch_add(records, Ordering::Relaxed);
        self.entries.bytes.fetch_add(bytes, Ordering::Relaxed);
        last
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
                    "and for {} minutes the stream accepted no record of this process",
                    PATIENCE.as_secs() / 60
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

    /// Never seen: the writer answers with the failure that broke it.
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
    /// What the answer says of an entry.
    Entry {
        throttled: bool,
        code: String,
        message: String,
    },
    /// There was no answer.
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
