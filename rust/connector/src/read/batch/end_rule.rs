//! The end rule: it alone decides where a shard's part of a batch ends. A reader evaluates it before and after each
//! answer.

use tokio::time::Instant;

use crate::options::SourceOptions;
use crate::read::ReadTask;
use crate::read::feed::Deadline;
use crate::read::rows::{Bounds, Cut};
use crate::stream::Position;

/// Decides where a shard's part of a batch ends.
#[derive(Clone, Debug)]
pub(super) enum EndRule {
    /// A new batch of a query. It ends at its limits, or earlier: at the shard's tip or end, when others use up the
    /// shard's rate, or when other attempts wait for this one.
    Limits {
        /// Maximum number of rows.
        rows: u64,
        /// Maximum bytes of data.
        bytes: Option<u64>,
        /// When the batch's time is up.
        deadline: Option<Instant>,
    },
    /// A batch read: ends before the first record that arrived after this time (milliseconds since the epoch), or at
    /// the tip.
    Arrival(i64),
    /// A batch with a claim: ends exactly there, whatever the current limits are.
    Claim(Position),
}

/// How far a reader has come in the shard's part of the batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SoFar {
    pub rows: u64,
    pub bytes: u64,
    /// The reader has moved past the batch's start, so the next batch gets farther than this one.
    pub advanced: bool,
}

/// Effect of one answer on the batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    /// Others wait for this attempt, and the queue had no room for the records: an open batch ends here, wherever its
    /// consumer is.
    pub hurried: bool,
    /// Why some of the answer's records were left.
    pub cut: Option<Cut>,
    /// The answer was the shard's last one.
    pub shard_end: bool,
    /// No record followed the answer.
    pub tip: bool,
    /// The answer had no records.
    pub empty: bool,
}

/// The reader's next step after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    GoOn,
    End,
    /// The claim's end should have been reached by now: the shard continues after it, or ended before it.
    Missed,
    /// The claim's end has not arrived yet, though nothing else is left to read.
    NotThereYet,
}

impl EndRule {
    /// The rule for a task without a claim. The batch's time starts here.
    pub(super) fn open(options: &SourceOptions, task: &ReadTask) -> Self {
        if let Some(until) = task.until {
            return Self::Arrival(until);
        }
        Self::Limits {
            rows: options.max_fetch_records_per_shard,
            bytes: options.max_fetch_bytes_per_shard,
            deadline: options.max_fetch_time_per_shard.map(|time| Instant::now() + time),
        }
    }

    /// The end, if it is known beforehand.
    pub(super) fn claimed(&self) -> Option<&Position> {
        match self {
            Self::Claim(end) => Some(end),
            Self::Limits { .. } | Self::Arrival(_) => None,
        }
    }

    /// True if the batch is claimed to be empty: its end is its start.
    pub(super) fn is_empty(&self) -> bool {
        self.claimed()
            .is_some_and(|end| end.record().is_none() && *end != Position::ShardEnd)
    }

    /// True if the batch ends at this position, whatever the next answer holds.
    pub(super) fn is_at(&self, position: &Position) -> bool {
        self.claimed().is_some_and(|end| position.is_same_place(end))
    }

    /// How much of the next answer the batch may take.
    pub(super) fn bounds(&self, so_far: SoFar) -> Bounds {
        match self {
            Self::Limits { rows, bytes, .. } => Bounds {
                rows: Some(rows.saturating_sub(so_far.rows)),
                bytes: bytes.map(|most| most.saturating_sub(so_far.bytes)),
                first: so_far.rows == 0,
                ..Bounds::default()
            },
            Self::Arrival(until) => Bounds {
                until: Some(*until),
                ..Bounds::default()
            },
            Self::Claim(end) => Bounds {
                through: end.record().cloned(),
                ..Bounds::default()
            },
        }
    }

    /// How long to wait for the next records.
    pub(super) fn deadline(&self) -> Deadline {
        match self {
            Self::Limits { deadline, .. } => Deadline::Open(*deadline),
            Self::Arrival(_) => Deadline::Open(None),
            Self::Claim(_) => Deadline::Never,
        }
    }

    /// True if the batch ends when others use up the shard's rate. Otherwise it waits for its turn.
    pub(super) fn ends_when_throttled(&self, so_far: SoFar) -> bool {
        matches!(self, Self::Limits { .. }) && so_far.advanced
    }

    /// The next step after an answer that has brought the reader to `position`.
    pub(super) fn after(&self, step: &Step, so_far: SoFar, position: &Position, now: Instant) -> Verdict {
        let ends = match self {
            Self::Claim(end) => return after_claimed(step, position, end),
            Self::Arrival(_) => false,
            Self::Limits {
                rows,
                bytes,
                deadline,
            } => {
                let full = so_far.rows >= *rows || bytes.is_some_and(|most| so_far.bytes >= most);
                // Without an advance, the next batch would begin where this one did and get no farther.
                let over = so_far.advanced && deadline.is_some_and(|deadline| now >= deadline);
                full || over
            }
        };
        match ends || step.cut.is_some() || step.shard_end || step.tip || step.hurried {
            true => Verdict::End,
            false => Verdict::GoOn,
        }
    }
}

fn after_claimed(step: &Step, position: &Position, end: &Position) -> Verdict {
    if position.is_same_place(end) {
        Verdict::End
    } else if step.cut == Some(Cut::Claim) || step.shard_end {
        Verdict::Missed
    } else if step.tip {
        Verdict::NotThereYet
    } else {
        Verdict::GoOn
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PLAIN: Step = Step {
        hurried: false,
        cut: None,
        shard_end: false,
        tip: false,
        empty: false,
    };

    fn after(number: &str) -> Position {
        Position::After(number.parse().expect("a number"))
    }

    fn so_far(rows: u64, bytes: u64) -> SoFar {
        SoFar {
            rows,
            bytes,
            advanced: rows > 0,
        }
    }

    fn limits(rows: u64, bytes: Option<u64>) -> EndRule {
        EndRule::Limits {
            rows,
            bytes,
            deadline: None,
        }
    }

    fn verdict(rule: &EndRule, step: Step, so_far: SoFar) -> Verdict {
        rule.after(&step, so_far, &after("5"), Instant::now())
    }

    #[test]
    fn limits_count_what_was_taken() {
        let rule = limits(10, Some(100));
        let bounds = rule.bounds(so_far(0, 0));
        assert_eq!(
            (bounds.rows, bounds.bytes, bounds.first),
            (Some(10), Some(100), true)
        );
        let bounds = rule.bounds(so_far(4, 130));
        assert_eq!(
            (bounds.rows, bounds.bytes, bounds.first),
            (Some(6), Some(0), false)
        );
        assert_eq!((bounds.through, bounds.until), (None, None));
        assert_eq!(verdict(&rule, PLAIN, so_far(9, 99)), Verdict::GoOn);
        assert_eq!(verdict(&rule, PLAIN, so_far(10, 99)), Verdict::End);
        assert_eq!(verdict(&rule, PLAIN, so_far(9, 100)), Verdict::End);
        assert_eq!(
            verdict(&limits(10, None), PLAIN, so_far(9, 1 << 40)),
            Verdict::GoOn
        );
    }

    #[test]
    fn an_open_batch_ends_at_the_tip_at_the_shards_end_at_a_cut_and_when_others_wait() {
        let ends = [
            Step { tip: true, ..PLAIN },
            Step {
                shard_end: true,
                ..PLAIN
            },
            Step {
                hurried: true,
                ..PLAIN
            },
            Step {
                cut: Some(Cut::Full),
                ..PLAIN
            },
            Step {
                cut: Some(Cut::Time),
                ..PLAIN
            },
        ];
        for rule in [limits(10, None), EndRule::Arrival(7)] {
            for step in ends {
                assert_eq!(
                    verdict(&rule, step, so_far(1, 1)),
                    Verdict::End,
                    "{rule:?} {step:?}"
                );
            }
            let empty = Step { empty: true, ..PLAIN };
            assert_eq!(verdict(&rule, empty, so_far(0, 0)), Verdict::GoOn, "a stretch");
        }
    }

    #[test]
    fn time_and_throttling_end_nothing_before_the_batch_got_somewhere() {
        let now = Instant::now();
        let rule = EndRule::Limits {
            rows: 10,
            bytes: None,
            deadline: Some(now),
        };
        let at = |so_far, now| rule.after(&PLAIN, so_far, &after("5"), now);
        assert_eq!(at(so_far(0, 0), now), Verdict::GoOn);
        assert_eq!(at(so_far(1, 1), now), Verdict::End);
        assert_eq!(at(so_far(1, 1), now - Duration::from_secs(1)), Verdict::GoOn);
        assert!(matches!(rule.deadline(), Deadline::Open(Some(at)) if at == now));
        assert!(!rule.ends_when_throttled(so_far(0, 0)));
        assert!(rule.ends_when_throttled(so_far(1, 1)));
    }

    #[test]
    fn a_batch_read_has_no_limit_but_its_time_and_waits_for_its_turn() {
        let rule = EndRule::Arrival(7);
        let bounds = rule.bounds(so_far(1 << 40, 1 << 40));
        assert_eq!((bounds.until, bounds.rows, bounds.bytes), (Some(7), None, None));
        assert_eq!(verdict(&rule, PLAIN, so_far(1 << 40, 1 << 40)), Verdict::GoOn);
        assert!(!rule.ends_when_throttled(so_far(1, 1)));
        assert!(matches!(rule.deadline(), Deadline::Open(None)));
    }

    #[test]
    fn a_claim_is_read_to_exactly() {
        let rule = EndRule::Claim(after("5"));
        let bounds = rule.bounds(so_far(1 << 40, 1 << 40));
        assert_eq!(bounds.through, after("5").record().cloned());
        assert_eq!((bounds.rows, bounds.bytes, bounds.until), (None, None, None));
        let at = |number: &str, step: Step| rule.after(&step, so_far(9, 9), &after(number), Instant::now());
        let cut = Step {
            cut: Some(Cut::Claim),
            ..PLAIN
        };
        let shard_end = Step {
            shard_end: true,
            ..PLAIN
        };
        let tip = Step { tip: true, ..PLAIN };
        assert_eq!(at("5", cut), Verdict::End);
        assert_eq!(at("4", cut), Verdict::Missed);
        assert_eq!(at("4", shard_end), Verdict::Missed);
        assert_eq!(at("4", tip), Verdict::NotThereYet);
        assert_eq!(
            at(
                "4",
                Step {
                    hurried: true,
                    ..PLAIN
                }
            ),
            Verdict::GoOn
        );
        assert!(rule.is_at(&after("5").not_before(7)) && !rule.is_at(&after("4")));
        assert!(matches!(rule.deadline(), Deadline::Never));
        assert!(!rule.ends_when_throttled(so_far(1, 1)));
    }

    #[test]
    fn a_claim_at_the_start_has_nothing_and_one_at_the_shards_end_has_all() {
        assert!(EndRule::Claim(Position::TrimHorizon).is_empty());
        assert!(EndRule::Claim(Position::AtTimestamp(7)).is_empty());
        assert!(!EndRule::Claim(after("5")).is_empty());
        let all = EndRule::Claim(Position::ShardEnd);
        assert!(!all.is_empty() && all.is_at(&Position::ShardEnd) && !all.is_at(&after("5")));
        assert_eq!(all.bounds(so_far(1, 1)).through, None);
        assert!(!limits(10, None).is_empty() && !limits(10, None).is_at(&Position::ShardEnd));
    }
}
