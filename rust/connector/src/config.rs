//! What the JVM side hands over to open a planner, a reader or a writer.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::checkpoint::dynamodb::DynamoDbStore;
use crate::checkpoint::hadoop::{FileSystem, HadoopStore};
use crate::checkpoint::s3::{S3Location, S3Store};
use crate::checkpoint::{ClaimStore, StoreClients};
use crate::error::{Error, ErrorKind, Result};
use crate::options::{self, Committer, ProviderClass, SinkOptions, SourceOptions};
use crate::service::SystemProperties;
use crate::sink::StreamFacts;

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

    /// The store of claims of the source with this checkpoint location: the table, else by the folder's scheme.
    /// It connects when first used.
    pub(crate) fn store(
        &self,
        checkpoint_location: &str,
        clients: &StoreClients,
        properties: &SystemProperties,
        files: Arc<dyn FileSystem>,
    ) -> Result<Arc<dyn ClaimStore>> {
        let metadata = &self.options.metadata;
        let access = properties.complete_store(self.options.store_access());
        if metadata.committer == Committer::DynamoDb {
            return Ok(Arc::new(DynamoDbStore::on(clients.table(access, metadata)?)));
        }
        let folder = match &metadata.path {
            Some(path) => path.clone(),
            None => format!("{checkpoint_location}/claims"),
        };
        let location = S3Location::parse(&folder).map_err(|why| {
            Error::new(
                ErrorKind::InvalidOption,
                // Not the path itself, which may hold what looks like a user's name and password.
                format!(
                    "claims can't be kept beneath the checkpointLocation: {why}. Set kinesis.metadataPath"
                ),
            )
            .with("option", "kinesis.metadataPath")
        })?;
        Ok(match location {
            Some(location) => {
                let bucket = clients.bucket(access, metadata, &location.bucket);
                Arc::new(S3Store::on(bucket, &location))
            }
            None => Arc::new(HadoopStore::new(files, &folder, metadata.retry)),
        })
    }
}

/// A sink as the JVM side configures it.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    /// The user's options.
    pub options: SinkOptions,
    /// What the driver found out of the stream.
    pub stream: StreamFacts,
}

impl SinkConfig {
    /// Reads `{"version":1,"options":{…},"stream":{…}}`; without a stream nothing is known of it.
    pub fn parse(json: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct SinkJson {
            version: u32,
            options: BTreeMap<String, String>,
            #[serde(default)]
            stream: StreamFacts,
        }
        let parsed: SinkJson = serde_json::from_str(json).map_err(|error| malformed(&error))?;
        check_version(parsed.version)?;
        let options = options::sink(&parsed.options)?.options;
        Ok(Self {
            options,
            stream: parsed.stream,
        })
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
    fn the_store_is_the_table_or_goes_by_the_folder_s_scheme() {
        struct NoFiles;
        #[async_trait::async_trait]
        impl FileSystem for NoFiles {
            async fn put_if_absent(&self, path: &str, _: Vec<u8>) -> Result<bool> {
                panic!("{path} was put")
            }
            async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
                panic!("{path} was read")
            }
            async fn list(&self, folder: &str) -> Result<Vec<String>> {
                panic!("{folder} was listed")
            }
            async fn delete(&self, path: &str) -> Result<()> {
                panic!("{path} was deleted")
            }
        }
        let clients = StoreClients::default();
        let store = |location: &str, options: &str| {
            let json = JSON.replace("file:/c/sources/0/", location).replace(
                r#""kinesis.streamName":"s""#,
                &format!(r#""kinesis.streamName":"s"{options}"#),
            );
            let config = SourceConfig::parse(&json).expect("reads");
            config
                .store(
                    location,
                    &clients,
                    &SystemProperties::default(),
                    Arc::new(NoFiles),
                )
                .map(|store| format!("{store:?}"))
        };
        let table = r#","kinesis.metadataCommitterType":"DYNAMODB","kinesis.dynamodb.tableName":"claims""#;
        for (location, options, expected) in [
            (
                "file:/c/0",
                "",
                r#"HadoopStore { folder: "file:/c/0/claims", .. }"#,
            ),
            (
                "s3a://b-1/c/0",
                "",
                r#"S3Store { bucket: Bucket { name: "b-1", .. }, prefix: "c/0/claims/" }"#,
            ),
            (
                "hdfs://n/c",
                r#","kinesis.metadataPath":"s3://b-2/x y""#,
                r#"S3Store { bucket: Bucket { name: "b-2", .. }, prefix: "x y/" }"#,
            ),
            (
                "s3://b-1/c",
                r#","kinesis.metadataPath":"hdfs://n/x""#,
                r#"HadoopStore { folder: "hdfs://n/x", .. }"#,
            ),
            (
                "s3://b-1/c",
                table,
                r#"DynamoDbStore { table: Table { name: "claims", .. } }"#,
            ),
        ] {
            assert_eq!(
                store(location, options).expect("a store"),
                expected,
                "{location} {options}"
            );
        }
        let error = store("s3://key:secret@b-1/c", "").expect_err("refused");
        assert!(error.message().contains("names no bucket"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
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
