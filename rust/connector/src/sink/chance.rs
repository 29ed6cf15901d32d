//! Entries that a shard refuses however few it gets.

use std::time::Duration;

use tokio::time::Instant;

use super::rate::Counts;

/// For so long a shard counts as one that isn't at its limit, once writing less has changed nothing.
const FREE: Duration = Duration::from_secs(15);

/// How many entries it takes to compare what became of them.
const ENTRIES: usize = 100;

/// The parts refused and accepted are still the same within these factors.
const SAME_REFUSED: f64 = 2.0;
const SAME_ACCEPTED: f64 = 1.25;

/// Of what went to the shard and what it accepted when the rate began to fall: below both, less is written and less
/// arrives, where a shard at its limit would accept as much as before.
const SLOWER: f64 = 0.25;
const LESS_ACCEPTED: f64 = 0.5;

/// What became of some entries.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// The weight that went to the shard in a second.
    sent: f64,
    /// The weight it accepted in a second.
    accepted: f64,
}

impl Sample {
    fn of(counts: Counts, lasted: Duration) -> Self {
        let seconds = lasted.as_secs_f64();
        Self {
            sent: (counts.accepted + counts.refused) / seconds,
            accepted: counts.accepted / seconds,
        }
    }

    /// The part of the weight that was refused.
    fn refused(&self) -> f64 {
        1.0 - self.accepted / self.sent
    }

    /// Whether about the same part of it was refused.
    fn is_like(&self, then: &Self) -> bool {
        let within = |factor: f64, now: f64, then: f64| (1.0 / factor..=factor).contains(&(now / then));
        within(SAME_REFUSED, self.refused(), then.refused())
            && within(SAME_ACCEPTED, 1.0 - self.refused(), 1.0 - then.refused())
    }
}

/// Whether a shard refuses entries for another reason than this process's rate: others fill it who never go slower, or
/// the service fails so. Then to write less and less would only give the shard away.
#[derive(Debug, Default)]
pub(super) struct Chance {
    counts: Counts,
    lasted: Duration,
    /// Since the rate falls while the same part is refused.
    falls_since: Option<Sample>,
    until: Option<Instant>,
}

impl Chance {
    /// Learns what became of entries that went to the shard in so long; answers whether it isn't at its limit after all.
    pub(super) fn explains(&mut self, counts: Counts, lasted: Duration, now: Instant) -> bool {
        self.counts.add(counts);
        self.lasted += lasted;
        if self.counts.entries < ENTRIES {
            return false;
        }
        let sample = Sample::of(std::mem::take(&mut self.counts), std::mem::take(&mut self.lasted));
        let same = |then: &Sample| sample.sent <= then.sent && sample.is_like(then);
        let Some(then) = self.falls_since.filter(same) else {
            self.falls_since = Some(sample);
            return false;
        };
        let in_vain = sample.sent <= SLOWER * then.sent && sample.accepted <= LESS_ACCEPTED * then.accepted;
        if in_vain {
            self.falls_since = None;
            self.until = Some(now + FREE);
        }
        in_vain
    }

    /// Whether it was found so not long ago.
    pub(super) fn explained(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// The shard comes to its limit.
    pub(super) fn begin(&mut self) {
        *self = Self::default();
    }
}
