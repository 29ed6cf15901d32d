//! A sandbox with one stream, and a query that reads it as Spark would: plan, read every shard, report, repeat.

// Each test program uses only a part of this module.
#![allow(dead_code)]

pub mod altered;
pub mod late;
pub mod policies;
pub mod scripted;
pub mod stub;
pub mod written;

use std::collections::BTreeMap;
use std::io::ErrorKind as IoErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, Record, ShardIteratorType};
use kinesis_connector::options::{self, SourceOptions};
use kinesis_connector::plan::Planner;
use kinesis_connector::read::ShardReader;
use kinesis_connector::storage::FileSystem;
use kinesis_connector::{Engine, Error, ErrorKind, Result, SourceConfig};
use kinesis_sandbox::{KnobUpdate, Sandbox, SandboxConfig};
use tempfile::TempDir;

pub const STREAM: &str = "events";
/// Option for reading with enhanced fan-out.
pub const FAN_OUT: (&str, &str) = ("kinesis.consumerType", "SubscribeToShard");
/// Name of the consumer for enhanced fan-out.
pub const NAMED: (&str, &str) = ("kinesis.consumerName", "app");
/// Options of both consumer types, for tests that run with each.
pub const BOTH_CONSUMERS: [&[(&str, &str)]; 2] = [&[], &[FAN_OUT, NAMED]];

/// The first shard of a stream.
pub const SHARD_0: &str = "shardId-000000000000";

/// A knob that makes this number of calls for the first shard fail.
pub fn fault(operation: &str, error: &str, count: u32) -> serde_json::Value {
    serde_json::json!({
        "faults": [{"operation": operation, "error": error, "count": count, "stream": STREAM, "shard": SHARD_0}]
    })
}

/// Read options in this region plus `more`, for tests of claim stores without a stream. Requests to the store are not
/// retried.
pub fn store_options(region: &str, more: &[(&str, &str)]) -> SourceOptions {
    let fixed = [
        ("kinesis.streamName", STREAM),
        ("kinesis.region", region),
        ("kinesis.metadataNumRetries", "0"),
    ];
    let all: BTreeMap<String, String> = fixed
        .iter()
        .chain(more)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    options::source(&all).expect("good options").options
}

/// Time limit for expected events.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the condition holds; fails after [`PATIENCE`].
pub async fn until(holds: impl Fn() -> bool) {
    let holding = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, holding)
        .await
        .expect("the condition in time");
}

/// File operations on the local disk.
pub struct LocalFiles;

fn failed(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Store, error.to_string())
}

#[async_trait]
impl FileSystem for LocalFiles {
    async fn put_if_absent(&self, path: &str, content: Vec<u8>) -> Result<bool> {
        let path = Path::new(path);
        let folder = path.parent().expect("a folder");
        std::fs::create_dir_all(folder).map_err(failed)?;
        let whole = tempfile::NamedTempFile::with_prefix_in(".", folder).map_err(failed)?;
        std::fs::write(whole.path(), content).map_err(failed)?;
        match std::fs::hard_link(whole.path(), path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == IoErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match std::fs::read(path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == IoErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        match std::fs::read_dir(folder) {
            Ok(entries) => entries
                .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
                .filter(|name| name.as_ref().is_ok_and(|name| !name.starts_with('.')))
                .map(|name| name.map_err(failed))
                .collect(),
            Err(error) if error.kind() == IoErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(failed(error)),
        }
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let removed = if Path::new(path).is_dir() {
            std::fs::remove_dir_all(path)
        } else {
            std::fs::remove_file(path)
        };
        match removed {
            Err(error) if error.kind() != IoErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }
}

/// A sandbox with one stream, and a folder for checkpoints.
pub struct World {
    pub sandbox: Sandbox,
    /// Endpoint of the query under test.
    pub endpoint: String,
    pub client: Client,
    pub checkpoint: TempDir,
}

impl World {
    pub async fn with_shards(shards: i32) -> Self {
        let sandbox = Sandbox::start(SandboxConfig::default());
        Self::with(sandbox.await.expect("the sandbox starts"), shards).await
    }

    /// Creates a stream in this sandbox. The test's own client and the query under test use its plain port, unless
    /// the query's endpoint is changed.
    pub async fn with(sandbox: Sandbox, shards: i32) -> Self {
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(sandbox.endpoint())
            .credentials_provider(Credentials::new("AKIDTEST", "secret", None, None, "test"))
            // Ignores proxies in the test's environment.
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        let client = Client::from_conf(config);
        client
            .create_stream()
            .stream_name(STREAM)
            .shard_count(shards)
            .send()
            .await
            .expect("created");
        Self {
            endpoint: sandbox.endpoint(),
            sandbox,
            client,
            checkpoint: TempDir::new().expect("a folder"),
        }
    }

    /// Applies an update of the sandbox's knobs.
    pub fn knobs(&self, update: serde_json::Value) {
        let update: KnobUpdate = serde_json::from_value(update).expect("knobs");
        self.sandbox.apply(&update).expect("turned");
    }

    /// Allows a subscription to be reopened after a tenth of the service's five seconds.
    pub fn hasten_subscriptions(&self) {
        self.knobs(serde_json::json!({"subscriptions": {"idle_event_ms": 50, "exclusive_ms": 500}}));
    }

    /// Data and sequence number of a shard's records, from one response.
    pub async fn records(&self, shard: &str) -> Vec<(String, String)> {
        let iterator = self
            .client
            .get_shard_iterator()
            .stream_name(STREAM)
            .shard_id(shard)
            .shard_iterator_type(ShardIteratorType::TrimHorizon)
            .send()
            .await;
        let iterator = iterator.expect("an iterator").shard_iterator;
        let page = self
            .client
            .get_records()
            .set_shard_iterator(iterator)
            .send()
            .await;
        let text = |record: &Record| {
            let data = String::from_utf8(record.data().as_ref().to_vec());
            (data.expect("text"), record.sequence_number().to_owned())
        };
        page.expect("records").records().iter().map(text).collect()
    }

    /// Puts `<prefix><number>` for each number; the key is the number modulo 16.
    pub async fn put(&self, prefix: &str, numbers: std::ops::Range<usize>) {
        let entries: Vec<_> = numbers
            .map(|number| {
                PutRecordsRequestEntry::builder()
                    .data(Blob::new(format!("{prefix}{number}")))
                    .partition_key(format!("key-{}", number % 16))
                    .build()
                    .expect("an entry")
            })
            .collect();
        for chunk in entries.chunks(500) {
            let put = self
                .client
                .put_records()
                .stream_name(STREAM)
                .set_records(Some(chunk.to_vec()));
            assert_eq!(put.send().await.expect("put").failed_record_count(), Some(0));
        }
    }

    pub async fn split(&self, shard: &str) {
        let listing = self
            .client
            .list_shards()
            .stream_name(STREAM)
            .send()
            .await
            .expect("listed");
        let found = listing
            .shards()
            .iter()
            .find(|listed| listed.shard_id() == shard)
            .expect("the shard");
        let range = found.hash_key_range().expect("a range");
        let start: u128 = range.starting_hash_key().parse().expect("a number");
        let end: u128 = range.ending_hash_key().parse().expect("a number");
        let middle = (start + (end - start) / 2 + 1).to_string();
        let split = self
            .client
            .split_shard()
            .stream_name(STREAM)
            .shard_to_split(shard);
        split.new_starting_hash_key(middle).send().await.expect("split");
    }

    pub async fn merge(&self, left: &str, right: &str) {
        let merge = self.client.merge_shards().stream_name(STREAM);
        merge
            .shard_to_merge(left)
            .adjacent_shard_to_merge(right)
            .send()
            .await
            .expect("merged");
    }

    pub fn config(&self, options: &[(&str, &str)]) -> SourceConfig {
        let mut all = BTreeMap::from([
            ("kinesis.streamName", STREAM.to_owned()),
            ("kinesis.region", "us-east-1".to_owned()),
            ("kinesis.endpointUrl", self.endpoint.clone()),
            ("kinesis.awsAccessKeyId", "AKIDTEST".to_owned()),
            ("kinesis.awsSecretKey", "secret".to_owned()),
            ("kinesis.startingPosition", "TRIM_HORIZON".to_owned()),
            ("kinesis.clientRetryIntervalsMs", "5".to_owned()),
            ("kinesis.clientMaxRetryIntervalMs", "20".to_owned()),
            ("kinesis.getRecords.fetchIntervalMs", "5".to_owned()),
            ("kinesis.describeShardInterval", "1ms".to_owned()),
        ]);
        all.extend(options.iter().map(|(key, value)| (*key, (*value).to_owned())));
        // Tests remove an option by an empty value.
        all.retain(|_, value| !value.is_empty());
        let json = serde_json::json!({
            "version": 1,
            "options": all,
            "checkpointLocation": self.checkpoint.path().to_string_lossy(),
            "minBatchesToRetain": 100,
        });
        SourceConfig::parse(&json.to_string()).expect("a configuration")
    }

    /// A query on a new engine, as after a restart.
    pub async fn query(&self, options: &[(&str, &str)]) -> Query {
        self.try_query(options).await.expect("the query opens")
    }

    pub async fn try_query(&self, options: &[(&str, &str)]) -> Result<Query> {
        self.query_of(self.config(options)).await
    }

    pub async fn query_of(&self, config: SourceConfig) -> Result<Query> {
        let engine = Engine::new();
        let planner = engine.open_planner(config.clone(), Arc::new(LocalFiles)).await?;
        let offset = planner.initial_offset().await?;
        Ok(Query {
            engine,
            config,
            planner,
            offset,
        })
    }
}

/// A row as compared in tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub data: String,
    pub key: String,
    pub sequence_number: String,
}

/// A streaming query.
pub struct Query {
    pub engine: Engine,
    pub config: SourceConfig,
    pub planner: Planner,
    pub offset: String,
}

impl Query {
    /// Continues from an offset of Spark's log.
    pub fn from(mut self, offset: &str) -> Self {
        self.offset = offset.to_owned();
        self
    }

    /// Plans and reads the next batch; `None` if nothing is new.
    pub async fn batch(&mut self) -> Result<Option<Vec<Row>>> {
        match self.planner.latest_offset(&self.offset).await? {
            Some(offset) => self.run(offset).await.map(Some),
            None => Ok(None),
        }
    }

    /// Runs the batch of this offset, also if it ran before.
    pub async fn run(&mut self, offset: String) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for task in self.planner.partitions(&offset)? {
            let reader = self.reader(&task)?;
            rows.extend(read_all(&reader).await?);
            self.planner
                .report(&reader.finish(true).await?.expect("a report"))?;
        }
        self.planner.commit(&offset).await?;
        self.offset = offset;
        Ok(rows)
    }

    pub fn reader(&self, task: &str) -> Result<ShardReader> {
        self.engine
            .open_reader(self.config.clone(), task, Arc::new(LocalFiles))
    }

    /// Rows of the next batches, until there are at least `count`. If they never come, only the test's own time limit
    /// ends this.
    pub async fn rows(&mut self, count: usize) -> Vec<Row> {
        let mut rows = Vec::new();
        while rows.len() < count {
            rows.extend(self.batch().await.expect("a batch").unwrap_or_default());
        }
        rows
    }
}

pub async fn read_all(reader: &ShardReader) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    while let Some(batch) = reader.next().await? {
        let data = batch.data.as_ref().expect("payloads");
        let keys = batch.partition_key.as_ref().expect("keys");
        for row in 0..batch.rows() {
            rows.push(Row {
                data: String::from_utf8_lossy(data.value(row)).into_owned(),
                key: keys.value(row).to_owned(),
                sequence_number: batch.sequence_number.value(row).to_owned(),
            });
        }
    }
    Ok(rows)
}

/// Asserts that the rows are `<prefix><number>` for exactly these numbers, each once, in order for each key.
pub fn assert_exact(rows: &[Row], prefix: &str, numbers: std::ops::Range<usize>) {
    let mut seen: Vec<usize> = Vec::new();
    let mut last_of_key: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        let number: usize = row
            .data
            .strip_prefix(prefix)
            .and_then(|rest| rest.parse().ok())
            .expect("our data");
        if let Some(before) = last_of_key.insert(&row.key, number) {
            assert!(before < number, "key {}: {number} came after {before}", row.key);
        }
        seen.push(number);
    }
    seen.sort_unstable();
    let expected: Vec<usize> = numbers.collect();
    assert_eq!(seen.len(), expected.len(), "number of rows");
    assert_eq!(seen, expected);
}
