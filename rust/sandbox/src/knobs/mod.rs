//! Knobs for tests: errors, delays, limits and ages. By default, nothing here waits for a clock.

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

/// Maximum age of the service's shard iterators.
pub(crate) const ITERATOR_MAX_AGE_MS: u64 = 300_000;

/// Replaces the response to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error response.
    Error(ErrorCode),
    /// Closes the connection without a response (over HTTP/2, resets the stream).
    DropConnection,
}

impl Fault {
    /// Parses `drop`, or a name that [`ErrorCode::parse`] accepts.
    pub fn parse(name: &str) -> Option<Fault> {
        if name == "drop" {
            Some(Fault::DropConnection)
        } else {
            ErrorCode::parse(name).map(Fault::Error)
        }
    }
}

/// Selects the calls, or the entries of PutRecords, that a fault affects.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// The next `n`.
    Next(u64),
    /// A random fraction between 0 and 1 of all, drawn with the seed.
    Fraction(f64),
}

/// Update of the knobs, as posted to `/sandbox/knobs`. Absent members leave their knobs unchanged.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KnobUpdate {
    /// Removes all faults (of calls, entries and subscriptions) before the rest of the update is applied. Faults
    /// already planned for an open subscription stay.
    pub clear_faults: bool,
    /// Seed of everything random.
    pub seed: Option<u64>,
    /// Maximum age of a shard iterator. The service's is 300,000.
    pub iterator_max_age_ms: Option<u64>,
    /// Maximum age of a page token of ListShards or ListStreams.
    pub next_token_max_age_ms: Option<u64>,
    /// Expires all iterators issued so far.
    pub expire_iterators: bool,
    /// Added to the arrival time of records put from now on.
    pub arrival_offset_ms: Option<i64>,
    /// True: streams have AUTO record distribution, and records need no partition key.
    pub auto_distribution: Option<bool>,
    /// Time that a stream is CREATING or UPDATING after a change, and a consumer CREATING or DELETING.
    pub transition_ms: Option<u64>,
    /// Maximum number of records in a GetRecords response; 0 lifts the cap.
    pub max_records_per_get: Option<usize>,
    /// Number of upcoming GetRecords responses that are empty, with MillisBehindLatest above 0.
    pub empty_answers: Option<u64>,
    /// Limits of a shard's throughput: `true` for the service's, `false` for none, or an object with numbers.
    pub shard_limits: Option<LimitsUpdate>,
    /// Access key ids whose requests get UnrecognizedClientException; replaces the previous list.
    pub rejected_keys: Option<BTreeSet<String>>,
    /// True: all callers belong to another account than the streams, and reach them by ARN only, as a resource policy
    /// allows.
    pub foreign_callers: Option<bool>,
    /// Operations that each access key id may call; all others get AccessDeniedException. Keys that are not listed
    /// may call all. Replaces the previous permissions.
    pub allowed: Option<BTreeMap<String, BTreeSet<String>>>,
    /// Offset added to the service's clock, which sets the `Date` of responses and checks the time of requests. As in
    /// the service, requests more than five minutes off are refused.
    pub clock_offset_ms: Option<i64>,
    /// Makes all currently open connections half-open: no bytes pass in either direction. New connections work.
    pub darken_connections: bool,
    /// Delay of each response in milliseconds, by operation; 0 removes it.
    pub delays: BTreeMap<String, u64>,
    /// Call faults, added to the existing ones.
    pub faults: Vec<FaultUpdate>,
    /// Faults of single PutRecords entries, added to the existing ones.
    pub entry_faults: Vec<EntryFaultUpdate>,
    /// Behaviour of subscriptions.
    pub subscriptions: Option<SubscriptionUpdate>,
    /// Subscription faults, added to the existing ones.
    pub subscription_faults: Vec<SubscriptionFaultUpdate>,
    /// Removes records.
    pub trim: Option<TrimUpdate>,
    /// Removes a closed shard from the lists.
    pub forget: Option<ForgetUpdate>,
    /// Makes ListShards show an earlier state.
    pub listings: Vec<ListingUpdate>,
    /// Adds stretches without records, through which GetRecords leads with empty responses.
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
    /// Affects this number of upcoming calls.
    pub count: Option<u64>,
    /// Alternatively, affects this fraction of all calls.
    pub fraction: Option<f64>,
    /// Restricts the fault to calls that concern this stream. A request for a further page of a list has only a
    /// token, and concerns no stream.
    pub stream: Option<String>,
    /// Restricts the fault to calls of GetShardIterator, GetRecords and SubscribeToShard for this shard id.
    pub shard: Option<String>,
}

/// See [`KnobUpdate::entry_faults`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryFaultUpdate {
    /// `throttle` or `internal`.
    pub error: String,
    /// Affects this number of upcoming entries.
    pub count: Option<u64>,
    /// Alternatively, affects this fraction of all entries.
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

/// An invalid knob update.
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

/// Snapshot of the knobs at the start of a call.
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

/// Current knobs and pending faults.
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

/// A call fault and the calls it is waiting for.
#[derive(Debug)]
struct WaitingCallFault {
    operation: Operation,
    aim: Aim,
    fault: Fault,
    schedule: Schedule,
}

impl State {
    /// Whether the schedule selects the current call or entry.
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

    /// Restores `settings` and removes all faults. Iterators that had expired stay expired.
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

    /// Whether a fault is pending for this operation, so that the caller has to determine the call's target.
    pub fn aims_at(&self, operation: Operation) -> bool {
        let state = self.state.lock();
        let mut faults = state.faults.iter();
        faults.any(|waiting| waiting.operation == operation && waiting.aim != Aim::default())
    }

    /// Takes the fault that affects this call, if any.
    pub fn fault(&self, operation: Operation, target: &Target) -> Option<Fault> {
        let State { faults, random, .. } = &mut *self.state.lock();
        faults.retain(|waiting| waiting.schedule != Schedule::Next(0));
        faults
            .iter_mut()
            .filter(|waiting| waiting.operation == operation && waiting.aim.meets(target))
            .find_map(|waiting| State::meets(random, &mut waiting.schedule).then_some(waiting.fault))
    }

    /// Takes the faults of the next `count` entries of PutRecords; empty when no fault is set.
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

    /// Takes the fault that affects a new subscription of this shard, if any.
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

    /// Whether a schedule kept by the caller selects the current subscription.
    pub fn meets(&self, schedule: &mut Schedule) -> bool {
        State::meets(&mut self.state.lock().random, schedule)
    }

    /// Whether this GetRecords response must be empty; uses up one of `empty_answers`.
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
