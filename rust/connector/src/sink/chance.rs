//! Detection of refusals that don't depend on this process's rate.

use std::time::Duration;

use tokio::time::Instant;

use super::rate::Counts;

/// How long a shard is written to without pacing once a lower rate has proved useless.
const FREE: Duration = Duration::from_secs(15);

/// Minimum number of refused and of accepted entries in a sample. With fewer, chance alone changes the fractions too
/// much.
const EVIDENCE: usize = 30;

/// Number of entries without a refusal that ends a fall.
const CLEAR: usize = 100;

/// Factor within which the refused fraction counts as unchanged.
const SAME_REFUSED: f64 = 2.0;

/// Factor within which the accepted fraction counts as unchanged.
const SAME_ACCEPTED: f64 = 1.6;

/// Number of samples in a row that replace a fall's first sample if they differ from it.
const MOST_ODD: u32 = 2;

/// Growth factor of the weight sent above which a fall ends.
const RISEN: f64 = 1.1;

/// Fraction of the weight sent at a fall's start below which the fall is deep enough for a decision.
const SLOWER: f64 = 0.4;

/// Fraction of the weight accepted at a fall's start below which the fall was in vain: a shard at its limit would
/// accept as much as before.
const LESS_ACCEPTED: f64 = 0.6;

/// Growth factor of the accepted fraction up to which a fall was in vain. Where others slow down as well, it grows.
const NOT_MORE: f64 = 1.1;

/// Lower bound of the rate before the decision, as a fraction of the weight sent at the fall's start, or of the first
/// rate until there is a sample.
const FLOOR: f64 = 0.35;

/// Outcomes of entries over some time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Weight sent to the shard per second.
    sent: f64,
    /// Weight accepted per second.
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

    /// Accepted fraction of the weight.
    fn accepted_fraction(&self) -> f64 {
        self.accepted / self.sent
    }

    /// True if about the same fraction of the weight was refused.
    fn is_like(&self, then: &Self) -> bool {
        let within = |factor: f64, now: f64, then: f64| (1.0 / factor..=factor).contains(&(now / then));
        let (now, then) = (self.accepted_fraction(), then.accepted_fraction());
        within(SAME_REFUSED, 1.0 - now, 1.0 - then) && within(SAME_ACCEPTED, now, then)
    }
}

/// Detects a shard that refuses entries for another reason than this process's rate: a producer that never slows down
/// fills it, or the service fails a fraction of all entries. Pacing would then only give the shard's capacity away.
#[derive(Debug, Default)]
pub(super) struct Chance {
    counts: Counts,
    lasted: Duration,
    /// First sample of a fall: the rate falls, and the refused and accepted fractions stay the same.
    fall: Option<Sample>,
    /// Number of samples in a row that differ from `fall`.
    odd: u32,
    floor: f64,
    free_until: Option<Instant>,
}

impl Chance {
    /// Adds the outcomes of a time in which the rate was used. Returns true if they prove that the shard isn't at its
    /// limit.
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
        let in_vain = sample.sent <= SLOWER * start.sent
            && sample.accepted <= LESS_ACCEPTED * start.accepted
            && sample.accepted_fraction() <= NOT_MORE * start.accepted_fraction();
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

    /// Discards the outcomes since the last sample. Call when the rate was not used, as outcomes then depend on the
    /// writers' pauses.
    pub(super) fn interrupt(&mut self) {
        (self.counts, self.lasted) = (Counts::default(), Duration::ZERO);
    }

    /// Lower bound of the rate that is needed for a decision.
    pub(super) fn floor(&self) -> f64 {
        self.floor
    }

    /// True for a while after the shard proved not to be at its limit.
    pub(super) fn is_free(&self, now: Instant) -> bool {
        self.free_until.is_some_and(|until| now < until)
    }

    /// Starts over for a shard that has reached its limit and is written to at this rate.
    pub(super) fn begin(&mut self, rate: f64) {
        *self = Self {
            floor: FLOOR * rate,
            ..Self::default()
        };
    }
}
