//! One PutRecords request and the further ones for the entries that were not accepted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backon::BackoffBuilder;
use tokio::sync::watch;

use super::connect::Connection;
use super::writer::{Phase, reached};
use crate::error::{Error, ErrorKind, Result, unstopped};
use crate::options::RetryOptions;
use crate::service::{PutEntry, PutOutcome, RequestCounters, backoff};

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
}

impl Putter {
    /// Puts entries, and those that fail again, until all are accepted. Gives up after as many rounds in a row
    /// without a single accepted entry as the options allow retries, or when the writer failed meanwhile.
    pub(super) async fn put(
        &self,
        mut pending: Vec<PutEntry>,
        phase: &mut watch::Receiver<Phase>,
    ) -> Result<()> {
        let api = self.connection.get().await?;
        let total = pending.len();
        let mut waits = backoff(&self.retry).build();
        loop {
            let outcomes = api
                .put_records(&pending, &self.requests)
                .await
                .map_err(|error| error.with("recordsNotAccepted", pending.len().to_string()))?;
            if outcomes.len() != pending.len() {
                return Err(self.misaligned(pending.len(), outcomes.len()));
            }
            let sent = pending.len();
            let Some(failure) = self.keep_failed(&mut pending, outcomes) else {
                return Ok(());
            };
            if pending.len() < sent {
                waits = backoff(&self.retry).build();
            }
            let Some(wait) = waits.next() else {
                return Err(self.give_up(pending.len(), total, &failure));
            };
            tracing::debug!(
                stream = %self.stream,
                failed = pending.len(),
                sent,
                wait_ms = wait.as_millis() as u64,
                "putting failed entries again after: {}: {}",
                failure.code,
                failure.message
            );
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // Another request failed for good: the writer keeps that error, whatever is answered here.
                () = reached(phase, Phase::Broken) => {
                    return Err(self.give_up(pending.len(), total, &failure));
                }
            }
            self.entries
                .retries
                .fetch_add(pending.len() as u64, Ordering::Relaxed);
        }
    }

    /// Counts what was accepted and leaves the failed entries, in their order; answers the last failure.
    fn keep_failed(&self, pending: &mut Vec<PutEntry>, outcomes: Vec<PutOutcome>) -> Option<EntryFailure> {
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
                    EntryFailure {
                        throttled: true,
                        code: THROTTLED.to_owned(),
                        message,
                    }
                }
                PutOutcome::Failed { code, message } => EntryFailure {
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

    fn give_up(&self, left: usize, total: usize, failure: &EntryFailure) -> Error {
        let EntryFailure {
            throttled,
            code,
            message,
        } = failure;
        let message = unstopped(message);
        let cure = if *throttled {
            "A shard takes 1,000 records and 1 MiB a second: add shards or switch the stream to on-demand capacity, \
             spread the partition keys, write with fewer tasks"
        } else {
            "The service failed inside: wait for it to recover"
        };
        let tried = match self.retry.retries {
            0 => "and the options allow no retries".to_owned(),
            retries => format!("and {retries} retries in a row made no progress"),
        };
        Error::new(
            ErrorKind::PutFailed,
            format!(
                "Stream {}: {left} of {total} records of a PutRecords request were not accepted, {tried}; the last \
                 answer was {code}: {message}. {cure}, or raise kinesis.clientNumRetries.",
                self.stream
            ),
        )
        .retryable(true)
        .with("stream", self.stream.clone())
        .with("code", code.clone())
        .with("recordsNotAccepted", left.to_string())
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

/// Why an entry was not accepted.
struct EntryFailure {
    throttled: bool,
    code: String,
    message: String,
}
