//! Pace of retries for entries that a stream didn't accept: the wait before the next round, and the round's size.

use std::time::Duration;

use super::batch::MAX_ENTRIES;
use crate::options::RetryOptions;
use crate::service::jittered;

/// Minimum size of a further round. A single entry could be for a shard that takes none for long, and those behind it
/// for another.
const FEWEST: usize = 10;

/// Pace of a request's rounds, for entries that don't wait at the gate of a shard. It falls while the stream takes
/// little, and rises only with what the stream takes: the rounds of many tasks at one shard's limit settle where the
/// shard takes about half of their entries.
#[derive(Debug)]
pub(super) struct Waits {
    first: Duration,
    longest: Duration,
    wait: Duration,
    most: usize,
}

impl Waits {
    pub(super) fn new(retry: &RetryOptions) -> Self {
        let first = retry.interval.max(Duration::from_millis(1));
        Self {
            first,
            longest: retry.max_interval.max(first),
            wait: first,
            most: MAX_ENTRIES,
        }
    }

    /// Maximum number of entries of the next round.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Returns the wait after a round. If no entry was accepted, the following wait is twice as long, up to the
    /// longest, and the next round half as large. If at least half of the entries were accepted, the wait is halved,
    /// down to the first one. The next round has at most twice as many entries as were accepted in this one; if all
    /// were, it needn't wait.
    pub(super) fn after(&mut self, sent: usize, accepted: usize) -> Duration {
        let wait = self.wait;
        if accepted == 0 {
            self.wait = wait.saturating_mul(2).min(self.longest);
            self.most = (sent / 2).clamp(FEWEST, MAX_ENTRIES);
            return jittered(wait);
        }
        self.most = accepted.saturating_mul(2).clamp(FEWEST, MAX_ENTRIES);
        if accepted >= sent - accepted.min(sent) {
            self.wait = (wait / 2).max(self.first);
        }
        if accepted >= sent {
            return Duration::ZERO;
        }
        jittered(self.wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits() -> Waits {
        Waits::new(&RetryOptions {
            retries: 5,
            interval: Duration::from_secs(1),
            max_interval: Duration::from_secs(10),
        })
    }

    /// The waits in seconds, without jitter, after rounds of (sent, accepted) entries.
    fn seconds(rounds: &[(usize, usize)]) -> Vec<u64> {
        let mut waits = waits();
        rounds
            .iter()
            .map(|&(sent, accepted)| {
                waits.after(sent, accepted);
                waits.wait.as_secs()
            })
            .collect()
    }

    #[test]
    fn the_wait_grows_to_the_longest_while_nothing_passes() {
        assert_eq!(seconds(&[(500, 0); 6]), [2, 4, 8, 10, 10, 10]);
    }

    #[test]
    fn a_single_accepted_entry_does_not_shorten_it_and_half_of_a_round_does() {
        let rounds = [(500, 0), (500, 0), (500, 1), (10, 4), (10, 5), (10, 9), (20, 10)];
        assert_eq!(seconds(&rounds), [2, 4, 4, 4, 2, 1, 1]);
    }

    #[test]
    fn a_round_that_passes_whole_is_followed_by_a_greater_one_at_once() {
        let mut waits = waits();
        assert_eq!(waits.most(), MAX_ENTRIES);
        let sizes: Vec<_> = [(500, 0), (250, 0), (125, 20), (40, 40), (80, 80)]
            .into_iter()
            .map(|(sent, accepted)| {
                let wait = waits.after(sent, accepted);
                assert_eq!(wait.is_zero(), sent == accepted);
                waits.most()
            })
            .collect();
        assert_eq!(sizes, [250, 125, 40, 80, 160]);
        for _ in 0..5 {
            waits.after(waits.most(), 0);
        }
        assert_eq!(waits.most(), FEWEST);
    }
}
