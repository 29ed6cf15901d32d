//! The decisions of the claim protocol, without the reading and storing around them. Readers and the planner act on
//! them, and the protocol's model checks them.

use std::cmp::Ordering;

use crate::stream::{Position, SequenceNumber};

/// What an attempt that has read to its own end does when it sees the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reconcile {
    /// Its own end is the claim: it ends there.
    Accept,
    /// The claim is farther: it reads on to the claim.
    ReadOn,
    /// The claim is nearer: it discards the records after it, or fails if it [has delivered](has_passed) some of
    /// them.
    CutBack,
}

/// How an attempt that read to `own` complies with the claim.
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

/// The position of a shard after a batch: the end that a successful attempt reported, otherwise the claimed end. A
/// shard without either was not read and keeps its start.
pub(crate) fn stands_at<'a>(
    start: &'a Position,
    reported: Option<&'a Position>,
    claimed: Option<&'a Position>,
) -> &'a Position {
    reported.or(claimed).unwrap_or(start)
}

/// Orders two ends of the same batch and shard: ends without a record, then by record, then the shard's end.
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
