//! Opens the store of claims that the options choose: the one switch between the backends.

use std::sync::Arc;

use super::backends::dynamodb::DynamoDbStore;
use super::backends::hadoop::HadoopStore;
use super::backends::s3::S3Store;
use super::{ClaimStore, StoreClients};
use crate::error::{Error, ErrorKind, Result};
use crate::options::{Committer, S3Location, SourceOptions};
use crate::service::SystemProperties;
use crate::storage::FileSystem;

/// The store of a source's claims: the table, or else the store for the folder's scheme. `checkpoint_location` is the
/// source's own folder, reached through `files`. The store connects when it is first used.
pub(crate) fn open(
    options: &SourceOptions,
    checkpoint_location: &str,
    clients: &StoreClients,
    properties: &SystemProperties,
    files: Arc<dyn FileSystem>,
) -> Result<Arc<dyn ClaimStore>> {
    let metadata = &options.metadata;
    let access = properties.complete_store(options.store_access());
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
            // Not the path itself, which may hold a user's name and password.
            format!("claims can't be kept beneath the checkpointLocation: {why}. Set kinesis.metadataPath"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;

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
        let store = |location: &str, more: &[(&str, &str)]| {
            let given = [("kinesis.streamName", "s"), ("checkpointLocation", "/c")];
            let given = given
                .iter()
                .chain(more)
                .map(|(key, value)| (key.to_string(), value.to_string()));
            let options = options::source(&given.collect()).expect("options").options;
            let properties = SystemProperties::default();
            open(&options, location, &clients, &properties, Arc::new(NoFiles))
                .map(|store| format!("{store:?}"))
        };
        const TABLE: &[(&str, &str)] = &[
            ("kinesis.metadataCommitterType", "DYNAMODB"),
            ("kinesis.dynamodb.tableName", "claims"),
        ];
        type Case = (
            &'static str,
            &'static [(&'static str, &'static str)],
            &'static str,
        );
        let cases: [Case; 5] = [
            (
                "file:/c/0",
                &[],
                r#"HadoopStore { folder: "file:/c/0/claims", .. }"#,
            ),
            (
                "s3a://b-1/c/0",
                &[],
                r#"S3Store { bucket: Bucket { name: "b-1", .. }, prefix: "c/0/claims/" }"#,
            ),
            (
                "hdfs://n/c",
                &[("kinesis.metadataPath", "s3://b-2/x y")],
                r#"S3Store { bucket: Bucket { name: "b-2", .. }, prefix: "x y/" }"#,
            ),
            (
                "s3://b-1/c",
                &[("kinesis.metadataPath", "hdfs://n/x")],
                r#"HadoopStore { folder: "hdfs://n/x", .. }"#,
            ),
            (
                "s3://b-1/c",
                TABLE,
                r#"DynamoDbStore { table: Table { name: "claims", .. } }"#,
            ),
        ];
        for (location, options, expected) in cases {
            assert_eq!(
                store(location, options).expect("a store"),
                expected,
                "{location} {options:?}"
            );
        }
        let error = store("s3://key:secret@b-1/c", &[]).expect_err("refused");
        assert!(error.message().contains("names no bucket"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
