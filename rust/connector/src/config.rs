//! What the JVM side hands over to open a planner, a reader or a writer.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};
use crate::options::{self, ProviderClass, SinkOptions, SourceOptions, StreamId};
use crate::sink::SinkFacts;

/// The version of the configuration that this library reads.
const VERSION: u32 = 1;

/// A source as the JVM side configures it, the same for its planner and its readers.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// The user's options.
    pub options: SourceOptions,
    /// The source's own folder in the query's checkpoint location; none for a batch read.
    pub checkpoint_location: Option<String>,
    /// Batches whose claims are kept, at least 2: the one in flight and the last one are always needed.
    pub min_batches_to_retain: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SourceJson {
    version: u32,
    options: BTreeMap<String, String>,
    checkpoint_location: Option<String>,
    #[serde(default)]
    min_batches_to_retain: u32,
}

impl SourceConfig {
    /// Reads `{"version":1,"options":{…},"checkpointLocation":"…","minBatchesToRetain":100}`, the last two for a
    /// streaming query only.
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
        let retained = options
            .metadata
            .min_batches_to_retain
            .unwrap_or(parsed.min_batches_to_retain);
        Ok(Self {
            options,
            checkpoint_location,
            min_batches_to_retain: u64::from(retained.max(2)),
        })
    }

    /// The class of the job that gives credentials, if the options name one.
    pub fn provider(&mut self) -> Option<&mut ProviderClass> {
        self.options.access.provider.as_mut()
    }
}

/// A sink as the JVM side configures it.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    /// The user's options.
    pub options: SinkOptions,
    /// What the driver found out of the streams.
    pub facts: SinkFacts,
}

impl SinkConfig {
    /// Reads `{"version":1,"options":{…},"facts":{…}}`; without facts nothing is known of the streams.
    pub fn parse(json: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct SinkJson {
            version: u32,
            options: BTreeMap<String, String>,
            #[serde(default)]
            facts: SinkFacts,
        }
        let parsed: SinkJson = serde_json::from_str(json).map_err(|error| malformed(&error))?;
        check_version(parsed.version)?;
        let options = options::sink(&parsed.options)?.options;
        Ok(Self {
            options,
            facts: parsed.facts,
        })
    }

    /// The sink of a single stream, of this name.
    pub(crate) fn of_stream(&self, name: &str) -> Self {
        let mut options = self.options.clone();
        options.row_streams = None;
        if name == options.stream.name {
            return Self {
                options,
                facts: self.facts.clone(),
            };
        }
        options.stream = StreamId {
            name: name.to_owned(),
            arn: None,
        };
        let stream = self.facts.named.get(name).cloned().unwrap_or_default();
        Self {
            options,
            facts: SinkFacts {
                stream,
                ..SinkFacts::default()
            },
        }
    }

    /// The class of the job that gives credentials, if the options name one.
    pub fn provider(&mut self) -> Option<&mut ProviderClass> {
        self.options.access.provider.as_mut()
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
        assert_eq!(config.checkpoint_location.as_deref(), Some("file:/c/sources/0"));
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
