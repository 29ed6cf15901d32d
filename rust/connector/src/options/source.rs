//! The options of a read.

use std::time::Duration;

use super::access;
use super::parse::{self, Refusal};
use super::raw::{RawOptions, conflict, unsupported};
use super::table::{self as t, User};
use super::types::{
    Committer, ConsumerType, EndingPosition, ExtraColumn, MetadataOptions, Parsed, SourceOptions,
    StartingPosition,
};
use crate::error::Result;

/// The options of a streaming or a batch read.
pub(super) fn parse(raw: &RawOptions, user: User) -> Result<Parsed<SourceOptions>> {
    let mut warnings = raw.check_keys(user)?;
    let (stream, access) = access::stream_and_access(raw, &mut warnings)?;
    let client_retry = access::client_retry(raw, &mut warnings)?;
    let metadata = metadata(raw, &mut warnings)?;
    let starting_position = raw.required(&t::STARTING_POSITION, parse::starting_position)?;
    let ending_position = match user {
        User::BatchRead => Some(raw.required(&t::ENDING_POSITION, parse::ending_position)?),
        User::Source | User::Sink => None,
    };
    let options = SourceOptions {
        stream,
        access,
        consumer_type: match raw.word(&t::CONSUMER_TYPE)? {
            "SubscribeToShard" => ConsumerType::SubscribeToShard,
            _ => ConsumerType::GetRecords,
        },
        starting_position,
        ending_position,
        fail_on_data_loss: raw.flag(&t::FAIL_ON_DATA_LOSS)?,
        describe_shard_interval: raw.time(&t::DESCRIBE_SHARD_INTERVAL)?,
        max_fetch_records_per_shard: raw.number_or_default(&t::MAX_FETCH_RECORDS_PER_SHARD)?,
        max_fetch_bytes_per_shard: raw.number(&t::MAX_FETCH_BYTES_PER_SHARD)?,
        max_fetch_time_per_shard: raw.number(&t::MAX_FETCH_TIME_PER_SHARD)?.map(Duration::from_secs),
        records_per_fetch: raw.number_or_default(&t::RECORDS_PER_FETCH)?,
        fetch_interval: raw.millis(&t::FETCH_INTERVAL)?,
        client_retry,
        metadata,
        check_new_record_threads: raw.number_or_default(&t::CHECK_NEW_RECORD_THREADS)?,
        prefetch_max_bytes_per_shard: raw.number_or_default(&t::PREFETCH_BYTES_PER_SHARD)?,
        prefetch_max_bytes_per_executor: raw.number_or_default(&t::PREFETCH_BYTES_PER_EXECUTOR)?,
        extra_columns: raw.get(&t::EXTRA_COLUMNS, extra_columns)?.unwrap_or_default(),
    };
    raw.get(&t::CONSUMER_NAME, parse::resource_name)?;
    raw.get(&t::CONSUMER_ARN, parse::consumer_arn)?;
    raw.number(&t::SUBSCRIBE_TIMEOUT)?;
    raw.number(&t::SUBSCRIBE_MAX_RETRIES)?;

    check_range(&options, &mut warnings)?;
    refuse_unsupported(&options)?;
    raw.refuse_unsupported()?;
    Ok(Parsed { options, warnings })
}

fn metadata(raw: &RawOptions, warnings: &mut Vec<String>) -> Result<MetadataOptions> {
    let rows = [
        &t::METADATA_NUM_RETRIES,
        &t::METADATA_RETRY_INTERVAL,
        &t::METADATA_MAX_RETRY_INTERVAL,
    ];
    Ok(MetadataOptions {
        committer: match raw.word(&t::METADATA_COMMITTER_TYPE)? {
            "DYNAMODB" => Committer::DynamoDb,
            _ => Committer::Hdfs,
        },
        path: raw.text(&t::METADATA_PATH)?,
        retry: raw.retry(rows, warnings)?,
        min_batches_to_retain: raw.number_as(&t::MIN_BATCHES_TO_RETAIN)?,
        dynamodb_table: raw.get(&t::DYNAMODB_TABLE_NAME, |text| {
            parse::made_of(text, 3, 255, "_.-")
        })?,
        dynamodb_endpoint_url: raw
            .get(&t::DYNAMODB_ENDPOINT_URL, parse::endpoint)?
            .map(|endpoint| endpoint.url),
    })
}

fn extra_columns(text: &str) -> Result<Vec<ExtraColumn>, Refusal> {
    let mut columns = Vec::new();
    for name in text.split(',').map(str::trim) {
        let column = match name.to_ascii_lowercase().as_str() {
            "shardid" => ExtraColumn::ShardId,
            "subsequencenumber" => ExtraColumn::SubSequenceNumber,
            "explicithashkey" => ExtraColumn::ExplicitHashKey,
            "encryptiontype" => ExtraColumn::EncryptionType,
            _ => return Err(format!("{name:?} is not one of the columns")),
        };
        if columns.contains(&column) {
            return Err(format!("{name:?} is named twice"));
        }
        columns.push(column);
    }
    Ok(columns)
}

/// A batch read whose start is not before its end reads nothing.
fn check_range(options: &SourceOptions, warnings: &mut Vec<String>) -> Result<()> {
    match (options.starting_position, options.ending_position) {
        (
            StartingPosition::AtTimestamp { millis: start },
            Some(EndingPosition::AtTimestamp { millis: end }),
        ) if start >= end => Err(conflict(
            &t::ENDING_POSITION,
            format!(
                "{} is not after {}: nothing would be read",
                t::ENDING_POSITION.key,
                t::STARTING_POSITION.key
            ),
        )),
        (StartingPosition::Latest, Some(_)) => {
            warnings.push(format!(
                "a batch read from LATEST reads nothing: set {} to TRIM_HORIZON or AT_TIMESTAMP …",
                t::STARTING_POSITION.key
            ));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Values, of keys that are supported otherwise, that this version doesn't do.
fn refuse_unsupported(options: &SourceOptions) -> Result<()> {
    if options.consumer_type == ConsumerType::SubscribeToShard {
        return Err(unsupported(
            &t::CONSUMER_TYPE,
            &format!("{} SubscribeToShard", t::CONSUMER_TYPE.key),
            "use GetRecords, the default",
        ));
    }
    if options.metadata.committer == Committer::DynamoDb {
        return Err(unsupported(
            &t::METADATA_COMMITTER_TYPE,
            &format!("{} DYNAMODB", t::METADATA_COMMITTER_TYPE.key),
            "use HDFS, the default, which keeps the claims beneath the query's checkpointLocation",
        ));
    }
    if let Some((scheme, _)) = options
        .metadata
        .path
        .as_deref()
        .and_then(|path| path.split_once(':'))
        && ["s3", "s3a", "s3n"]
            .iter()
            .any(|s3| scheme.eq_ignore_ascii_case(s3))
    {
        return Err(unsupported(
            &t::METADATA_PATH,
            &format!(
                "{} with the scheme {}",
                t::METADATA_PATH.key,
                scheme.to_ascii_lowercase()
            ),
            "leave it out, or name a path of HDFS or of another Hadoop file system",
        ));
    }
    Ok(())
}
