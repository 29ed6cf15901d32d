//! The start of a shard as a user or another connector's checkpoint gives it.

use std::fmt;

use super::SequenceNumber;

/// A start given for one shard. It becomes a [`super::Position`] once: when a query first starts, or when a batch
/// read is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenPosition {
    /// The shard's tip at the time of the start.
    Latest,
    /// The oldest retained record.
    TrimHorizon,
    /// The first record that arrived at this time or later, in milliseconds since the epoch.
    AtTimestamp(i64),
    /// This record itself.
    At(SequenceNumber),
    /// The record after this one.
    After(SequenceNumber),
    /// The shard was read to its end.
    ShardEnd,
}

impl GivenPosition {
    /// True if reading has reached a record or the shard's end: earlier records were delivered.
    pub(crate) fn is_past_a_record(&self) -> bool {
        matches!(self, Self::At(_) | Self::After(_) | Self::ShardEnd)
    }

    /// The record at or before the position.
    pub(crate) fn number(&self) -> Option<&SequenceNumber> {
        match self {
            Self::At(number) | Self::After(number) => Some(number),
            _ => None,
        }
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
