//! The store in a DynamoDB table: one item for each claim. The partition key is the source, so that any number of
//! queries can share a table. The sort key is the batch, in twenty digits, and the shard, so that one Query reads a
//! batch, and one finds all older batches.
//!
//! The design follows the limits and charges in "Quotas in Amazon DynamoDB" and "DynamoDB read and write operations":
//! 1,000 write units a second for one partition key, one write unit for an item of up to 1 KB.

mod table;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::batch_write_item::BatchWriteItemError;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::get_item::GetItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::QueryError;
use aws_sdk_dynamodb::types::{
    AttributeValue, DeleteRequest, ReturnValuesOnConditionCheckFailure, WriteRequest,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;

pub(crate) use table::Table;

use self::table::{PARTITION_KEY, SERVICE, SORT_KEY, VALUE};
use crate::claims::{Claim, ClaimKey, ClaimStore, PutResult};
use crate::error::{Error, ErrorKind, Result};
use crate::options::SourceOptions;
use crate::stream::ShardId;

/// Number of items in one response to a Query. The service cuts a response at 1 MB (AWS limit), about four times as
/// many.
const PAGE: i32 = 1_000;
/// Items in one BatchWriteItem (AWS limit).
const DELETES_PER_REQUEST: usize = 25;
/// Number of delete requests in flight.
const DELETES_AT_ONCE: usize = 4;
/// The service's error code for a missing permission.
const DENIED: &str = "AccessDeniedException";

type Item = HashMap<String, AttributeValue>;

/// Claims as items of a table.
#[derive(Clone, Debug)]
pub struct DynamoDbStore {
    table: Arc<Table>,
}

/// The outcome of a conditional put.
enum Put {
    Stored,
    /// With the existing item, if the service returned it.
    Exists(Option<Item>),
    NoTable,
}

impl DynamoDbStore {
    /// A store in the table that the options name. It makes no request until it is used.
    pub fn new(options: &SourceOptions) -> Result<Self> {
        Ok(Self::on(Arc::new(Table::new(
            options.store_access(),
            &options.metadata,
        )?)))
    }

    pub(crate) fn on(table: Arc<Table>) -> Self {
        Self { table }
    }

    async fn retried<T, F, Fut>(&self, operation: &'static str, attempt: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let tried = self.table.calls.retried(operation, attempt).await;
        match tried {
            // Only another key schema makes these requests invalid.
            Err(error) if error.kind() == ErrorKind::InvalidRequest => Err(self.table.explain(error).await),
            tried => tried,
        }
    }

    fn place(&self, key: &ClaimKey) -> String {
        format!(
            "{}, item {PARTITION_KEY}=\"{}\" {SORT_KEY}=\"{}\"",
            self.table.place,
            key.source,
            sort_key(key)
        )
    }

    fn claim(&self, key: &ClaimKey, item: &Item) -> Result<Claim> {
        // An item without the attribute is as corrupt as one with other content.
        let json = item.get(VALUE).and_then(|value| value.as_s().ok());
        Claim::from_json(json.map_or("", String::as_str).as_bytes(), &self.place(key))
    }

    async fn put(&self, key: &ClaimKey, json: &str, table_is_there: bool) -> Result<Put> {
        let sent = self
            .table
            .client()
            .await?
            .put_item()
            .table_name(&self.table.name)
            .item(PARTITION_KEY, text(&key.source))
            .item(SORT_KEY, text(sort_key(key)))
            .item(VALUE, text(json))
            .condition_expression(format!("attribute_not_exists({PARTITION_KEY})"))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let error = match sent {
            Ok(_) => return Ok(Put::Stored),
            Err(error) => error,
        };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                Ok(Put::Exists(failed.item().cloned()))
            }
            Some(PutItemError::ResourceNotFoundException(_)) if !table_is_there => Ok(Put::NoTable),
            // A new table does not appear in all of the service at once.
            Some(PutItemError::ResourceNotFoundException(_)) => Err(SERVICE
                .classify("PutItem", &self.table.place, error)
                .retryable(true)),
            _ => Err(SERVICE.classify("PutItem", &self.table.place, error)),
        }
    }

    /// A source's items whose sort keys begin with `sort`, which selects one batch.
    async fn beginning_with(&self, source: &str, sort: &str) -> Result<Vec<Item>> {
        let query = Query {
            condition: "metadataKey = :source AND begins_with(metadataSortKey, :sort)",
            source,
            sort: sort.to_owned(),
            keys_only: false,
            consistent: true,
        };
        let (mut all, mut from) = (Vec::new(), None);
        loop {
            let (items, next) = self.retried("Query", || self.query(&query, from.clone())).await?;
            all.extend(items);
            match next {
                Some(next) => from = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// One page of a Query over a source's items; empty if the table does not exist.
    async fn query(&self, query: &Query<'_>, from: Option<Item>) -> Result<(Vec<Item>, Option<Item>)> {
        let sent = self
            .table
            .client()
            .await?
            .query()
            .table_name(&self.table.name)
            .key_condition_expression(query.condition)
            .expression_attribute_values(":source", text(query.source))
            .expression_attribute_values(":sort", text(&query.sort))
            .set_projection_expression(query.keys_only.then(|| format!("{PARTITION_KEY}, {SORT_KEY}")))
            .consistent_read(query.consistent)
            .limit(PAGE)
            .set_exclusive_start_key(from)
            .send()
            .await;
        match sent {
            Ok(page) => Ok((
                page.items.unwrap_or_default(),
                page.last_evaluated_key.filter(|key| !key.is_empty()),
            )),
            Err(error)
                if matches!(
                    error.as_service_error(),
                    Some(QueryError::ResourceNotFoundException(_))
                ) =>
            {
                Ok((Vec::new(), None))
            }
            Err(error) => Err(SERVICE.classify("Query", &self.table.place, error)),
        }
    }

    /// Deletes the items of one request: together, or one by one if BatchWriteItem is denied, which sets `denied`.
    async fn delete(&self, keys: Vec<Item>, denied: &AtomicBool) -> Result<()> {
        if !denied.load(Ordering::Relaxed) {
            if self.delete_together(keys.clone()).await? {
                return Ok(());
            }
            denied.store(true, Ordering::Relaxed);
            self.table.warn_of_single_deletes();
        }
        for key in keys {
            self.delete_one(key).await?;
        }
        Ok(())
    }

    async fn delete_one(&self, key: Item) -> Result<()> {
        self.retried("DeleteItem", || async {
            let sent = self
                .table
                .client()
                .await?
                .delete_item()
                .table_name(&self.table.name)
                .set_key(Some(key.clone()))
                .send()
                .await;
            match sent {
                Ok(_) => Ok(()),
                Err(error)
                    if matches!(
                        error.as_service_error(),
                        Some(DeleteItemError::ResourceNotFoundException(_))
                    ) =>
                {
                    Ok(())
                }
                Err(error) => Err(SERVICE.classify("DeleteItem", &self.table.place, error)),
            }
        })
        .await
    }

    /// Deletes the items of one request, and repeats it for those that the service left unprocessed. False if it is
    /// denied.
    async fn delete_together(&self, keys: Vec<Item>) -> Result<bool> {
        let mut requests = Vec::with_capacity(keys.len());
        for key in keys {
            let delete = DeleteRequest::builder().set_key(Some(key)).build();
            let delete = delete.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
            requests.push(WriteRequest::builder().delete_request(delete).build());
        }
        let pending = Mutex::new(requests);
        let pending = || pending.lock();
        self.retried("BatchWriteItem", || {
            let requests = pending().clone();
            async move {
                let sent = self
                    .table
                    .client()
                    .await?
                    .batch_write_item()
                    .request_items(&self.table.name, requests)
                    .send()
                    .await;
                let left = match sent {
                    Ok(answer) => answer
                        .unprocessed_items
                        .unwrap_or_default()
                        .remove(&self.table.name)
                        .unwrap_or_default(),
                    Err(error)
                        if matches!(
                            error.as_service_error(),
                            Some(BatchWriteItemError::ResourceNotFoundException(_))
                        ) =>
                    {
                        Vec::new()
                    }
                    Err(error) if error.code() == Some(DENIED) => return Ok(false),
                    Err(error) => return Err(SERVICE.classify("BatchWriteItem", &self.table.place, error)),
                };
                if left.is_empty() {
                    return Ok(true);
                }
                let count = left.len();
                *pending() = left;
                Err(Error::new(
                    ErrorKind::Throttled,
                    format!("BatchWriteItem of the checkpoint store left {count} deletes to be made again"),
                )
                .retryable(true)
                .with("store", self.table.place.clone()))
            }
        })
        .await
    }
}

/// A Query over a source's items.
struct Query<'a> {
    condition: &'static str,
    source: &'a str,
    sort: String,
    /// True to read only the keys.
    keys_only: bool,
    /// False at half the price.
    consistent: bool,
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// Prefix of the sort keys of a batch. Twenty digits hold any u64, so that text sorts like numbers.
fn batch_prefix(batch: u64) -> String {
    format!("{batch:020}/")
}

fn sort_key(key: &ClaimKey) -> String {
    format!("{}{}", batch_prefix(key.batch), key.shard)
}

#[async_trait]
impl ClaimStore for DynamoDbStore {
    async fn prepare(&self) -> Result<()> {
        self.table.ensure().await
    }

    async fn put_if_absent(&self, key: &ClaimKey, claim: &Claim) -> Result<PutResult> {
        let json = String::from_utf8(claim.to_json()?)
            .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        let mut put = self.retried("PutItem", || self.put(key, &json, false)).await?;
        if matches!(put, Put::NoTable) {
            self.table.ensure().await?;
            put = self.retried("PutItem", || self.put(key, &json, true)).await?;
        }
        let first = match put {
            Put::Stored => return Ok(PutResult::Stored),
            Put::Exists(Some(item)) => Some(self.claim(key, &item)?),
            Put::Exists(None) | Put::NoTable => self.get(key).await?,
        };
        first.map(PutResult::Exists).ok_or_else(|| {
            Error::new(
                ErrorKind::Store,
                format!(
                    "the claim in {} vanished between two looks; was the table emptied?",
                    self.place(key)
                ),
            )
            .retryable(true)
        })
    }

    async fn get(&self, key: &ClaimKey) -> Result<Option<Claim>> {
        let item = self
            .retried("GetItem", || async {
                let sent = self
                    .table
                    .client()
                    .await?
                    .get_item()
                    .table_name(&self.table.name)
                    .key(PARTITION_KEY, text(&key.source))
                    .key(SORT_KEY, text(sort_key(key)))
                    .consistent_read(true)
                    .send()
                    .await;
                match sent {
                    Ok(answer) => Ok(answer.item),
                    Err(error)
                        if matches!(
                            error.as_service_error(),
                            Some(GetItemError::ResourceNotFoundException(_))
                        ) =>
                    {
                        Ok(None)
                    }
                    Err(error) => Err(SERVICE.classify("GetItem", &self.table.place, error)),
                }
            })
            .await?;
        item.map(|item| self.claim(key, &item)).transpose()
    }

    async fn load(&self, source: &str, batch: u64) -> Result<BTreeMap<ShardId, Claim>> {
        let prefix = batch_prefix(batch);
        let mut claims = BTreeMap::new();
        for item in self.beginning_with(source, &prefix).await? {
            let sort = item.get(SORT_KEY).and_then(|value| value.as_s().ok());
            let Some(shard) = sort.and_then(|sort| sort.strip_prefix(&prefix)) else {
                continue;
            };
            let key = ClaimKey {
                source: source.to_owned(),
                batch,
                shard: ShardId::from(shard),
            };
            let claim = self.claim(&key, &item)?;
            claims.insert(key.shard, claim);
        }
        Ok(claims)
    }

    async fn foreign_ends(&self, batch: u64) -> Result<BTreeMap<ShardId, String>> {
        // The keys of that connector are the batch, as a decimal number, and the shard's ID.
        let mut ends = BTreeMap::new();
        for item in self.beginning_with(&batch.to_string(), "shardId-").await? {
            let value = |name| {
                item.get(name)
                    .and_then(|value: &AttributeValue| value.as_s().ok())
            };
            if let (Some(shard), Some(end)) = (value(SORT_KEY), value(VALUE)) {
                ends.insert(ShardId::from(shard.as_str()), end.clone());
            }
        }
        Ok(ends)
    }

    async fn has_from(&self, source: &str, batch: u64) -> Result<bool> {
        let query = Query {
            condition: "metadataKey = :source AND metadataSortKey >= :sort",
            source,
            sort: batch_prefix(batch),
            keys_only: true,
            consistent: true,
        };
        let mut from = None;
        loop {
            let (keys, next) = self.retried("Query", || self.query(&query, from.clone())).await?;
            match next {
                Some(next) if keys.is_empty() => from = Some(next),
                _ => return Ok(!keys.is_empty()),
            }
        }
    }

    async fn purge(&self, source: &str, before: u64) -> Result<()> {
        let query = Query {
            condition: "metadataKey = :source AND metadataSortKey < :sort",
            source,
            sort: batch_prefix(before),
            keys_only: true,
            consistent: false,
        };
        // Not kept for the next purge: the permission may have been granted by then.
        let denied = AtomicBool::new(false);
        let mut from = None;
        loop {
            let (keys, next) = self.retried("Query", || self.query(&query, from.clone())).await?;
            let requests: Vec<_> = keys.chunks(DELETES_PER_REQUEST).map(<[Item]>::to_vec).collect();
            stream::iter(requests)
                .map(|keys| self.delete(keys, &denied))
                .buffer_unordered(DELETES_AT_ONCE)
                .try_collect::<()>()
                .await?;
            match next {
                Some(next) => from = Some(next),
                None => return Ok(()),
            }
        }
    }
}
