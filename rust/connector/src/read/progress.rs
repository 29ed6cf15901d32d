//! Progress of a reader in a shard's part of a batch.

use super::lag::Lag;
use super::rows::SkippedAggregates;
use super::stretch::Stretch;
use super::task::{Backlog, PeerCallRate};
use crate::stream::Position;

/// Progress of a reader.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The end of what was fetched for the batch.
    pub position: Position,
    /// True once an answer was taken, with or without records, or the batch's wait for one timed out.
    pub fetched: bool,
    pub rows: u64,
    pub bytes: u64,
    /// Aggregates passed over. After a step back to a nearer claim, it still includes those after that claim.
    pub skipped: SkippedAggregates,
    /// What follows the position, as far as known.
    pub backlog: Backlog,
    /// Records expired before they were read, and the query continues without them.
    pub lost: bool,
    /// When the last record taken arrived, milliseconds since the epoch.
    pub last_arrival: Option<i64>,
    /// The task reads by a subscription.
    pub subscribed: bool,
    /// The task took over a subscription or prefetched pages from an earlier task.
    pub prefetch_hit: bool,
    /// Bytes that the subscription held when the task left it.
    pub buffered_bytes: u64,
    /// The answers since the last record.
    pub stretch: Stretch,
    /// The process's recent rate of GetRecords calls.
    pub asked: Option<PeerCallRate>,
    /// How far the rows are behind the shard's tip.
    pub lag: Option<Lag>,
    /// How far the last answer was behind the tip, delivered or not, in milliseconds.
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

    /// Advances the position through a stretch without records, as far as its answers prove.
    pub(super) fn get_through_stretch(&mut self) {
        if let Some(millis) = self.stretch.no_record_before() {
            self.position = self.position.not_before(millis);
        }
    }
}
