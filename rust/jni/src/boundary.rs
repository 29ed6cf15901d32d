//! Exports and stand-ins for the tests of the boundary in a real JVM. Not part of a shipped library.
//!
//! A configuration with a `boundaryTest` object opens a stand-in behind the real bridge. The object's fields choose
//! what the stand-in does.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::{BinaryArray, Int64Array, StringArray, TimestampMicrosecondArray};
use async_trait::async_trait;
use jni::objects::{JClass, JString};
use jni::sys::{jint, jlong};
use kinesis_connector::batch::{Column, ExtraValues, RecordBatch};
use kinesis_connector::options::ExtraColumn;
use kinesis_connector::sink::SinkRow;
use kinesis_connector::storage::FileSystem;
use kinesis_connector::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::errors::invalid_argument;
use crate::guard::export;
use crate::handles::TABLE;
use crate::planner::Plans;
use crate::reader::{Opened, Reads};
use crate::upcall::Files;
use crate::values;
use crate::writer::Writes;

/// The `boundaryTest` object of a configuration.
fn wanted(config: &str) -> Result<Option<Value>> {
    let config: Value = serde_json::from_str(config).map_err(|error| invalid_argument(error.to_string()))?;
    Ok(config.get("boundaryTest").cloned())
}

fn panic_with(text: &str) -> ! {
    // Formatted on purpose: the payload is then a String, which is easily lost on the way to Java.
    #[allow(clippy::panic)]
    {
        panic!("formatted: {text}")
    }
}

struct StandInPlanner {
    wanted: Value,
    files: Files,
}

pub(crate) fn planner(config: &str, files: &Files) -> Result<Option<Arc<dyn Plans>>> {
    Ok(wanted(config)?.map(|wanted| {
        Arc::new(StandInPlanner {
            wanted,
            files: files.clone(),
        }) as Arc<dyn Plans>
    }))
}

#[async_trait]
impl Plans for StandInPlanner {
    /// Stores, reads and lists a file in the configured `folder`.
    async fn initial_offset(&self) -> Result<String> {
        let folder = self.wanted["folder"].as_str().unwrap_or_default();
        let path = format!("{folder}/offset");
        let first = self.files.put_if_absent(&path, b"content".to_vec()).await?;
        let again = self.files.put_if_absent(&path, b"other".to_vec()).await?;
        let content = self
            .files
            .read(&path)
            .await?
            .map(|content| String::from_utf8_lossy(&content).into_owned());
        let missing = self.files.read(&format!("{folder}/missing")).await?.is_none();
        let names = self.files.list(folder).await?;
        let answer =
            json!({ "first": first, "again": again, "content": content, "missing": missing, "names": names });
        Ok(answer.to_string())
    }

    async fn latest_offset(&self, start: &str) -> Result<Option<String>> {
        match start {
            "block" => pending().await,
            "panic" => panic_with("on a worker"),
            "none" => Ok(None),
            start => Ok(Some(format!("{start}+1"))),
        }
    }

    fn partitions(&self, offset: &str) -> Result<Vec<String>> {
        let count = offset.parse().unwrap_or(0);
        Ok((0..count).map(|n: u32| format!("task {n}")).collect())
    }

    fn report(&self, report: &str) -> Result<()> {
        tracing::info!(report, "took a report");
        tracing::trace!(report, "a detail that the log's level hides");
        Ok(())
    }

    async fn commit(&self, offset: &str) -> Result<()> {
        self.files.delete(offset).await
    }

    async fn prepare_for_available_now(&self) -> Result<()> {
        Ok(())
    }

    fn stop(&self) -> Result<()> {
        Ok(())
    }

    async fn release(&self) -> Result<()> {
        Ok(())
    }

    fn metrics(&self) -> Result<String> {
        Ok(json!({ "one": "1" }).to_string())
    }
}

/// Returns `batches` batches of `rows` rows, then ends; `instead` replaces that with `block`, `panic` or `fail`.
/// `columns` are the columns asked for; without it, the usual ones, or all with `extra`. `unknownColumn` is the name of
/// a column that no batch has.
struct StandInReader {
    wanted: Value,
    columns: Vec<Column>,
    given: AtomicU64,
}

pub(crate) fn reader(config: &str) -> Result<Option<Opened>> {
    Ok(wanted(config)?.map(|wanted| {
        let columns = columns(&wanted);
        let unknown = wanted["unknownColumn"].as_str().map(str::to_owned);
        let reader = Arc::new(StandInReader {
            wanted,
            columns: columns.clone(),
            given: AtomicU64::new(0),
        });
        let mut opened = Opened::new(reader, "boundary-stream".to_owned(), columns);
        opened.column_names.extend(unknown);
        opened
    }))
}

fn columns(wanted: &Value) -> Vec<Column> {
    let extra = ExtraColumn::ALL.map(Column::Extra);
    let all: Vec<Column> = Column::USUAL.into_iter().chain(extra).collect();
    let named = |name: &Value| all.iter().copied().find(|column| name == column.name());
    match wanted["columns"].as_array() {
        Some(names) => names.iter().filter_map(named).collect(),
        None if wanted["extra"] == true => all,
        None => Column::USUAL.to_vec(),
    }
}

/// An extra column. Every third explicit hash key is null, and all encryption types of every second batch.
fn extra_values(column: ExtraColumn, numbers: impl Iterator<Item = u64>, batch: u64) -> ExtraValues {
    let third = |n: u64| (!n.is_multiple_of(3)).then(|| format!("hash {n}"));
    let kms = |n: u64| n.is_multiple_of(2).then_some("KMS");
    match column {
        ExtraColumn::ShardId => ExtraValues::Same(StringArray::from_iter_values([format!("shard {batch}")])),
        ExtraColumn::SubSequenceNumber => {
            ExtraValues::Numbers(Int64Array::from_iter_values(numbers.map(|n| n as i64 + 7)))
        }
        ExtraColumn::ExplicitHashKey => ExtraValues::Texts(numbers.map(third).collect()),
        ExtraColumn::EncryptionType if batch.is_multiple_of(2) => {
            ExtraValues::Texts(numbers.map(kms).collect())
        }
        ExtraColumn::EncryptionType => ExtraValues::Nulls,
    }
}

#[async_trait]
impl Reads for StandInReader {
    async fn next(&self) -> Result<Option<RecordBatch>> {
        match self.wanted["instead"].as_str() {
            Some("block") => return pending().await,
            Some("panic") => panic_with("while reading"),
            Some("fail") => {
                return Err(Error::new(ErrorKind::ClaimConflict, "another end was claimed")
                    .retryable(true)
                    .with("shard", "shardId-000000000007"));
            }
            _ => {}
        }
        let batch = self.given.fetch_add(1, Ordering::SeqCst);
        if batch >= self.wanted["batches"].as_u64().unwrap_or(0) {
            return Ok(None);
        }
        let rows = self.wanted["rows"].as_u64().unwrap_or(0);
        let numbers = || (0..rows).map(move |row| batch * rows + row);
        let asked = |column| self.columns.contains(&column);
        let extra = self.columns.iter().filter_map(|column| match column {
            Column::Extra(extra) => Some(extra_values(*extra, numbers(), batch)),
            _ => None,
        });
        Ok(Some(RecordBatch {
            // Every third payload is empty.
            data: asked(Column::Data).then(|| {
                BinaryArray::from_iter_values(numbers().map(|n| {
                    if n % 3 == 0 {
                        Vec::new()
                    } else {
                        format!("data {n}").into_bytes()
                    }
                }))
            }),
            partition_key: asked(Column::PartitionKey)
                .then(|| StringArray::from_iter_values(numbers().map(|n| format!("schlüssel {n}")))),
            sequence_number: StringArray::from_iter_values(numbers().map(|n| format!("{n:056}"))),
            arrival: asked(Column::Arrival)
                .then(|| TimestampMicrosecondArray::from_iter_values(numbers().map(|n| n as i64 * 1_000))),
            extra: extra.collect(),
        }))
    }

    async fn finish(&self, succeeded: bool) -> Result<Option<String>> {
        Ok(succeeded.then(|| json!({ "batches": self.given.load(Ordering::SeqCst) }).to_string()))
    }

    fn metrics(&self) -> Result<String> {
        Ok(json!({ "millisBehindLatest": null }).to_string())
    }
}

/// Keeps the rows and shows them in its metrics.
struct StandInWriter {
    wanted: Value,
    written: Mutex<Vec<SinkRow>>,
}

pub(crate) fn writer(config: &str) -> Result<Option<Arc<dyn Writes>>> {
    Ok(wanted(config)?.map(|wanted| {
        Arc::new(StandInWriter {
            wanted,
            written: Mutex::default(),
        }) as Arc<dyn Writes>
    }))
}

#[async_trait]
impl Writes for StandInWriter {
    async fn write(&self, rows: Vec<SinkRow>) -> Result<()> {
        if self.wanted["block"] == true {
            return pending().await;
        }
        self.written.lock().extend(rows);
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        match self.wanted["flushFails"] == true {
            true => Err(Error::new(ErrorKind::PutFailed, "2 records were not accepted").with("stream", "s")),
            false => Ok(()),
        }
    }

    fn metrics(&self) -> Result<String> {
        let written = self.written.lock();
        let shown: Vec<Value> = written
            .iter()
            .take(10)
            .map(|SinkRow { stream, record }| {
                json!({
                    "key": record.partition_key,
                    "bytes": record.data.len(),
                    "sum": record.data.iter().map(|byte| u64::from(*byte)).sum::<u64>(),
                    "hash": record.explicit_hash_key,
                    "stream": stream,
                })
            })
            .collect();
        let bytes: usize = written.iter().map(|row| row.record.data.len()).sum();
        Ok(json!({ "records": written.len(), "bytes": bytes, "first": shown }).to_string())
    }

    fn report(&self) -> Result<String> {
        self.metrics()
    }
}

const KINDS: [ErrorKind; 23] = [
    ErrorKind::Internal,
    ErrorKind::InvalidOption,
    ErrorKind::NotSupported,
    ErrorKind::NotFound,
    ErrorKind::Access,
    ErrorKind::Throttled,
    ErrorKind::Transport,
    ErrorKind::InvalidRequest,
    ErrorKind::Kms,
    ErrorKind::DataLoss,
    ErrorKind::ClaimConflict,
    ErrorKind::Store,
    ErrorKind::CorruptCheckpoint,
    ErrorKind::StreamChanged,
    ErrorKind::InvalidRow,
    ErrorKind::PutFailed,
    ErrorKind::InvalidHandle,
    ErrorKind::Interrupted,
    ErrorKind::ExpiredIterator,
    ErrorKind::InvalidArgument,
    ErrorKind::MalformedRecord,
    ErrorKind::RefusedPosition,
    ErrorKind::InUse,
];

export! {
    /// Panics with a formatted text, on the calling thread.
    fn Java_io_sparkkinesis_bridge_BoundaryTests_panic<'l>(env, _class: JClass<'l>, text: JString<'l>) -> () {
        let text = values::text(env, &text, "the text")?;
        panic_with(&text)
    }
}

export! {
    /// Panics with a payload that isn't text.
    fn Java_io_sparkkinesis_bridge_BoundaryTests_panicWithoutText<'l>(_env, _class: JClass<'l>) -> () {
        #[allow(clippy::panic)]
        std::panic::panic_any(42_u8)
    }
}

export! {
    /// Fails with the error kind of this number, or returns if there is none.
    fn Java_io_sparkkinesis_bridge_BoundaryTests_fail<'l>(_env, _class: JClass<'l>, code: jint) -> () {
        match KINDS.iter().find(|kind| kind.code() == code) {
            Some(kind) => Err(Error::new(*kind, "what was asked for").with("stream", "s").with("shard", "ü").into()),
            None => Ok(()),
        }
    }
}

export! {
    /// Number of objects that Java holds handles to.
    fn Java_io_sparkkinesis_bridge_BoundaryTests_openHandles<'l>(_env, _class: JClass<'l>) -> jlong {
        Ok(TABLE.open() as jlong)
    }
}
