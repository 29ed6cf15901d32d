//! The guarantees of the protocol, as properties.

use stateright::Property;

use super::Protocol;
use super::state::{Broken, Phase, World};

pub(super) const SAME_ROWS: &str = "all successful attempts at a batch deliver the same rows";
pub(super) const NOTHING_LOST: &str = "no batch starts after where the rows of the last one ended";
pub(super) const NOTHING_REPEATED: &str =
    "no batch starts before where the rows of the last one ended, unless its claim was wiped";
pub(super) const WRITTEN_ONCE: &str = "the end of a batch is written once";
pub(super) const CLAIMED_FIRST: &str = "an end is claimed before any attempt finishes with it";
pub(super) const NO_SUCCESS_PAST_THE_CLAIM: &str = "an attempt that delivered past the claim never succeeds";
pub(super) const RETRY_IS_EXACT: &str = "an attempt that begins after the claim reads exactly to it";
pub(super) const UNCLAIMED_STANDS: &str = "a shard without a claim stands where it stood";
pub(super) const COMPLETES: &str = "once nothing fails any more, the batch completes";
pub(super) const NONE_FAILS_OVER_THE_CLAIM: &str =
    "no attempt fails because another one of its process has claimed a nearer end";
pub(super) const FORWARD: &str = "offsets only go forward";

/// Properties that must hold, and states that must be reachable for that to mean anything.
pub(super) fn properties() -> Vec<Property<Protocol>> {
    vec![
        Property::always(SAME_ROWS, |_, world| holds(world, Broken::DifferentRows)),
        Property::always(NOTHING_LOST, |_, world| holds(world, Broken::Lost)),
        Property::always(NOTHING_REPEATED, |_, world| holds(world, Broken::Repeated)),
        Property::always(WRITTEN_ONCE, |_, world| holds(world, Broken::WrittenTwice)),
        Property::always(CLAIMED_FIRST, |_, world| holds(world, Broken::EndedUnclaimed)),
        Property::always(NO_SUCCESS_PAST_THE_CLAIM, |_, world| {
            holds(world, Broken::SucceededPastClaim)
        }),
        Property::always(RETRY_IS_EXACT, |_, world| holds(world, Broken::RetryFailed)),
        Property::always(UNCLAIMED_STANDS, |_, world| holds(world, Broken::MovedUnclaimed)),
        Property::always(FORWARD, |_, world| holds(world, Broken::WentBack)),
        Property::sometimes("all batches are done", |model: &Protocol, world| {
            model.is_done(world)
        }),
        Property::sometimes("a batch has no task for the shard", |_, world: &World| {
            world.skipped
        }),
        Property::sometimes("two attempts read to a claim", |_, world| {
            every(world, |phase| matches!(phase, Phase::Bound(_)))
        }),
    ]
}

/// A state that independent attempts can reach.
pub(super) fn claim_at_once() -> Property<Protocol> {
    Property::sometimes("two attempts want to claim", |_, world| {
        every(world, |phase| phase == Phase::Claiming)
    })
}

/// A guarantee for attempts of one process.
pub(super) fn none_fails_over_the_claim() -> Property<Protocol> {
    Property::always(NONE_FAILS_OVER_THE_CLAIM, |_, world| {
        holds(world, Broken::FailedOverTheClaim)
    })
}

/// The cost of wiped claims.
pub(super) fn repeated_after_wipe() -> Property<Protocol> {
    Property::sometimes(
        "rows of a batch whose claim was wiped are repeated",
        |_, world| !holds(world, Broken::RepeatedAfterWipe),
    )
}

/// A guarantee in every state, however it was reached. Checked for one batch only, because it is slow.
pub(super) fn completes() -> Property<Protocol> {
    Property::always(COMPLETES, |model: &Protocol, world| model.completes(world))
}

fn holds(world: &World, broken: Broken) -> bool {
    !world.broken.contains(&broken)
}

fn every(world: &World, phase: impl Fn(Phase) -> bool) -> bool {
    world
        .attempts
        .iter()
        .all(|attempt| attempt.is_some_and(|attempt| phase(attempt.phase)))
}
