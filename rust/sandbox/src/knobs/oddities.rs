//! Valid but unusual responses: a list that lags behind its stream, a part of a shard without records.

use serde::{Deserialize, Serialize};

/// Earlier state of a stream that ListShards shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listing {
    /// Omits the shards created by the last reshard: their parents are closed and have no children.
    WithoutNewest,
    /// The state before the last reshard: without the shards it created, and with their parents open.
    BeforeReshard,
}

/// See [`KnobUpdate::listings`](super::KnobUpdate::listings). Replaces the stream's previous listing. Further pages
/// of a list are consistent with its first page; other operations show the actual state.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListingUpdate {
    /// The stream's name.
    pub stream: String,
    /// `"without_newest"` or `"before_reshard"`.
    pub show: Listing,
    /// Applies to this number of upcoming lists; 0 ends it.
    pub count: Option<u64>,
    /// Alternatively, applies to all lists during this many milliseconds from now.
    pub for_ms: Option<u64>,
}

/// See [`KnobUpdate::stretches`](super::KnobUpdate::stretches). A stretch lasts as long as its stream. It does not
/// affect subscriptions.
///
/// Without `after`, every iterator from GetShardIterator, except at LATEST, first returns this many empty responses,
/// whatever its position; MillisBehindLatest falls by a second with each.
///
/// With `after`, the stretch has a place: the time between the arrival of that record and of the next one, or now if
/// there is none. Iterators advance through this time: each response covers a part of it, and MillisBehindLatest is
/// the age of that part's end. An iterator for a time inside the stretch passes through the rest only; one created
/// before the stretch passes through all of it, every time.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StretchUpdate {
    /// The stream's name.
    pub stream: String,
    /// The shard's id.
    pub shard: String,
    /// Number of responses from the stretch's start to its end; 0 removes the stretch.
    pub answers: u32,
    /// Sequence number of the record before the stretch, or the shard's StartingSequenceNumber for a stretch at the
    /// start of the shard. The time must have at least a millisecond for each response: shift arrivals with
    /// `arrival_offset_ms`.
    pub after: Option<String>,
}
