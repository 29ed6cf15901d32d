//! A scripted stream for the sink's tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Semaphore, watch};

use super::batch::counted_bytes;
use super::limits::Limits;
use crate::error::{Error, Result};
use crate::service::{
    KinesisApi, Page, PutEntry, PutOutcome, RequestCounters, ShardFilter, ShardIterator, StreamSummary,
};
use crate::stream::{Position, SequenceNumber, Shard, ShardId};

/// Scripted response to a PutRecords call.
#[derive(Debug)]
pub(super) enum Answer {
    /// One letter for each entry: `a`ccepted, `t`hrottled, `f`ailed.
    Outcomes(&'static str),
    /// All entries throttled.
    Throttle,
    /// The request fails.
    Fail(Error),
    /// The client's code panics.
    Panic,
}

/// A limited stream's response to one request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    /// Age of the stream.
    pub(super) at: Duration,
    /// Number of entries sent.
    pub(super) sent: usize,
    /// Number of entries that were not accepted.
    pub(super) refused: usize,
    /// Bytes of all entries.
    pub(super) bytes: usize,
    /// Bytes of the entries that were not accepted.
    pub(super) bytes_refused: usize,
}

/// The only shard of a stream without limits.
pub(super) const SHARD: &str = "shardId-000000000000";

/// Response time of a limited stream.
const ROUND_TRIP: Duration = Duration::from_millis(20);

/// Responds as scripted. After the script's end it accepts all entries, or as many as its limits allow.
#[derive(Debug)]
pub(super) struct FakeStream {
    limits: Option<Mutex<Limits>>,
    /// False if only the responses are kept, as a long run has too many entries.
    keeps_entries: bool,
    script: Mutex<VecDeque<Answer>>,
    calls: Mutex<Vec<Vec<PutEntry>>>,
    accepted: Mutex<Vec<PutEntry>>,
    rounds: Mutex<Vec<Round>>,
    gate: Semaphore,
    called: watch::Sender<usize>,
}

impl FakeStream {
    /// Answers each call immediately.
    pub(super) fn open(script: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        Self::with_permits(script, Semaphore::MAX_PERMITS)
    }

    /// Accepts what its shards' limits allow.
    pub(super) fn limited(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits: Some(Mutex::new(limits)),
            ..Self::fake([], Semaphore::MAX_PERMITS)
        })
    }

    /// As [`Self::limited`], but forgets the entries.
    pub(super) fn forgetful(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits: Some(Mutex::new(limits)),
            keeps_entries: false,
            ..Self::fake([], Semaphore::MAX_PERMITS)
        })
    }

    /// Answers a call only when [`Self::let_through`] allows it.
    pub(super) fn gated(script: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        Self::with_permits(script, 0)
    }

    fn with_permits(script: impl IntoIterator<Item = Answer>, permits: usize) -> Arc<Self> {
        Arc::new(Self::fake(script, permits))
    }

    fn fake(script: impl IntoIterator<Item = Answer>, permits: usize) -> Self {
        Self {
            limits: None,
            keeps_entries: true,
            script: Mutex::new(script.into_iter().collect()),
            calls: Mutex::default(),
            accepted: Mutex::default(),
            rounds: Mutex::default(),
            gate: Semaphore::new(permits),
            called: watch::Sender::new(0),
        }
    }

    pub(super) fn let_through(&self, calls: usize) {
        self.gate.add_permits(calls);
    }

    /// Returns once this many calls have come in.
    pub(super) async fn called(&self, calls: usize) {
        self.called
            .subscribe()
            .wait_for(|count| *count >= calls)
            .await
            .unwrap();
    }

    /// The partition keys of each call.
    pub(super) fn calls(&self) -> Vec<Vec<String>> {
        let keys = |entries: &Vec<PutEntry>| {
            entries
                .iter()
                .filter_map(|entry| entry.partition_key.clone())
                .collect()
        };
        self.calls.lock().unwrap().iter().map(keys).collect()
    }

    /// Number of entries of each call.
    pub(super) fn call_sizes(&self) -> Vec<usize> {
        self.calls.lock().unwrap().iter().map(Vec::len).collect()
    }

    /// The accepted entries, in the order of the responses.
    pub(super) fn accepted(&self) -> Vec<PutEntry> {
        self.accepted.lock().unwrap().clone()
    }

    /// The least time that the limits allow for what was accepted, in seconds.
    pub(super) fn least_seconds(&self) -> f64 {
        self.limits.as_ref().unwrap().lock().unwrap().least_seconds()
    }

    /// The responses of a limited stream, in order.
    pub(super) fn rounds(&self) -> Vec<Round> {
        self.rounds.lock().unwrap().clone()
    }

    async fn take_what_fits(&self, limits: &Mutex<Limits>, entries: &[PutEntry]) -> Vec<PutOutcome> {
        tokio::time::sleep(ROUND_TRIP).await;
        let mut limits = limits.lock().unwrap();
        let outcomes: Vec<_> = entries
            .iter()
            .map(|entry| match limits.take(entry) {
                Ok(shard) => self.accept_in(&shard, entry),
                Err(shard) => throttled_by(&shard),
            })
            .collect();
        let mut round = Round {
            at: limits.age(),
            sent: outcomes.len(),
            ..Round::default()
        };
        for (entry, outcome) in entries.iter().zip(&outcomes) {
            let bytes = counted_bytes(entry.partition_key.as_deref(), &entry.data);
            round.bytes += bytes;
            if let PutOutcome::Throttled { .. } = outcome {
                round.refused += 1;
                round.bytes_refused += bytes;
            }
        }
        self.rounds.lock().unwrap().push(round);
        outcomes
    }

    fn accept(&self, entry: &PutEntry) -> PutOutcome {
        self.accept_in(&SHARD.into(), entry)
    }

    fn accept_in(&self, shard: &ShardId, entry: &PutEntry) -> PutOutcome {
        let mut accepted = self.accepted.lock().unwrap();
        if self.keeps_entries {
            accepted.push(entry.clone());
        }
        PutOutcome::Accepted {
            shard: shard.clone(),
            sequence_number: accepted.len().to_string(),
        }
    }
}

fn throttled() -> PutOutcome {
    throttled_by(&SHARD.into())
}

fn throttled_by(shard: &ShardId) -> PutOutcome {
    PutOutcome::Throttled {
        message: format!("Rate exceeded for shard {shard}"),
    }
}

#[async_trait]
impl KinesisApi for FakeStream {
    async fn put_records(
        &self,
        entries: &[PutEntry],
        _counters: &Arc<RequestCounters>,
    ) -> Result<Vec<PutOutcome>> {
        if self.keeps_entries {
            self.calls.lock().unwrap().push(entries.to_vec());
        }
        let answer = self.script.lock().unwrap().pop_front();
        self.called.send_modify(|count| *count += 1);
        self.gate.acquire().await.unwrap().forget();
        if let (None, Some(limits)) = (&answer, &self.limits) {
            return Ok(self.take_what_fits(limits, entries).await);
        }
        match answer {
            None => Ok(entries.iter().map(|entry| self.accept(entry)).collect()),
            Some(Answer::Throttle) => Ok(entries.iter().map(|_| throttled()).collect()),
            Some(Answer::Outcomes(letters)) => {
                // With more letters than entries, the response doesn't match the request.
                let outcome = |(index, letter)| match letter {
                    'a' => self.accept(entries.get(index).unwrap_or(&entries[0])),
                    't' => throttled(),
                    _ => PutOutcome::Failed {
                        code: "InternalFailure".into(),
                        message: "try later".into(),
                    },
                };
                Ok(letters.chars().enumerate().map(outcome).collect())
            }
            Some(Answer::Fail(error)) => Err(error),
            Some(Answer::Panic) => panic!("scripted"),
        }
    }

    async fn describe_stream(&self) -> Result<StreamSummary> {
        unreachable!("a sink does not ask")
    }

    async fn list_shards(&self, _: ShardFilter) -> Result<Vec<Shard>> {
        let limits = self
            .limits
            .as_ref()
            .expect("a stream without limits has no aggregates");
        Ok(limits.lock().unwrap().listed())
    }

    async fn shard_iterator(
        &self,
        _: &ShardId,
        _: &Position,
        _: &Arc<RequestCounters>,
    ) -> Result<ShardIterator> {
        unreachable!("a sink does not ask")
    }

    async fn shard_iterator_at_record(
        &self,
        _: &ShardId,
        _: &SequenceNumber,
        _: &Arc<RequestCounters>,
    ) -> Result<ShardIterator> {
        unreachable!("a sink does not ask")
    }

    async fn get_records(
        &self,
        _: &ShardId,
        _: &ShardIterator,
        _: u32,
        _: &Arc<RequestCounters>,
    ) -> Result<Page> {
        unreachable!("a sink does not ask")
    }
}
