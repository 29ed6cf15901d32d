//! Starting positions, as used by GetShardIterator and SubscribeToShard.

use super::millis;
use crate::protocol::{ACCOUNT, ServiceError};
use crate::store::{Shard, ShardState, Stream, now_ms};

/// A starting position from a request.
pub(super) struct Position<'a> {
    pub operation: &'static str,
    pub kind: Member<'a>,
    pub sequence_number: Member<'a>,
    pub timestamp: Option<f64>,
}

/// A member of the request: its name, its path in error messages, and its value.
pub(super) struct Member<'a> {
    pub name: &'static str,
    pub path: &'static str,
    pub value: Option<&'a str>,
}

impl Position<'_> {
    /// Requires a type. This is checked before the stream is looked up.
    pub fn require_kind(&self) -> Result<&str, ServiceError> {
        self.kind
            .value
            .ok_or_else(|| ServiceError::missing(self.kind.path))
    }

    /// Index of the first record at this position.
    pub fn start(&self, stream: &Stream, shard: &Shard) -> Result<u64, ServiceError> {
        let kind = self.require_kind()?;
        let by_number = matches!(kind, "AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER");
        if self.sequence_number.value.is_some() && !by_number {
            return Err(ServiceError::invalid_argument(format!(
                "Request can not include both {} and a {} that does not use it.",
                self.sequence_number.name, self.kind.name
            )));
        }
        if self.timestamp.is_some() && kind != "AT_TIMESTAMP" {
            return Err(ServiceError::invalid_argument(format!(
                "Request can not include both Timestamp and a {} other than AT_TIMESTAMP.",
                self.kind.name
            )));
        }
        let state = shard.state();
        match kind {
            "TRIM_HORIZON" => Ok(state.first),
            "LATEST" => Ok(state.next()),
            "AT_SEQUENCE_NUMBER" => {
                let number = self.number()?;
                let index = shard.start_at(&state, number);
                index.ok_or_else(|| self.foreign(number, stream, shard))
            }
            "AFTER_SEQUENCE_NUMBER" => {
                let number = self.number()?;
                let index = shard.index_of(&state, number).map(|index| index + 1);
                index.ok_or_else(|| self.foreign(number, stream, shard))
            }
            "AT_TIMESTAMP" => self.at_timestamp(&state),
            other => {
                let values = "Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, \
                              AT_SEQUENCE_NUMBER, TRIM_HORIZON]";
                Err(ServiceError::constraint(other, self.kind.path, values))
            }
        }
    }

    /// Time at which reading starts: the part of a stretch before this time is skipped.
    pub fn time(&self, shard: &Shard) -> i64 {
        match self.kind.value {
            Some("LATEST") => now_ms(),
            Some("AT_TIMESTAMP") => self.timestamp.map_or(0, millis),
            Some("AT_SEQUENCE_NUMBER") => {
                let state = shard.state();
                let index = self.number().ok().and_then(|number| {
                    let index = shard.index_of(&state, number)?;
                    (shard.start_at(&state, number) == Some(index)).then_some(index)
                });
                let record =
                    index.and_then(|index| state.records.get(index.checked_sub(state.first)? as usize));
                record.map_or(0, |record| record.arrival_ms)
            }
            _ => 0,
        }
    }

    fn at_timestamp(&self, state: &ShardState) -> Result<u64, ServiceError> {
        let at = self.timestamp.map(millis).ok_or_else(|| {
            ServiceError::invalid_argument(format!(
                "Must either specify timestamp or a {} other than AT_TIMESTAMP.",
                self.kind.name
            ))
        })?;
        if at > now_ms() {
            return Err(ServiceError::invalid_argument(
                "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis.",
            ));
        }
        Ok(state.first_arrived(at))
    }

    fn number(&self) -> Result<&str, ServiceError> {
        let number = self.sequence_number.value.ok_or_else(|| {
            ServiceError::invalid_argument(format!(
                "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER with a {} \
                 or (2) TRIM_HORIZON, LATEST or AT_TIMESTAMP without it.",
                self.sequence_number.name
            ))
        })?;
        if number != "0"
            && (number.is_empty() || number.starts_with('0') || !number.bytes().all(|b| b.is_ascii_digit()))
        {
            let pattern = "Member must satisfy regular expression pattern: 0|([1-9]\\d{0,128})";
            return Err(ServiceError::constraint(
                number,
                self.sequence_number.path,
                pattern,
            ));
        }
        Ok(number)
    }

    fn foreign(&self, number: &str, stream: &Stream, shard: &Shard) -> ServiceError {
        ServiceError::invalid_argument(format!(
            "{} {number} used in {} on shard {} in stream {} under account {ACCOUNT} is invalid because it did not \
             come from this shard.",
            self.sequence_number.name, self.operation, shard.id, stream.name
        ))
    }
}
