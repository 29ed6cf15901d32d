//! The clients of stores that are AWS services, shared by all users of the same store in this process: a reader opens
//! its store for every shard and batch, and must not connect each time.

use std::sync::Arc;

use super::dynamodb::Table;
use super::s3::Bucket;
use crate::error::Result;
use crate::options::{MetadataOptions, RetryOptions, S3Puts, StoreAccess};
use crate::recent::Recent;
use parking_lot::Mutex;

/// Tables and buckets in use.
#[derive(Debug, Default)]
pub(crate) struct StoreClients {
    tables: Mutex<Recent<StoreKey, Table>>,
    buckets: Mutex<Recent<StoreKey, Bucket>>,
}

/// Everything that a store's client depends on.
#[derive(Debug, PartialEq)]
struct StoreKey {
    access: StoreAccess,
    /// Name of the table or bucket. A bucket's name may come from the checkpoint location, which is no option.
    name: Option<String>,
    endpoint_url: Option<String>,
    retry: RetryOptions,
    /// None for a table.
    puts: Option<S3Puts>,
}

impl StoreClients {
    /// The table that the options name.
    pub(crate) fn table(&self, access: StoreAccess, metadata: &MetadataOptions) -> Result<Arc<Table>> {
        let key = StoreKey {
            access: access.clone(),
            name: metadata.dynamodb_table.clone(),
            endpoint_url: metadata.dynamodb_endpoint_url.clone(),
            retry: metadata.retry,
            puts: None,
        };
        let mut tables = self.tables.lock();
        if let Some(table) = tables.get(&key) {
            return Ok(table);
        }
        let table = Arc::new(Table::new(access, metadata)?);
        tables.put(key, table.clone());
        Ok(table)
    }

    /// The client of a bucket.
    pub(crate) fn bucket(&self, access: StoreAccess, metadata: &MetadataOptions, name: &str) -> Arc<Bucket> {
        let key = StoreKey {
            access: access.clone(),
            name: Some(name.to_owned()),
            endpoint_url: metadata.s3_endpoint_url.clone(),
            retry: metadata.retry,
            puts: Some(metadata.s3_puts.clone()),
        };
        let mut buckets = self.buckets.lock();
        buckets.get(&key).unwrap_or_else(|| {
            let bucket = Arc::new(Bucket::new(access, metadata, name));
            buckets.put(key, bucket.clone());
            bucket
        })
    }
}
