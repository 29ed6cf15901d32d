//! Ends of the old query's batches in a table of DynamoDB.
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Old, SHARD_0, SHARD_1, assert_says, number_of, put};
use crate::support::altered::{Altered, service};
use crate::support::{LocalFiles, World};
use async_trait::async_trait;
use kinesis_connector::Result;
use kinesis_connector::claims::backends::memory::MemoryStore;
use kinesis_connector::claims::{Claim, ClaimKey, ClaimStore, PutResult};
use kinesis_connector::plan::Planner;
use kinesis_connector::stream::ShardId;
use tempfile::TempDir;

/// A store with claims in memory, next to items of the AWS connector.
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
    async fn has_from(&self, source: &str, batch: u64) -> Result<bool> {
        self.claims.has_from(source, batch).await
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
