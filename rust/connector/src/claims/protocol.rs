//! The decisions of the claim protocol, without the reading and storing around them: readers and the planner act on
//! them, and the protocol's model checks them.

use std::cmp::Ordering;

use crate::stream::{Position, SequenceNumber};

/// What an attempt does that has read to its own end when it learns of the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reconcile {
    /// Its own end is the claim.
    Accept,
    /// The claim is farther: it reads on to it.
    ReadOn,
    /// The claim is nearer: it gives up what is after it, or fails if it [has delivered](has_passed) of that.
    CutBack,
}

/// How an attempt that read to `own` follows the claim.
pub(crate) fn reconcile(own: &Position, claim: &Position) -> Reconcile {
    match order(claim, own) {
        Ordering::Equal => Reconcile::Accept,
        Ordering::Greater => Reconcile::ReadOn,
        Ordering::Less => Reconcile::CutBack,
    }
}

/// True if an attempt that has delivered records up to this one can no longer end at the claim.
pub(crate) fn has_passed(delivered: Option<&SequenceNumber>, claim: &Position) -> bool {
    delivered.is_some_and(|number| !is_before(number, claim))
}

/// True if the record belongs to a batch that ends at `end`.
pub(crate) fn is_before(record: &SequenceNumber, end: &Position) -> bool {
    match end {
        Position::ShardEnd => true,
        Position::After(last) | Position::AfterQuiet(last, _) => record <= last,
        Position::TrimHorizon | Position::AtTimestamp(_) => false,
    }
}

/// Where a shard stands after a batch: where an attempt that succeeded reported, else where it was claimed to end.
/// Without either it was not read, and stands where it stood.
pub(crate) fn stands_at<'a>(
    start: &'a Position,
    reported: Option<&'a Position>,
    claimed: Option<&'a Position>,
) -> &'a Position {
    reported.or(claimed).unwrap_or(start)
}

/// The order of two ends of the same batch and shard: nothing, then by record, then the shard's end.
fn order(left: &Position, right: &Position) -> Ordering {
    let rank = |position: &Position| match position {
        Position::TrimHorizon | Position::AtTimestamp(_) => 0,
        Position::After(_) | Position::AfterQuiet(..) => 1,
        Position::ShardEnd => 2,
    };
    match (left.record(), right.record()) {
        (Some(left), Some(right)) => left.cmp(right),
        _ => rank(left).cmp(&rank(right)),
    }
}
