//! Configurations with which the JVM side opens a planner, a reader or a writer.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::batch::Column;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{self, ProviderClass, SourceOptions};

/// Version of the configuration format that this library reads.
const VERSION: u32 = 1;

/// Configuration of a source, the same for its planner and its readers.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// The user's options.
    pub options: SourceOptions,
    /// The source's own folder in the query's checkpoint location; none for a batch read.
    pub checkpoint_location: Option<String>,
    /// Number of batches whose claims are kept, at least 2: the one in flight and the last one are always needed.
    pub min_batches_to_retain: u64,
    /// Number of open shards up to which every batch reads all of them, 8 unless given: a few idle tasks take less time
    /// than a second batch for records that arrive in other shards a moment later.
    pub few_shards: usize,
    /// The columns that Spark asks for, in the order in which its rows have them.
    pub columns: Vec<Column>,
}

/// See [`SourceConfig::few_shards`].
const FEW_SHARDS: usize = 8;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SourceJson {
    version: u32,
    options: BTreeMap<String, String>,
    checkpoint_location: Option<String>,
    #[serde(default)]
    min_batches_to_retain: u32,
    few_shards: Option<usize>,
    columns: Option<Vec<String>>,
}

impl SourceConfig {
    /// Parses `{"version":1,"options":{…},"columns":["data",…],"checkpointLocation":"…","minBatchesToRetain":100}`.
    /// Only a streaming query has the last two. Without `columns`, Spark asks for all. `fewShards` is for tests.
    pub fn parse(json: &str) -> Result<Self> {
        let parsed: SourceJson = serde_json::from_str(json).map_err(|error| malformed(&error))?;
        check_version(parsed.version)?;
        let checkpoint_location = parsed
            .checkpoint_location
            .map(|location| location.trim_end_matches('/').to_owned());
        let options = match checkpoint_location {
            Some(_) => options::source(&parsed.options)?.options,
            None => options::batch_read(&parsed.options)?.options,
        };
        let columns = asked_for(parsed.columns, Column::all(&options))?;
        let retained = options
            .metadata
            .min_batches_to_retain
            .unwrap_or(parsed.min_batches_to_retain);
        Ok(Self {
            options,
            checkpoint_location,
            min_batches_to_retain: u64::from(retained.max(2)),
            few_shards: parsed.few_shards.unwrap_or(FEW_SHARDS),
            columns,
        })
    }

    /// The job's class that provides credentials, if the options name one.
    pub fn provider(&mut self) -> Option<&mut ProviderClass> {
        self.options.access.provider.as_mut()
    }
}

/// The columns with these names among `all`; all of them without names.
fn asked_for(names: Option<Vec<String>>, all: Vec<Column>) -> Result<Vec<Column>> {
    let Some(names) = names else { return Ok(all) };
    let named = |name: &String| {
        all.iter()
            .copied()
            .find(|column| column.name() == name)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidArgument,
                    format!("a configuration asks for the column {name}, which the read doesn't have"),
                )
            })
    };
    names.iter().map(named).collect()
}

pub(crate) fn malformed(error: &serde_json::Error) -> Error {
    // The parser's own message could quote a value.
    let place = format!("line {}, column {}", error.line(), error.column());
    Error::new(
        ErrorKind::InvalidArgument,
        format!("a configuration is malformed at {place}"),
    )
}

pub(crate) fn check_version(version: u32) -> Result<()> {
    if version == VERSION {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidArgument,
        format!("a configuration has version {version}, this library reads {VERSION}: mixed connector JARs?"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::ExtraColumn;

    const JSON: &str = r#"{"version":1,"options":{"kinesis.streamName":"s","kinesis.awsAccessKeyId":"AKIA",
        "kinesis.awsSecretKey":"hush","checkpointLocation":"/c"},
        "checkpointLocation":"file:/c/sources/0/","minBatchesToRetain":1}"#;

    #[test]
    fn a_configuration_is_read_and_shows_no_secret() {
        let config = SourceConfig::parse(JSON).expect("reads");
        assert_eq!(config.checkpoint_location.as_deref(), Some("file:/c/sources/0"));
        assert_eq!(config.min_batches_to_retain, 2);
        let shown = format!("{config:?}");
        assert!(!shown.contains("hush") && !shown.contains("AKIA"), "{shown}");
    }

    #[test]
    fn columns_are_those_asked_for_in_that_order_and_all_by_default() {
        let parsed = |columns: &str| {
            let json = format!(
                r#"{{"version":1,{columns}"options":{{"kinesis.streamName":"s","kinesis.region":"us-east-1",
                "kinesis.extraColumns":"shardId"}}}}"#
            );
            SourceConfig::parse(&json)
        };
        let shard = Column::Extra(ExtraColumn::ShardId);
        let all: Vec<Column> = Column::USUAL.into_iter().chain([shard]).collect();
        assert_eq!(parsed("").expect("reads").columns, all);
        assert!(parsed(r#""columns":[],"#).expect("reads").columns.is_empty());
        let asked = parsed(r#""columns":["shardId","approximateArrivalTimestamp","data"],"#);
        assert_eq!(
            asked.expect("reads").columns,
            [shard, Column::Arrival, Column::Data]
        );
        let error = parsed(r#""columns":["data","encryptionType"],"#).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains("encryptionType"), "{error}");
    }

    #[test]
    fn malformed_json_is_refused_without_quoting_it() {
        let error = SourceConfig::parse(r#"{"version":1,"options":{"kinesis.awsSecretKey":"hush""#)
            .expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(!error.to_string().contains("hush"), "{error}");
        let other = JSON.replace("\"version\":1", "\"version\":9");
        assert!(
            SourceConfig::parse(&other)
                .expect_err("refused")
                .message()
                .contains("version 9")
        );
    }
}
