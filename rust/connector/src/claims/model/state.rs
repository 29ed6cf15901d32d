//! The state of the model's world.

use std::collections::BTreeSet;

use super::RECORDS;
use crate::stream::{Position, SequenceNumber};

/// An end, as the number of records before it; [`RECORDS`] plus one is the shard's end.
pub(super) type End = u8;

/// The shard's end: the null iterator was returned.
pub(super) const SHARD_END: End = RECORDS + 1;

/// The engine's positions and sequence numbers for the model's small numbers.
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

    /// The last of the first `count` records.
    pub fn last(&self, count: End) -> Option<&SequenceNumber> {
        self.records.get(usize::from(count.min(RECORDS)).checked_sub(1)?)
    }
}

/// One attempt at a batch's task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Attempt {
    /// True while the driver that started it runs its batch; only then can it succeed.
    pub wanted: bool,
    /// True if the batch's end was claimed before it began.
    pub after_claim: bool,
    pub phase: Phase,
    /// Number of the last record it fetched.
    pub fetched: End,
    /// Number of the last record it delivered.
    pub delivered: End,
    /// True if the task closed it before its end.
    pub early: bool,
}

/// The next action of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Phase {
    /// Read the claim.
    Begin,
    /// Read by its own rule; nothing was fetched yet, not even an empty response.
    Unread,
    /// Read on by its own rule, or stop.
    Reading,
    /// Put its claim.
    Claiming,
    /// Read to the claim.
    Bound(End),
    /// Hand over the rest, and end.
    Ending,
}

/// The driver, including the task scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Driver {
    Down,
    /// The last logged batch is running.
    Running,
    /// The last logged batch is over and committed.
    Finished,
    /// The next batch's start was found, but is not logged yet.
    Planned(End),
}

/// A property that was violated.
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
    /// The last batch in Spark's offset log. Earlier batches, their claims and their late puts are left out: nothing
    /// reads the claims of another batch.
    pub batch: usize,
    /// Start of the batch.
    pub start: End,
    /// True if the batch has no task for the shard, as recorded in the offset log.
    pub skipped: bool,
    /// True if the batch is also in Spark's commit log.
    pub committed: bool,
    /// The first report of the running batch, which the driver keeps in memory.
    pub report: Option<End>,
    /// The claim in the store.
    pub claim: Option<End>,
    /// Puts in flight whose sender is dead.
    pub late: BTreeSet<End>,
    /// Sorted, since the attempts' identities don't matter.
    pub attempts: [Option<Attempt>; 2],
    /// End up to which successful attempts at the running batch delivered it.
    pub whole: Option<End>,
    /// Farthest end up to which attempts that were closed early delivered the running batch.
    pub part: End,
    /// True if the claims were wiped in this batch.
    pub wiped: bool,
    /// True if the claims were wiped in this or an earlier batch; once is enough.
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
