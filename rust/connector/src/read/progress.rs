//! How far the reading of a shard's part of a batch has come.

use super::lag::Lag;
use super::rows::SkippedAggregates;
use super::stretch::Stretch;
use super::task::{Backlog, PeerCallRate};
use crate::stream::Position;

/// How far a reader has come.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The end of what was fetched for the batch.
    pub position: Position,
    /// True once an answer was taken, records or none, or the batch waited for one as long as it may.
    pub fetched: bool,
    pub rows: u64,
    pub bytes: u64,
    /// Aggregates passed over. After a step back to a nearer claim, those after it too.
    pub skipped: SkippedAggregates,
    /// What is known to follow the position.
    pub backlog: Backlog,
    /// Records expired before they were read, and the query goes on without them.
    pub lost: bool,
    /// When the last record taken arrived, milliseconds since the epoch.
    pub last_arrival: Option<i64>,
    /// The task reads by a subscription.
    pub subscribed: bool,
    /// It took over a subscription, or what was fetched ahead, from an earlier task.
    pub prefetch_hit: bool,
    /// What that subscription held when the task left it.
    pub buffered_bytes: u64,
    /// What the answers since the last record tell.
    pub stretch: Stretch,
    /// How often the process asked for records lately.
    pub asked: Option<PeerCallRate>,
    /// How far the rows are behind the shard's tip.
    pub lag: Option<Lag>,
    /// How far the last answer was, delivered or not.
    pub fetched_behind: Option<i64>,
    /// The batch's end, once it is sure.
    pub claimed: Option<Position>,
}

impl Progress {
    pub(crate) fn at(position: Position) -> Self {
        Self {
            position,
            fetched: false,
            rows: 0,
            bytes: 0,
            skipped: SkippedAggregates::default(),
            backlog: Backlog::Unknown,
            lost: false,
            last_arrival: None,
            subscribed: false,
            prefetch_hit: false,
            buffered_bytes: 0,
            stretch: Stretch::default(),
            asked: None,
            lag: None,
            fetched_behind: None,
            claimed: None,
        }
    }

    /// Moves the position on in a stretch without records, as far as its answers prove.
    pub(super) fn get_through_stretch(&mut self) {
        if let Some(millis) = self.stretch.no_record_before() {
            self.position = self.position.not_before(millis);
        }
    }
}
