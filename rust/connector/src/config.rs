//! What the JVM side hands over to open a planner, a reader or a writer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use crate::checkpoint::CheckpointStore;
use crate::checkpoint::hadoop::{FileSystem, HadoopStore};
use crate::error::{Error, ErrorKind, Result};
use crate::options::{self, SinkOptions, SourceOptions};
use crate::service::SystemProperties;

/// The version of the configuration that this library reads.
const VERSION: u32 = 1;

/// A source as the JVM side configures it, the same for its planner and its readers.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// The user's options.
    pub options: SourceOptions,
    /// The source's own folder in the query's checkpoint location.
    pub checkpoint_location: String,
    /// Batches whose claims are kept, at least 2: the one in flight and the last one are always needed.
    pub min_batches_to_retain: u64,
    pub(crate) client_key: ClientKey,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SourceJson {
    version: u32,
    options: BTreeMap<String, String>,
    checkpoint_location: String,
    min_batches_to_retain: u32,
}

impl SourceConfig {
    /// Reads `{"version":1,"options":{…},"checkpointLocation":"…","minBatchesToRetain":100}`.
    pub fn parse(json: &str) -> Result<Self> {
        let parsed: SourceJson = serde_json::from_str(json).map_err(|error| malformed(&error))?;
        check_version(parsed.version)?;
        let options = options::source(&parsed.options)?.options;
        let retained = options
            .metadata
            .min_batches_to_retain
            .unwrap_or(parsed.min_batches_to_retain);
        Ok(Self {
            options,
            checkpoint_location: parsed.checkpoint_location.trim_end_matches('/').to_owned(),
            min_batches_to_retain: u64::from(retained.max(2)),
            client_key: ClientKey::of(&parsed.options),
        })
    }

    /// The store of this source's claims.
    pub(crate) fn store(&self, files: Arc<dyn FileSystem>) -> Arc<dyn CheckpointStore> {
        let folder = match &self.options.metadata.path {
            Some(path) => path.clone(),
            None => format!("{}/claims", self.checkpoint_location),
        };
        Arc::new(HadoopStore::new(files, &folder, self.options.metadata.retry))
    }
}

/// A sink as the JVM side configures it.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    /// The user's options.
    pub options: SinkOptions,
    pub(crate) client_key: ClientKey,
}

impl SinkConfig {
    /// Reads `{"version":1,"options":{…}}`.
    pub fn parse(json: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct SinkJson {
            version: u32,
            options: BTreeMap<String, String>,
        }
        let parsed: SinkJson = serde_json::from_str(json).map_err(|error| malformed(&error))?;
        check_version(parsed.version)?;
        let options = options::sink(&parsed.options)?.options;
        Ok(Self {
            options,
            client_key: ClientKey::of(&parsed.options),
        })
    }
}

/// What two configurations must share to share a client. Holds the options as they were given, secrets too, so
/// it is never shown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClientKey(BTreeMap<String, String>);

/// What stands before a system property's name in a key: no option begins like this.
const PROPERTY: &str = "-D";

impl ClientKey {
    fn of(options: &BTreeMap<String, String>) -> Self {
        Self(
            options
                .iter()
                .map(|(key, value)| (key.to_lowercase(), value.clone()))
                .collect(),
        )
    }

    /// The key in a process with these system properties.
    pub(crate) fn with(&self, properties: &SystemProperties) -> Self {
        let properties = properties
            .values()
            .map(|(name, value)| (format!("{PROPERTY}{name}"), value.to_owned()));
        Self(self.0.clone().into_iter().chain(properties).collect())
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKey(…)")
    }
}

fn malformed(error: &serde_json::Error) -> Error {
    // The parser's own words could quote a value.
    let place = format!("line {}, column {}", error.line(), error.column());
    Error::new(
        ErrorKind::InvalidArgument,
        format!("a configuration is malformed at {place}"),
    )
}

fn check_version(version: u32) -> Result<()> {
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

    const JSON: &str = r#"{"version":1,"options":{"kinesis.streamName":"s","kinesis.awsAccessKeyId":"AKIA",
        "kinesis.awsSecretKey":"hush","checkpointLocation":"/c"},
        "checkpointLocation":"file:/c/sources/0/","minBatchesToRetain":1}"#;

    #[test]
    fn a_configuration_is_read_and_shows_no_secret() {
        let config = SourceConfig::parse(JSON).expect("reads");
        assert_eq!(config.checkpoint_location, "file:/c/sources/0");
        assert_eq!(config.min_batches_to_retain, 2);
        let shown = format!("{config:?}");
        assert!(!shown.contains("hush") && !shown.contains("AKIA"), "{shown}");
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
