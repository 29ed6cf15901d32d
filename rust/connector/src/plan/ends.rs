//! Where a batch ended: the ends that its readers reported, and the claims of shards without a report.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::claims::protocol::{Reconcile, reconcile, stands_at};
use crate::claims::{Claim, ClaimStore, not_shared};
use crate::error::Result;
use crate::read::{Backlog, ShardReport, TaskPlan};
use crate::stream::{Offset, Position, ShardId};

/// Looks for the claims of a batch that ran before the query's start, until one that isn't found is missing.
const LOOKS_AFTER_RESTART: u32 = 3;
/// Time between these looks.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The reports of the newest batch.
#[derive(Debug, Default)]
pub(super) struct Reports {
    source: String,
    batch: u64,
    shards: BTreeMap<ShardId, ShardReport>,
    /// Number of the batch planned last; none if there was nothing to plan.
    planned: Option<u64>,
    /// Number of shards of that batch without a task, because they are at their tips.
    idle: usize,
    /// The last read of each shard, in a batch of `read_source`.
    read: BTreeMap<ShardId, LastRead>,
    read_source: String,
    /// Number of shards that were lost unread since the query started.
    pub lost_shards: u64,
    /// Number of positions whose readers found that unread records had expired, since the query started.
    lost_positions: u64,
}

/// The batch in which a shard was read last.
#[derive(Debug)]
struct LastRead {
    batch: u64,
    /// The process that read the shard in `batch`, if it reported.
    process: Option<String>,
    /// The process that read the shard before `batch`.
    previous: Option<String>,
}

impl Reports {
    /// Adds a report. Several attempts and actions may read the same shard of a batch: their ends are the same, their
    /// requests add up. Different ends are an error, since they show that an attempt missed the claim. Returns the
    /// number of positions lost since the query started, if this report adds one.
    pub(super) fn add(&mut self, report: ShardReport) -> Result<Option<u64>> {
        if report.batch > self.batch || report.source != self.source {
            self.source.clone_from(&report.source);
            self.batch = report.batch;
            self.shards.clear();
        }
        if let Some(read) = self.read.get_mut(&report.shard)
            && (read.batch, &self.read_source) == (report.batch, &report.source)
            && report.process.is_some()
        {
            read.process.clone_from(&report.process);
        }
        if report.batch < self.batch {
            return Ok(None);
        }
        let lost_before = self.lost_positions;
        match self.shards.get_mut(&report.shard) {
            Some(known) => {
                if reconcile(&known.end, &report.end) != Reconcile::Accept {
                    return Err(not_shared(&format!(
                        "two attempts at one shard's part of a batch ended at {} and at {}",
                        known.end, report.end
                    ))
                    .with("shard", report.shard.to_string())
                    .with("batch", report.batch.to_string()));
                }
                self.lost_positions += u64::from(report.lost && !known.lost);
                known.lost |= report.lost;
                known.backlog = known.backlog.merge(report.backlog);
                known.records = known.records.max(report.records);
                known.bytes = known.bytes.max(report.bytes);
                known.skipped_aggregates = known.skipped_aggregates.max(report.skipped_aggregates);
                known.requests += report.requests;
                known.retries += report.retries;
                known.throttles += report.throttles;
                known.resubscriptions += report.resubscriptions;
                known.prefetch_hits = known.prefetch_hits.max(report.prefetch_hits);
                known.buffered_bytes = known.buffered_bytes.max(report.buffered_bytes);
                known.last_arrival = known.last_arrival.max(report.last_arrival);
                known.process = known.process.take().or(report.process);
                known.millis_behind_latest = report.millis_behind_latest.or(known.millis_behind_latest);
                known.fetched_behind = report.fetched_behind.or(known.fetched_behind);
            }
            None => {
                self.lost_positions += u64::from(report.lost);
                self.shards.insert(report.shard.clone(), report);
            }
        }
        Ok((self.lost_positions > lost_before).then_some(self.lost_positions))
    }

    /// Records that this batch's tasks are planned, or none if there is nothing to read. [`Self::metrics`] covers
    /// that batch. `idle` of its shards have no task, because they are at their tips.
    pub(super) fn plan(&mut self, batch: Option<u64>, idle: usize) {
        (self.planned, self.idle) = (batch, idle);
    }

    /// The reports of the batch planned last.
    fn newest(&self) -> impl Iterator<Item = &ShardReport> {
        let newest = self.planned == Some(self.batch);
        self.shards.values().filter(move |_| newest)
    }

    /// The reports of this offset's batch.
    pub(super) fn of(&self, offset: &Offset) -> BTreeMap<ShardId, ShardReport> {
        if self.source == offset.source && self.batch == offset.batch {
            self.shards.clone()
        } else {
            BTreeMap::new()
        }
    }

    /// For each of the batch's shards, the process that read it last and keeps its subscription. The shards count as
    /// read in this batch from then on; another call for the same batch returns the same result.
    pub(super) fn previous_executors(&mut self, offset: &Offset) -> BTreeMap<ShardId, String> {
        if self.read_source != offset.source {
            self.read_source.clone_from(&offset.source);
            self.read.clear();
        }
        self.read.retain(|shard, _| offset.shards.contains_key(shard));
        let mut previous = BTreeMap::new();
        for (shard, _) in offset.read() {
            let read = self.read.entry(shard.clone()).or_insert(LastRead {
                batch: offset.batch,
                process: None,
                previous: None,
            });
            if read.batch < offset.batch {
                read.batch = offset.batch;
                read.previous = read.process.take();
            }
            if read.batch == offset.batch {
                previous.extend(read.previous.clone().map(|process| (shard.clone(), process)));
            }
        }
        previous
    }

    /// Number of subscriptions that were reopened in the newest batch.
    pub(super) fn resubscriptions(&self) -> u64 {
        self.newest().map(|report| report.resubscriptions).sum()
    }

    /// Sums, extremes and averages of the newest batch's reports; without its values if no batch followed.
    pub(super) fn metrics(&self) -> BTreeMap<String, String> {
        let sum = |field: fn(&ShardReport) -> u64| self.newest().map(field).sum::<u64>().to_string();
        let mut metrics = BTreeMap::from([
            ("shardsRead".to_owned(), self.newest().count().to_string()),
            ("records".to_owned(), sum(|report| report.records)),
            ("bytes".to_owned(), sum(|report| report.bytes)),
            (
                "skippedAggregates".to_owned(),
                sum(|report| report.skipped_aggregates),
            ),
            ("requests".to_owned(), sum(|report| report.requests)),
            ("retries".to_owned(), sum(|report| report.retries)),
            ("throttles".to_owned(), sum(|report| report.throttles)),
            ("prefetchHits".to_owned(), sum(|report| report.prefetch_hits)),
            ("bufferedBytes".to_owned(), sum(|report| report.buffered_bytes)),
            ("lostShards".to_owned(), self.lost_shards.to_string()),
            ("lostPositions".to_owned(), self.lost_positions.to_string()),
        ]);
        let throttled = || self.newest().filter(|report| report.throttles > 0);
        metrics.insert("throttledShards".to_owned(), throttled().count().to_string());
        if let Some(most) = throttled().max_by_key(|report| report.throttles) {
            metrics.insert("mostThrottledShard".to_owned(), most.shard.to_string());
        }
        let at_tip = self.newest().next().map_or(0, |_| self.idle);
        let behind: Vec<i64> = self
            .newest()
            .filter_map(|report| report.millis_behind_latest)
            .chain(std::iter::repeat_n(0, at_tip))
            .collect();
        let average = behind.iter().sum::<i64>().checked_div(behind.len() as i64);
        let fetched = self.newest().filter_map(|report| report.fetched_behind).max();
        for (name, value) in [
            ("minMillisBehindLatest", behind.iter().min().copied()),
            ("maxMillisBehindLatest", behind.iter().max().copied()),
            ("avgMillisBehindLatest", average),
            ("maxFetchedMillisBehindLatest", fetched),
        ] {
            metrics.extend(value.map(|value| (name.to_owned(), value.to_string())));
        }
        metrics
    }
}

/// The outcome of a batch.
#[derive(Debug)]
pub(super) struct Ends {
    /// The end of each shard of the batch. A shard that was neither reported nor claimed was not read and keeps its
    /// start.
    pub positions: BTreeMap<ShardId, Position>,
    /// Number of claims that had to be read from the store.
    pub claims: usize,
    /// Number of reported rows.
    pub delivered: u64,
    /// True if records are known to remain, or if a shard has no report.
    pub has_backlog: bool,
}

/// Finds the ends of this offset's batch, which ran before the query's start if `restarted`.
pub(super) async fn resolve(
    start: &Offset,
    reports: &BTreeMap<ShardId, ShardReport>,
    store: &dyn ClaimStore,
    restarted: bool,
) -> Result<Ends> {
    let read: Vec<_> = start.read().collect();
    let tasks = read.chunks(start.shards_per_task.max(1)).filter_map(|shards| {
        let (first, _) = shards.first()?;
        Some((TaskPlan::name(first, shards.len()), shards))
    });
    let is_reported = |(shard, _): &(&ShardId, _)| reports.contains_key(*shard);
    let unreported = tasks
        .clone()
        .filter(|(_, shards)| !shards.iter().all(is_reported));
    let unreported: Vec<ShardId> = unreported.map(|(name, _)| name).collect();
    let claims = claims_of(&unreported, start, store, restarted).await?;
    let mut positions = start.shards.clone();
    // Shards without a task keep their positions. Only the claims of the batch's own tasks count: if a checkpoint was
    // set back, the store may have claims of another plan with the same number.
    for (name, shards) in tasks {
        let claim = claims.get(&name);
        for (shard, position) in shards {
            let reported = reports.get(*shard).map(|report| &report.end);
            let claimed = claim.and_then(|claim| claim.end_of(shard));
            let end = stands_at(position, reported, claimed).clone();
            positions.insert((*shard).clone(), end);
        }
    }
    Ok(Ends {
        positions,
        claims: claims.len(),
        delivered: reports.values().map(|report| report.records).sum(),
        has_backlog: !unreported.is_empty()
            || reports
                .values()
                .any(|report| report.backlog == Backlog::Remaining),
    })
}

/// The claims of these tasks. A task without a claim was not run, and its records are read again, so that one look is
/// not enough; after a restart, the batch was run in most cases, and the looks have time between them.
async fn claims_of(
    tasks: &[ShardId],
    start: &Offset,
    store: &dyn ClaimStore,
    restarted: bool,
) -> Result<BTreeMap<ShardId, Claim>> {
    let mut claims = BTreeMap::new();
    let looks = if restarted { LOOKS_AFTER_RESTART } else { 2 };
    for look in 0..looks {
        if tasks.iter().all(|task| claims.contains_key(task)) {
            break;
        }
        if look > 0 && restarted {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        claims.append(&mut store.load(&start.source, start.batch).await?);
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::claims::{ClaimKey, PutResult};
    use crate::error::ErrorKind;

    fn report(end: &str) -> ShardReport {
        let json = serde_json::json!({
            "source": "q", "batch": 3, "shard": "s", "end": end, "backlog": "empty", "lost": false,
            "records": 1, "bytes": 1, "requests": 1, "retries": 0, "throttles": 0, "millisBehindLatest": 0,
        });
        ShardReport::from_json(&json.to_string()).expect("a report")
    }

    #[test]
    fn attempts_that_ended_differently_did_not_share_their_claims() {
        let mut reports = Reports::default();
        for _ in 0..2 {
            reports.add(report("AFTER 5")).expect("the same end");
        }
        for other in ["AFTER 6", "SHARD_END"] {
            let error = reports.add(report(other)).expect_err("refused");
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Store, false));
            assert!(
                error.message().contains("isn't shared by the executors")
                    && error.message().contains("AFTER 5"),
                "{error}"
            );
        }
    }

    /// Has a claim of each task, but finds that of the last one late.
    #[derive(Debug)]
    struct Late {
        claims: BTreeMap<ShardId, Claim>,
        /// Looks that miss the last claim.
        missed: u32,
        looks: AtomicU32,
    }

    #[async_trait]
    impl ClaimStore for Late {
        async fn put_if_absent(&self, _: &ClaimKey, _: &Claim) -> Result<PutResult> {
            Ok(PutResult::Stored)
        }
        async fn get(&self, _: &ClaimKey) -> Result<Option<Claim>> {
            Ok(None)
        }
        async fn load(&self, _: &str, _: u64) -> Result<BTreeMap<ShardId, Claim>> {
            let mut claims = self.claims.clone();
            if self.looks.fetch_add(1, Ordering::Relaxed) < self.missed {
                claims.pop_last();
            }
            Ok(claims)
        }
        async fn has_from(&self, _: &str, _: u64) -> Result<bool> {
            Ok(false)
        }
        async fn purge(&self, _: &str, _: u64) -> Result<()> {
            Ok(())
        }
    }

    /// The number of looks, and where the second shard's part of the batch ended.
    async fn looks(missed: u32, restarted: bool) -> (u32, String) {
        let json = serde_json::json!({
            "version": 1, "source": "q", "stream": "events", "created": 1, "batch": 3,
            "shards": {"a": "AFTER 1", "b": "AFTER 1"},
        });
        let start = Offset::from_json(&json.to_string()).expect("an offset");
        let claim = Claim::from_json(br#"{"version":1,"end":"AFTER 5"}"#, "a test").expect("a claim");
        let store = Late {
            claims: ["a", "b"].map(|shard| (shard.into(), claim.clone())).into(),
            missed,
            looks: AtomicU32::new(0),
        };
        let ends = resolve(&start, &BTreeMap::new(), &store, restarted).await;
        let end = ends.expect("the ends").positions[&ShardId::from("b")].to_string();
        (store.looks.into_inner(), end)
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_that_is_not_found_at_once_is_looked_for_again() {
        let (claimed, start) = ("AFTER 5".to_owned(), "AFTER 1".to_owned());
        for restarted in [true, false] {
            assert_eq!(looks(0, restarted).await, (1, claimed.clone()));
            assert_eq!(looks(1, restarted).await, (2, claimed.clone()));
        }
        assert_eq!(looks(2, true).await, (3, claimed));
        assert_eq!(looks(9, true).await, (3, start.clone()));
        assert_eq!(looks(9, false).await, (2, start));
    }

    #[test]
    fn every_plan_of_a_batch_names_the_same_previous_executors() {
        let shard = ShardId::from("s");
        let offset = |batch| {
            let json = serde_json::json!({
                "version": 1, "source": "q", "stream": "events", "created": 1, "batch": batch,
                "shards": {"s": "TRIM_HORIZON"},
            });
            Offset::from_json(&json.to_string()).expect("an offset")
        };
        let reported = |batch, process: &str| ShardReport {
            batch,
            process: Some(process.to_owned()),
            ..report("AFTER 5")
        };
        let mut reports = Reports::default();
        assert_eq!(reports.previous_executors(&offset(3)), BTreeMap::new());
        reports.add(reported(3, "one")).expect("a report");
        let of_one = BTreeMap::from([(shard.clone(), "one".to_owned())]);
        assert_eq!(reports.previous_executors(&offset(4)), of_one);
        assert_eq!(reports.previous_executors(&offset(4)), of_one);
        reports.add(reported(4, "other")).expect("a report");
        assert_eq!(reports.previous_executors(&offset(4)), of_one);
        let of_other = BTreeMap::from([(shard, "other".to_owned())]);
        assert_eq!(reports.previous_executors(&offset(5)), of_other);
        assert_eq!(
            reports.previous_executors(&offset(6)),
            BTreeMap::new(),
            "nobody reported"
        );
    }
}
