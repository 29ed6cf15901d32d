//! What a test may turn: errors, delays, limits and ages. Nothing here waits for a clock unless asked to.

mod aimed;
mod oddities;
mod shards;
mod subscription_faults;
mod subscriptions;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::protocol::{ErrorCode, Operation};

pub(crate) use aimed::{Aim, Target};
pub use oddities::{Listing, ListingUpdate, StretchUpdate};
pub use shards::{ShardLimits, Trim};
pub(crate) use subscription_faults::{PlannedFault, WaitingFault};
pub use subscription_faults::{SubscriptionFault, SubscriptionFaultUpdate};
pub(crate) use subscriptions::SubscriptionSettings;
pub use subscriptions::SubscriptionUpdate;

/// How the service's iterators age.
pub(crate) const ITERATOR_MAX_AGE_MS: u64 = 300_000;

/// What happens to a call instead of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this error.
    Error(ErrorCode),
    /// The connection is closed without an answer (an HTTP/2 stream is reset).
    DropConnection,
}

impl Fault {
    /// Reads `drop`, or what [`ErrorCode::parse`] reads.
    pub fn parse(name: &str) -> Option<Fault> {
        if name == "drop" {
            Some(Fault::DropConnection)
        } else {
            ErrorCode::parse(name).map(Fault::Error)
        }
    }
}

/// Which calls, or which entries of PutRecords, a fault meets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// The next so many.
    Next(u64),
    /// This part of all, between 0 and 1, at random with the seed.
    Fraction(f64),
}

/// A change of knobs, as it is posted to `/sandbox/knobs`. What is absent stays as it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KnobUpdate {
    /// Forgets all faults (of calls, entries and subscriptions) before the rest is done. What was planned for a
    /// subscription that is open stays.
    pub clear_faults: bool,
    /// Seed of everything random.
    pub seed: Option<u64>,
    /// How old an iterator may grow. The service's is 300,000.
    pub iterator_max_age_ms: Option<u64>,
    /// How old a page token of ListShards or ListStreams may grow.
    pub next_token_max_age_ms: Option<u64>,
    /// Makes all iterators given so far expired.
    pub expire_iterators: bool,
    /// Added to the arrival time of records put from now on.
    pub arrival_offset_ms: Option<i64>,
    /// True: streams have AUTO record distribution, and records need no partition key.
    pub auto_distribution: Option<bool>,
    /// How long a stream is CREATING or UPDATING after a change, and a consumer CREATING or DELETING.
    pub transition_ms: Option<u64>,
    /// At most this many records in a GetRecords answer; 0 lifts the cap.
    pub max_records_per_get: Option<usize>,
    /// The next so many GetRecords answers are empty, with MillisBehindLatest above 0.
    pub empty_answers: Option<u64>,
    /// Limits of a shard's throughput: `true` for the service's, `false` for none, or an object with numbers.
    pub shard_limits: Option<LimitsUpdate>,
    /// Access key ids answered with UnrecognizedClientException; replaces the former list.
    pub rejected_keys: Option<BTreeSet<String>>,
    /// True: all callers are of another account than the streams, which they find by ARN only, as a resource policy lets
    /// them.
    pub foreign_callers: Option<bool>,
    /// The operations that access key ids may call; all others are answered with AccessDeniedException. Keys that are not
    /// named may call all. Replaces what was allowed before.
    pub allowed: Option<BTreeMap<String, BTreeSet<String>>>,
    /// Added to the service's clock: its answers' `Date`, and what it takes a request's time for. Requests more than five
    /// minutes off are refused, as the service does.
    pub clock_offset_ms: Option<i64>,
    /// Makes all connections that are open now half-open: nothing gets through any more. New ones work.
    pub darken_connections: bool,
    /// Milliseconds before an answer, by operation; 0 removes.
    pub delays: BTreeMap<String, u64>,
    /// Faults of calls, added to those there are.
    pub faults: Vec<FaultUpdate>,
    /// Faults of single entries of PutRecords, added to those there are.
    pub entry_faults: Vec<EntryFaultUpdate>,
    /// How subscriptions go.
    pub subscriptions: Option<SubscriptionUpdate>,
    /// Faults of subscriptions, added to those there are.
    pub subscription_faults: Vec<SubscriptionFaultUpdate>,
    /// Removes records.
    pub trim: Option<TrimUpdate>,
    /// Unlists a closed shard.
    pub forget: Option<ForgetUpdate>,
    /// Makes ListShards tell of an earlier time.
    pub listings: Vec<ListingUpdate>,
    /// Makes parts of shards that GetRecords leads through without records.
    pub stretches: Vec<StretchUpdate>,
}

/// See [`KnobUpdate::shard_limits`].
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub enum LimitsUpdate {
    /// The service's limits, or none.
    Switch(bool),
    /// These limits.
    Values(ShardLimits),
}

/// See [`KnobUpdate::faults`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultUpdate {
    /// The operation's name.
    pub operation: String,
    /// `throttle`, `internal`, `drop`, or an error's name on the wire.
    pub error: String,
    /// The next so many calls.
    pub count: Option<u64>,
    /// Or this part of all calls.
    pub fraction: Option<f64>,
    /// Only calls that concern this stream. A further page of a list, which only has its token, concerns none.
    pub stream: Option<String>,
    /// Only calls of GetShardIterator, GetRecords and SubscribeToShard that concern a shard of this id.
    pub shard: Option<String>,
}

/// See [`KnobUpdate::entry_faults`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryFaultUpdate {
    /// `throttle` or `internal`.
    pub error: String,
    /// The next so many entries.
    pub count: Option<u64>,
    /// Or this part of all entries.
    pub fraction: Option<f64>,
}

/// See [`KnobUpdate::trim`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrimUpdate {
    /// The stream's name.
    pub stream: String,
    /// One shard; all of them if absent.
    pub shard: Option<String>,
    /// `"all"`, `{"up_to": "<sequence number>"}` or `{"older_than_ms": n}`.
    pub records: Trim,
}

/// See [`KnobUpdate::forget`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetUpdate {
    /// The stream's name.
    pub stream: String,
    /// The shard's id.
    pub shard: String,
}

/// A knob that could not be turned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KnobError(pub String);

pub(crate) fn schedule(count: Option<u64>, fraction: Option<f64>) -> Result<Schedule, KnobError> {
    match (count, fraction) {
        (Some(n), None) => Ok(Schedule::Next(n)),
        (None, Some(p)) if (0.0..=1.0).contains(&p) => Ok(Schedule::Fraction(p)),
        (None, Some(p)) => Err(KnobError(format!("fraction {p} is not between 0 and 1"))),
        _ => Err(KnobError("a fault needs either count or fraction".into())),
    }
}

/// The values that a call reads, as they stood when it began.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Settings {
    pub iterator_max_age_ms: u64,
    pub next_token_max_age_ms: u64,
    /// Iterators of an earlier epoch are expired.
    pub iterator_epoch: u32,
    pub arrival_offset_ms: i64,
    pub auto_distribution: bool,
    pub transition_ms: u64,
    pub max_records_per_get: Option<usize>,
    pub empty_answers: u64,
    pub shard_limits: Option<ShardLimits>,
    pub rejected_keys: BTreeSet<String>,
    pub foreign_callers: bool,
    pub allowed: BTreeMap<String, BTreeSet<String>>,
    pub clock_offset_ms: i64,
    pub subscriptions: SubscriptionSettings,
    #[serde(skip)]
    pub delays: BTreeMap<Operation, u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            iterator_max_age_ms: ITERATOR_MAX_AGE_MS,
            next_token_max_age_ms: ITERATOR_MAX_AGE_MS,
            iterator_epoch: 0,
            arrival_offset_ms: 0,
            auto_distribution: false,
            transition_ms: 0,
            max_records_per_get: None,
            empty_answers: 0,
            shard_limits: None,
            rejected_keys: BTreeSet::new(),
            foreign_callers: false,
            allowed: BTreeMap::new(),
            clock_offset_ms: 0,
            subscriptions: SubscriptionSettings::default(),
            delays: BTreeMap::new(),
        }
    }
}

/// The knobs as they stand.
#[derive(Debug)]
pub(crate) struct Knobs {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    settings: Settings,
    faults: Vec<WaitingCallFault>,
    entry_faults: Vec<(ErrorCode, Schedule)>,
    subscription_faults: Vec<WaitingFault>,
    random: u64,
}

/// A fault that waits for its calls.
#[derive(Debug)]
struct WaitingCallFault {
    operation: Operation,
    aim: Aim,
    fault: Fault,
    schedule: Schedule,
}

impl State {
    /// Whether this schedule meets now.
    fn meets(random: &mut u64, schedule: &mut Schedule) -> bool {
        match schedule {
            Schedule::Next(0) => false,
            Schedule::Next(left) => {
                *left -= 1;
                true
            }
            Schedule::Fraction(p) => next_fraction(random) < *p,
        }
    }
}

/// splitmix64, as a number in 0..1: reproducible, and good enough to pick calls.
fn next_fraction(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

impl Knobs {
    pub fn new(settings: Settings, seed: u64) -> Knobs {
        let state = State {
            settings,
            faults: Vec::new(),
            entry_faults: Vec::new(),
            subscription_faults: Vec::new(),
            random: seed,
        };
        Knobs {
            state: Mutex::new(state),
        }
    }

    pub fn settings(&self) -> Settings {
        self.state.lock().settings.clone()
    }

    pub fn change(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.state.lock().settings);
    }

    /// Back to `settings`, without faults. Iterators given before stay expired if they were.
    pub fn reset(&self, settings: Settings, seed: u64) {
        let mut state = self.state.lock();
        let epoch = state.settings.iterator_epoch;
        *state = State {
            settings: Settings {
                iterator_epoch: epoch,
                ..settings
            },
            faults: Vec::new(),
            entry_faults: Vec::new(),
            subscription_faults: Vec::new(),
            random: seed,
        };
    }

    pub fn seed(&self, seed: u64) {
        self.state.lock().random = seed;
    }

    pub fn add_fault(&self, operation: Operation, aim: Aim, fault: Fault, schedule: Schedule) {
        let waiting = WaitingCallFault {
            operation,
            aim,
            fault,
            schedule,
        };
        self.state.lock().faults.push(waiting);
    }

    pub fn add_entry_fault(&self, code: ErrorCode, schedule: Schedule) {
        self.state.lock().entry_faults.push((code, schedule));
    }

    pub fn clear_faults(&self) {
        let mut state = self.state.lock();
        state.faults.clear();
        state.entry_faults.clear();
        state.subscription_faults.clear();
    }

    /// Whether a fault waits for some of this operation's calls, so that it matters what a call concerns.
    pub fn aims_at(&self, operation: Operation) -> bool {
        let state = self.state.lock();
        let mut faults = state.faults.iter();
        faults.any(|waiting| waiting.operation == operation && waiting.aim != Aim::default())
    }

    /// The fault that meets this call, if any; uses it up.
    pub fn fault(&self, operation: Operation, target: &Target) -> Option<Fault> {
        let State { faults, random, .. } = &mut *self.state.lock();
        faults.retain(|waiting| waiting.schedule != Schedule::Next(0));
        faults
            .iter_mut()
            .filter(|waiting| waiting.operation == operation && waiting.aim.meets(target))
            .find_map(|waiting| State::meets(random, &mut waiting.schedule).then_some(waiting.fault))
    }

    /// The faults that meet the next `count` entries of PutRecords; empty when no fault is set.
    pub fn entry_faults(&self, count: usize) -> Vec<Option<ErrorCode>> {
        let State {
            entry_faults, random, ..
        } = &mut *self.state.lock();
        entry_faults.retain(|(_, schedule)| *schedule != Schedule::Next(0));
        if entry_faults.is_empty() {
            return Vec::new();
        }
        let mut one = || {
            entry_faults
                .iter_mut()
                .find_map(|(code, schedule)| State::meets(random, schedule).then_some(*code))
        };
        (0..count).map(|_| one()).collect()
    }

    pub fn add_subscription_fault(&self, fault: WaitingFault) {
        self.state.lock().subscription_faults.push(fault);
    }

    /// The fault that meets a new subscription of this shard, if any; uses it up.
    pub fn subscription_fault(&self, stream: &str, shard: &str) -> Option<PlannedFault> {
        let State {
            subscription_faults,
            random,
            ..
        } = &mut *self.state.lock();
        subscription_faults.retain(|waiting| waiting.schedule != Schedule::Next(0));
        subscription_faults
            .iter_mut()
            .filter(|waiting| waiting.concerns(stream, shard))
            .find_map(|waiting| State::meets(random, &mut waiting.schedule).then_some(waiting.fault))
    }

    /// Whether a schedule meets now, beside those that wait here.
    pub fn meets(&self, schedule: &mut Schedule) -> bool {
        State::meets(&mut self.state.lock().random, schedule)
    }

    /// Whether this GetRecords answer is to be empty; uses it up.
    pub fn take_empty_answer(&self) -> bool {
        let settings = &mut self.state.lock().settings;
        let taken = settings.empty_answers > 0;
        settings.empty_answers -= u64::from(taken);
        taken
    }

    pub fn delay(&self, operation: Operation) -> Option<Duration> {
        self.state
            .lock()
            .settings
            .delays
            .get(&operation)
            .map(|ms| Duration::from_millis(*ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knobs() -> Knobs {
        Knobs::new(Settings::default(), 7)
    }

    #[test]
    fn next_calls_fail_and_then_no_more() {
        let knobs = knobs();
        let throttle = Fault::Error(ErrorCode::ProvisionedThroughputExceededException);
        let any = Target::default();
        let add = |fault, schedule| knobs.add_fault(Operation::GetRecords, Aim::default(), fault, schedule);
        add(throttle, Schedule::Next(2));
        add(Fault::DropConnection, Schedule::Next(1));
        assert_eq!(knobs.fault(Operation::PutRecords, &any), None);
        let met: Vec<_> = (0..4).map(|_| knobs.fault(Operation::GetRecords, &any)).collect();
        assert_eq!(
            met,
            [Some(throttle), Some(throttle), Some(Fault::DropConnection), None]
        );
    }

    #[test]
    fn a_fraction_is_about_that_and_the_same_for_a_seed() {
        let run = || {
            let knobs = knobs();
            knobs.add_entry_fault(ErrorCode::InternalFailure, Schedule::Fraction(0.25));
            knobs.entry_faults(4000)
        };
        let failed = run().iter().flatten().count();
        assert!((900..1100).contains(&failed), "{failed}");
        assert_eq!(run(), run());
    }

    #[test]
    fn an_update_refuses_what_it_does_not_know() {
        let parse = |text| serde_json::from_str::<KnobUpdate>(text);
        assert!(parse(r#"{"iterator_max_age": 5}"#).is_err());
        assert!(parse(r#"{"trim": {"stream": "s", "records": "some"}}"#).is_err());
        let update =
            parse(r#"{"trim": {"stream": "s", "records": {"older_than_ms": 5}}, "shard_limits": true}"#);
        let update = update.unwrap();
        assert_eq!(update.trim.unwrap().records, Trim::OlderThanMs(5));
        assert!(matches!(update.shard_limits, Some(LimitsUpdate::Switch(true))));
        assert!(schedule(Some(1), Some(0.5)).is_err());
        assert!(schedule(None, Some(1.5)).is_err());
    }
}
