//! The store in S3 without Hadoop: one object for each claim, `<prefix><source>/<batch>/<shard>`, put with
//! `If-None-Match: *`. The batch has twenty digits, so that a listing, which is in the order of keys, returns the
//! oldest claims first.
//!
//! The Amazon S3 User Guide guarantees that one of several conditional puts wins ("How to prevent object overwrites
//! with conditional writes"), and that a listing has every object put before it ("Amazon S3 data consistency model").

mod bucket;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectCannedAcl, ObjectIdentifier, ServerSideEncryption};
use futures_util::{StreamExt, TryStreamExt, stream};

pub(crate) use bucket::Bucket;

use self::bucket::SERVICE;
use crate::claims::{Claim, ClaimKey, ClaimStore, PutResult};
use crate::error::{Error, ErrorKind, Result};
use crate::options::{S3Location, SourceOptions};
use crate::stream::ShardId;

/// Number of claims of one batch that are read at once: 2,000 of them take about as long as 60 consecutive requests.
const READS_AT_ONCE: usize = 32;

/// Claims as objects.
#[derive(Clone, Debug)]
pub struct S3Store {
    bucket: Arc<Bucket>,
    prefix: String,
}

impl S3Store {
    /// A store in this folder. It makes no request until it is used.
    pub fn new(options: &SourceOptions, location: &S3Location) -> Self {
        let bucket = Bucket::new(options.store_access(), &options.metadata, &location.bucket);
        Self::on(Arc::new(bucket), location)
    }

    pub(crate) fn on(bucket: Arc<Bucket>, location: &S3Location) -> Self {
        Self {
            bucket,
            prefix: location.prefix.clone(),
        }
    }

    async fn retried<T, F, Fut>(&self, operation: &'static str, attempt: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        self.bucket.calls.retried(operation, attempt).await
    }

    fn source_folder(&self, source: &str) -> String {
        format!("{}{source}/", self.prefix)
    }

    fn batch_folder(&self, source: &str, batch: u64) -> String {
        format!("{}{batch:020}/", self.source_folder(source))
    }

    fn object(&self, key: &ClaimKey) -> String {
        format!("{}{}", self.batch_folder(&key.source, key.batch), key.shard)
    }

    /// The object's name in messages.
    fn place(&self, object: &str) -> String {
        format!("s3://{}/{object}", self.bucket.name)
    }

    /// Puts an object unless it exists; true if it was put.
    async fn put(&self, object: &str, content: &[u8]) -> Result<bool> {
        let puts = &self.bucket.puts;
        self.retried("PutObject", || async {
            let sent = self
                .bucket
                .client()
                .await?
                .put_object()
                .bucket(&self.bucket.name)
                .key(object)
                .if_none_match("*")
                .set_server_side_encryption(puts.encryption.map(ServerSideEncryption::from))
                .set_ssekms_key_id(puts.kms_key_id.clone())
                .set_acl(puts.acl.map(ObjectCannedAcl::from))
                .content_type("application/json")
                .body(ByteStream::from(content.to_vec()))
                .send()
                .await;
            match sent {
                Ok(_) => Ok(true),
                Err(SdkError::ServiceError(answer)) if answer.raw().status().as_u16() == 412 => Ok(false),
                Err(error) => Err(SERVICE.classify("PutObject", &self.place(object), error)),
            }
        })
        .await
    }

    async fn read(&self, object: &str) -> Result<Option<Vec<u8>>> {
        self.retried("GetObject", || async {
            let sent = self
                .bucket
                .client()
                .await?
                .get_object()
                .bucket(&self.bucket.name)
                .key(object)
                .send()
                .await;
            match sent {
                Ok(answer) => match answer.body.collect().await {
                    Ok(content) => Ok(Some(content.to_vec())),
                    Err(error) => Err(SERVICE
                        .unreachable("GetObject", &error.to_string())
                        .with("store", self.place(object))),
                },
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(|refused| refused.is_no_such_key()) =>
                {
                    Ok(None)
                }
                Err(error) => Err(SERVICE.classify("GetObject", &self.place(object), error)),
            }
        })
        .await
    }

    /// One page of the objects in a folder after a key, in the order of their keys: at most 1,000 (AWS limit).
    async fn list(
        &self,
        folder: &str,
        after: Option<String>,
        from: Option<String>,
    ) -> Result<ListObjectsV2Output> {
        self.retried("ListObjectsV2", || async {
            self.bucket
                .client()
                .await?
                .list_objects_v2()
                .bucket(&self.bucket.name)
                .prefix(folder)
                .set_start_after(after.clone())
                .set_continuation_token(from.clone())
                .send()
                .await
                .map_err(|error| SERVICE.classify("ListObjectsV2", &self.place(folder), error))
        })
        .await
    }

    /// Deletes the objects of one page of a listing: at most 1,000 (AWS limit).
    async fn delete(&self, objects: &[&str]) -> Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        let internal =
            |error: aws_sdk_s3::error::BuildError| Error::new(ErrorKind::Internal, error.to_string());
        let identifiers = objects
            .iter()
            .map(|object| ObjectIdentifier::builder().key(*object).build().map_err(internal))
            .collect::<Result<Vec<_>>>()?;
        let delete = Delete::builder()
            .set_objects(Some(identifiers))
            .quiet(true)
            .build()
            .map_err(internal)?;
        self.retried("DeleteObjects", || async {
            let answer = self
                .bucket
                .client()
                .await?
                .delete_objects()
                .bucket(&self.bucket.name)
                .delete(delete.clone())
                .send()
                .await
                .map_err(|error| {
                    let place = self.place(objects.first().copied().unwrap_or_default());
                    SERVICE.classify("DeleteObjects", &place, error)
                })?;
            match answer.errors().first() {
                None => Ok(()),
                Some(error) => {
                    let code = error.code().unwrap_or("unknown");
                    // An error inside a response has no status of its own.
                    let status = if code == "InternalError" { 500 } else { 400 };
                    let refused =
                        SERVICE.refusal("DeleteObjects", code, error.message().unwrap_or_default(), status);
                    Err(refused.with("store", self.place(error.key().unwrap_or_default())))
                }
            }
        })
        .await
    }
}

/// The token of the next page.
fn next_page(page: &ListObjectsV2Output) -> Option<String> {
    page.is_truncated()
        .unwrap_or_default()
        .then(|| page.next_continuation_token().map(str::to_owned))
        .flatten()
}

#[async_trait]
impl ClaimStore for S3Store {
    /// Puts an object twice, to check that the second put is refused. The protocol depends on that, and not all
    /// stores with S3's protocol do it. A missing permission also shows before the first batch.
    async fn prepare(&self) -> Result<()> {
        let probe = format!("{}probe-{}", self.prefix, uuid::Uuid::new_v4());
        self.put(&probe, b"").await?;
        let overwritten = self.put(&probe, b"").await?;
        self.delete(&[&probe]).await?;
        if overwritten {
            return Err(Error::new(
                ErrorKind::Store,
                format!(
                    "the store at {} does not keep conditional puts (If-None-Match): two attempts at a batch could \
                     both claim its end. Keep the claims elsewhere: set kinesis.metadataPath, or \
                     kinesis.metadataCommitterType DYNAMODB",
                    self.place(&self.prefix)
                ),
            )
            .with("option", "kinesis.metadataPath"));
        }
        Ok(())
    }

    async fn put_if_absent(&self, key: &ClaimKey, claim: &Claim) -> Result<PutResult> {
        let object = self.object(key);
        // A put whose response was lost finds its own claim on the second try; that claim counts like any other.
        if self.put(&object, &claim.to_json()?).await? {
            return Ok(PutResult::Stored);
        }
        match self.get(key).await? {
            Some(first) => Ok(PutResult::Exists(first)),
            None => Err(Error::new(
                ErrorKind::Store,
                format!(
                    "the claim at {} vanished between two looks; was the bucket cleaned?",
                    self.place(&object)
                ),
            )
            .retryable(true)),
        }
    }

    async fn get(&self, key: &ClaimKey) -> Result<Option<Claim>> {
        let place = self.place(&self.object(key));
        let parsed = |content: Vec<u8>| Claim::from_json(&content, &place);
        let mut claim = self.read(&self.object(key)).await?.map(parsed).transpose();
        if claim.is_err() {
            // What is no claim may be a proxy's page.
            claim = self.read(&self.object(key)).await?.map(parsed).transpose();
        }
        claim
    }

    async fn load(&self, source: &str, batch: u64) -> Result<BTreeMap<ShardId, Claim>> {
        let folder = self.batch_folder(source, batch);
        let mut shards = Vec::new();
        let mut from = None;
        loop {
            let page = self.list(&folder, None, from).await?;
            let names = page
                .contents()
                .iter()
                .filter_map(|object| object.key()?.strip_prefix(&folder));
            // The folder's own marker object, which some tools create, has no name.
            shards.extend(names.filter(|name| !name.is_empty()).map(ShardId::from));
            from = next_page(&page);
            if from.is_none() {
                break;
            }
        }
        let claims: Vec<(ShardId, Option<Claim>)> = stream::iter(shards)
            .map(|shard| async move {
                let key = ClaimKey {
                    source: source.to_owned(),
                    batch,
                    shard,
                };
                self.get(&key).await.map(|claim| (key.shard, claim))
            })
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(claims
            .into_iter()
            .filter_map(|(shard, claim)| Some((shard, claim?)))
            .collect())
    }

    async fn has_from(&self, source: &str, batch: u64) -> Result<bool> {
        let (folder, before) = (self.source_folder(source), self.batch_folder(source, batch));
        let mut from = None;
        loop {
            let page = self.list(&folder, Some(before.clone()), from).await?;
            from = next_page(&page);
            if !page.contents().is_empty() || from.is_none() {
                return Ok(!page.contents().is_empty());
            }
        }
    }

    async fn purge(&self, source: &str, before: u64) -> Result<()> {
        let folder = self.source_folder(source);
        let mut from = None;
        loop {
            let page = self.list(&folder, None, from).await?;
            let mut old = Vec::new();
            let mut done = false;
            for object in page.contents().iter().filter_map(|object| object.key()) {
                let batch = object
                    .strip_prefix(&folder)
                    .and_then(|name| name.split_once('/'))
                    .and_then(|(batch, _)| batch.parse::<u64>().ok());
                match batch {
                    Some(batch) if batch < before => old.push(object),
                    Some(_) => {
                        done = true;
                        break;
                    }
                    None => {}
                }
            }
            self.delete(&old).await?;
            from = next_page(&page);
            if done || from.is_none() {
                return Ok(());
            }
        }
    }
}
