//! Metrics of single writers and of several writers together.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// A writer's metrics so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WriterMetrics {
    /// Rows accepted; those of an aggregate count one by one.
    pub records: u64,
    /// Kinesis records accepted, with one or more rows each.
    pub kinesis_records: u64,
    /// Bytes of the accepted records' data.
    pub bytes: u64,
    /// PutRecords requests sent.
    pub requests: u64,
    /// Entries put again, and requests sent again as a whole.
    pub retries: u64,
    /// Entries and requests that the service throttled.
    pub throttles: u64,
    /// Time that callers waited for the stream, in milliseconds.
    pub wait_millis: u64,
    /// Peak of bytes that were taken and not yet accepted.
    pub max_buffered_bytes: u64,
    /// Number of puts by duration, retries included; the keys are buckets of [`Latencies`].
    pub put_latencies: BTreeMap<u32, u64>,
}

/// Metrics of a batch's writers together, as the batch's progress shows them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    records: u64,
    kinesis_records: u64,
    bytes: u64,
    requests: u64,
    retries: u64,
    throttles: u64,
    wait_millis: u64,
    max_buffered_bytes: u64,
    put_millis_p50: Option<u64>,
    put_millis_p99: Option<u64>,
}

impl WriterMetrics {
    /// Adds another writer's metrics.
    pub(super) fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.kinesis_records += other.kinesis_records;
        self.bytes += other.bytes;
        self.requests += other.requests;
        self.retries += other.retries;
        self.throttles += other.throttles;
        self.wait_millis += other.wait_millis;
        self.max_buffered_bytes = self.max_buffered_bytes.max(other.max_buffered_bytes);
        for (bucket, count) in &other.put_latencies {
            *self.put_latencies.entry(*bucket).or_default() += count;
        }
    }

    /// The metrics as a JSON object of numbers, for people. Unknown values are null.
    pub fn shown(&self) -> Result<String> {
        let shown = Shown {
            records: self.records,
            kinesis_records: self.kinesis_records,
            bytes: self.bytes,
            requests: self.requests,
            retries: self.retries,
            throttles: self.throttles,
            wait_millis: self.wait_millis,
            max_buffered_bytes: self.max_buffered_bytes,
            put_millis_p50: percentile(&self.put_latencies, 50),
            put_millis_p99: percentile(&self.put_latencies, 99),
        };
        serde_json::to_string(&shown).map_err(|error| internal(&error))
    }

    /// The metrics as JSON, for [`metrics_together`].
    pub fn report(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| internal(&error))
    }
}

/// Metrics of several writers together, for people. Each element of `reports` is a [`WriterMetrics::report`]. Counts
/// add up; of peaks, the greatest counts.
pub fn metrics_together(reports: &[String]) -> Result<String> {
    let mut all = WriterMetrics::default();
    for one in reports {
        all.add(&serde_json::from_str(one).map_err(|error| internal(&error))?);
    }
    all.shown()
}

fn internal(error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("a writer's metrics: {error}"))
}

/// Histogram of durations. The buckets' bounds grow by a fifth: bucket n holds durations below 2^((n+1)/4) ms.
#[derive(Debug)]
pub(super) struct Latencies([AtomicU64; BUCKETS as usize]);

/// Number of buckets. The last one has no upper bound and begins at 2^(83/4) ms, about half an hour.
const BUCKETS: u32 = 84;

impl Default for Latencies {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Latencies {
    pub(super) fn add(&self, took: Duration) {
        let millis = took.as_secs_f64() * 1_000.0;
        let bucket = (millis.max(1.0).log2() * 4.0) as usize;
        self.0[bucket.min(BUCKETS as usize - 1)].fetch_add(1, Ordering::Relaxed);
    }

    /// The counts of all buckets that aren't empty, by bucket.
    pub(super) fn counts(&self) -> BTreeMap<u32, u64> {
        let counts = (0..).zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

/// Upper bound, in milliseconds, of the bucket with this percentile; `None` without durations.
fn percentile(counts: &BTreeMap<u32, u64>, percent: u64) -> Option<u64> {
    let all: u64 = counts.values().sum();
    let mut left = (all * percent).div_ceil(100);
    counts.iter().find_map(|(bucket, count)| {
        if left > *count {
            left -= count;
            return None;
        }
        Some(2f64.powf(f64::from(bucket + 1) / 4.0).ceil() as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_fifth() {
        let latencies = Latencies::default();
        for millis in 1..=1_000 {
            latencies.add(Duration::from_millis(millis));
        }
        let counts = latencies.counts();
        let (middle, high) = (percentile(&counts, 50).unwrap(), percentile(&counts, 99).unwrap());
        assert!((500..=600).contains(&middle), "{middle}");
        assert!((990..=1_190).contains(&high), "{high}");
        assert_eq!(percentile(&BTreeMap::new(), 99), None);
        for odd in [Duration::ZERO, Duration::from_secs(1 << 30)] {
            latencies.add(odd);
        }
        assert_eq!(latencies.counts().values().sum::<u64>(), 1_002);
    }

    #[test]
    fn reports_of_writers_add_up() {
        let writer = |records, max_buffered_bytes, latency| WriterMetrics {
            records,
            max_buffered_bytes,
            put_latencies: BTreeMap::from([(latency, 1)]),
            ..WriterMetrics::default()
        };
        let reports = [
            writer(3, 10, 4).report().unwrap(),
            writer(4, 7, 40).report().unwrap(),
        ];
        let shown: serde_json::Value = serde_json::from_str(&metrics_together(&reports).unwrap()).unwrap();
        assert_eq!(shown["records"], 7);
        assert_eq!(shown["maxBufferedBytes"], 10);
        assert_eq!(shown["putMillisP50"], 3);
        assert_eq!(shown["putMillisP99"], 1_218);
        let nothing: serde_json::Value = serde_json::from_str(&metrics_together(&[]).unwrap()).unwrap();
        assert_eq!(nothing["requests"], 0);
        assert!(nothing["putMillisP99"].is_null());
    }
}
