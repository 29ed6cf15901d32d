//! Parts of a shard without records, which readers pass through response by response.

use std::collections::BTreeMap;

/// The stretches of one shard.
#[derive(Debug, Default)]
pub(crate) struct Stretches {
    /// Number of empty responses before each new iterator reaches its position.
    pub before_all: u32,
    /// Stretches with a place, by the index of the record behind them.
    pub placed: BTreeMap<u64, Stretch>,
}

/// A time in which no record arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub from_ms: i64,
    pub to_ms: i64,
    /// Number of responses that cover the stretch. Their boundaries are the same times for all readers.
    pub answers: u32,
}

impl Stretch {
    /// Creates a stretch; `None` if it has less than a millisecond for each response.
    pub fn new(from_ms: i64, to_ms: i64, answers: u32) -> Option<Stretch> {
        (to_ms - from_ms >= i64::from(answers)).then_some(Stretch {
            from_ms,
            to_ms,
            answers,
        })
    }

    /// End time of the response to a reader at `time_ms`; `None` if the reader has passed the stretch.
    pub fn next(&self, time_ms: i64) -> Option<i64> {
        let (length, answers) = (self.to_ms - self.from_ms, i64::from(self.answers));
        let passed = (time_ms - self.from_ms).max(0);
        (passed < length).then(|| {
            let slice = passed * answers / length + 1;
            self.from_ms + (slice * length + answers - 1) / answers
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_answers_as_were_asked_for() {
        for (length, answers) in [(10, 1), (10, 3), (10, 10), (7, 5), (3_600_000, 38)] {
            let stretch = Stretch::new(1_000, 1_000 + length, answers).unwrap();
            let mut time = 0;
            let mut steps = 0;
            while let Some(next) = stretch.next(time) {
                assert!(next > time);
                (time, steps) = (next, steps + 1);
            }
            assert_eq!((time, steps), (1_000 + length, answers));
        }
        assert_eq!(Stretch::new(1_000, 1_004, 5), None);
    }

    #[test]
    fn a_reader_from_inside_has_the_rest() {
        let stretch = Stretch::new(1_000, 2_000, 10).unwrap();
        assert_eq!(
            [999, 1_000, 1_099, 1_100, 1_950, 1_999, 2_000].map(|time| stretch.next(time)),
            [
                Some(1_100),
                Some(1_100),
                Some(1_100),
                Some(1_200),
                Some(2_000),
                Some(2_000),
                None
            ]
        );
    }
}
