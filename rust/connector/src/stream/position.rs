//! Positions in a shard, between which it is read.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// A shard's ID, such as `shardId-000000000000`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShardId(Arc<str>);

impl ShardId {
    /// The ID as the service writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ShardId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A record's sequence number: a decimal string that may exceed 128 bits. The order is by number, so by length first
/// and then by text; it is meaningful only within one shard and from a parent to its children.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SequenceNumber(Arc<str>);

impl SequenceNumber {
    /// The number as the service writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SequenceNumber {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let canonical = text == "0" || !text.starts_with('0');
        if text.is_empty() || !canonical || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("'{text}' is not a sequence number: a decimal number was expected"),
            ));
        }
        Ok(Self(text.into()))
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0
            .len()
            .cmp(&other.0.len())
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A position in a shard. There is no LATEST: it is converted to a time once, when a query first starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Position {
    /// The oldest retained record.
    TrimHorizon,
    /// The first record that arrived at this time or later, in milliseconds since the epoch.
    AtTimestamp(i64),
    /// The record after this one.
    After(SequenceNumber),
    /// The record after this one, which is known not to have arrived before this time (milliseconds since the epoch):
    /// a long stretch without records lies between them, and need not be read again.
    AfterQuiet(SequenceNumber, i64),
    /// The shard is closed and was read to its end.
    ShardEnd,
}

impl Position {
    /// The last record before the position; none before the first record to read, and at the shard's end.
    pub fn record(&self) -> Option<&SequenceNumber> {
        match self {
            Self::After(number) | Self::AfterQuiet(number, _) => Some(number),
            Self::TrimHorizon | Self::AtTimestamp(_) | Self::ShardEnd => None,
        }
    }

    /// True if the same records are before both positions, as far as this is known for positions of one batch: if
    /// they have no record, nothing was read before either.
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.record() == other.record() && (*self == Self::ShardEnd) == (*other == Self::ShardEnd)
    }

    /// This position, with the knowledge that the next record did not arrive before `millis`.
    #[must_use]
    pub fn not_before(&self, millis: i64) -> Self {
        match self {
            Self::TrimHorizon => Self::AtTimestamp(millis),
            Self::AtTimestamp(known) => Self::AtTimestamp(millis.max(*known)),
            Self::After(number) => Self::AfterQuiet(number.clone(), millis),
            Self::AfterQuiet(number, known) => Self::AfterQuiet(number.clone(), millis.max(*known)),
            Self::ShardEnd => Self::ShardEnd,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrimHorizon => f.write_str("TRIM_HORIZON"),
            Self::AtTimestamp(millis) => write!(f, "AT_TIMESTAMP {millis}"),
            Self::After(number) => write!(f, "AFTER {number}"),
            Self::AfterQuiet(number, millis) => write!(f, "AFTER {number} NOT_BEFORE {millis}"),
            Self::ShardEnd => f.write_str("SHARD_END"),
        }
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = match text.split_once(' ') {
            None if text == "TRIM_HORIZON" => Some(Self::TrimHorizon),
            None if text == "SHARD_END" => Some(Self::ShardEnd),
            Some(("AT_TIMESTAMP", millis)) => millis.parse().ok().map(Self::AtTimestamp),
            Some(("AFTER", rest)) => match rest.split_once(" NOT_BEFORE ") {
                None => rest.parse().ok().map(Self::After),
                Some((number, millis)) => number
                    .parse()
                    .ok()
                    .and_then(|number| Some(Self::AfterQuiet(number, millis.parse().ok()?))),
            },
            _ => None,
        };
        parsed.ok_or_else(|| {
            Error::new(
                ErrorKind::CorruptCheckpoint,
                format!(
                    "'{text}' is not a position: expected TRIM_HORIZON, AT_TIMESTAMP <millis>, \
                     AFTER <sequence number> [NOT_BEFORE <millis>] or SHARD_END"
                ),
            )
        })
    }
}

impl TryFrom<String> for Position {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Position> for String {
    fn from(position: Position) -> Self {
        position.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> SequenceNumber {
        text.parse().expect("sequence number")
    }

    #[test]
    fn sequence_numbers_order_as_numbers() {
        assert!(number("9") < number("10"));
        assert!(number("49590338271490256608559692538361571095921575989136588898") < number(&"9".repeat(60)));
        assert!(number("12") > number("11"));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "01", "-1", "1a", " 1"] {
            assert!(text.parse::<SequenceNumber>().is_err(), "{text}");
        }
    }

    #[test]
    fn positions_survive_their_text() {
        for position in [
            Position::TrimHorizon,
            Position::AtTimestamp(1_700_000_000_123),
            Position::After(number("42")),
            Position::AfterQuiet(number("42"), 1_700_000_000_123),
            Position::ShardEnd,
        ] {
            assert_eq!(
                position.to_string().parse::<Position>().expect("parses"),
                position
            );
        }
    }

    #[test]
    fn what_is_known_of_a_stretch_without_records_moves_no_record() {
        let after = Position::After(number("42"));
        let later = after.not_before(7);
        assert_eq!(later, Position::AfterQuiet(number("42"), 7));
        assert_eq!(later.not_before(5), later);
        assert!(after.is_same_place(&later) && !after.is_same_place(&Position::After(number("43"))));
        assert_eq!(Position::TrimHorizon.not_before(7), Position::AtTimestamp(7));
        assert_eq!(Position::AtTimestamp(9).not_before(7), Position::AtTimestamp(9));
        assert_eq!(Position::ShardEnd.not_before(7), Position::ShardEnd);
        assert!(!Position::ShardEnd.is_same_place(&Position::TrimHorizon));
    }

    #[test]
    fn a_position_that_cannot_be_read_is_an_error() {
        for text in [
            "LATEST",
            "AFTER",
            "AFTER x",
            "AFTER 5 NOT_BEFORE x",
            "AFTER 5 6",
            "AT_TIMESTAMP today",
            "",
        ] {
            let error = text.parse::<Position>().expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::CorruptCheckpoint, "{text}");
        }
    }
}
