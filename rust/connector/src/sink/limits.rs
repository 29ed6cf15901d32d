//! A model of the limits of a stream's shards, for the sink's tests.

use std::time::Duration;

use kinesis_aggregation::hash_key;
use tokio::time::Instant;

use super::batch::counted_bytes;
use super::fake::SHARD;
use crate::service::PutEntry;
use crate::stream::ShardId;

/// Records that a shard takes in a second (AWS limit).
const RECORDS: f64 = 1_000.0;
/// Bytes that a shard takes in a second (AWS limit).
const BYTES: f64 = 1_048_576.0;

/// How a limit per second is enforced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Model {
    /// A full allowance in every second of the clock.
    Windows,
    /// A token bucket that fills within a second.
    Bucket,
}

/// How records are distributed to shards.
#[derive(Clone, Copy, Debug)]
pub(super) enum Distribution {
    /// By hash key.
    ByKey,
    /// To each shard in turn.
    Auto,
}

/// A change of a shard's limit, and possibly of its id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) after: Duration,
    pub(super) per_second: u32,
    pub(super) shard: &'static str,
}

#[derive(Clone, Copy, Debug)]
struct Allowance {
    per_second: f64,
    left: f64,
    filled: Duration,
    /// Everything taken.
    taken: f64,
}

impl Allowance {
    fn of(per_second: f64, now: Duration) -> Self {
        Self {
            per_second,
            left: per_second,
            filled: now,
            taken: 0.0,
        }
    }

    fn fill(&mut self, model: Model, now: Duration) {
        match model {
            Model::Windows if now.as_secs() == self.filled.as_secs() => {}
            Model::Windows => self.left = self.per_second,
            Model::Bucket => {
                let gained = (now - self.filled).as_secs_f64() * self.per_second;
                self.left = (self.left + gained).min(self.per_second);
            }
        }
        self.filled = now;
    }

    fn take(&mut self, amount: f64) {
        self.left -= amount;
        self.taken += amount;
    }
}

#[derive(Debug)]
struct Shard {
    id: ShardId,
    first: u128,
    records: Allowance,
    bytes: Allowance,
}

/// Shards with the same limits, which divide all hash keys evenly.
#[derive(Debug)]
pub(super) struct Limits {
    model: Model,
    distribution: Distribution,
    start: Instant,
    shards: Vec<Shard>,
    made: usize,
    turn: usize,
    /// Change of a single shard.
    change: Option<Change>,
    /// Age at which each shard is split in two.
    split: Option<Duration>,
}

impl Limits {
    /// Shards with the service's limits.
    pub(super) fn of(model: Model, shards: usize) -> Self {
        let mut limits = Self {
            model,
            distribution: Distribution::ByKey,
            start: Instant::now(),
            shards: Vec::new(),
            made: 0,
            turn: 0,
            change: None,
            split: None,
        };
        limits.make(shards, Duration::ZERO);
        limits
    }

    /// One shard that takes `per_second` records a second, of any size.
    pub(super) fn of_one(model: Model, per_second: u32) -> Self {
        let mut limits = Self::of(model, 1);
        limits.shards[0].records = Allowance::of(per_second.into(), Duration::ZERO);
        limits.shards[0].bytes = Allowance::of(1e18, Duration::ZERO);
        limits
    }

    pub(super) fn changing(self, change: Change) -> Self {
        Self {
            change: Some(change),
            ..self
        }
    }

    pub(super) fn splitting(self, after: Duration) -> Self {
        Self {
            split: Some(after),
            ..self
        }
    }

    pub(super) fn distributing(self, distribution: Distribution) -> Self {
        Self { distribution, ..self }
    }

    /// Age of the stream.
    pub(super) fn age(&self) -> Duration {
        self.start.elapsed()
    }

    /// Offers an entry to its shard. Returns the shard as `Ok` if it accepts the entry, else as `Err`.
    pub(super) fn take(&mut self, entry: &PutEntry) -> Result<ShardId, ShardId> {
        let now = self.age();
        if self.split.is_some_and(|split| split <= now) {
            self.split = None;
            self.make(self.shards.len() * 2, now);
        }
        let place = match self.distribution {
            Distribution::ByKey => {
                let key = entry.partition_key.as_deref().unwrap();
                let hash = hash_key(key, entry.explicit_hash_key.as_deref()).unwrap();
                self.shards.partition_point(|shard| shard.first <= hash) - 1
            }
            Distribution::Auto => {
                self.turn += 1;
                self.turn % self.shards.len()
            }
        };
        let shard = &mut self.shards[place];
        if let Some(change) = self.change.filter(|change| change.after <= now) {
            shard.records.per_second = change.per_second.into();
            shard.id = change.shard.into();
        }
        shard.records.fill(self.model, now);
        shard.bytes.fill(self.model, now);
        let size = counted_bytes(entry.partition_key.as_deref(), &entry.data) as f64;
        if shard.records.left < 1.0 || shard.bytes.left < size {
            return Err(shard.id.clone());
        }
        shard.records.take(1.0);
        shard.bytes.take(size);
        Ok(shard.id.clone())
    }

    /// The least time for what the busiest shard took, in seconds. A second's worth was accepted at once.
    pub(super) fn least_seconds(&self) -> f64 {
        let seconds = |allowance: &Allowance| allowance.taken / allowance.per_second;
        let busiest = self
            .shards
            .iter()
            .map(|shard| seconds(&shard.records).max(seconds(&shard.bytes)));
        busiest.fold(0.0, f64::max) - 1.0
    }

    /// The shards, as the service lists them.
    pub(super) fn listed(&self) -> Vec<crate::stream::Shard> {
        let ends = self.shards.iter().skip(1).map(|shard| shard.first - 1);
        let ends = ends.chain([u128::MAX]);
        let listed = |(shard, hash_end): (&Shard, u128)| crate::stream::Shard {
            id: shard.id.clone(),
            parents: Vec::new(),
            hash_start: shard.first,
            hash_end,
            closed: false,
        };
        self.shards.iter().zip(ends).map(listed).collect()
    }

    fn make(&mut self, shards: usize, now: Duration) {
        let width = u128::MAX / shards as u128;
        self.shards = (0..shards)
            .map(|index| Shard {
                id: match self.made + index {
                    0 => SHARD.into(),
                    number => format!("shardId-{number:012}").as_str().into(),
                },
                first: width * index as u128,
                records: Allowance::of(RECORDS, now),
                bytes: Allowance::of(BYTES, now),
            })
            .collect();
        self.made += shards;
    }
}
