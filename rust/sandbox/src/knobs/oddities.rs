//! Answers that are true and odd: a list that is behind its stream, a part of a shard without records.

use serde::{Deserialize, Serialize};

/// How ListShards shows a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listing {
    /// Without the shards that the last reshard made: their parents are closed, and nothing follows them.
    WithoutNewest,
    /// As before the last reshard: without the shards that it made, and with their parents open.
    BeforeReshard,
}

/// See [`KnobUpdate::listings`](super::KnobUpdate::listings). Replaces the stream's former one. Further pages of a list
/// tell what its first one did; other operations tell how things are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListingUpdate {
    /// The stream's name.
    pub stream: String,
    /// `"without_newest"` or `"before_reshard"`.
    pub show: Listing,
    /// In the next so many lists; 0 ends it.
    pub count: Option<u64>,
    /// Or in all lists of so many milliseconds from now on.
    pub for_ms: Option<u64>,
}

/// See [`KnobUpdate::stretches`](super::KnobUpdate::stretches). It stays as long as its stream does. Subscriptions know
/// nothing of it.
///
/// Without `after`, every iterator that GetShardIterator gives, but one at LATEST, first leads through so many empty
/// answers, whatever its position; MillisBehindLatest falls by a second with each.
///
/// With `after` the stretch has a place: the time between the arrival of that record and of the next one, or now if there
/// is none. Iterators go through it as through time: an answer is a part of it, and its MillisBehindLatest tells how long
/// ago the answer's end is. One that begins at a time inside the stretch goes through the rest only, one that is made
/// behind the record through all of it, again and again.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StretchUpdate {
    /// The stream's name.
    pub stream: String,
    /// The shard's id.
    pub shard: String,
    /// How many answers lead from its begin to its end; 0 takes the stretch away.
    pub answers: u32,
    /// The sequence number of the record before it, or the shard's StartingSequenceNumber: then it begins with the shard.
    /// The time has at least a millisecond for each answer: arrivals are shifted by `arrival_offset_ms`.
    pub after: Option<String>,
}
