//! Where a shard is to start, as a user or another connector's checkpoint gives it.

use std::fmt;

use super::SequenceNumber;

/// A start that was given for one shard. It becomes a [`super::Position`] once, when a query first starts, or when a
/// batch read is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenPosition {
    /// At the shard's tip as of the start.
    Latest,
    /// At the oldest record kept.
    TrimHorizon,
    /// At the first record that arrived then or later; milliseconds since the epoch.
    AtTimestamp(i64),
    /// At this record itself.
    At(SequenceNumber),
    /// At the record after this one.
    After(SequenceNumber),
    /// The shard was read to its end.
    ShardEnd,
}

impl GivenPosition {
    /// True if a record of the shard, or its end, was reached: what comes before it was delivered.
    pub(crate) fn is_past_a_record(&self) -> bool {
        matches!(self, Self::At(_) | Self::After(_) | Self::ShardEnd)
    }
}

impl fmt::Display for GivenPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("LATEST"),
            Self::TrimHorizon => f.write_str("TRIM_HORIZON"),
            Self::AtTimestamp(millis) => write!(f, "AT_TIMESTAMP {millis}"),
            Self::At(number) => write!(f, "AT_SEQUENCE_NUMBER {number}"),
            Self::After(number) => write!(f, "AFTER_SEQUENCE_NUMBER {number}"),
            Self::ShardEnd => f.write_str("SHARD_END"),
        }
    }
}
