//! A task's input, and its report to the planner.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::feed::is_young;
use crate::claims::{Claim, ClaimKey};
use crate::error::{Error, ErrorKind, Result};
use crate::service::KinesisApi;
use crate::stream::{HashRange, Position, ShardId};

/// Input of one Spark task: one shard's part of a batch, or those of a group of shards that share a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPlan {
    /// Contains the shard's id or the group's name.
    claim_key: ClaimKey,
    tasks: Vec<ReadTask>,
}

/// JSON form of a group; a single shard's is its [`ReadTask`]. Both have a name in the field `shard`.
#[derive(Serialize, Deserialize)]
struct GroupJson<T> {
    shard: ShardId,
    tasks: T,
}

impl TaskPlan {
    /// A plan for these shards of one batch; none without any. Its name is unique: no shard begins two groups of a
    /// batch, and no shard's id (`shardId-…`) begins like a group's name.
    pub fn new(tasks: Vec<ReadTask>) -> Option<Self> {
        let first = tasks.first()?.claim_key();
        let name = Self::name(&first.shard, tasks.len());
        let claim_key = ClaimKey { shard: name, ..first };
        Some(Self { claim_key, tasks })
    }

    /// The name of a plan for `count` shards that begins with `first`.
    pub(crate) fn name(first: &ShardId, count: usize) -> ShardId {
        match count {
            1 => first.clone(),
            count => ShardId::from(format!("group-{first}-{count}").as_str()),
        }
    }

    /// Plans for groups of `size` shards, in the order given; the last one may be smaller.
    pub fn group(mut tasks: Vec<ReadTask>, size: usize) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            let rest = tasks.split_off(size.max(1).min(tasks.len()));
            Self::new(std::mem::replace(&mut tasks, rest))
        })
    }

    /// The shards' parts, at least one.
    pub fn tasks(&self) -> &[ReadTask] {
        &self.tasks
    }

    /// Key of the plan's claim.
    pub fn claim_key(&self) -> &ClaimKey {
        &self.claim_key
    }

    /// A claim with these ends of the plan's shards.
    pub(crate) fn claim(&self, mut ends: BTreeMap<ShardId, Position>) -> Claim {
        match ends.remove(&self.claim_key.shard) {
            Some(end) => Claim::new(end),
            None => Claim::of_group(ends),
        }
    }

    /// Parses the output of [`Self::to_json`].
    pub fn from_json(json: &str) -> Result<Self> {
        let malformed = |error: serde_json::Error| {
            Error::new(
                ErrorKind::InvalidArgument,
                format!("a task is malformed: {error}"),
            )
        };
        let peek: GroupJson<Option<serde::de::IgnoredAny>> = serde_json::from_str(json).map_err(malformed)?;
        if peek.tasks.is_none() {
            return Ok(ReadTask::from_json(json)?.into());
        }
        let group: GroupJson<Vec<ReadTask>> = serde_json::from_str(json).map_err(malformed)?;
        let first = group.tasks.first().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidArgument,
                "a task is malformed: it has no shards",
            )
        })?;
        let claim_key = ClaimKey {
            shard: group.shard,
            ..first.claim_key()
        };
        Ok(Self {
            claim_key,
            tasks: group.tasks,
        })
    }

    /// JSON form of the plan, for its executor.
    pub fn to_json(&self) -> Result<String> {
        match self.tasks.as_slice() {
            [task] if task.shard == self.claim_key.shard => task.to_json(),
            tasks => {
                let shard = self.claim_key.shard.clone();
                serde_json::to_string(&GroupJson { shard, tasks }).map_err(|error| {
                    Error::new(ErrorKind::Internal, format!("a task can't be written: {error}"))
                })
            }
        }
    }
}

impl From<ReadTask> for TaskPlan {
    fn from(task: ReadTask) -> Self {
        Self {
            claim_key: task.claim_key(),
            tasks: vec![task],
        }
    }
}

/// One shard's part of one batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadTask {
    /// The query source.
    pub source: String,
    /// The source's batch.
    pub batch: u64,
    /// The shard.
    pub shard: ShardId,
    /// Where the batch starts.
    pub start: Position,
    /// When the stream was created, milliseconds since the epoch: distinguishes it from another one under the same
    /// name. None if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<i64>,
    /// Hash key range of the shard; none if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash_range: Option<HashRange>,
    /// When the shard's tip was seen at `start`, milliseconds since the epoch; none if it wasn't. See
    /// [`Self::is_tip_seen`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tip_seen_at: Option<i64>,
    /// In a batch read: latest arrival time (milliseconds since the epoch) of the batch's records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// ARN of the enhanced fan-out consumer to read with; none for GetRecords.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// The driver has seen a record after the start, so a subscription without one isn't at the tip.
    #[serde(default, rename = "news", skip_serializing_if = "std::ops::Not::not")]
    pub records_seen: bool,
    /// The process that last read the shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_executor: Option<String>,
    /// The driver's recent GetRecords calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<PeerCallRate>,
    /// Identifies the query start whose mark the driver stored beside the claims; every reader of the task must find
    /// that mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
}

/// A process's GetRecords calls for a shard within the last second, sent to another process because all share the
/// service's limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerCallRate {
    /// Identifies the process.
    pub by: String,
    /// Number of the process's calls.
    pub times: u32,
}

impl PeerCallRate {
    /// This process's recent calls through `api`; none if there were none.
    pub(crate) fn lately(process: &str, api: &dyn KinesisApi, shard: &ShardId) -> Option<Self> {
        let (by, times) = (process.to_owned(), api.recent_calls(shard));
        (times > 0).then_some(Self { by, times })
    }

    /// Counts the calls, unless they are this process's own.
    pub(crate) fn count(&self, process: &str, api: &dyn KinesisApi, shard: &ShardId) {
        if self.by != process {
            api.count_peer_calls(shard, self.times);
        }
    }
}

impl ReadTask {
    /// A task with only the required fields: polled, without an end.
    pub fn new(source: &str, batch: u64, shard: ShardId, start: Position) -> Self {
        Self {
            source: source.to_owned(),
            batch,
            shard,
            start,
            created: None,
            hash_range: None,
            tip_seen_at: None,
            until: None,
            consumer: None,
            records_seen: false,
            previous_executor: None,
            asked: None,
            mark: None,
        }
    }

    /// True if the shard's tip was seen at the start so recently that nothing after it can have expired; otherwise
    /// the reader has to check. Evaluated when the reading begins, since a task may wait for a day before it runs.
    pub(crate) fn is_tip_seen(&self) -> bool {
        self.tip_seen_at.is_some_and(is_young)
    }

    /// Key of the task's claim.
    pub fn claim_key(&self) -> ClaimKey {
        ClaimKey {
            source: self.source.clone(),
            batch: self.batch,
            shard: self.shard.clone(),
        }
    }

    /// Parses the output of [`Self::to_json`].
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| {
            Error::new(
                ErrorKind::InvalidArgument,
                format!("a task is malformed: {error}"),
            )
        })
    }

    /// JSON form of the task, for its executor.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("a task can't be written: {error}")))
    }
}

/// What follows a batch's end in its shard, as far as known when a task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Backlog {
    /// Nothing follows: the shard's tip or its end was there.
    Empty,
    /// Records follow.
    Remaining,
    /// Unknown: the last answer held as many records as were requested, or was requested before the task began.
    Unknown,
}

impl Backlog {
    /// Combines the knowledge of two attempts with the same end. Records that one of them saw exist, even if the
    /// other reached the tip before they arrived.
    pub(crate) fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::Remaining, _) | (_, Self::Remaining) => Self::Remaining,
            (Self::Empty, _) | (_, Self::Empty) => Self::Empty,
            (Self::Unknown, Self::Unknown) => Self::Unknown,
        }
    }
}

/// A successful task's report on one shard, for the planner. All attempts at a batch report the same end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardReport {
    /// The query source.
    pub source: String,
    /// The source's batch.
    pub batch: u64,
    /// The shard.
    pub shard: ShardId,
    /// The claimed end.
    pub end: Position,
    /// What follows the end, as far as known.
    pub backlog: Backlog,
    /// True if records expired before they were read, with `kinesis.failOnDataLoss` false.
    pub lost: bool,
    /// Rows in the batch.
    pub records: u64,
    /// Bytes of data in the batch.
    pub bytes: u64,
    /// Aggregates left out because of `kinesis.aggregation.outsideShard` or `kinesis.aggregation.broken`.
    #[serde(default)]
    pub skipped_aggregates: u64,
    /// Requests sent to Kinesis.
    pub requests: u64,
    /// Requests repeated.
    pub retries: u64,
    /// Requests that the service throttled.
    pub throttles: u64,
    /// Subscriptions reopened.
    #[serde(default)]
    pub resubscriptions: u64,
    /// 1 if the task took over a subscription or prefetched pages of this process, otherwise 0.
    #[serde(default)]
    pub prefetch_hits: u64,
    /// Bytes that waited for the next batch when the task ended.
    #[serde(default)]
    pub buffered_bytes: u64,
    /// When the last record read arrived, milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_arrival: Option<i64>,
    /// The process that ran the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// How far the batch's last row was behind the tip when the task ended, in milliseconds.
    pub millis_behind_latest: Option<i64>,
    /// How far the last answer was behind the tip, delivered or not, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched_behind: Option<i64>,
    /// The process's recent GetRecords calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<PeerCallRate>,
}

impl ShardReport {
    /// Parses the output of [`Self::to_json`].
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(malformed_report)
    }

    /// Parses a task's message: one report, or a list with one per shard.
    pub(crate) fn all_from_json(json: &str) -> Result<Vec<Self>> {
        if json.starts_with('[') {
            return serde_json::from_str(json).map_err(malformed_report);
        }
        Ok(vec![Self::from_json(json)?])
    }

    /// A task's message: one report, or a list with one per shard.
    pub(crate) fn all_to_json(reports: &[Self]) -> Result<String> {
        match reports {
            [report] => report.to_json(),
            reports => serde_json::to_string(reports).map_err(|error| {
                Error::new(ErrorKind::Internal, format!("reports can't be written: {error}"))
            }),
        }
    }

    /// JSON form of the report, for the driver.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("a report can't be written: {error}")))
    }
}

fn malformed_report(error: serde_json::Error) -> Error {
    Error::new(
        ErrorKind::InvalidArgument,
        format!("a report is malformed: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(shard: &str) -> ReadTask {
        ReadTask::new("q", 3, shard.into(), Position::TrimHorizon)
    }

    #[test]
    fn one_shard_travels_and_is_claimed_under_its_own_name() {
        let plan = TaskPlan::new(vec![task("s-1")]).expect("a plan");
        assert_eq!(plan, task("s-1").into());
        assert_eq!(
            plan.to_json().expect("writes"),
            task("s-1").to_json().expect("writes")
        );
        assert_eq!(
            TaskPlan::from_json(&plan.to_json().expect("writes")).expect("reads"),
            plan
        );
        assert_eq!(*plan.claim_key(), task("s-1").claim_key());
        let ends = BTreeMap::from([("s-1".into(), Position::ShardEnd)]);
        assert_eq!(plan.claim(ends), Claim::new(Position::ShardEnd));
    }

    #[test]
    fn a_tip_that_was_seen_is_believed_for_half_a_day() {
        let seen = |hours_ago: i64| {
            let millis = chrono::Utc::now().timestamp_millis() - hours_ago * 3_600_000;
            let mut task = task("s-1");
            task.tip_seen_at = Some(millis);
            let travelled = ReadTask::from_json(&task.to_json().expect("writes")).expect("reads");
            travelled.is_tip_seen()
        };
        assert!(seen(0) && seen(11));
        assert!(!seen(12) && !seen(25));
        assert!(!task("s-1").is_tip_seen());
    }

    #[test]
    fn attempts_know_together_of_records_first_and_of_the_tip_then() {
        use Backlog::{Empty, Remaining, Unknown};
        for (left, right, together) in [
            (Empty, Remaining, Remaining),
            (Unknown, Remaining, Remaining),
            (Empty, Unknown, Empty),
            (Unknown, Unknown, Unknown),
        ] {
            assert_eq!(left.merge(right), together);
            assert_eq!(right.merge(left), together);
        }
    }

    #[test]
    fn a_group_has_a_name_of_its_own() {
        let plan = TaskPlan::new(vec![task("s-1"), task("s-2"), task("s-3")]).expect("a plan");
        let read = TaskPlan::from_json(&plan.to_json().expect("writes")).expect("reads");
        assert_eq!(read, plan);
        assert_eq!(read.claim_key().to_string(), "q/3/group-s-1-3");
        let ends = BTreeMap::from([("s-2".into(), Position::ShardEnd)]);
        assert_eq!(plan.claim(ends.clone()), Claim::of_group(ends));
        assert_eq!(TaskPlan::new(Vec::new()), None);
    }
}
