//! The measured records: the same in every run.

use bytes::Bytes;
use criterion::Throughput;

/// A number of records of one size.
#[derive(Clone, Copy)]
pub struct Sample {
    /// In a benchmark's name.
    pub name: &'static str,
    /// Number of records.
    pub count: usize,
    /// Bytes of each record's payload.
    pub bytes: usize,
}

impl Sample {
    /// Payloads of random bytes, so that no branch of a codec is predictable.
    pub fn payloads(&self) -> Vec<Bytes> {
        let mut random = fastrand::Rng::with_seed(7);
        let payload = |_| {
            let mut bytes = vec![0_u8; self.bytes];
            random.fill(&mut bytes);
            Bytes::from(bytes)
        };
        (0..self.count).map(payload).collect()
    }

    /// Bytes of all payloads.
    pub fn throughput(&self) -> Throughput {
        Throughput::Bytes((self.count * self.bytes) as u64)
    }
}

/// A record's approximate arrival time, milliseconds since the epoch.
pub fn arrival_millis(row: usize) -> i64 {
    1_700_000_000_123 + row as i64
}

/// A record's partition key: each has its own.
pub fn key(row: usize) -> String {
    format!("key-{row}")
}

/// A record's sequence number, with as many digits as the service's.
pub fn sequence_number(row: usize) -> String {
    format!("4959033827149025660855969253836157109592{row:016}")
}
