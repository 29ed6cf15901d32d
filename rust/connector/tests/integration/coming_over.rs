//! Queries that start at existing positions: from checkpoints of AWS's connector, or from positions given for single
//! shards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::support::altered::{Altered, service};
use crate::support::{BOTH_CONSUMERS, FAN_OUT, LocalFiles, NAMED, Query, Row, STREAM, World};
use async_trait::async_trait;
use aws_sdk_kinesis::primitives::Blob;
use kinesis_connector::claims::backends::memory::MemoryStore;
use kinesis_connector::claims::{Claim, ClaimKey, ClaimStore, PutResult};
use kinesis_connector::plan::Planner;
use kinesis_connector::stream::ShardId;
use kinesis_connector::{Error, ErrorKind, Result};
use tempfile::TempDir;

const SHARD_0: &str = "shardId-000000000000";
const SHARD_1: &str = "shardId-000000000001";
const SHARD_2: &str = "shardId-000000000002";
/// Number of digits of the fixtures' sequence numbers, and their common prefix.
const DIGITS: usize = 56;
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

/// A copy of a checkpoint of AWS's connector, adapted to this world's stream.
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

#[tokio::test]
async fn a_committed_checkpoint_of_polling_goes_on_with_the_next_record() {
    for consumer in BOTH_CONSUMERS {
        let world = World::with_shards(2).await;
        world.hasten_subscriptions();
        put(&world, 0..80).await;
        let old = Old::of("GetRecords-hdfs", &world).await;
        let first = old.query(&world, consumer).await.offset;
        // From now on the positions are the query's own, whatever happens to the old checkpoint.
        old.remove("offsets");
        let mut query = old.query(&world, consumer).await;
        assert_eq!(query.offset, first);
        assert_next(&mut query, 60..80).await;
        put(&world, 80..90).await;
        assert_next(&mut query, 80..90).await;
    }
}

#[tokio::test]
async fn a_batch_of_fan_out_in_flight_comes_again() {
    let world = World::with_shards(2).await;
    world.hasten_subscriptions();
    put(&world, 0..40).await;
    let old = Old::of("SubscribeToShard-hdfs", &world).await;
    let mut query = old.query(&world, &[FAN_OUT, NAMED]).await;
    // None of the records was delivered before.
    assert_next(&mut query, 0..40).await;
}

/// A stream like the fixture's: 50 records, a split, and 40 records in the child shards.
async fn split() -> World {
    let world = World::with_shards(1).await;
    put(&world, 0..50).await;
    world.split(SHARD_0).await;
    put(&world, 50..90).await;
    world
}

const RESHARD: &str = "GetRecords-hdfs-reshard";

#[tokio::test]
async fn after_a_split_the_shards_that_followed_go_on() {
    let world = split().await;
    let old = Old::of(RESHARD, &world).await;
    put(&world, 90..100).await;
    assert_next(&mut old.query(&world, &[]).await, 90..100).await;
}

#[tokio::test]
async fn in_a_split_the_rest_of_the_shard_comes_before_those_that_follow() {
    let world = split().await;
    let old = Old::of(RESHARD, &world).await;
    for batch in 3..6 {
        old.remove(&format!("offsets/{batch}"));
    }
    for batch in 2..5 {
        old.remove(&format!("commits/{batch}"));
    }
    // Batch 2, records 40 to 49, is in flight, whatever end is stored for it.
    let mut query = old.query(&world, &[]).await;
    let rows = query.rows(10).await;
    assert_eq!(numbers(&rows), (40..50).collect::<Vec<_>>());
    assert_next(&mut query, 50..90).await;
}

#[tokio::test]
async fn records_that_the_old_query_left_in_a_shard_that_was_split_are_read() {
    for committed in [true, false] {
        let world = split().await;
        let old = Old::of(RESHARD, &world).await;
        let read = number_of(&world, SHARD_0, 44).await;
        old.ends_at(2, SHARD_0, "AFTER_SEQUENCE_NUMBER", &read);
        let mut query;
        if committed {
            // The child shards were read to their ends.
            put(&world, 90..100).await;
            query = old.query(&world, &[]).await;
            assert_next(&mut query, (45..50).chain(90..100)).await;
        } else {
            // The children's first batch is in flight: they wait for the parent.
            for batch in 4..6 {
                old.remove(&format!("offsets/{batch}"));
            }
            for batch in 3..5 {
                old.remove(&format!("commits/{batch}"));
            }
            query = old.query(&world, &[]).await;
            let rows = query.rows(5).await;
            assert_eq!(numbers(&rows), (45..50).collect::<Vec<_>>());
            assert_next(&mut query, 50..90).await;
        }
    }
}

/// Makes `batch` the last one, committed, from the fixture's batch `of` with only these shards in its offset.
fn last_batch(old: &Old, batch: u64, of: u64, shards: &[&str]) {
    let text = std::fs::read_to_string(old.file(&format!("offsets/{of}"))).expect("text");
    let mut lines: Vec<&str> = text.lines().collect();
    let mut offset: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(lines.pop().expect("an offset")).expect("json");
    offset.retain(|name, _| name == "metadata" || shards.contains(&name.as_str()));
    offset["metadata"]["batchId"] = batch.to_string().into();
    let text = format!("{}\n{}", lines.join("\n"), serde_json::Value::from(offset));
    std::fs::write(old.file(&format!("offsets/{batch}")), text).expect("written");
    let commit = std::fs::read_to_string(old.file("commits/0")).expect("text");
    std::fs::write(old.file(&format!("commits/{batch}")), commit).expect("written");
}

#[tokio::test]
async fn shards_that_followed_after_the_last_listing_are_read_and_the_one_before_them_is_not_again() {
    let world = split().await;
    let old = Old::of(RESHARD, &world).await;
    old.ends_at(2, SHARD_0, "SHARD_END", "");
    last_batch(&old, 3, 3, &[]);
    for batch in 4..6 {
        old.remove(&format!("offsets/{batch}"));
    }
    old.remove("commits/4");
    for batch in 3..6 {
        old.remove(&format!("sources/0/shard-source/{batch}"));
    }
    let mut query = old.query(&world, &[]).await;
    assert_next(&mut query, 50..90).await;

    let world = World::with_shards(2).await;
    put(&world, 0..60).await;
    let old = Old::of("GetRecords-hdfs", &world).await;
    world.split(SHARD_0).await;
    put(&world, 60..80).await;
    old.ends_at(1, SHARD_0, "SHARD_END", "");
    last_batch(&old, 2, 1, &[SHARD_1]);
    let (before, after) = ("sources/0/shard-source/1", "sources/0/shard-source/2");
    std::fs::create_dir(old.file(after)).expect("made");
    std::fs::copy(
        old.file(&format!("{before}/{SHARD_1}")),
        old.file(&format!("{after}/{SHARD_1}")),
    )
    .expect("copied");
    let mut query = old.query(&world, &[]).await;
    assert_next(&mut query, 60..80).await;
    let offset = query.offset.clone();
    let mut again = old.query(&world, &[]).await.from(&offset);
    assert_eq!(again.batch().await.expect("a look"), None);
}

#[tokio::test]
async fn a_shard_that_was_left_without_its_end_has_its_part_of_the_batch_again() {
    for kept in ["nothing", "a part", "LATEST"] {
        let world = split().await;
        let old = Old::of(RESHARD, &world).await;
        put(&world, 90..100).await;
        let end = format!("sources/0/shard-source/2/{SHARD_0}");
        match kept {
            "nothing" => old.remove(&end),
            "a part" => std::fs::write(old.file(&end), r#"{"shardId":"shardId-0000"#).expect("written"),
            _ => old.ends_at(2, SHARD_0, "LATEST", ""),
        }
        assert_next(&mut old.query(&world, &[]).await, (40..50).chain(90..100)).await;
    }
}

#[tokio::test]
async fn a_shard_whose_end_is_missing_or_cut_short_has_its_part_of_the_batch_again() {
    for missing in [true, false] {
        let world = World::with_shards(2).await;
        put(&world, 0..80).await;
        let old = Old::of("GetRecords-hdfs", &world).await;
        let end = format!("sources/0/shard-source/1/{SHARD_1}");
        match missing {
            true => old.remove(&end),
            false => std::fs::write(old.file(&end), r#"{"shardId":"shardId-0000"#).expect("written"),
        }
        let again = records(&world, SHARD_1).await[22..33].to_vec();
        let expected: Vec<usize> = again
            .into_iter()
            .map(|(_, number)| number)
            .chain(60..80)
            .collect();
        assert_next(&mut old.query(&world, &[]).await, expected).await;
    }
}

#[tokio::test]
async fn a_position_inside_an_aggregate_begins_with_it() {
    let world = World::with_shards(2).await;
    put(&world, 0..80).await;
    let old = Old::of("GetRecords-hdfs", &world).await;
    let file = old.file(&format!("sources/0/shard-source/1/{SHARD_0}"));
    let text = std::fs::read_to_string(&file).expect("text");
    let inside = text.replace("-1", "2").replace("true", "false");
    std::fs::write(&file, inside).expect("written");
    let (_, again) = records(&world, SHARD_0).await[26].clone();
    let expected: Vec<usize> = std::iter::once(again).chain(60..80).collect();
    assert_next(&mut old.query(&world, &[]).await, expected).await;
}

#[tokio::test]
async fn a_shard_at_latest_stands_where_it_did_before() {
    let world = World::with_shards(2).await;
    put(&world, 0..80).await;
    let old = Old::of("GetRecords-hdfs", &world).await;
    // The shard's last record was in the first batch.
    old.ends_at(1, SHARD_0, "LATEST", "");
    let again = records(&world, SHARD_0).await[18..27].to_vec();
    let expected: Vec<usize> = again
        .into_iter()
        .map(|(_, number)| number)
        .chain(60..80)
        .collect();
    assert_next(&mut old.query(&world, &[]).await, expected).await;
}

#[tokio::test]
async fn the_ends_are_where_the_old_query_kept_them() {
    let world = World::with_shards(2).await;
    put(&world, 0..80).await;
    let old = Old::of("GetRecords-hdfs", &world).await;
    let elsewhere = TempDir::new().expect("a folder");
    let moved = elsewhere.path().join("shard-source");
    std::fs::rename(old.file("sources/0/shard-source"), moved).expect("moved");
    let error = refused(old.try_query(&world, &[]).await).await;
    assert_says(
        &error,
        &[
            "kinesis.importCheckpoint",
            "sources/0/shard-source",
            "kinesis.metadataPath",
            "kinesis.startingPositions",
        ],
    );
    let path = elsewhere.path().to_string_lossy().into_owned();
    let mut query = old.query(&world, &[("kinesis.metadataPath", &path)]).await;
    assert_next(&mut query, 60..80).await;
}

/// A store with claims in memory, next to items of AWS's connector.
#[derive(Debug)]
struct Table {
    claims: MemoryStore,
    items: serde_json::Value,
}

#[async_trait]
impl ClaimStore for Table {
    async fn put_if_absent(&self, key: &ClaimKey, claim: &Claim) -> Result<PutResult> {
        self.claims.put_if_absent(key, claim).await
    }
    async fn get(&self, key: &ClaimKey) -> Result<Option<Claim>> {
        self.claims.get(key).await
    }
    async fn load(&self, source: &str, batch: u64) -> Result<BTreeMap<ShardId, Claim>> {
        self.claims.load(source, batch).await
    }
    async fn foreign_ends(&self, batch: u64) -> Result<BTreeMap<ShardId, String>> {
        let text = |item: &serde_json::Value, name: &str| item[name]["S"].as_str().expect("text").to_owned();
        let items = self.items["items"].as_array().expect("items").iter();
        Ok(items
            .filter(|item| text(item, "metadataKey") == batch.to_string())
            .map(|item| {
                (
                    text(item, "metadataSortKey").as_str().into(),
                    text(item, "metadataValue"),
                )
            })
            .collect())
    }
    async fn purge(&self, source: &str, before: u64) -> Result<()> {
        self.claims.purge(source, before).await
    }
}

#[tokio::test]
async fn the_ends_may_be_in_a_table() {
    let world = World::with_shards(2).await;
    put(&world, 0..60).await;
    let old = Old::of("GetRecords-dynamodb", &world).await;
    let items = std::fs::read(old.file("dynamodb-table.json")).expect("items");
    let store = Arc::new(Table {
        claims: MemoryStore::default(),
        items: serde_json::from_slice(&items).expect("json"),
    });
    let config = world.config(&[("kinesis.importCheckpoint", &old.path())]);
    let api = Arc::new(Altered::new(service(&config).await));
    let planner = Planner::on(api, store, config, Arc::new(LocalFiles))
        .await
        .expect("opens");
    let offset: serde_json::Value =
        serde_json::from_str(&planner.initial_offset().await.expect("an offset")).expect("json");
    let (first, second) = (
        number_of(&world, SHARD_0, 26).await,
        number_of(&world, SHARD_1, 32).await,
    );
    let expected = serde_json::json!({SHARD_0: format!("AFTER {first}"), SHARD_1: format!("AFTER {second}")});
    assert_eq!(offset["shards"], expected);
}

/// The table and the folder of kinesis.metadataPath may be shared with queries whose batches have the same numbers.
#[tokio::test]
async fn the_ends_of_other_queries_are_none_of_the_old_ones() {
    let world = World::with_shards(2).await;
    put(&world, 0..80).await;
    let old = Old::of("GetRecords-hdfs", &world).await;
    let of_another = |number: &str| {
        serde_json::json!({"iteratorType": "AFTER_SEQUENCE_NUMBER", "iteratorPosition": number,
            "subSequenceNumber": -1, "isLast": true})
        .to_string()
    };
    let first = [
        (SHARD_0, number_of(&world, SHARD_0, 0).await),
        (SHARD_1, number_of(&world, SHARD_1, 0).await),
    ];
    let items: Vec<_> = first
        .iter()
        .map(|(shard, number)| {
            serde_json::json!({"metadataKey": {"S": "1"}, "metadataSortKey": {"S": shard},
                "metadataValue": {"S": of_another(number)}})
        })
        .collect();
    let shared = TempDir::new().expect("a folder");
    let folder = shared.path().join("shard-source/1");
    std::fs::create_dir_all(&folder).expect("made");
    for (shard, number) in &first {
        std::fs::write(folder.join(shard), of_another(number)).expect("written");
    }
    let open = async |old: &Old| {
        let store = Arc::new(Table {
            claims: MemoryStore::default(),
            items: serde_json::json!({"items": items.clone()}),
        });
        let path = shared.path().to_string_lossy().into_owned();
        let config = world.config(&[
            ("kinesis.importCheckpoint", &old.path()),
            ("kinesis.metadataPath", &path),
        ]);
        let api = Arc::new(Altered::new(service(&config).await));
        Planner::on(api, store, config, Arc::new(LocalFiles)).await
    };
    let planner = open(&old).await.expect("opens");
    let offset: serde_json::Value =
        serde_json::from_str(&planner.initial_offset().await.expect("an offset")).expect("json");
    let expected = serde_json::json!({
        SHARD_0: format!("AFTER {}", number_of(&world, SHARD_0, 26).await),
        SHARD_1: format!("AFTER {}", number_of(&world, SHARD_1, 32).await),
    });
    assert_eq!(offset["shards"], expected);
    std::fs::remove_file(world.checkpoint.path().join("initial-offset")).expect("removed");
    // The stored ends are before the batch's own starts.
    old.remove("sources/0/shard-source");
    let error = open(&old).await.expect_err("refused");
    assert_says(&error, &["where its last batch ended is kept neither"]);
}

#[tokio::test]
async fn the_checkpoint_of_a_stream_that_had_more_shards_is_refused() {
    let world = World::with_shards(1).await;
    let old = Old::with(RESHARD, |number| number.to_owned());
    let error = refused(old.try_query(&world, &[]).await).await;
    assert_says(
        &error,
        &["which the stream never had", "kinesis.importCheckpoint"],
    );
    assert!(!world.checkpoint.path().join("initial-offset").exists());
}

#[tokio::test]
async fn what_is_no_checkpoint_to_go_on_from_is_refused_and_nothing_is_kept() {
    let world = World::with_shards(2).await;
    put(&world, 0..80).await;
    let kept = world.checkpoint.path().join("initial-offset");
    let old = Old::of("GetRecords-hdfs", &world).await;
    let import = |path: &str| ("kinesis.importCheckpoint", path.to_owned());
    let empty = TempDir::new().expect("a folder");
    let other = Old::with("GetRecords-hdfs", |number| number.to_owned());
    let of_other_stream = Old::of("GetRecords-hdfs", &world).await;
    for batch in 0..2 {
        let file = of_other_stream.file(&format!("offsets/{batch}"));
        let text = std::fs::read_to_string(&file).expect("text");
        std::fs::write(&file, text.replace(STREAM, "others")).expect("written");
    }
    let own = TempDir::new().expect("a folder");
    std::fs::create_dir(own.path().join("offsets")).expect("made");
    let offset = r#"{"version":1,"source":"s","stream":"events","created":1,"batch":1,"shards":{}}"#;
    std::fs::write(own.path().join("offsets/0"), format!("v1\n{{}}\n{offset}")).expect("written");
    for (path, says) in [
        (
            empty.path().to_string_lossy().into_owned(),
            "there is no query's offset log in it",
        ),
        (
            format!("{}/sources/0", old.path()),
            "there is no query's offset log in it",
        ),
        (
            of_other_stream.path(),
            "it is one of the stream others, not of events",
        ),
        (
            own.path().to_string_lossy().into_owned(),
            "it is one of this connector",
        ),
        // The stream was deleted and recreated.
        (other.path(), "which the service does not take"),
    ] {
        let (key, path) = import(&path);
        let error = refused(world.try_query(&[(key, path.as_str())]).await).await;
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
        assert_says(&error, &[says, "kinesis.importCheckpoint"]);
        assert!(!kept.exists());
    }
}

#[tokio::test]
async fn a_foreign_checkpoint_location_is_refused_with_the_way_on_and_left_alone() {
    let world = World::with_shards(2).await;
    put(&world, 0..80).await;
    for options in BOTH_CONSUMERS {
        let old = Old::of("GetRecords-hdfs", &world).await;
        let before = files_in(old.0.path());
        let mut config = world.config(options);
        config.checkpoint_location = Some(format!("{}/sources/0", old.path()));
        let error = refused(world.query_of(config).await).await;
        assert_eq!(error.kind(), ErrorKind::CorruptCheckpoint, "{error}");
        let way_on = format!("set kinesis.importCheckpoint to {}", old.path());
        assert_says(
            &error,
            &[
                "AWS's connector",
                "new, empty checkpointLocation",
                &way_on,
                "docs/migrating.md",
            ],
        );
        assert_eq!(files_in(old.0.path()), before, "nothing was written");
    }
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/events";
    let consumers = world.client.list_stream_consumers().stream_arn(arn).send().await;
    assert!(consumers.is_err() || consumers.is_ok_and(|listed| listed.consumers().is_empty()));
}

#[tokio::test]
async fn the_checkpoint_of_another_source_is_refused_too() {
    let world = World::with_shards(1).await;
    let other = TempDir::new().expect("a folder");
    std::fs::create_dir(other.path().join("offsets")).expect("made");
    std::fs::write(other.path().join("offsets/3"), "v1\n{}\n{\"orders\":{\"0\":17}}").expect("written");
    let mut config = world.config(&[]);
    config.checkpoint_location = Some(format!("{}/sources/0", other.path().to_string_lossy()));
    let error = refused(world.query_of(config).await).await;
    assert_says(&error, &["is one of another source", "kinesis.startingPositions"]);
}

const POSITIONS: &str = "kinesis.startingPositions";

/// Positions as JSON.
fn positions(of: &[(&str, &str)]) -> String {
    serde_json::to_string(&of.iter().copied().collect::<BTreeMap<_, _>>()).expect("json")
}

#[tokio::test]
async fn shards_start_at_their_given_positions_and_the_others_at_the_starting_position() {
    for consumer in BOTH_CONSUMERS {
        let world = World::with_shards(4).await;
        world.hasten_subscriptions();
        put(&world, 0..200).await;
        let (first, second) = (records(&world, SHARD_0).await, records(&world, SHARD_1).await);
        let given = positions(&[
            (SHARD_0, &format!("AFTER_SEQUENCE_NUMBER {}", first[9].0)),
            (SHARD_1, &format!("AT_SEQUENCE_NUMBER {}", second[9].0)),
            (SHARD_2, "LATEST"),
        ]);
        let mut options = vec![(POSITIONS, given.as_str())];
        options.extend_from_slice(consumer);
        let pinned = world.query(&options).await.offset;
        // LATEST refers to the first start.
        put(&world, 200..220).await;
        let mut query = world.query(&options).await;
        assert_eq!(query.offset, pinned);
        let last = records(&world, "shardId-000000000003").await;
        let third = records(&world, SHARD_2).await;
        let (first, second) = (records(&world, SHARD_0).await, records(&world, SHARD_1).await);
        let expected: Vec<usize> = [&first[10..], &second[9..], &third[..], &last[..]]
            .concat()
            .into_iter()
            .map(|(_, number)| number)
            .filter(|number| *number >= 200 || !third.iter().any(|(_, old)| old == number))
            .collect();
        assert_next(&mut query, expected).await;
    }
}

#[tokio::test]
async fn what_comes_before_a_named_shard_counts_as_read() {
    let world = split().await;
    let child = records(&world, SHARD_1).await;
    let sibling = records(&world, SHARD_2).await;
    let given = positions(&[(SHARD_1, &format!("AFTER_SEQUENCE_NUMBER {}", child[4].0))]);
    let mut query = world.query(&[(POSITIONS, &given)]).await;
    let expected: Vec<usize> = [&child[5..], &sibling[..]]
        .concat()
        .into_iter()
        .map(|(_, number)| number)
        .collect();
    assert_next(&mut query, expected).await;
}

#[tokio::test]
async fn a_shard_at_its_end_gives_way_to_those_that_follow() {
    let world = split().await;
    let given = positions(&[(SHARD_0, "SHARD_END")]);
    assert_next(&mut world.query(&[(POSITIONS, &given)]).await, 50..90).await;
}

#[tokio::test]
async fn positions_that_cannot_be_are_refused_by_name_and_nothing_is_kept() {
    let world = split().await;
    let foreign = records(&world, SHARD_2).await[0].0.clone();
    let last = records(&world, SHARD_0).await[49].0.clone();
    for (given, says) in [
        (
            positions(&[("shardId-000000000009", "TRIM_HORIZON")]),
            "names shardId-000000000009, which the stream never had: its newest is shardId-000000000002",
        ),
        (
            positions(&[
                (SHARD_0, &format!("AFTER_SEQUENCE_NUMBER {last}")),
                (SHARD_1, "TRIM_HORIZON"),
            ]),
            "names shardId-000000000000 and shardId-000000000001, which descends from it",
        ),
        (
            positions(&[(SHARD_1, "SHARD_END")]),
            "shardId-000000000001 at SHARD_END, but it takes records still",
        ),
        (
            positions(&[(SHARD_1, &format!("AFTER_SEQUENCE_NUMBER {foreign}"))]),
            "has shardId-000000000001 at AFTER_SEQUENCE_NUMBER",
        ),
        (
            positions(&[(SHARD_1, "AT_TIMESTAMP 2999-01-01T00:00:00Z")]),
            "in the future",
        ),
    ] {
        let error = refused(world.try_query(&[(POSITIONS, &given)]).await).await;
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
        assert_says(&error, &[says, POSITIONS, "shard="]);
        assert!(!world.checkpoint.path().join("initial-offset").exists());
    }
}

#[tokio::test]
async fn a_shard_that_has_expired_is_refused_by_name() {
    let world = split().await;
    let last = records(&world, SHARD_0).await[49].0.clone();
    world.sandbox.forget_shard(STREAM, SHARD_0).expect("forgotten");
    let given = positions(&[(SHARD_0, &format!("AFTER_SEQUENCE_NUMBER {last}"))]);
    let error = refused(world.try_query(&[(POSITIONS, &given)]).await).await;
    assert_says(
        &error,
        &[
            "names shardId-000000000000, which the stream doesn't list any more",
            "Leave it out",
        ],
    );
}

#[tokio::test]
async fn a_shard_of_an_old_checkpoint_that_has_expired_is_reported_like_any_other() {
    let world = split().await;
    let old = Old::of(RESHARD, &world).await;
    for batch in 3..6 {
        old.remove(&format!("offsets/{batch}"));
    }
    world.sandbox.forget_shard(STREAM, SHARD_0).expect("forgotten");
    let fail = ("kinesis.failOnDataLoss", "true");
    let mut query = old.query(&world, &[fail]).await;
    let error = query.batch().await.expect_err("records may be lost");
    assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
    // The child shards are read from their beginnings if the options allow the loss.
    let mut query = old.query(&world, &[]).await;
    assert_next(&mut query, 50..90).await;
    assert_eq!(query.planner.metrics()["lostShards"], "1");
}
