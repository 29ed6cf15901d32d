//! Throughput limits of a shard, off unless switched on.

use std::time::Instant;

use crate::knobs::ShardLimits;

/// Token bucket that fills in a second.
#[derive(Debug, Default)]
struct Bucket {
    tokens: f64,
    filled: Option<Instant>,
}

impl Bucket {
    fn fill(&mut self, per_second: f64, now: Instant) {
        let gained = self
            .filled
            .map_or(per_second, |at| (now - at).as_secs_f64() * per_second);
        self.tokens = (self.tokens + gained).min(per_second);
        self.filled = Some(now);
    }
}

/// Remaining throughput of a shard.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    write_bytes: Bucket,
    write_records: Bucket,
    read_bytes: Bucket,
    read_calls: Bucket,
}

impl Allowance {
    /// Takes a record of this size from the allowance; returns false if the limits forbid it now. A record larger
    /// than a second's worth of bytes passes when the bucket is full, as otherwise it never could.
    pub fn take_write(&mut self, limits: &ShardLimits, size: usize, now: Instant) -> bool {
        self.write_bytes.fill(limits.write_bytes, now);
        self.write_records.fill(limits.write_records, now);
        let size = size as f64;
        if self.write_bytes.tokens < size.min(limits.write_bytes) || self.write_records.tokens < 1.0 {
            return false;
        }
        self.write_bytes.tokens -= size;
        self.write_records.tokens -= 1.0;
        true
    }

    /// Takes a read call from the allowance; returns false if the limits forbid it now.
    pub fn take_call(&mut self, limits: &ShardLimits, now: Instant) -> bool {
        self.read_calls.fill(limits.read_calls, now);
        self.read_bytes.fill(limits.read_bytes, now);
        if self.read_calls.tokens < 1.0 || self.read_bytes.tokens <= 0.0 {
            return false;
        }
        self.read_calls.tokens -= 1.0;
        true
    }

    /// Takes the bytes that a read returned; as in the service, the bucket may go below zero.
    pub fn took_read(&mut self, size: usize) {
        self.read_bytes.tokens -= size as f64;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn five_reads_a_second() {
        let (limits, start) = (ShardLimits::default(), Instant::now());
        let mut left = Allowance::default();
        let passed = (0..8).filter(|_| left.take_call(&limits, start)).count();
        assert_eq!(passed, 5);
        assert!(left.take_call(&limits, start + Duration::from_millis(201)));
        assert!(!left.take_call(&limits, start + Duration::from_millis(202)));
    }

    #[test]
    fn a_large_answer_makes_the_shard_rest() {
        let (limits, start) = (ShardLimits::default(), Instant::now());
        let mut left = Allowance::default();
        assert!(left.take_call(&limits, start));
        left.took_read(10 << 20);
        assert!(!left.take_call(&limits, start + Duration::from_secs(3)));
        assert!(left.take_call(&limits, start + Duration::from_secs(5)));
    }

    #[test]
    fn writes_stop_at_either_limit() {
        let (limits, start) = (ShardLimits::default(), Instant::now());
        let mut by_count = Allowance::default();
        assert_eq!(
            (0..2000)
                .filter(|_| by_count.take_write(&limits, 10, start))
                .count(),
            1000
        );
        let mut by_size = Allowance::default();
        assert_eq!(
            (0..2000)
                .filter(|_| by_size.take_write(&limits, 64 << 10, start))
                .count(),
            16
        );
        let mut one_large = Allowance::default();
        assert!(one_large.take_write(&limits, 2 << 20, start));
        assert!(!one_large.take_write(&limits, 1, start + Duration::from_millis(900)));
    }
}
