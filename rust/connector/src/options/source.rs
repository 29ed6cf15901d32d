//! The options of a read.

use std::collections::BTreeMap;
use std::time::Duration;

use super::S3Location;
use super::access;
use super::parse::{self, Refusal};
use super::raw::{RawOptions, conflict};
use super::spec::{OptionSpec, User};
use super::table as t;
use super::types::{
    AccessOptions, AggregationOptions, BrokenAggregate, Committer, ConsumerChoice, ConsumerType,
    EndingPosition, ExtraColumn, MetadataOptions, OutsideShard, Parsed, S3Puts, SourceOptions,
    StartingPosition, WireProtocol,
};
use crate::error::Result;
use crate::stream::{GivenPosition, ShardId};

/// Parses the options of a streaming or a batch read.
pub(super) fn parse(raw: &RawOptions, user: User) -> Result<Parsed<SourceOptions>> {
    let mut warnings = raw.check_keys(user)?;
    let (stream, access) = access::stream_and_access(raw, user, None, &mut warnings)?;
    let client_retry = access::client_retry(raw, &mut warnings)?;
    let metadata = metadata(raw, &access, &mut warnings)?;
    let starting_position = match user {
        // As with Spark's Kafka source: a batch reads everything by default.
        User::BatchRead if !raw.has(&t::STARTING_POSITION) => StartingPosition::TrimHorizon,
        _ => raw.required(&t::STARTING_POSITION, parse::starting_position)?,
    };
    let starting_positions = starting_positions(raw, user, &stream.name)?;
    let import_checkpoint = import_checkpoint(raw, user)?;
    let ending_position = match user {
        User::BatchRead => Some(raw.required(&t::ENDING_POSITION, parse::ending_position)?),
        User::Source | User::Sink => None,
    };
    let consumer_type = match raw.word(&t::CONSUMER_TYPE)? {
        "SubscribeToShard" => ConsumerType::SubscribeToShard,
        _ => ConsumerType::GetRecords,
    };
    let options = SourceOptions {
        stream,
        access,
        consumer_type,
        consumer: consumer(raw, consumer_type, user, &mut warnings)?,
        subscribe_timeout: Duration::from_secs(raw.number_or_default(&t::SUBSCRIBE_TIMEOUT)?),
        subscribe_max_retries: raw.number_or_default(&t::SUBSCRIBE_MAX_RETRIES)?,
        starting_position,
        starting_position_given: raw.has(&t::STARTING_POSITION),
        starting_positions,
        import_checkpoint,
        ending_position,
        fail_on_data_loss: raw.flag(&t::FAIL_ON_DATA_LOSS)?,
        describe_shard_interval: raw.time(&t::DESCRIBE_SHARD_INTERVAL)?,
        max_fetch_records_per_shard: raw.number_or_default(&t::MAX_FETCH_RECORDS_PER_SHARD)?,
        max_fetch_bytes_per_shard: raw.number(&t::MAX_FETCH_BYTES_PER_SHARD)?,
        max_fetch_time_per_shard: raw.number(&t::MAX_FETCH_TIME_PER_SHARD)?.map(Duration::from_secs),
        records_per_fetch: raw.number_or_default(&t::RECORDS_PER_FETCH)?,
        fetch_interval: raw.millis(&t::FETCH_INTERVAL)?,
        protocol: match raw.word(&t::PROTOCOL)? {
            "cbor" => WireProtocol::Cbor,
            _ => WireProtocol::Json,
        },
        client_retry,
        metadata,
        shards_per_task: raw.number_or_default(&t::SHARDS_PER_TASK)?,
        check_new_record_threads: raw.number_or_default(&t::CHECK_NEW_RECORD_THREADS)?,
        prefetch_max_bytes_per_shard: raw.number_or_default(&t::PREFETCH_BYTES_PER_SHARD)?,
        prefetch_max_bytes_per_executor: raw.number_or_default(&t::PREFETCH_BYTES_PER_EXECUTOR)?,
        extra_columns: raw.get(&t::EXTRA_COLUMNS, extra_columns)?.unwrap_or_default(),
        aggregation: aggregation(raw)?,
    };

    check_store(raw, &options.metadata, &mut warnings)?;
    check_range(&options)?;
    Ok(Parsed { options, warnings })
}

/// The starts of single shards of the stream.
fn starting_positions(
    raw: &RawOptions,
    user: User,
    stream: &str,
) -> Result<BTreeMap<ShardId, GivenPosition>> {
    let spec = &t::STARTING_POSITIONS;
    let Some((named, shards)) = raw.get(spec, parse::starting_positions)? else {
        return Ok(BTreeMap::new());
    };
    if let Some(named) = named.filter(|named| named != stream) {
        return Err(conflict(
            spec,
            format!(
                "{} has the positions of the stream {named}, but {stream} is read: give those of {stream}",
                spec.key
            ),
        ));
    }
    let latest = shards.iter().find(|(_, at)| **at == GivenPosition::Latest);
    if let (User::BatchRead, Some((shard, _))) = (user, latest) {
        return Err(conflict(
            spec,
            format!(
                "{} has {shard} at LATEST: a batch read would read nothing of it. Give it SHARD_END to leave it out",
                spec.key
            ),
        ));
    }
    Ok(shards)
}

/// The checkpoint to continue from, which has the starts of all shards.
fn import_checkpoint(raw: &RawOptions, user: User) -> Result<Option<String>> {
    let spec = &t::IMPORT_CHECKPOINT;
    let path = raw.text(spec)?.filter(|_| user == User::Source);
    if path.is_some() && raw.has(&t::STARTING_POSITIONS) {
        return Err(conflict(
            spec,
            format!(
                "{} and {} both say where shards start: remove one of them",
                spec.key,
                t::STARTING_POSITIONS.key
            ),
        ));
    }
    Ok(path.map(|path| path.trim_end_matches('/').to_owned()))
}

fn metadata(raw: &RawOptions, access: &AccessOptions, warnings: &mut Vec<String>) -> Result<MetadataOptions> {
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
        path: raw.get(&t::METADATA_PATH, metadata_path)?,
        retry: raw.retry(rows, warnings)?,
        min_batches_to_retain: raw.number_as(&t::MIN_BATCHES_TO_RETAIN)?,
        region: match raw.get(&t::REGION, parse::region)? {
            Some(region) => Some(region),
            None if raw.has(&t::KINESIS_REGION) => None,
            None => access.region.clone(),
        },
        dynamodb_table: raw.get(&t::DYNAMODB_TABLE_NAME, |text| {
            parse::made_of(text, 3, 255, "_.-")
        })?,
        dynamodb_endpoint_url: raw
            .get(&t::DYNAMODB_ENDPOINT_URL, parse::endpoint)?
            .map(|endpoint| endpoint.url),
        s3_endpoint_url: raw
            .get(&t::S3_ENDPOINT_URL, parse::endpoint)?
            .map(|endpoint| endpoint.url),
        s3_puts: s3_puts(raw)?,
    })
}

fn s3_puts(raw: &RawOptions) -> Result<S3Puts> {
    let puts = S3Puts {
        encryption: raw.optional_word(&t::S3_ENCRYPTION)?,
        kms_key_id: raw.get(&t::S3_KMS_KEY_ID, parse::no_white_space)?,
        acl: raw.optional_word(&t::S3_ACL)?,
    };
    if puts.kms_key_id.is_some() && !puts.encryption.is_some_and(|word| word.starts_with("aws:kms")) {
        return Err(conflict(
            &t::S3_KMS_KEY_ID,
            format!(
                "{} is given without {} aws:kms or aws:kms:dsse: set that too, or remove it",
                t::S3_KMS_KEY_ID.key,
                t::S3_ENCRYPTION.key
            ),
        ));
    }
    Ok(puts)
}

/// The consumer of enhanced fan-out; its options have no effect without it.
fn consumer(
    raw: &RawOptions,
    consumer_type: ConsumerType,
    user: User,
    warnings: &mut Vec<String>,
) -> Result<Option<ConsumerChoice>> {
    let name = raw.get(&t::CONSUMER_NAME, parse::resource_name)?;
    let arn = raw.get(&t::CONSUMER_ARN, parse::consumer_arn)?;
    let fan_out = format!("{} SubscribeToShard", t::CONSUMER_TYPE.key);
    if consumer_type == ConsumerType::GetRecords {
        for spec in [
            &t::CONSUMER_NAME,
            &t::CONSUMER_ARN,
            &t::SUBSCRIBE_TIMEOUT,
            &t::SUBSCRIBE_MAX_RETRIES,
        ] {
            if raw.has(spec) {
                warnings.push(format!("{} has no effect: it belongs to {fan_out}", spec.key));
            }
        }
        return Ok(None);
    }
    if user == User::BatchRead {
        return Err(conflict(
            &t::CONSUMER_TYPE,
            format!(
                "{fan_out} is for streaming queries: a batch read is over before a subscription would pay off. \
                 Read with GetRecords, the default"
            ),
        ));
    }
    match (name, arn) {
        (Some(_), Some(_)) => Err(conflict(
            &t::CONSUMER_ARN,
            format!(
                "{} and {} both name a consumer: remove one of them",
                t::CONSUMER_NAME.key,
                t::CONSUMER_ARN.key
            ),
        )),
        (Some(name), None) => Ok(Some(ConsumerChoice::Name(name))),
        (None, Some(arn)) => Ok(Some(ConsumerChoice::Arn(arn))),
        (None, None) => Err(conflict(
            &t::CONSUMER_NAME,
            format!(
                "{} is missing: {fan_out} needs the name of a consumer, which is registered if the stream has none of \
                 that name, or {}",
                t::CONSUMER_NAME.key,
                t::CONSUMER_ARN.key
            ),
        )),
    }
}

/// A path; one of S3 must name a bucket.
fn metadata_path(text: &str) -> Result<String, Refusal> {
    S3Location::parse(text)?;
    Ok(text.to_owned())
}

/// Refuses options of one store together with those of another.
fn check_store(raw: &RawOptions, metadata: &MetadataOptions, warnings: &mut Vec<String>) -> Result<()> {
    let (committer, table) = (t::METADATA_COMMITTER_TYPE.key, t::DYNAMODB_TABLE_NAME.key);
    let without = |spec: &OptionSpec, what: &str| {
        conflict(
            spec,
            format!("{} is given without {what}: set that too, or remove it", spec.key),
        )
    };
    let s3_path = metadata
        .path
        .as_deref()
        .map(|path| matches!(S3Location::parse(path), Ok(Some(_))));
    let of_s3 = [
        &t::S3_ENDPOINT_URL,
        &t::S3_ENCRYPTION,
        &t::S3_KMS_KEY_ID,
        &t::S3_ACL,
    ]
    .into_iter()
    .find(|spec| raw.has(spec));
    match metadata.committer {
        Committer::DynamoDb if metadata.dynamodb_table.is_none() => Err(conflict(
            &t::DYNAMODB_TABLE_NAME,
            format!(
                "{table} is missing: {committer} DYNAMODB needs the name of a table, which is made if it does not exist"
            ),
        )),
        Committer::DynamoDb => {
            if let Some(spec) = of_s3 {
                return Err(conflict(
                    spec,
                    format!(
                        "{} has no use with {committer} DYNAMODB: remove one of them",
                        spec.key
                    ),
                ));
            }
            if raw.has(&t::METADATA_PATH) {
                warnings.push(format!(
                    "{} has no effect: with {committer} DYNAMODB, claims are kept in the table",
                    t::METADATA_PATH.key
                ));
            }
            Ok(())
        }
        Committer::Hdfs => {
            for spec in [&t::DYNAMODB_TABLE_NAME, &t::DYNAMODB_ENDPOINT_URL] {
                if raw.has(spec) {
                    return Err(without(spec, &format!("{committer} DYNAMODB")));
                }
            }
            // Without a path it depends on the checkpointLocation, which is unknown here.
            if let (Some(spec), Some(false)) = (of_s3, s3_path) {
                return Err(without(
                    spec,
                    &format!("a {} with the scheme s3, s3a or s3n", t::METADATA_PATH.key),
                ));
            }
            Ok(())
        }
    }
}

fn aggregation(raw: &RawOptions) -> Result<AggregationOptions> {
    Ok(AggregationOptions {
        outside_shard: match raw.word(&t::AGGREGATION_OUTSIDE_SHARD)? {
            "DELIVER" => OutsideShard::Deliver,
            "FAIL" => OutsideShard::Fail,
            _ => OutsideShard::Skip,
        },
        broken: match raw.word(&t::AGGREGATION_BROKEN)? {
            "SKIP" => BrokenAggregate::Skip,
            _ => BrokenAggregate::Fail,
        },
    })
}

fn extra_columns(text: &str) -> Result<Vec<ExtraColumn>, Refusal> {
    let mut columns = Vec::new();
    for name in text.split(',').map(str::trim) {
        let column = ExtraColumn::ALL
            .into_iter()
            .find(|column| column.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| format!("{name:?} is not one of the columns"))?;
        if columns.contains(&column) {
            return Err(format!("{name:?} is named twice"));
        }
        columns.push(column);
    }
    Ok(columns)
}

/// Refuses a batch read whose start is not before its end: it would read nothing.
fn check_range(options: &SourceOptions) -> Result<()> {
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
        (StartingPosition::Latest, Some(_)) => Err(conflict(
            &t::STARTING_POSITION,
            format!(
                "{} is LATEST: a batch read would read nothing. Set it to TRIM_HORIZON, the default of batch reads, or \
                 to AT_TIMESTAMP …",
                t::STARTING_POSITION.key
            ),
        )),
        _ => Ok(()),
    }
}
