//! Splits KPL aggregates into user records, and handles those that can't be delivered as they are.

use std::collections::HashSet;

use bytes::Bytes;
use kinesis_aggregation::{Decoded, UserRecord, decode, has_magic};

use crate::error::{Error, ErrorKind, Result};
use crate::options::{AggregationOptions, BrokenAggregate, OutsideShard};
use crate::service::RecordColumns;
use crate::stream::HashRange;

/// Content of a Kinesis record.
#[derive(Debug)]
pub(super) enum Content {
    /// The user's own data.
    Plain,
    /// The user records of an aggregate.
    Users(Vec<UserRecord>),
    /// An aggregate that is left out; the text identifies it and gives the reason.
    Skipped(String),
}

/// Treatment of a shard's aggregates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aggregates {
    options: AggregationOptions,
    /// Hash key range that user records must be in; none if any will do.
    range: Option<HashRange>,
}

impl Aggregates {
    /// `range` is the shard's; if it is unknown, every aggregate counts as inside.
    pub(super) fn new(options: AggregationOptions, range: Option<HashRange>) -> Self {
        let asked = options.outside_shard != OutsideShard::Deliver;
        Self {
            options,
            range: range.filter(|range| asked && !range.is_whole()),
        }
    }

    /// Decodes a record.
    pub(super) fn open(&self, records: &RecordColumns, row: usize) -> Result<Content> {
        let data = records.data(row);
        if !has_magic(data) {
            return Ok(Content::Plain);
        }
        match decode(&Bytes::copy_from_slice(data)) {
            Ok(Decoded::Plain) => Ok(Content::Plain),
            Ok(Decoded::Aggregate(users)) => match self.stranger(&users) {
                None => Ok(Content::Users(users)),
                Some(why) => self.outside(records.sequence_number(row), &why),
            },
            Err(error) => self.broken(records.sequence_number(row), &error.to_string()),
        }
    }

    /// Why the aggregate isn't the shard's; none if it is. A single user record decides, as in the KCL
    /// (`AggregatorUtil`).
    fn stranger(&self, users: &[UserRecord]) -> Option<String> {
        let range = self.range?;
        let is_strange =
            |user: &UserRecord| !user.hash_key().is_some_and(|hash_key| range.contains(hash_key));
        // User records share the keys in the aggregate's table: hash each key once.
        let mut hashed = HashSet::new();
        let stranger = users.iter().find(|user| match user.explicit_hash_key {
            None => hashed.insert(user.partition_key.as_ptr()) && is_strange(user),
            Some(_) => is_strange(user),
        })?;
        let hash_key = stranger
            .hash_key()
            .map_or_else(|| "no number of 128 bits".to_owned(), |key| key.to_string());
        Some(format!(
            "the hash key of its user record {} is {hash_key}, and the shard takes {range}",
            stranger.sub_sequence
        ))
    }

    fn outside(&self, number: &str, why: &str) -> Result<Content> {
        if self.options.outside_shard != OutsideShard::Fail {
            return Ok(skipped(number, why));
        }
        Err(Error::new(
            ErrorKind::MalformedRecord,
            format!(
                "the KPL aggregate with sequence number {number} is not its shard's: {why}. Its producer didn't notice \
                 a reshard, and then puts its records again, or it puts any keys into one aggregate, and then doesn't. \
                 Set kinesis.aggregation.outsideShard to DELIVER, or, in the first case only, to SKIP"
            ),
        ))
    }

    fn broken(&self, number: &str, why: &str) -> Result<Content> {
        if self.options.broken == BrokenAggregate::Skip {
            return Ok(skipped(number, why));
        }
        Err(Error::new(
            ErrorKind::MalformedRecord,
            format!(
                "the KPL aggregate with sequence number {number} can't be taken apart: {why}. Its producer wrote it \
                 wrongly. To go on without its records set kinesis.aggregation.broken to SKIP"
            ),
        ))
    }
}

fn skipped(number: &str, why: &str) -> Content {
    Content::Skipped(format!("sequence number {number}, since {why}"))
}
