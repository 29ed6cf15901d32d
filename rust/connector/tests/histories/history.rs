//! What may happen to a stream and to the query that reads it.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::stream::KEYS;

/// Executors that tasks run on.
pub const EXECUTORS: usize = 3;

/// A stream's and a query's life. What makes no sense at its place (a merge of a single shard) does nothing, so that any
/// part of a history is a history.
#[derive(Clone, Debug)]
pub struct History {
    pub shards: u8,
    pub page: usize,
    pub sparse: bool,
    /// Before the query starts.
    pub before: Vec<Step>,
    pub start: Start,
    pub steps: Vec<Step>,
    /// The rest is read with Trigger.AvailableNow.
    pub available_now: bool,
    /// By enhanced fan-out, if so.
    pub fan_out: Option<FanOut>,
}

/// How subscriptions go, and where tasks run.
#[derive(Clone, Debug)]
pub struct FanOut {
    /// What befalls one subscription after the other. One that lasts comes behind these, and then they come again.
    pub fates: Vec<Fate>,
    /// The executors that run one task after the other, over and over. The first of them is the driver, too.
    pub executors: Vec<usize>,
    /// How long a record takes to be pushed.
    pub push_millis: u64,
    /// Bytes that may wait in a subscription's buffer.
    pub room: u64,
    /// A restart is one of the query, in the same processes; otherwise all of them are new.
    pub processes_stay: bool,
}

/// What befalls a subscription.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Refused,
    /// It can't start at the position.
    Impossible,
    /// It ends after so many events, as after five minutes.
    Ends(u8),
    /// Its connection breaks.
    Breaks(u8),
    /// Its connection breaks, and nobody notices.
    FallsSilent(u8),
}

#[derive(Clone, Copy, Debug)]
pub enum Start {
    TrimHorizon,
    Latest,
    /// At the time after so many steps of those before.
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
    /// The query stops, the shards that closed first go, and it starts again.
    Expire,
    Restart,
    Wait {
        millis: u64,
    },
    /// The driver asks for a batch; if there is one, its tasks run, each as the reading in its turn says.
    Batch {
        readings: Vec<Reading>,
        crash: Crash,
    },
}

/// How a batch's task goes.
#[derive(Clone, Copy, Debug)]
pub enum Reading {
    Whole {
        limit: u64,
    },
    /// The driver misses the report.
    Unreported {
        limit: u64,
    },
    Twice {
        limits: [u64; 2],
    },
    /// Two attempts at the same time; one of them may fail over the claim, and is tried again. Not in one process.
    Raced {
        limits: [u64; 2],
    },
    /// Two attempts at the same time, consumed by one thread: the second's rows are taken when the first's have begun.
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

/// Whether the driver dies, and is started again, around a batch.
#[derive(Clone, Copy, Debug)]
pub enum Crash {
    Never,
    /// Before the batch is logged: it is planned again.
    BeforeTheBatch,
    /// Before its commit: it runs again.
    BeforeTheCommit,
    AfterTheCommit,
}

/// Histories of queries that read by GetRecords.
pub fn polled() -> impl Strategy<Value = History> {
    histories(Just(None))
}

/// Histories of queries that read by enhanced fan-out.
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
    )
}

fn histories(fan_out: impl Strategy<Value = Option<FanOut>>) -> impl Strategy<Value = History> {
    let start = prop_oneof![
        4 => Just(Start::TrimHorizon),
        1 => Just(Start::Latest),
        2 => (0..4_usize).prop_map(Start::AfterStep),
    ];
    let parts = (1..=3_u8, 1..=4_usize, any::<bool>(), vec(changes(), 0..6), start);
    let rest = (vec(steps(), 0..24), any::<bool>(), fan_out);
    (parts, rest).prop_map(|(parts, (steps, available_now, fan_out))| {
        let (shards, page, sparse, before, start) = parts;
        History {
            shards,
            page,
            sparse,
            before,
            start,
            steps,
            available_now,
            fan_out,
        }
    })
}

/// What happens to the stream.
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

fn steps() -> impl Strategy<Value = Step> {
    let crash = prop_oneof![
        5 => Just(Crash::Never),
        1 => Just(Crash::BeforeTheBatch),
        1 => Just(Crash::BeforeTheCommit),
        1 => Just(Crash::AfterTheCommit),
    ];
    prop_oneof![
        5 => changes(),
        1 => Just(Step::Restart),
        1 => (1..3_000_u64).prop_map(|millis| Step::Wait { millis }),
        5 => (vec(reading(), 1..4), crash).prop_map(|(readings, crash)| Step::Batch { readings, crash }),
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
