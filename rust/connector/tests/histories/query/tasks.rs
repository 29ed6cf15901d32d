//! The tasks of a batch: attempts that end, fail, race and report.
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Checked, Query};
use crate::history::Reading;
use crate::ledger::Rows;
use kinesis_connector::batch::RecordBatch;
use kinesis_connector::claims::ClaimStore;
use kinesis_connector::read::{ReadTask, ShardReader, ShardReport};
use kinesis_connector::{ErrorKind, Result};

/// Maximum number of attempts at a task.
const ATTEMPTS: usize = 4;

impl Query {
    pub(super) async fn read(&mut self, offset: &str, readings: &[Reading]) -> Checked {
        let tasks = self.planner().partitions(offset);
        let tasks = tasks.map_err(|error| error.to_string())?;
        for (task, reading) in tasks.iter().zip(readings.iter().cycle()) {
            let task = ReadTask::from_json(task).map_err(|error| error.to_string())?;
            let read = self.read_task(&task, reading).await;
            let rows = read.map_err(|error| format!("reading failed: {error}"))?;
            let claim = self.store.kept.get(&task.claim_key()).await;
            let claim = claim.map_err(|error| error.to_string())?;
            for rows in rows {
                self.ledger
                    .read(&task, &rows, claim.as_ref(), &self.kinesis.stream())?;
            }
        }
        Ok(())
    }

    pub(super) async fn read_task(&self, task: &ReadTask, reading: &Reading) -> Result<Vec<Rows>> {
        match *reading {
            Reading::Unread => Ok(Vec::new()),
            Reading::Whole { limit } => Ok(vec![self.whole(task, limit, true).await?]),
            Reading::Unreported { limit } => Ok(vec![self.whole(task, limit, false).await?]),
            Reading::Twice {
                limits: [first, second],
            } => Ok(vec![
                self.whole(task, first, true).await?,
                self.whole(task, second, true).await?,
            ]),
            Reading::Raced { limits } => {
                let [left, right] = limits;
                let (left, right) = tokio::join!(self.whole(task, left, true), self.whole(task, right, true));
                Ok(vec![
                    self.or_again(task, limits, left).await?,
                    self.or_again(task, limits, right).await?,
                ])
            }
            Reading::Nested { limits } => {
                let [outer, inner] = limits;
                let outer = self.reader(task, outer);
                let begun = outer.next().await;
                let inner = self.attempt(task, inner, true).await;
                let outer = match begun {
                    Ok(begun) => self.rest(&outer, begun, true).await,
                    Err(error) => Err(error),
                };
                Ok(vec![
                    self.or_again(task, limits, outer).await?,
                    self.or_again(task, limits, inner).await?,
                ])
            }
            Reading::FailedFirst {
                limits: [first, second],
            } => {
                let failed = self.reader(task, first);
                failed.next().await?;
                failed.finish(false).await?;
                Ok(vec![self.whole(task, second, true).await?])
            }
            Reading::ClosedEarly { limit } => {
                let reader = self.reader(task, limit);
                let mut rows = Rows::default();
                if let Some(batch) = reader.next().await? {
                    rows.numbers
                        .extend(batch.sequence_number.iter().flatten().map(str::to_owned));
                }
                self.report(reader.finish(true).await?)?;
                Ok(vec![rows])
            }
        }
    }

    /// Attempts a task until it succeeds. An attempt may fail if its subscription breaks and can't resume at its
    /// place, or if another attempt takes over the shard repeatedly.
    pub(super) async fn whole(&self, task: &ReadTask, limit: u64, reported: bool) -> Result<Rows> {
        for _ in 1..ATTEMPTS {
            match self.attempt(task, limit, reported).await {
                Err(error)
                    if error.is_retryable()
                        || matches!(error.kind(), ErrorKind::RefusedPosition | ErrorKind::InUse) => {}
                ended => return ended,
            }
        }
        self.attempt(task, limit, reported).await
    }

    /// Rows of one of two attempts with these limits, or of its retry. Attempts in one process have no reason to fail
    /// over the claim.
    pub(super) async fn or_again(
        &self,
        task: &ReadTask,
        limits: [u64; 2],
        read: Result<Rows>,
    ) -> Result<Rows> {
        let one_process = match self.fan_out {
            Some(_) => self
                .executors
                .iter()
                .all(|executor| *executor == self.executors[0]),
            None => polling_process(limits[0]) == polling_process(limits[1]),
        };
        match read {
            Err(error) if error.kind() == ErrorKind::ClaimConflict && !one_process => {
                self.whole(task, 1, true).await
            }
            Err(error) if matches!(error.kind(), ErrorKind::RefusedPosition | ErrorKind::InUse) => {
                self.whole(task, 1, true).await
            }
            read => read,
        }
    }

    pub(super) async fn attempt(&self, task: &ReadTask, limit: u64, reported: bool) -> Result<Rows> {
        let reader = self.reader(task, limit);
        let begun = reader.next().await?;
        self.rest(&reader, begun, reported).await
    }

    /// Rows of an attempt: the batch already read, and all that follow.
    pub(super) async fn rest(
        &self,
        reader: &ShardReader,
        begun: Option<RecordBatch>,
        reported: bool,
    ) -> Result<Rows> {
        let mut rows = Rows {
            whole: true,
            ..Rows::default()
        };
        let mut next = begun;
        while let Some(batch) = next {
            rows.numbers
                .extend(batch.sequence_number.iter().flatten().map(str::to_owned));
            next = reader.next().await?;
        }
        let report = reader.finish(true).await?;
        self.report(report.filter(|_| reported))?;
        Ok(rows)
    }

    /// A reader with this limit. The limit also determines its process and its prefetch.
    pub(super) fn reader(&self, task: &ReadTask, limit: u64) -> ShardReader {
        let mut options = self.config.options.clone();
        options.max_fetch_records_per_shard = limit;
        options.max_fetch_time_per_shard = self.fetch_time;
        let memory = match self.fan_out {
            Some(_) => {
                let turn = self.tasks.fetch_add(1, Ordering::Relaxed) % self.executors.len();
                &self.memories[self.executors[turn]]
            }
            None => {
                options.fetch_interval = Duration::from_millis(2);
                options.prefetch_max_bytes_per_shard = match limit % 4 {
                    0 => 1,
                    1 => 40,
                    _ => options.prefetch_max_bytes_per_shard,
                };
                &self.memories[polling_process(limit)]
            }
        };
        let (api, store) = (self.kinesis.clone(), self.store.clone());
        ShardReader::with_feeds(api, self.fan_out(), store, &options, task.clone(), memory)
    }

    pub(super) fn report(&self, report: Option<String>) -> Result<()> {
        let Some(report) = report else { return Ok(()) };
        let hits = ShardReport::from_json(&report)?.prefetch_hits;
        self.prefetch_hits.fetch_add(hits, Ordering::Relaxed);
        self.planner().report(&report)
    }
}

/// Process of a polling reader with this limit.
fn polling_process(limit: u64) -> usize {
    usize::from(limit.is_multiple_of(3))
}
