//! Answers of the SDK as the engine's own types.

use super::super::columns::{Encryption, RecordColumns};
use super::super::{Page, ShardFilter, ShardIterator};
use super::NEARLY_THE_SAME_TIME;
use crate::error::{Error, ErrorKind, Result};
use aws_sdk_kinesis::operation::RequestId;
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{
    EncryptionType, Record, ShardFilter as SdkShardFilter, ShardFilterType, ShardIteratorType,
};

/// Starting point of GetShardIterator.
pub(super) struct IteratorStart {
    pub(super) kind: ShardIteratorType,
    pub(super) number: Option<String>,
    pub(super) time: Option<DateTime>,
}

impl IteratorStart {
    pub(super) fn of(kind: ShardIteratorType) -> Self {
        Self {
            kind,
            number: None,
            time: None,
        }
    }

    /// True for a time that the service may refuse only because its clock hasn't reached it yet.
    pub(super) fn is_now(&self) -> bool {
        let recent = chrono::Utc::now() - NEARLY_THE_SAME_TIME;
        self.time
            .is_some_and(|time| millis(&time) >= recent.timestamp_millis())
    }
}

pub(super) fn sdk_filter(filter: ShardFilter) -> Result<Option<SdkShardFilter>> {
    let builder = SdkShardFilter::builder();
    let chosen = match filter {
        ShardFilter::All => return Ok(None),
        ShardFilter::Open => builder.r#type(ShardFilterType::AtLatest),
        ShardFilter::FromTimestamp(millis) => builder
            .r#type(ShardFilterType::FromTimestamp)
            .timestamp(DateTime::from_millis(millis)),
    };
    chosen.build().map(Some).map_err(|error| {
        Error::new(
            ErrorKind::Internal,
            format!("a shard filter can't be made: {error}"),
        )
    })
}

/// Converts an answer. `records` are its records if they were decoded separately.
pub(in crate::service) fn page(answer: GetRecordsOutput, records: Option<RecordColumns>) -> Result<Page> {
    Ok(Page {
        request_id: answer.request_id().map(str::to_owned),
        records: match records {
            Some(records) => records,
            None => columns(answer.records())?,
        },
        millis_behind_latest: answer.millis_behind_latest().map(|behind| behind.max(0)),
        child_shards: answer
            .child_shards()
            .iter()
            .map(|child| child.shard_id().into())
            .collect(),
        next: answer.next_shard_iterator.map(ShardIterator),
        service_millis: None,
    })
}

pub(in crate::service) fn columns(records: &[Record]) -> Result<RecordColumns> {
    let bytes = records.iter().map(|record| record.data().as_ref().len()).sum();
    let mut columns = RecordColumns::with_capacity(records.len(), bytes);
    for record in records {
        let arrival = record
            .approximate_arrival_timestamp()
            .map(millis)
            .unwrap_or_default();
        columns.push_with(
            record.data().as_ref(),
            record.partition_key(),
            record.sequence_number(),
            arrival,
        )?;
        match record.encryption_type() {
            Some(EncryptionType::None) => columns.set_encryption(Encryption::None),
            Some(EncryptionType::Kms) => columns.set_encryption(Encryption::Kms),
            _ => {}
        }
    }
    Ok(columns)
}

/// Milliseconds, rounded: the SDK's JSON parser reads a timestamp through an f64, whose fraction often falls just
/// below the exact millisecond.
pub(in crate::service) fn millis(time: &DateTime) -> i64 {
    let fraction = i64::from((time.subsec_nanos() + 500_000) / 1_000_000);
    time.secs().saturating_mul(1000).saturating_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_to_the_millisecond() {
        assert_eq!(millis(&DateTime::from_secs_and_nanos(5, 122_999_999)), 5_123);
        assert_eq!(millis(&DateTime::from_secs_and_nanos(5, 123_000_001)), 5_123);
        assert_eq!(millis(&DateTime::from_secs_and_nanos(5, 999_999_999)), 6_000);
    }
}
