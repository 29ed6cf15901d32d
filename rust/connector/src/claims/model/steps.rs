//! The steps of the model's world.

use stateright::{Model, Property};

use super::properties::{
    claim_at_once, completes, none_fails_over_the_claim, properties, repeated_after_wipe,
};
use super::state::{Attempt, Broken, Driver, End, Phase, SHARD_END, World};
use super::{Protocol, RECORDS, Rules};
use crate::claims::protocol::{Reconcile, has_passed, reconcile, stands_at};

/// Maximum number of puts in flight whose sender is dead.
const LATE_PUTS: usize = 1;

/// One step. Numbers are indices of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Begin(usize),
    AskForClaim(usize),
    FetchNothing(usize),
    FetchRecord(usize),
    DeliverRecord(usize),
    Stop(usize),
    CloseEarly(usize),
    PutClaim(usize),
    PutClaimAndLoseTheAnswer(usize),
    Succeed(usize),
    Die(usize),
    DieWhilePutting(usize),
    LatePut(End),
    FinishBatch,
    PlanFromReport,
    PlanFromStore,
    LogNextBatch,
    LogNextBatchWithoutTask,
    DriverDies,
    DriverRestarts,

    WipeClaims,
}

impl Model for Protocol {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if self.is_done(world) {
            return;
        }
        for (place, attempt) in world.attempts.iter().enumerate() {
            match attempt {
                None if world.driver == Driver::Running && world.start < SHARD_END && !world.skipped => {
                    steps.push(Step::Begin(place))
                }
                None => {}
                Some(attempt) => self.attempt_steps(world, place, attempt, steps),
            }
        }
        steps.extend(world.late.iter().map(|end| Step::LatePut(*end)));
        self.driver_steps(world, steps);
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut world = last.clone();
        match step {
            Step::Begin(place) => world.attempts[place] = Some(self.begin(last)),
            Step::FetchNothing(place) => change(&mut world, place, |attempt| attempt.phase = Phase::Reading),
            Step::FetchRecord(place) => change(&mut world, place, fetch),
            Step::DeliverRecord(place) => change(&mut world, place, |attempt| attempt.delivered += 1),
            Step::Stop(place) => self.stop(&mut world, place),
            Step::AskForClaim(place) => self.ask(&mut world, place),
            Step::CloseEarly(place) => self.close_early(&mut world, place),
            Step::PutClaim(place) => self.put_and_follow(&mut world, place),
            Step::PutClaimAndLoseTheAnswer(place) => {
                let attempt = world.attempts[place]?;
                self.put(&mut world, attempt.fetched);
            }
            Step::Succeed(place) => self.succeed(&mut world, place),
            Step::Die(place) => world.attempts[place] = None,
            Step::DieWhilePutting(place) => {
                let attempt = world.attempts[place].take()?;
                world.late.insert(attempt.fetched);
            }
            Step::LatePut(end) => {
                world.late.remove(&end);
                self.put(&mut world, end);
            }
            Step::FinishBatch => {
                world.committed = true;
                world.driver = Driver::Finished;
                forget_attempts(&mut world);
            }
            Step::PlanFromReport => world.driver = Driver::Planned(self.next_start(last, last.report)),
            Step::PlanFromStore => world.driver = Driver::Planned(self.next_start(last, None)),
            Step::LogNextBatch => self.log_next(&mut world),
            Step::LogNextBatchWithoutTask => {
                self.log_next(&mut world);
                world.skipped = true;
                // The shard's part of this batch is known to be empty.
                world.whole = Some(world.start);
            }
            Step::DriverDies => {
                world.driver = Driver::Down;
                world.report = None;
                forget_attempts(&mut world);
            }
            Step::DriverRestarts => {
                world.driver = if world.committed {
                    Driver::Finished
                } else {
                    Driver::Running
                };
                world.skipped &= self.rules != Rules::RepeatedWithATask;
            }

            Step::WipeClaims => {
                world.claim = None;
                if !world.committed {
                    // The batch runs again, and its new output replaces the old.
                    world.whole = None;
                }
                world.wiped = true;
                world.wiped_before = true;
            }
        }
        world.attempts.sort_unstable();
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = properties();
        if self.rules != Rules::OneProcess {
            all.push(claim_at_once());
        }
        if self.rules.is_one_process() {
            all.push(none_fails_over_the_claim());
        }
        if self.rules == Rules::ClaimsWiped {
            all.push(repeated_after_wipe());
        }
        if self.batches == 1 {
            all.push(completes());
        }
        all
    }
}

impl Protocol {
    /// True if all batches ran and the one after them was planned.
    pub(super) fn is_done(&self, world: &World) -> bool {
        world.batch == self.batches
    }

    /// True if the world completes its batch once nothing fails any more and one attempt runs at a time: the batch is
    /// read whole and the next one planned.
    pub(super) fn completes(&self, world: &World) -> bool {
        let mut world = world.clone();
        for _ in 0..50 {
            if self.is_done(&world) {
                return true;
            }
            let mut steps = Vec::new();
            self.actions(&world, &mut steps);
            let step = steps.into_iter().find(|step| self.goes_on(&world, *step));
            let Some(next) = step.and_then(|step| self.next_state(&world, step)) else {
                return false;
            };
            world = next;
        }
        false
    }

    fn goes_on(&self, world: &World, step: Step) -> bool {
        let alone = world.attempts.iter().flatten().count() == 0;
        match step {
            Step::Begin(_) => alone && world.whole.is_none(),
            Step::Die(place) => world.attempts[place].is_some_and(|attempt| !attempt.wanted),
            Step::FinishBatch => alone && (world.whole.is_some() || world.start == SHARD_END),
            Step::PutClaimAndLoseTheAnswer(_)
            | Step::DieWhilePutting(_)
            | Step::LatePut(_)
            | Step::CloseEarly(_)
            | Step::DriverDies
            | Step::WipeClaims => false,
            _ => true,
        }
    }

    fn attempt_steps(&self, world: &World, place: usize, attempt: &Attempt, steps: &mut Vec<Step>) {
        let more = attempt.fetched < SHARD_END;
        match attempt.phase {
            Phase::Begin if self.rules == Rules::OneProcess && anyone_decides(world) => {}
            Phase::Begin => steps.push(Step::AskForClaim(place)),
            Phase::Unread => steps.push(Step::FetchNothing(place)),
            Phase::Reading => steps.push(Step::Stop(place)),
            Phase::Claiming => {
                steps.push(Step::PutClaim(place));
                if attempt.wanted {
                    steps.push(Step::PutClaimAndLoseTheAnswer(place));
                }
                if world.late.len() < LATE_PUTS && !self.rules.is_one_process() {
                    steps.push(Step::DieWhilePutting(place));
                }
            }
            Phase::Bound(_) => {}
            Phase::Ending => {
                if attempt.delivered == attempt.fetched.min(RECORDS) {
                    steps.push(Step::Succeed(place));
                }
            }
        }
        if more && matches!(attempt.phase, Phase::Unread | Phase::Reading | Phase::Bound(_)) {
            steps.push(Step::FetchRecord(place));
        }
        // An attempt's deliveries and success count only while its batch runs.
        if attempt.wanted && !attempt.early {
            if attempt.delivered < attempt.fetched.min(RECORDS) {
                steps.push(Step::DeliverRecord(place));
            }
            if attempt.phase != Phase::Begin {
                steps.push(Step::CloseEarly(place));
            }
        }
        steps.push(Step::Die(place));
    }

    fn driver_steps(&self, world: &World, steps: &mut Vec<Step>) {
        match world.driver {
            Driver::Down => {
                steps.push(Step::DriverRestarts);
                let quiet = world.late.is_empty() && world.attempts == [None; 2];
                let wiping = match self.rules {
                    Rules::ClaimsWiped => quiet,
                    Rules::ClaimsWipedAmongWriters => true,
                    _ => false,
                };
                if wiping && !world.wiped_before {
                    steps.push(Step::WipeClaims);
                }
                return;
            }
            Driver::Running => steps.push(Step::FinishBatch),
            Driver::Finished => {
                steps.push(Step::PlanFromStore);
                if world.report.is_some() {
                    steps.push(Step::PlanFromReport);
                }
            }
            Driver::Planned(next) => {
                steps.push(Step::LogNextBatch);
                if next < SHARD_END {
                    steps.push(Step::LogNextBatchWithoutTask);
                }
            }
        }
        steps.push(Step::DriverDies);
    }

    fn begin(&self, world: &World) -> Attempt {
        Attempt {
            wanted: true,
            after_claim: world.claim.is_some(),
            phase: Phase::Begin,
            fetched: world.start,
            delivered: world.start.min(RECORDS),
            early: false,
        }
    }

    fn ask(&self, world: &mut World, place: usize) {
        let claim = world.claim;
        let blind = self.rules == Rules::BeginWithoutTheClaim;
        change(world, place, |attempt| {
            attempt.phase = match claim {
                Some(claim) if !blind => towards(claim, attempt.fetched),
                _ => Phase::Unread,
            };
            attempt.after_claim &= attempt.phase == Phase::Unread;
        });
        drop_unwanted(world, place);
    }

    fn stop(&self, world: &mut World, place: usize) {
        if self.rules == Rules::ClaimAfterTheEnd
            && let Some(attempt) = world.attempts[place]
        {
            world.late.insert(attempt.fetched);
            change(world, place, |attempt| attempt.phase = Phase::Ending);
            return drop_unwanted(world, place);
        }
        change(world, place, |attempt| attempt.phase = Phase::Claiming);
    }

    /// Closes an attempt early, because the task needs no more. It first claims what was fetched, unless a claim
    /// exists or nothing was fetched.
    fn close_early(&self, world: &mut World, place: usize) {
        let Some(attempt) = world.attempts[place] else {
            return;
        };
        let claims = self.rules != Rules::EarlyEndClaimsNothing
            && matches!(attempt.phase, Phase::Reading | Phase::Claiming);
        if claims {
            change(world, place, |attempt| {
                attempt.phase = Phase::Claiming;
                attempt.early = true;
            });
        } else {
            change(world, place, |attempt| attempt.early = true);
            self.succeed(world, place);
        }
    }

    /// Puts the claim of what was fetched, and complies with the claim that holds.
    fn put_and_follow(&self, world: &mut World, place: usize) {
        let Some(attempt) = world.attempts[place] else {
            return;
        };
        self.put(world, attempt.fetched);
        if !attempt.wanted {
            world.attempts[place] = None;
            return;
        }
        let Some(claim) = world.claim else {
            return;
        };
        let numbers = &self.numbers;
        let delivered = (attempt.delivered > world.start).then_some(attempt.delivered);
        let passed = has_passed(
            delivered.and_then(|count| numbers.last(count)),
            numbers.position(claim),
        );
        match reconcile(numbers.position(attempt.fetched), numbers.position(claim)) {
            Reconcile::Accept => change(world, place, |attempt| attempt.phase = Phase::Ending),
            Reconcile::ReadOn if self.rules == Rules::StopBeforeTheClaim => {
                change(world, place, |attempt| attempt.phase = Phase::Ending);
            }
            Reconcile::ReadOn => change(world, place, |attempt| {
                attempt.phase = towards(claim, attempt.fetched);
            }),
            Reconcile::CutBack if !passed => change(world, place, |attempt| {
                attempt.fetched = claim;
                attempt.phase = Phase::Ending;
            }),
            Reconcile::CutBack if self.rules == Rules::GoOnPastTheClaim => {
                change(world, place, |attempt| attempt.phase = Phase::Ending);
            }
            Reconcile::CutBack => {
                if attempt.after_claim {
                    world.broken.insert(Broken::RetryFailed);
                }
                if self.rules.is_one_process() {
                    world.broken.insert(Broken::FailedOverTheClaim);
                }
                world.attempts[place] = None;
            }
        }
        if attempt.early && world.attempts[place].is_some() {
            self.succeed(world, place);
        }
    }

    fn put(&self, world: &mut World, end: End) {
        match world.claim {
            Some(first) if self.rules == Rules::LastPutWins => {
                if first != end {
                    world.broken.insert(Broken::WrittenTwice);
                }
                world.claim = Some(end);
            }
            Some(_) => {}
            None => world.claim = Some(end),
        }
    }

    fn succeed(&self, world: &mut World, place: usize) {
        let Some(attempt) = world.attempts[place].take() else {
            return;
        };
        let (start, claim) = (world.start, world.claim);
        let nothing = attempt.delivered <= start.min(RECORDS);
        if claim.is_some_and(|claim| attempt.delivered > claim) {
            world.broken.insert(Broken::SucceededPastClaim);
        }
        if attempt.early {
            if claim.is_none() && !nothing {
                world.broken.insert(Broken::EndedUnclaimed);
            }
            world.part = world.part.max(attempt.delivered);
        } else {
            if claim != Some(attempt.fetched) {
                world.broken.insert(Broken::EndedUnclaimed);
            }
            if world.whole.is_some_and(|end| end != attempt.fetched) {
                world.broken.insert(Broken::DifferentRows);
            }
            world.whole = Some(attempt.fetched);
        }
        if world.report.is_none() && attempt.phase != Phase::Unread {
            world.report = claim;
        }
    }

    fn next_start(&self, world: &World, report: Option<End>) -> End {
        let at = |end: Option<End>| end.map(|end| self.numbers.position(end));
        let claim = world
            .claim
            .filter(|_| self.rules != Rules::RestartWithoutTheClaims);
        let start = self.numbers.position(world.start);
        self.numbers.end(stands_at(start, at(report), at(claim)))
    }

    /// Logs the next batch, which fixes the finished one, and checks the properties of the latter.
    fn log_next(&self, world: &mut World) {
        let Driver::Planned(next) = world.driver else {
            return;
        };
        if next < world.start {
            world.broken.insert(Broken::WentBack);
        }
        if world.whole.is_some_and(|end| next > end) {
            world.broken.insert(Broken::Lost);
        }
        if world.whole.is_some_and(|end| next < end) || next < world.part {
            world.broken.insert(if world.wiped {
                Broken::RepeatedAfterWipe
            } else {
                Broken::Repeated
            });
        }
        if next != world.start && world.report.is_none() && world.claim.is_none() {
            world.broken.insert(Broken::MovedUnclaimed);
        }
        *world = World {
            batch: world.batch + 1,
            start: next,
            wiped_before: world.wiped_before,
            broken: std::mem::take(&mut world.broken),
            ..World::new()
        };
    }
}

/// True if an attempt reads by its own rule or is about to claim, so that others wait.
fn anyone_decides(world: &World) -> bool {
    let decides =
        |attempt: &Attempt| matches!(attempt.phase, Phase::Unread | Phase::Reading | Phase::Claiming);
    world.attempts.iter().flatten().any(decides)
}

/// The phase of an attempt that is bound to the claim.
fn towards(claim: End, fetched: End) -> Phase {
    if fetched == claim {
        Phase::Ending
    } else {
        Phase::Bound(claim)
    }
}

fn fetch(attempt: &mut Attempt) {
    attempt.fetched += 1;
    attempt.phase = match attempt.phase {
        Phase::Bound(claim) => towards(claim, attempt.fetched),
        _ if attempt.fetched == SHARD_END => Phase::Claiming,
        _ => Phase::Reading,
    };
}

fn change(world: &mut World, place: usize, change: impl FnOnce(&mut Attempt)) {
    if let Some(attempt) = &mut world.attempts[place] {
        change(attempt);
    }
}

/// Marks the batch's attempts as unwanted. They go on until they notice.
fn forget_attempts(world: &mut World) {
    for place in 0..world.attempts.len() {
        change(world, place, |attempt| {
            attempt.wanted = false;
            attempt.after_claim = false;
            attempt.delivered = 0;
            attempt.early = false;
        });
        drop_unwanted(world, place);
    }
}

/// Removes an unwanted attempt that has no claim to put, since it makes no difference any more.
fn drop_unwanted(world: &mut World, place: usize) {
    let makes_no_difference =
        |attempt: &Attempt| !attempt.wanted && matches!(attempt.phase, Phase::Bound(_) | Phase::Ending);
    if world.attempts[place].as_ref().is_some_and(makes_no_difference) {
        world.attempts[place] = None;
    }
}
