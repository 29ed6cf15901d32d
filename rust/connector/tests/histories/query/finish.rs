//! The rest of a stream after a history's last step, and an idle stream.
use std::time::Duration;

use super::{Checked, Query, change, offset};
use crate::history::{EXECUTORS, Finish, Reading, Step};
use crate::stream::KEYS;
use kinesis_connector::ErrorKind;
use kinesis_connector::read::{FeedRegistry, ReadTask};
use kinesis_connector::stream::ShardId;

/// Number of probes of an idle stream.
const PROBES: usize = 6;
/// Number of probes for each shard until all shards of a stream were passed: a generation without records takes the
/// time between two listings.
const PROBES_PER_SHARD: usize = 8;
/// With subscriptions the driver probes less often than it is called, and a silent subscription is detected after 40
/// s.
const CALLS_PER_PROBE: usize = 15;
/// Upper bound for the batches that the rest of a stream takes.
const BATCHES: u32 = 300;
/// Duration of a batch during which records arrive.
const A_BATCH: Duration = Duration::from_secs(5);
/// Number of runs of one batch each that may find nothing.
const IDLE_RUNS: usize = 3;
/// Number of empty responses that the driver follows itself: half as many where every other response makes no
/// progress.
const ANSWERS_FOLLOWED: usize = 40;
/// Number of calls that may find nothing although there are records.
const IDLE_CALLS: usize = 2;

/// Number of triggers in which a recreated stream must be detected: its iterators expire in that time.
const CALLS_TO_NOTICE: usize = 3_000;

impl Query {
    /// Reads the rest of the stream.
    pub async fn drain(&mut self, finish: Finish) -> Checked {
        match finish {
            Finish::Running => self.run().await,
            Finish::AvailableNow { puts } => {
                self.available_now(puts).await?;
                if puts == 0 {
                    return Ok(());
                }
                self.restart().await?;
                self.run().await
            }
            Finish::Once => self.run_by_batches().await,
            Finish::AnotherStream { shards } => self.notice_another_stream(shards).await,
        }
    }

    pub(super) async fn run(&mut self) -> Checked {
        let (mut idle, mut batches) = (0, 0);
        let slices = self.kinesis.stream().ways.slice_millis.is_some();
        while idle < self.patience() {
            let before = self.come_so_far()?;
            let read = self.read_batch(&mut batches).await?;
            // A batch may only discover that a stretch leads to no records.
            let moved = read && (!slices || before != self.come_so_far()?);
            idle = if moved { 0 } else { idle + 1 };
        }
        Ok(())
    }

    /// Runs with Trigger.AvailableNow until it ends, and checks that all records from before its start were read.
    pub(super) async fn available_now(&mut self, puts: u8) -> Checked {
        self.restart().await?;
        self.planner().prepare_for_available_now();
        let began = self.kinesis.stream().now;
        let mut batches = 0;
        while self.read_batch(&mut batches).await? {
            if puts > 0 {
                change(&self.kinesis, &Step::Put { key: 0, count: puts });
                tokio::time::sleep(A_BATCH).await;
            }
        }
        self.ledger.is_complete_until(began, &self.kinesis.stream())
    }

    /// Runs batches in a new process each.
    pub(super) async fn run_by_batches(&mut self) -> Checked {
        let (mut idle, mut batches) = (0, 0);
        while idle < IDLE_RUNS {
            let before = self.come_so_far()?;
            self.memories = (0..EXECUTORS).map(|_| FeedRegistry::default()).collect();
            self.restart().await?;
            self.read_batch(&mut batches).await?;
            // A run may only discover that a stretch leads to no records.
            let moved = before != self.come_so_far()?;
            idle = if moved { 0 } else { idle + 1 };
        }
        Ok(())
    }

    /// Progress: the number of records read, and the shards of the last batch.
    pub(super) fn come_so_far(&self) -> Checked<(usize, Vec<ShardId>)> {
        let shards = offset(&self.offset)?.shards.into_keys().collect();
        Ok((self.ledger.records(), shards))
    }

    /// Replaces the stream by another one of its name: the query must fail with that error, and deliver no record of
    /// the new stream.
    pub(super) async fn notice_another_stream(&mut self, shards: u8) -> Checked {
        // A position before all records would be valid in the other stream too.
        self.run().await?;
        {
            let mut stream = self.kinesis.stream();
            stream.make_again(shards);
            (0..KEYS).for_each(|key| stream.put(key));
        }
        self.kinesis.notify_change();
        let last = self.kinesis.stream().before;
        for _ in 0..CALLS_TO_NOTICE {
            tokio::time::sleep(self.trigger).await;
            let next = match self.planner().latest_offset(&self.offset).await {
                Ok(Some(next)) => next,
                Ok(None) => continue,
                Err(error) if error.kind() == ErrorKind::StreamChanged => return Ok(()),
                Err(error) => return Err(format!("of another stream the driver says: {error}")),
            };
            for task in self
                .planner()
                .partitions(&next)
                .map_err(|error| error.to_string())?
            {
                let task = ReadTask::from_json(&task).map_err(|error| error.to_string())?;
                match self.whole(&task, 4, true).await {
                    Ok(rows) => {
                        let of_another =
                            |number: &String| number.parse().is_ok_and(|number: u64| number > last);
                        if rows.numbers.iter().any(of_another) {
                            return Err(format!("rows of another stream: {rows:?}"));
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::StreamChanged => return Ok(()),
                    Err(error) => return Err(format!("of another stream a task says: {error}")),
                }
            }
            let committed = self.planner().commit(&next).await;
            committed.map_err(|error| error.to_string())?;
            self.offset = next;
        }
        Err("another stream was not noticed".to_owned())
    }

    /// Requests a batch and reads it; false if there is none.
    pub(super) async fn read_batch(&mut self, batches: &mut u32) -> Checked<bool> {
        let Some(next) = self.plan().await? else {
            return Ok(false);
        };
        *batches += 1;
        if *batches > BATCHES {
            return Err(format!("batches without end; the last is {next}"));
        }
        self.ledger.planned(&offset(&next)?, &self.kinesis.stream())?;
        self.read(&next, &[Reading::Whole { limit: 5 }]).await?;
        self.commit(next).await?;
        Ok(true)
    }

    /// Passes through all generations of an idle stream.
    pub async fn walk_through(&mut self) -> Checked {
        self.probe(self.probes_of_all()).await
    }

    /// Probes an idle stream for a while.
    pub async fn stay_idle(&mut self) -> Checked {
        self.probe(PROBES).await
    }

    /// Requests batches of an idle stream. Batches are allowed only where the set of shards changes, or where readers
    /// pass through stretches behind the last records that the driver does not know, or does not know to be that
    /// long.
    pub(super) async fn probe(&mut self, times: usize) -> Checked {
        let slice = self.kinesis.stream().ways.slice_millis;
        let answers = |slice: u64| times * (self.trigger.as_millis() as u64 / slice + 1) as usize;
        // At most one batch for each shard's stretch.
        let shards = offset(&self.offset)?.shards.len();
        let mut walks = slice.map_or(0, |slice| shards + answers(slice) / ANSWERS_FOLLOWED);
        for _ in 0..times {
            let Some(next) = self.plan().await? else { continue };
            let (before, after) = (offset(&self.offset)?, offset(&next)?);
            if before.shards.keys().eq(after.shards.keys()) {
                walks = walks
                    .checked_sub(1)
                    .ok_or_else(|| format!("a batch of an idle stream: {next}"))?;
            }
            self.ledger.planned(&after, &self.kinesis.stream())?;
            self.read(&next, &[Reading::Whole { limit: 5 }]).await?;
            self.commit(next).await?;
        }
        Ok(())
    }

    /// Number of calls without a new batch after which the stream counts as read.
    pub(super) fn patience(&self) -> usize {
        let complete = self.ledger.is_complete(&self.kinesis.stream());
        match complete {
            Ok(()) => PROBES,
            // Polling returns no batch only after all shards and their children were probed.
            Err(_) if self.fan_out.is_none() => IDLE_CALLS,
            Err(_) => self.probes_of_all(),
        }
    }

    pub(super) fn probes_of_all(&self) -> usize {
        let calls = self.fan_out.as_ref().map_or(1, |_| CALLS_PER_PROBE);
        calls * PROBES_PER_SHARD * (self.kinesis.stream().shards.len() + 1)
    }
}
