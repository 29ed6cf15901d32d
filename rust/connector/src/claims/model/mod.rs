//! A model of the claim protocol, explored exhaustively: one shard, three batches, two attempts at a time, and a
//! driver. The decisions are the engine's own ([`super::protocol`]). Spark, the store and the shard around them do
//! whatever they may do at any step:
//!
//! - attempts at a batch begin at any time, stop reading after any record, are closed early, fail or are killed;
//! - a put may be applied and its response lost, or be in flight when its sender dies and take effect much later;
//! - attempts whose driver or batch has ended go on until they notice, and may still claim;
//! - a batch may have no task for the shard, as recorded in its offset;
//! - the driver dies between any two steps, runs the batch in flight again, and plans the next one from a report or
//!   from the store; an old batch's claims are removed.
//!
//! The properties are the guarantees of the protocol. [`Rules`] can break one rule at a time: a test for each rule
//! shows that the checker then finds the property that fails, so a sound protocol is not just a blind model.
//!
//! Attempts of one process decide on the end one after the other. An attempt that waits is one that begins later, so
//! all of this holds for them, and their additional guarantees have rules of their own.
//!
//! The shard's log does not grow in the model. An attempt may stop after any record of it, and an attempt that sees a
//! shorter log is one that stops there: growth adds nothing. Fetching several records at once is several steps.
//!
//! The model can't express: time (iterators that expire, retention that removes unread records, durations), how a
//! response's records become rows, several shards (each has claims of its own; they are connected by their lineage,
//! which the planner's histories test), a store that is not atomic or not consistent (the stores' suite tests that),
//! and two drivers of one query at the same time, which Spark's own log rules out.

mod properties;
mod state;
mod steps;

use stateright::{Checker, HasDiscoveries, Model};

use state::{End, Numbers};

/// Number of records in the shard, which is closed after them.
const RECORDS: End = 2;

/// The protocol, intact or with one rule broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    Kept,
    /// The claims are wiped while no query runs.
    ClaimsWiped,
    /// The claims are wiped while puts of the last run are still in flight.
    ClaimsWipedAmongWriters,
    /// An attempt ends before it puts its claim.
    ClaimAfterTheEnd,
    /// An attempt that delivered records after the claim ends as if it had not.
    GoOnPastTheClaim,
    /// An attempt stops at its own end although the claim is farther.
    StopBeforeTheClaim,
    /// An attempt begins without reading the claim.
    BeginWithoutTheClaim,
    /// A reader that is closed early claims nothing.
    EarlyEndClaimsNothing,
    /// After a restart the driver plans without the claims.
    RestartWithoutTheClaims,
    /// A batch that had no task for the shard has one when it runs again after a restart.
    RepeatedWithATask,
    /// All attempts are in one process, and decide one after the other. None dies while its put is in flight, since
    /// no process can wait for that.
    OneProcess,
    /// All attempts are in one process, but don't wait for one another.
    OneProcessWithoutTurns,
    /// The store lets the last put win.
    LastPutWins,
}

impl Rules {
    fn is_one_process(self) -> bool {
        matches!(self, Self::OneProcess | Self::OneProcessWithoutTurns)
    }
}

#[derive(Clone, Debug)]
struct Protocol {
    rules: Rules,
    /// Number of batches to plan and run.
    batches: usize,
    numbers: Numbers,
}

impl Protocol {
    fn new(rules: Rules, batches: usize) -> Self {
        Self {
            rules,
            batches,
            numbers: Numbers::new(RECORDS),
        }
    }

    /// Explores the protocol until `enough` is found or all states are seen.
    fn explore(self, enough: HasDiscoveries) -> impl Checker<Self> {
        self.checker().threads(2).finish_when(enough).spawn_bfs().join()
    }
}

/// Asserts that all properties hold; otherwise shows the steps that break one.
fn assert_sound(rules: Rules, batches: usize) {
    let checker = Protocol::new(rules, batches).explore(HasDiscoveries::AnyFailures);
    for property in checker.model().properties() {
        let found = checker.discovery(property.name);
        match (property.expectation.discovery_is_failure(), found) {
            (true, Some(path)) => panic!(
                "does not hold: {}\n{:#?}\n{:#?}",
                property.name,
                path.clone().into_actions(),
                path.last_state()
            ),
            (false, None) => panic!("never happens: {}", property.name),
            _ => {}
        }
    }
    println!("{rules:?}: {} states", checker.unique_state_count());
}

/// Asserts that the checker finds a violation of this property under these rules.
fn assert_found(rules: Rules, property: &'static str) {
    let checker = Protocol::new(rules, 2).explore(HasDiscoveries::AnyOf([property].into()));
    let states = checker.unique_state_count();
    assert!(
        checker.discovery(property).is_some(),
        "{rules:?}, {states} states, and still: {property}"
    );
}

#[test]
fn the_protocol_is_sound() {
    assert_sound(Rules::Kept, 3);
}

#[test]
fn a_batch_completes_whatever_happened_before() {
    assert_sound(Rules::Kept, 1);
}

#[test]
fn attempts_of_one_process_never_fail_over_the_claim() {
    assert_sound(Rules::OneProcess, 2);
}

#[test]
fn attempts_of_one_process_that_do_not_wait_are_found_out() {
    assert_found(
        Rules::OneProcessWithoutTurns,
        properties::NONE_FAILS_OVER_THE_CLAIM,
    );
}

#[test]
fn wiped_claims_repeat_the_last_batch_at_most_and_lose_nothing() {
    assert_sound(Rules::ClaimsWiped, 1);
}

#[test]
fn claims_must_not_be_wiped_among_writers() {
    assert_found(Rules::ClaimsWipedAmongWriters, properties::NOTHING_LOST);
}

#[test]
fn a_claim_after_the_end_is_found_out() {
    assert_found(Rules::ClaimAfterTheEnd, properties::SAME_ROWS);
}

#[test]
fn going_on_past_the_claim_is_found_out() {
    assert_found(Rules::GoOnPastTheClaim, properties::NO_SUCCESS_PAST_THE_CLAIM);
    assert_found(Rules::GoOnPastTheClaim, properties::NOTHING_REPEATED);
}

#[test]
fn stopping_before_the_claim_is_found_out() {
    assert_found(Rules::StopBeforeTheClaim, properties::NOTHING_LOST);
}

#[test]
fn beginning_without_the_claim_is_found_out() {
    assert_found(Rules::BeginWithoutTheClaim, properties::RETRY_IS_EXACT);
}

#[test]
fn an_early_end_that_claims_nothing_is_found_out() {
    assert_found(Rules::EarlyEndClaimsNothing, properties::NOTHING_REPEATED);
}

#[test]
fn a_restart_without_the_claims_is_found_out() {
    assert_found(Rules::RestartWithoutTheClaims, properties::NOTHING_REPEATED);
}

#[test]
fn a_batch_that_runs_again_with_a_shard_that_it_skipped_is_found_out() {
    assert_found(Rules::RepeatedWithATask, properties::SAME_ROWS);
    assert_found(Rules::RepeatedWithATask, properties::NOTHING_LOST);
}

#[test]
fn a_store_whose_last_put_wins_is_found_out() {
    assert_found(Rules::LastPutWins, properties::WRITTEN_ONCE);
    assert_found(Rules::LastPutWins, properties::SAME_ROWS);
}
