//! Request members. All are optional here; the operations report missing ones in the service's words.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ServiceError;

/// A string that borrows from the request unless it has escapes. (serde borrows a bare `Cow`, but not one inside an
/// `Option`.)
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// Parses a body; an empty body counts as `{}`.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ServiceError> {
    parse_borrowed(body)
}

/// Like [`parse`], for a request that borrows from its body.
pub(crate) fn parse_borrowed<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ServiceError> {
    let body = if body.is_empty() { b"{}".as_slice() } else { body };
    serde_json::from_slice(body).map_err(|error| ServiceError::serialization(error.to_string()))
}

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $type:ty),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Default, Deserialize)]
            #[serde(rename_all = "PascalCase", default)]
            pub(crate) struct $name {
                $($(#[$attr])* pub $field: Option<$type>),*
            }
        )*
    };
}

requests! {
    StreamModeDetails { stream_mode: String }

    CreateStreamRequest {
        stream_name: String,
        shard_count: i64,
        stream_mode_details: StreamModeDetails,
        #[serde(rename = "MaxRecordSizeInKiB")] max_record_size_in_kib: i64,
    }

    /// Members that name a stream.
    StreamRequest {
        stream_name: String,
        #[serde(rename = "StreamARN")] stream_arn: String,
    }

    DeleteStreamRequest {
        stream_name: String,
        #[serde(rename = "StreamARN")] stream_arn: String,
        enforce_consumer_deletion: bool,
    }

    RegisterConsumerRequest {
        #[serde(rename = "StreamARN")] stream_arn: String,
        consumer_name: String,
    }

    /// Members that name a consumer: its ARN, or its name and its stream's ARN.
    ConsumerRequest {
        #[serde(rename = "StreamARN")] stream_arn: String,
        consumer_name: String,
        #[serde(rename = "ConsumerARN")] consumer_arn: String,
    }

    ListConsumersRequest {
        #[serde(rename = "StreamARN")] stream_arn: String,
        next_token: String,
        max_results: i64,
        stream_creation_timestamp: f64,
    }

    StartingPosition {
        #[serde(rename = "Type")] kind: String,
        sequence_number: String,
        timestamp: f64,
    }

    SubscribeToShardRequest {
        #[serde(rename = "ConsumerARN")] consumer_arn: String,
        shard_id: String,
        starting_position: StartingPosition,
        dry_run: bool,
    }

    DescribeStreamRequest {
        stream_name: String,
        #[serde(rename = "StreamARN")] stream_arn: String,
        limit: i64,
        exclusive_start_shard_id: String,
    }

    ListStreamsRequest {
        limit: i64,
        exclusive_start_stream_name: String,
        next_token: String,
    }

    RetentionRequest {
        stream_name: String,
        #[serde(rename = "StreamARN")] stream_arn: String,
        retention_period_hours: i64,
    }

    MaxRecordSizeRequest {
        #[serde(rename = "StreamARN")] stream_arn: String,
        #[serde(rename = "MaxRecordSizeInKiB")] max_record_size_in_kib: i64,
    }

    ShardFilter {
        #[serde(rename = "Type")] kind: String,
        shard_id: String,
        timestamp: f64,
    }

    ListShardsRequest {
        stream_name: String,
        #[serde(rename = "StreamARN")] stream_arn: String,
        next_token: String,
        exclusive_start_shard_id: String,
        max_results: i64,
        stream_creation_timestamp: f64,
        shard_filter: ShardFilter,
    }

    GetShardIteratorRequest {
        stream_name: String,
        #[serde(rename = "StreamARN")] stream_arn: String,
        shard_id: String,
        shard_iterator_type: String,
        starting_sequence_number: String,
        timestamp: f64,
    }

    GetRecordsRequest {
        shard_iterator: String,
        limit: i64,
        #[serde(rename = "StreamARN")] stream_arn: String,
    }

    SplitShardRequest {
        stream_name: String,
        #[serde(rename = "StreamARN")] stream_arn: String,
        shard_to_split: String,
        new_starting_hash_key: String,
    }

    MergeShardsRequest {
        stream_name: String,
        #[serde(rename = "StreamARN")] stream_arn: String,
        shard_to_merge: String,
        adjacent_shard_to_merge: String,
    }

    UpdateShardCountRequest {
        stream_name: String,
        #[serde(rename = "StreamARN")] stream_arn: String,
        target_shard_count: i64,
        scaling_type: String,
    }
}

/// A record of PutRecords, or the record of PutRecord.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct PutEntry<'a> {
    #[serde(borrow)]
    pub data: Option<Text<'a>>,
    #[serde(borrow)]
    pub partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    pub explicit_hash_key: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct PutRecordsRequest<'a> {
    #[serde(borrow)]
    pub records: Option<Vec<PutEntry<'a>>>,
    pub stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    pub stream_arn: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct PutRecordRequest<'a> {
    #[serde(borrow)]
    pub data: Option<Text<'a>>,
    #[serde(borrow)]
    pub partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    pub explicit_hash_key: Option<Text<'a>>,
    pub stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    pub stream_arn: Option<String>,
}
