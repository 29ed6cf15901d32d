//! What the world of the model is made of.

use std::collections::BTreeSet;

use super::RECORDS;
use crate::stream::{Position, SequenceNumber};

/// An end, as the number of records before it; one more than there are is the shard's end.
pub(super) type End = u8;

/// The shard's end: its null iterator was seen.
pub(super) const SHARD_END: End = RECORDS + 1;

/// The engine's terms for the model's small numbers.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    positions: Vec<Position>,
    records: Vec<SequenceNumber>,
}

impl Numbers {
    pub fn new(records: End) -> Self {
        let records: Vec<SequenceNumber> = (1..=records)
            .map(|record| record.to_string().parse().expect("a number"))
            .collect();
        let mut positions = vec![Position::TrimHorizon];
        positions.extend(records.iter().cloned().map(Position::After));
        positions.push(Position::ShardEnd);
        Self { positions, records }
    }

    pub fn position(&self, end: End) -> &Position {
        &self.positions[usize::from(end)]
    }

    pub fn end(&self, position: &Position) -> End {
        let found = self.positions.iter().position(|known| known == position);
        found.expect("one of the model's positions") as End
    }

    /// The last of so many records.
    pub fn last(&self, count: End) -> Option<&SequenceNumber> {
        self.records.get(usize::from(count.min(RECORDS)).checked_sub(1)?)
    }
}

/// One attempt at a batch's task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Attempt {
    /// The driver that started it still runs its batch: only then can it succeed.
    pub wanted: bool,
    /// It began when the batch's end was claimed already.
    pub after_claim: bool,
    pub phase: Phase,
    /// Records before and in what it fetched.
    pub fetched: End,
    /// Records before and in what it delivered.
    pub delivered: End,
    /// The task closed it before its end.
    pub early: bool,
}

/// What an attempt is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Phase {
    /// To ask for the claim.
    Begin,
    /// To read by its own rule; nothing was fetched yet, not even an empty answer.
    Unread,
    /// To read on by its own rule, or stop.
    Reading,
    /// To put its claim.
    Claiming,
    /// To read to the claim.
    Bound(End),
    /// To hand over the rest, and end.
    Ending,
}

/// The driver, and the task scheduler with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Driver {
    Down,
    /// The batch that was logged last runs.
    Running,
    /// It is over and committed.
    Finished,
    /// The next batch's start was found, and is not logged yet.
    Planned(End),
}

/// A property that no longer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Broken {
    DifferentRows,
    Lost,
    Repeated,
    RepeatedAfterWipe,
    WrittenTwice,
    EndedUnclaimed,
    SucceededPastClaim,
    RetryFailed,
    FailedOverTheClaim,
    MovedUnclaimed,
    WentBack,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub driver: Driver,
    /// The batch that Spark's offset log has last. Earlier ones, their claims and whoever still puts one are out of
    /// the picture: nothing asks for the claims of another batch.
    pub batch: usize,
    /// Where it starts.
    pub start: End,
    /// It has no task for the shard, as the offset log says.
    pub skipped: bool,
    /// Spark's commit log has it too.
    pub committed: bool,
    /// The first report of the running batch; the driver keeps it in memory.
    pub report: Option<End>,
    /// The store.
    pub claim: Option<End>,
    /// Puts under way whose sender is dead.
    pub late: BTreeSet<End>,
    /// In order, since which is which does not matter.
    pub attempts: [Option<Attempt>; 2],
    /// What the running batch's successful attempts delivered: to its end …
    pub whole: Option<End>,
    /// … and, closed early, at most so far.
    pub part: End,
    /// The claims were wiped in this batch.
    pub wiped: bool,
    /// … or in an earlier one. Once is enough.
    pub wiped_before: bool,
    pub broken: BTreeSet<Broken>,
}

impl World {
    pub fn new() -> Self {
        Self {
            driver: Driver::Running,
            batch: 0,
            start: 0,
            skipped: false,
            committed: false,
            report: None,
            claim: None,
            late: BTreeSet::new(),
            attempts: [None; 2],
            whole: None,
            part: 0,
            wiped: false,
            wiped_before: false,
            broken: BTreeSet::new(),
        }
    }
}
