//! Compatibility of aggregates with Amazon's own code, the Python package aws_kinesis_agg: it decodes the sink's
//! aggregates, and the source reads its aggregates. scripts/test installs it, and sets AGGREGATOR_PYTHON to its
//! Python.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::support::written::write_all;
use crate::support::{STREAM, World};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use kinesis_aggregation::hash_key;
use kinesis_connector::sink::SinkRecord;
use serde_json::{Value, json};

/// Partition key and data of a row or of a Kinesis record.
type Row = (String, Vec<u8>);

/// The package's result for a task.
fn package_result(task: &Value) -> Value {
    let python = std::env::var_os("AGGREGATOR_PYTHON").unwrap_or_else(|| {
        panic!("AGGREGATOR_PYTHON isn't set, so nothing was tested: run scripts/test stores")
    });
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/integration/support/aggregator.py"
    );
    let mut command = Command::new(python);
    let command = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("Python");
    let mut stdin = child.stdin.take().expect("piped");
    writeln!(stdin, "{task}").expect("written");
    drop(stdin);
    let mut answer = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    stdout.read_line(&mut answer).expect("an answer");
    assert!(child.wait().expect("ended").success());
    serde_json::from_str(&answer).expect("JSON")
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn bytes(value: &Value) -> Vec<u8> {
    STANDARD.decode(text(value)).expect("base64")
}

/// Rows with random bytes, shared keys, and explicit hash keys for some.
fn rows(count: usize, hash_keys: bool) -> Vec<SinkRecord> {
    let mut random = fastrand::Rng::with_seed(7);
    let row = |number| {
        let mut data = vec![0; random.usize(0..300)];
        random.fill(&mut data);
        SinkRecord {
            partition_key: Some(format!("schlüssel-{}", number % 700)),
            data: Bytes::from(data),
            explicit_hash_key: (hash_keys && number % 3 == 0).then(|| random.u128(..).to_string()),
        }
    };
    (0..count).map(row).collect()
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_unstable();
    rows
}

#[tokio::test]
async fn the_sinks_aggregates_are_taken_apart_each_row_in_the_shard_its_key_hashes_to() {
    for hash_keys in [false, true] {
        let world = World::with_shards(4).await;
        let writer = world.writer(&[("kinesis.sink.aggregationEnabled", "true")]);
        let rows = rows(5_000, hash_keys);
        write_all(&writer, &rows).await;
        let mut by_shard = BTreeMap::<u128, (u128, Vec<Value>)>::new();
        for record in world.written().await {
            let shard = by_shard.entry(record.range.start);
            let (_, records) = shard.or_insert_with(|| (record.range.end, Vec::new()));
            records.push(json!([record.partition_key, STANDARD.encode(&record.data)]));
        }
        assert_eq!(by_shard.len(), 4);
        let count: usize = by_shard.values().map(|(_, records)| records.len()).sum();
        assert!(count < 60, "{count} records are no aggregates");
        for (start, (end, records)) in by_shard {
            let decoded = package_result(&json!({ "apart": records }));
            let decoded = decoded.as_array().expect("a list").iter();
            let decoded = decoded.map(|row| (text(&row[0]), bytes(&row[1]))).collect();
            let here = |row: &&SinkRecord| {
                let key = row.partition_key.as_deref().expect("a key");
                let hash = hash_key(key, row.explicit_hash_key.as_deref());
                (start..=end).contains(&hash.expect("a hash key"))
            };
            let expected = rows
                .iter()
                .filter(here)
                .map(|row| (row.partition_key.clone().expect("a key"), row.data.to_vec()))
                .collect();
            assert!(sorted(decoded) == sorted(expected), "the shard from {start}");
        }
    }
}

#[tokio::test]
async fn the_packages_aggregates_are_read() {
    let world = World::with_shards(1).await;
    let rows: Vec<Row> = (0..3_000)
        .map(|number| {
            (
                format!("ключ-{}", number % 50),
                format!("row-{number}").into_bytes(),
            )
        })
        .collect();
    let encoded: Vec<_> = rows
        .iter()
        .map(|(key, data)| json!([key, STANDARD.encode(data)]))
        .collect();
    let made = package_result(&json!({ "together": encoded }));
    for record in made.as_array().expect("a list") {
        let put = world.client.put_record().stream_name(STREAM);
        let put = put.partition_key(text(&record[0]));
        let put = put.set_explicit_hash_key(record[1].as_str().map(str::to_owned));
        let data = aws_sdk_kinesis::primitives::Blob::new(bytes(&record[2]));
        put.data(data).send().await.expect("put");
    }
    let mut query = world.query(&[]).await;
    let read = query.rows(rows.len()).await;
    let read: Vec<Row> = read
        .into_iter()
        .map(|row| (row.key, row.data.into_bytes()))
        .collect();
    assert!(read == rows);
}
