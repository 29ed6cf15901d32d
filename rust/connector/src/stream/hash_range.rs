//! The hash keys of a shard.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// A range of hash keys, both ends included. Its text is `<start>-<end>` in decimal, since JSON has no numbers that
/// large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HashRange {
    /// The first hash key.
    pub start: u128,
    /// The last hash key.
    pub end: u128,
}

impl HashRange {
    /// True if the range has all hash keys, like that of a stream's only shard.
    pub fn is_whole(self) -> bool {
        self.start == 0 && self.end == u128::MAX
    }

    /// True if the range has this hash key.
    pub fn contains(self, hash_key: u128) -> bool {
        (self.start..=self.end).contains(&hash_key)
    }
}

impl fmt::Display for HashRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

impl FromStr for HashRange {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.split_once('-')
            .and_then(|(start, end)| {
                Some(Self {
                    start: start.parse().ok()?,
                    end: end.parse().ok()?,
                })
            })
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidArgument,
                    format!("'{text}' is not a range of hash keys: <start>-<end> was expected"),
                )
            })
    }
}

impl TryFrom<String> for HashRange {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<HashRange> for String {
    fn from(range: HashRange) -> Self {
        range.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_survives_its_text() {
        for (start, end) in [(0, u128::MAX), (5, 5), (u128::MAX / 2 + 1, u128::MAX)] {
            let range = HashRange { start, end };
            assert_eq!(range.to_string().parse::<HashRange>().expect("parses"), range);
        }
        for text in ["", "1", "a-b", "1-", "-1-2"] {
            assert!(text.parse::<HashRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn both_ends_belong_to_it() {
        let range = HashRange { start: 3, end: 7 };
        assert_eq!(
            [2, 3, 7, 8].map(|key| range.contains(key)),
            [false, true, true, false]
        );
        assert!(!range.is_whole());
        assert!(
            HashRange {
                start: 0,
                end: u128::MAX
            }
            .is_whole()
        );
    }
}
