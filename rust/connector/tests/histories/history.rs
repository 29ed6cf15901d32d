//! Histories: random sequences of events for a stream and for the query that reads it.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Union;

use crate::stream::KEYS;

/// Number of executors that tasks run on.
pub const EXECUTORS: usize = 3;

/// Minimum time that one response covers in a stretch: readers begin a minute before the place they know, and the
/// driver follows a hundred responses.
const SHORTEST_SLICE: u64 = 5_000;

/// A history of a stream and a query. A step that is impossible at its place (a merge of a single shard) does
/// nothing, so that any part of a history is a valid history.
#[derive(Clone, Debug)]
pub struct History {
    pub shards: u8,
    /// Number of open shards up to which a batch reads all of them.
    pub few_shards: usize,
    pub ways: Ways,
    /// Steps before the query starts.
    pub before: Vec<Step>,
    pub start: Start,
    /// Time between two requests of a batch from the driver.
    pub trigger_millis: u64,
    /// `kinesis.maxFetchTimePerShardSec`
    pub fetch_secs: Option<u64>,
    pub steps: Vec<Step>,
    pub finish: Finish,
    /// Enhanced fan-out; `None` for polling.
    pub fan_out: Option<FanOut>,
}

/// Variations of the service's responses.
#[derive(Clone, Copy, Debug)]
pub struct Ways {
    /// Maximum number of records in one response.
    pub page: usize,
    /// Every other response of a shard is empty, even if more follows.
    pub sparse: bool,
    /// The response at a shard's end names its children.
    pub names_children: bool,
    /// Duration of a GetRecords call.
    pub answer_millis: u64,
    /// Time that one response covers at most: a longer time without records is a stretch of empty responses.
    pub slice_millis: Option<u64>,
}

impl Ways {
    pub fn slice(&self) -> Option<i64> {
        self.slice_millis.map(|millis| millis as i64)
    }
}

/// Reading of the rest of the stream after the last step.
#[derive(Clone, Copy, Debug)]
pub enum Finish {
    /// By a query that keeps running.
    Running,
    /// With Trigger.AvailableNow, while `puts` records are put during each batch.
    AvailableNow { puts: u8 },
    /// By runs of one batch each, as with Trigger.Once.
    Once,
    /// Not read: the stream is deleted and replaced by one of the same name with this number of shards.
    AnotherStream { shards: u8 },
}

/// An unusual but valid response.
#[derive(Clone, Copy, Debug)]
pub enum Odd {
    /// An existing shard is not found, once.
    NotFound { shard: u8, call: Call },
    /// A sequence number of the shard is refused, once.
    Refused { shard: u8 },
    /// This number of GetRecords calls is throttled, beyond all retries of their client.
    Throttled { calls: u8 },
    /// This number of listings shows the state before the last reshard.
    GoesBack { listings: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    GetShardIterator,
    GetRecords,
}

/// Behaviour of subscriptions, and the placement of tasks.
#[derive(Clone, Debug)]
pub struct FanOut {
    /// Fates of successive subscriptions. After the last fate, one subscription lasts, and then the fates repeat.
    pub fates: Vec<Fate>,
    /// Executors that run successive tasks, in a cycle. The first one is also the driver.
    pub executors: Vec<usize>,
    /// Delay of a record's push.
    pub push_millis: u64,
    /// Capacity of a subscription's buffer, in bytes.
    pub room: u64,
    /// A restart keeps the processes and restarts only the query; otherwise all processes are new.
    pub processes_stay: bool,
}

/// Fate of a subscription.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Refused,
    /// The subscription can't start at the position.
    Impossible,
    /// The subscription ends after this number of events, as it does after five minutes.
    Ends(u8),
    /// The connection breaks after this number of events.
    Breaks(u8),
    /// The connection breaks after this number of events, and nobody notices.
    FallsSilent(u8),
}

#[derive(Clone, Copy, Debug)]
pub enum Start {
    TrimHorizon,
    Latest,
    /// At the time after this number of the steps before the start.
    AfterStep(usize),
}

#[derive(Clone, Debug)]
pub enum Step {
    Put {
        key: u8,
        count: u8,
    },
    Split {
        shard: u8,
        shown: usize,
    },
    Merge {
        shard: u8,
        shown: usize,
    },
    Double,
    Halve,
    /// The query stops, the shards that closed first expire, and the query starts again.
    Expire,
    Restart,
    Wait {
        millis: u64,
    },
    /// Plans an odd response.
    Odd(Odd),
    /// The driver is asked for a batch; if there is one, its tasks run with the readings in turn. The readers are the
    /// first to get the odd response.
    Batch {
        readings: Vec<Reading>,
        crash: Crash,
        odd: Option<Odd>,
    },
}

/// Execution of a task.
#[derive(Clone, Copy, Debug)]
pub enum Reading {
    Whole {
        limit: u64,
    },
    /// The report does not reach the driver.
    Unreported {
        limit: u64,
    },
    Twice {
        limits: [u64; 2],
    },
    /// Two concurrent attempts in two processes; one of them may fail over the claim and is retried.
    Raced {
        limits: [u64; 2],
    },
    /// Two concurrent attempts consumed by one thread: the second's rows are read after the first's have begun.
    Nested {
        limits: [u64; 2],
    },
    FailedFirst {
        limits: [u64; 2],
    },
    ClosedEarly {
        limit: u64,
    },
    Unread,
}

/// Crash of the driver around a batch. It is started again.
#[derive(Clone, Copy, Debug)]
pub enum Crash {
    Never,
    /// Before the batch is logged, so that it is planned again.
    BeforeTheBatch,
    /// Before the batch is committed, so that it runs again.
    BeforeTheCommit,
    AfterTheCommit,
}

/// Frequency of each odd event in a history, relative to [`Weights::nothing`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Weights {
    pub nothing: u32,
    pub not_found: u32,
    pub refused: u32,
    pub throttled: u32,
    pub goes_back: u32,
    /// Stretches without records.
    pub stretches: u32,
    /// Trigger intervals of minutes and hours.
    pub triggers: u32,
    pub fetch_time: u32,
    pub available_now: u32,
    /// Runs with AvailableNow during which records arrive all the time.
    pub available_puts: u32,
    pub once: u32,
    pub another_stream: u32,
}

impl Weights {
    /// Parses changes to the default weights, such as `once=5 stretches=0`. A leading `only` sets all other odd
    /// weights to 0.
    pub fn parse(text: &str) -> Self {
        let mut weights = Self::polled();
        for part in text.split_whitespace() {
            if part == "only" {
                let nothing = weights.nothing;
                weights = Self {
                    nothing,
                    ..Self::default()
                };
                continue;
            }
            let (name, weight) = part.split_once('=').expect("name=weight");
            let weight = weight.parse().expect("a weight is a number");
            *weights.named(name) = weight;
        }
        weights
    }

    fn named(&mut self, name: &str) -> &mut u32 {
        match name {
            "nothing" => &mut self.nothing,
            "not_found" => &mut self.not_found,
            "refused" => &mut self.refused,
            "throttled" => &mut self.throttled,
            "goes_back" => &mut self.goes_back,
            "stretches" => &mut self.stretches,
            "triggers" => &mut self.triggers,
            "fetch_time" => &mut self.fetch_time,
            "available_now" => &mut self.available_now,
            "available_puts" => &mut self.available_puts,
            "once" => &mut self.once,
            "another_stream" => &mut self.another_stream,
            _ => panic!("there is no weight {name}"),
        }
    }

    pub fn polled() -> Self {
        Self {
            nothing: 10,
            not_found: 2,
            refused: 2,
            throttled: 0,
            goes_back: 2,
            stretches: 8,
            triggers: 6,
            fetch_time: 4,
            available_now: 10,
            available_puts: 3,
            once: 3,
            another_stream: 2,
        }
    }

    /// Weights for subscriptions, which have their own [`Fate`]s, and events in all the time that passes.
    fn pushed() -> Self {
        Self {
            not_found: 0,
            refused: 0,
            throttled: 0,
            stretches: 0,
            triggers: 0,
            fetch_time: 0,
            available_puts: 0,
            another_stream: 0,
            ..Self::polled()
        }
    }

    fn odd(self) -> BoxedStrategy<Option<Odd>> {
        let shard = any::<u8>;
        let call = prop_oneof![Just(Call::GetShardIterator), Just(Call::GetRecords)];
        let not_found = (shard(), call).prop_map(|(shard, call)| Some(Odd::NotFound { shard, call }));
        let refused = shard().prop_map(|shard| Some(Odd::Refused { shard }));
        let throttled = (1..12_u8).prop_map(|calls| Some(Odd::Throttled { calls }));
        let goes_back = (1..4_usize).prop_map(|listings| Some(Odd::GoesBack { listings }));
        weighted([
            (self.nothing * 3, Just(None).boxed()),
            (self.not_found, not_found.boxed()),
            (self.refused, refused.boxed()),
            (self.throttled, throttled.boxed()),
            (self.goes_back, goes_back.boxed()),
        ])
    }

    fn slices(self) -> BoxedStrategy<Option<u64>> {
        let slice = prop_oneof![1..12_u64, 1..4_u64].prop_map(Some);
        weighted([
            (self.nothing, Just(None).boxed()),
            (self.stretches, slice.boxed()),
        ])
    }

    fn trigger_millis(self) -> BoxedStrategy<u64> {
        let some = prop_oneof![1_000..20_000_u64, 60_000..600_000_u64, 600_000..40_000_000_u64];
        weighted([(self.nothing, Just(0).boxed()), (self.triggers, some.boxed())])
    }

    fn fetch_secs(self) -> BoxedStrategy<Option<u64>> {
        let some = (1..4_u64).prop_map(Some);
        weighted([
            (self.nothing, Just(None).boxed()),
            (self.fetch_time, some.boxed()),
        ])
    }

    fn finish(self) -> BoxedStrategy<Finish> {
        let available_now = Just(Finish::AvailableNow { puts: 0 });
        let with_puts = (1..12_u8).prop_map(|puts| Finish::AvailableNow { puts });
        let another = (1..4_u8).prop_map(|shards| Finish::AnotherStream { shards });
        weighted([
            (self.nothing, Just(Finish::Running).boxed()),
            (self.available_now, available_now.boxed()),
            (self.available_puts, with_puts.boxed()),
            (self.once, Just(Finish::Once).boxed()),
            (self.another_stream, another.boxed()),
        ])
    }
}

fn weighted<T: std::fmt::Debug + 'static>(
    choices: impl IntoIterator<Item = (u32, BoxedStrategy<T>)>,
) -> BoxedStrategy<T> {
    Union::new_weighted(choices.into_iter().filter(|(weight, _)| *weight > 0).collect()).boxed()
}

/// Histories of queries that poll with GetRecords.
pub fn polled(weights: Weights) -> impl Strategy<Value = History> {
    histories(Just(None), weights)
}

/// Histories of queries that use enhanced fan-out.
pub fn pushed() -> impl Strategy<Value = History> {
    let fate = prop_oneof![
        1 => Just(Fate::Refused),
        1 => Just(Fate::Impossible),
        3 => (1..6_u8).prop_map(Fate::Ends),
        3 => (0..6_u8).prop_map(Fate::Breaks),
        1 => (0..6_u8).prop_map(Fate::FallsSilent),
    ];
    let executors = prop_oneof![Just(vec![0]), vec(0..EXECUTORS, 1..6)];
    let room = prop_oneof![1..12_u64, Just(1_000_000)];
    let parts = (vec(fate, 0..5), executors, 0..300_u64, room, any::<bool>());
    histories(
        parts.prop_map(|(fates, executors, push_millis, room, processes_stay)| {
            Some(FanOut {
                fates,
                executors,
                push_millis,
                room,
                processes_stay,
            })
        }),
        Weights::pushed(),
    )
}

fn histories(
    fan_out: impl Strategy<Value = Option<FanOut>>,
    weights: Weights,
) -> impl Strategy<Value = History> {
    let start = prop_oneof![
        4 => Just(Start::TrimHorizon),
        1 => Just(Start::Latest),
        2 => (0..4_usize).prop_map(Start::AfterStep),
    ];
    let answer_millis = prop_oneof![3 => Just(0), 1 => 1..400_u64];
    let pace = (
        weights.trigger_millis(),
        weights.slices(),
        weights.fetch_secs(),
        answer_millis,
    );
    let ways = (1..=4_usize, any::<bool>(), prop::bool::weighted(0.8));
    // With many shards, some have a task in a batch of a busy stream and some don't.
    let shards = prop_oneof![60 => 1..=3_u8, 1 => 9..=11_u8];
    let shards = (shards, prop_oneof![2 => Just(0), 1 => Just(8)]);
    let parts = (shards, ways, pace, vec(changes(), 0..6), start);
    let rest = (vec(steps(weights), 0..24), weights.finish(), fan_out);
    (parts, rest).prop_map(|(parts, (steps, finish, fan_out))| {
        let ((shards, few_shards), (page, sparse, names_children), pace, before, start) = parts;
        let (trigger_millis, pieces, fetch_secs, answer_millis) = pace;
        let waits = steps.iter().map(|step| match step {
            Step::Wait { millis } => *millis,
            _ => 0,
        });
        // About `pieces` responses cover the longest wait, but none covers less than the shortest slice.
        let longest = waits.max().unwrap_or_default().max(trigger_millis).max(1_000);
        let slice_millis = pieces.map(|pieces| (longest / pieces).max(SHORTEST_SLICE));
        // Passing through a stretch must be much faster than time itself.
        let most_millis = slice_millis.map_or(answer_millis, |slice| slice / 100);
        let answer_millis = answer_millis.min(most_millis);
        History {
            shards,
            few_shards,
            ways: Ways {
                page,
                sparse,
                names_children,
                answer_millis,
                slice_millis,
            },
            before,
            start,
            trigger_millis,
            fetch_secs,
            steps,
            finish,
            fan_out,
        }
    })
}

/// Changes of the stream.
fn changes() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..KEYS, 1..6_u8).prop_map(|(key, count)| Step::Put { key, count }),
        3 => (any::<u8>(), 0..=2_usize).prop_map(|(shard, shown)| Step::Split { shard, shown }),
        3 => (any::<u8>(), 0..=1_usize).prop_map(|(shard, shown)| Step::Merge { shard, shown }),
        1 => Just(Step::Double),
        1 => Just(Step::Halve),
        1 => Just(Step::Expire),
    ]
}

fn steps(weights: Weights) -> impl Strategy<Value = Step> {
    let crash = prop_oneof![
        5 => Just(Crash::Never),
        1 => Just(Crash::BeforeTheBatch),
        1 => Just(Crash::BeforeTheCommit),
        1 => Just(Crash::AfterTheCommit),
    ];
    let long = weighted([
        (weights.nothing * 3, (1..3_000_u64).boxed()),
        (weights.stretches, (3_000..100_000_u64).boxed()),
        (weights.triggers, (3_000..9_000_000_u64).boxed()),
    ]);
    let odd = weights.odd().prop_map(|odd| odd.map_or(Step::Restart, Step::Odd));
    let batch = (vec(reading(), 1..4), crash, weights.odd());
    prop_oneof![
        5 => changes(),
        2 => odd,
        1 => long.prop_map(|millis| Step::Wait { millis }),
        5 => batch.prop_map(|(readings, crash, odd)| Step::Batch { readings, crash, odd }),
    ]
}

fn reading() -> impl Strategy<Value = Reading> {
    let limit = || 1..8_u64;
    let limits = || (1..8_u64, 1..8_u64).prop_map(|(left, right)| [left, right]);
    prop_oneof![
        6 => limit().prop_map(|limit| Reading::Whole { limit }),
        2 => limit().prop_map(|limit| Reading::Unreported { limit }),
        1 => limits().prop_map(|limits| Reading::Twice { limits }),
        2 => limits().prop_map(|limits| Reading::Raced { limits }),
        2 => limits().prop_map(|limits| Reading::Nested { limits }),
        1 => limits().prop_map(|limits| Reading::FailedFirst { limits }),
        1 => limit().prop_map(|limit| Reading::ClosedEarly { limit }),
        1 => Just(Reading::Unread),
    ]
}
