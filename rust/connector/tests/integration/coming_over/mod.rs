//! Queries that start at existing positions: from checkpoints of the AWS connector, or from positions given for single
//! shards.

mod checkpoints;
mod positions;
mod refusals;
mod resharded;
mod table;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::{Query, Row, STREAM, World};
use aws_sdk_kinesis::primitives::Blob;
use kinesis_connector::{Error, Result};
use tempfile::TempDir;

const SHARD_0: &str = "shardId-000000000000";

const SHARD_1: &str = "shardId-000000000001";

const SHARD_2: &str = "shardId-000000000002";

/// Number of digits of the fixtures' sequence numbers, and their common prefix.
const DIGITS: usize = 56;

const RESHARD: &str = "GetRecords-hdfs-reshard";
const FIXTURE_NUMBER: &str = "4960";

/// Puts records with these numbers as payload and as key.
async fn put(world: &World, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let text = number.to_string();
        let put = world.client.put_record().stream_name(STREAM).partition_key(&text);
        put.data(Blob::new(text)).send().await.expect("put");
    }
}

/// Sequence number and payload of each of a shard's records.
async fn records(world: &World, shard: &str) -> Vec<(String, usize)> {
    let records = world.records(shard).await.into_iter();
    records
        .map(|(data, sequence_number)| (sequence_number, data.parse().expect("our data")))
        .collect()
}

async fn number_of(world: &World, shard: &str, place: usize) -> String {
    records(world, shard).await[place].0.clone()
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
    {
        match entry.is_dir() {
            true => files.extend(files_in(&entry)),
            false => files.push(entry),
        }
    }
    files.sort();
    files
}

/// A copy of a checkpoint of the AWS connector, adapted to this world's stream.
struct Old(TempDir);

impl Old {
    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/fixtures/awslabs-checkpoints")
            .join(name)
    }

    async fn of(name: &str, world: &World) -> Self {
        let mut numbers = BTreeMap::new();
        let listing = world
            .client
            .list_shards()
            .stream_name(STREAM)
            .send()
            .await
            .expect("listed");
        for (index, shard) in listing.shards().iter().enumerate() {
            for (place, (number, _)) in records(world, shard.shard_id()).await.into_iter().enumerate() {
                numbers.insert(format!("{FIXTURE_NUMBER}{index:04}{:048}", place + 1), number);
            }
        }
        Self::with(name, |number| numbers[number].clone())
    }

    /// A copy of the fixture with its sequence numbers replaced.
    fn with(name: &str, number: impl Fn(&str) -> String) -> Self {
        let (fixture, old) = (Self::fixture(name), TempDir::new().expect("a folder"));
        for file in files_in(&fixture) {
            let text = std::fs::read_to_string(&file).expect("text");
            let copy = old
                .path()
                .join(file.strip_prefix(&fixture).expect("in the fixture"));
            std::fs::create_dir_all(copy.parent().expect("a folder")).expect("made");
            std::fs::write(copy, of_stream(&text, &number)).expect("written");
        }
        Self(old)
    }

    fn path(&self) -> String {
        self.0.path().to_string_lossy().into_owned()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn remove(&self, name: &str) {
        let path = self.file(name);
        match path.is_dir() {
            true => std::fs::remove_dir_all(path).expect("removed"),
            false => std::fs::remove_file(path).expect("removed"),
        }
    }

    /// Sets the stored end of a shard in a batch.
    fn ends_at(&self, batch: u64, shard: &str, kind: &str, at: &str) {
        let file = self.file(&format!("sources/0/shard-source/{batch}/{shard}"));
        let end = serde_json::json!({"shardId": shard, "iteratorType": kind, "iteratorPosition": at,
            "subSequenceNumber": -1, "isLast": true});
        std::fs::write(file, end.to_string()).expect("written");
    }

    async fn query(&self, world: &World, options: &[(&str, &str)]) -> Query {
        self.try_query(world, options).await.expect("the query opens")
    }

    async fn try_query(&self, world: &World, options: &[(&str, &str)]) -> Result<Query> {
        let path = self.path();
        let mut all = vec![("kinesis.importCheckpoint", path.as_str())];
        all.extend_from_slice(options);
        world.try_query(&all).await
    }
}

/// Content of a fixture's file, adapted to the world's stream and with its sequence numbers replaced.
fn of_stream(text: &str, number: impl Fn(&str) -> String) -> String {
    let mut parts: Vec<String> = text.split('"').map(str::to_owned).collect();
    for part in &mut parts {
        // In JSON within JSON, a text ends with the backslash that escapes its quote.
        let bare = part.trim_end_matches('\\').to_owned();
        if bare.starts_with(FIXTURE_NUMBER) && bare.len() == DIGITS {
            *part = format!("{}{}", number(&bare), &part[bare.len()..]);
        } else if bare.starts_with("orders-") {
            STREAM.clone_into(part);
        }
    }
    parts.join("\"")
}

fn numbers(rows: &[Row]) -> Vec<usize> {
    let mut numbers: Vec<usize> = rows
        .iter()
        .map(|row| row.data.parse().expect("our data"))
        .collect();
    numbers.sort_unstable();
    numbers
}

/// Asserts that the next rows of the query are exactly these, and that no more follow.
async fn assert_next(query: &mut Query, expected: impl IntoIterator<Item = usize>) {
    let mut expected: Vec<usize> = expected.into_iter().collect();
    expected.sort_unstable();
    let mut rows = query.rows(expected.len()).await;
    // A batch may exist only to store the shards that follow others.
    while let Some(more) = query.batch().await.expect("a look") {
        rows.extend(more);
    }
    assert_eq!(numbers(&rows), expected);
}

async fn refused(query: Result<Query>) -> Error {
    let error = query.err().expect("refused");
    assert!(!error.is_retryable(), "{error}");
    error
}

fn assert_says(error: &Error, parts: &[&str]) {
    for part in parts {
        assert!(error.to_string().contains(part), "{part:?} in: {error}");
    }
}

/// A stream like the fixture's: 50 records, a split, and 40 records in the child shards.
async fn split() -> World {
    let world = World::with_shards(1).await;
    put(&world, 0..50).await;
    world.split(SHARD_0).await;
    put(&world, 50..90).await;
    world
}
