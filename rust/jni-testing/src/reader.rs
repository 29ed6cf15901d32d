//! A stand-in for a reader.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow_array::{BinaryArray, Int64Array, StringArray, TimestampMicrosecondArray};
use async_trait::async_trait;
use jni::objects::{JClass, JString};
use jni::sys::{jboolean, jlong};
use kinesis_connector::batch::{Column, ExtraValues, RecordBatch};
use kinesis_connector::options::ExtraColumn;
use kinesis_connector::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use sparkkinesis::export;
use sparkkinesis::reader::{Opened, Reads, insert};

use crate::configuration;
use crate::failures::panic_with;

/// Returns `batches` batches of `rows` rows, then ends; `instead` replaces that with `block`, `panic` or `fail`. With
/// `blockFinish`, the end of a successful read never comes.
/// `columns` are the columns asked for; without it, the usual ones, or all with `extra`. `unknownColumn` is the name of
/// a column that no batch has.
struct StandIn {
    wanted: Value,
    columns: Vec<Column>,
    given: AtomicU64,
    given_up: AtomicBool,
}

fn open(wanted: Value) -> Opened {
    let columns = columns(&wanted);
    let unknown = wanted["unknownColumn"].as_str().map(str::to_owned);
    let reader = Arc::new(StandIn {
        wanted,
        columns: columns.clone(),
        given: AtomicU64::new(0),
        given_up: AtomicBool::new(false),
    });
    let mut opened = Opened::new(reader, "boundary-stream".to_owned(), columns);
    opened.column_names.extend(unknown);
    opened
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
impl Reads for StandIn {
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
        if succeeded && self.wanted["blockFinish"] == true {
            return pending().await;
        }
        self.given_up.fetch_or(!succeeded, Ordering::SeqCst);
        Ok(succeeded.then(|| json!({ "batches": self.given.load(Ordering::SeqCst) }).to_string()))
    }

    fn metrics(&self) -> Result<String> {
        let given_up = self.given_up.load(Ordering::SeqCst);
        Ok(json!({ "millisBehindLatest": null, "givenUp": given_up }).to_string())
    }
}

export! {
    /// A handle for a stand-in. `poison` is as in `readerOpen`.
    fn Java_io_sparkkinesis_bridge_BoundaryTests_reader<'l>(
        env, _class: JClass<'l>, config: JString<'l>, poison: jboolean,
    ) -> jlong {
        Ok(insert(open(configuration(env, &config)?), poison))
    }
}
