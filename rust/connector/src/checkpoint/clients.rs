//! The clients of stores that are AWS services, shared by all who use the same options in this process: a reader
//! opens its store for every shard and batch, and must not connect anew each time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::dynamodb::Table;
use super::s3::Bucket;
use crate::config::ClientKey;
use crate::error::Result;
use crate::options::{AccessOptions, MetadataOptions};

/// Tables and buckets in use.
#[derive(Debug, Default)]
pub(crate) struct StoreClients {
    tables: Mutex<BTreeMap<ClientKey, Arc<Table>>>,
    // The bucket may come from the checkpoint location, which is no option.
    buckets: Mutex<BTreeMap<(ClientKey, String), Arc<Bucket>>>,
}

impl StoreClients {
    /// The table that the options name.
    pub(crate) fn table(
        &self,
        key: ClientKey,
        access: AccessOptions,
        metadata: &MetadataOptions,
    ) -> Result<Arc<Table>> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(&key) {
            return Ok(table.clone());
        }
        let table = Arc::new(Table::new(access, metadata)?);
        tables.insert(key, table.clone());
        Ok(table)
    }

    /// A bucket.
    pub(crate) fn bucket(
        &self,
        key: ClientKey,
        access: AccessOptions,
        metadata: &MetadataOptions,
        name: &str,
    ) -> Arc<Bucket> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets
            .entry((key, name.to_owned()))
            .or_insert_with(|| Arc::new(Bucket::new(access, metadata, name)))
            .clone()
    }
}
