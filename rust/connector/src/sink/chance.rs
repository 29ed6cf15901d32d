//! Refusals that don't depend on this process's rate.

use std::time::Duration;

use tokio::time::Instant;

use super::rate::Counts;

/// How long a shard is written to without pacing once a lower rate has proved useless.
const FREE: Duration = Duration::from_secs(15);

/// Least number of refused and of accepted entries in a sample: with fewer, chance alone changes the parts too much.
const EVIDENCE: usize = 30;

/// So many entries without a refusal end a fall.
const CLEAR: usize = 100;

/// Factors within which the parts refused and accepted count as unchanged.
const SAME_REFUSED: f64 = 2.0;
const SAME_ACCEPTED: f64 = 1.6;

/// So many samples in a row must differ from the first one to replace it.
const MOST_ODD: u32 = 2;

/// Growth of the weight sent that ends a fall.
const RISEN: f64 = 1.1;

/// Parts of the weight sent and accepted at the fall's start. Below both, less is written and less arrives; a shard at its
/// limit would accept as much as before.
const SLOWER: f64 = 0.4;
const LESS_ACCEPTED: f64 = 0.6;

/// The rate doesn't fall below this part of the weight sent at the fall's start before that is decided, nor below this part
/// of the first rate before there is a sample.
const FLOOR: f64 = 0.35;

/// What became of some entries.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Weight sent to the shard in a second.
    sent: f64,
    /// Weight accepted in a second.
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

    /// Part of the weight that was refused.
    fn refused(&self) -> f64 {
        1.0 - self.accepted / self.sent
    }

    /// Whether about the same part of the weight was refused.
    fn is_like(&self, then: &Self) -> bool {
        let within = |factor: f64, now: f64, then: f64| (1.0 / factor..=factor).contains(&(now / then));
        within(SAME_REFUSED, self.refused(), then.refused())
            && within(SAME_ACCEPTED, 1.0 - self.refused(), 1.0 - then.refused())
    }
}

/// Detects a shard that refuses entries for another reason than this process's rate: a producer that never slows down
/// fills it, or the service fails a part of all entries. Pacing would then only give the shard away.
#[derive(Debug, Default)]
pub(super) struct Chance {
    counts: Counts,
    lasted: Duration,
    /// The sample at the start of a fall of the rate during which the parts refused and accepted stay the same.
    fall: Option<Sample>,
    /// Samples in a row that differ from it.
    odd: u32,
    floor: f64,
    free_until: Option<Instant>,
}

impl Chance {
    /// Learns what became of entries during a time in which the rate was used; true if the shard isn't at its limit.
    pub(super) fn explains(&mut self, counts: Counts, lasted: Duration, now: Instant) -> bool {
        self.counts.add(counts);
        self.lasted += lasted;
        let Counts {
            entries, refusals, ..
        } = self.counts;
        if refusals == 0 && entries >= CLEAR {
            *self = Self::default();
            return false;
        }
        if refusals.min(entries - refusals) < EVIDENCE {
            return false;
        }
        let sample = Sample::of(self.counts, self.lasted);
        self.interrupt();
        let Some(start) = self.fall.filter(|start| sample.sent <= RISEN * start.sent) else {
            self.start_at(sample);
            return false;
        };
        if !sample.is_like(&start) {
            self.odd += 1;
            if self.odd == MOST_ODD {
                self.start_at(sample);
            }
            return false;
        }
        self.odd = 0;
        let in_vain = sample.sent <= SLOWER * start.sent && sample.accepted <= LESS_ACCEPTED * start.accepted;
        if in_vain {
            *self = Self {
                free_until: Some(now + FREE),
                ..Self::default()
            };
        }
        in_vain
    }

    fn start_at(&mut self, sample: Sample) {
        (self.fall, self.odd) = (Some(sample), 0);
        self.floor = FLOOR * sample.sent;
    }

    /// The rate was not used: what became of these entries depends on the writers' pauses.
    pub(super) fn interrupt(&mut self) {
        (self.counts, self.lasted) = (Counts::default(), Duration::ZERO);
    }

    /// The rate that it takes to decide.
    pub(super) fn floor(&self) -> f64 {
        self.floor
    }

    /// True for a while after the shard proved not to be at its limit.
    pub(super) fn is_free(&self, now: Instant) -> bool {
        self.free_until.is_some_and(|until| now < until)
    }

    /// The shard comes to its limit, and is written to at this rate.
    pub(super) fn begin(&mut self, rate: f64) {
        *self = Self {
            floor: FLOOR * rate,
            ..Self::default()
        };
    }
}
