//! Jobs with exactly the permissions that docs/permissions.md lists. Those of the stores are tested in
//! services/stores.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::policies::{allowed, allowed_of, every_policy};
use crate::support::stub::Stub;
use crate::support::{FAN_OUT, NAMED, STREAM, World, assert_exact};
use kinesis_connector::sink::SinkRecord;
use kinesis_connector::{Engine, Error, ErrorKind, Result, SinkConfig};
use serde_json::json;

/// Access key whose permissions the test defines.
const LEAST: &str = "AKIDLEAST";
const AS_LEAST: (&str, &str) = ("kinesis.awsAccessKeyId", LEAST);
const ONCE: (&str, &str) = ("kinesis.clientNumRetries", "0");

/// A stream of ten records on which this key may perform only these actions.
async fn world(key: &str, actions: &BTreeSet<String>) -> World {
    let world = World::with_shards(2).await;
    world.put("r", 0..10).await;
    world.knobs(json!({"allowed": {key: actions}}));
    world
}

/// Operations that were called; fails if any call was denied.
fn called(world: &World) -> BTreeSet<String> {
    let operations = world.sandbox.stats().operations;
    for (operation, stats) in &operations {
        assert!(!stats.errors.contains_key("AccessDeniedException"), "{operation}");
    }
    operations.into_keys().collect()
}

#[tokio::test]
async fn a_read_with_get_records() {
    let actions = allowed_of("Read with GetRecords", "kinesis");
    let world = world(LEAST, &actions).await;
    let mut query = world.query(&[AS_LEAST]).await;
    assert_exact(&query.rows(10).await, "r", 0..10);
    world.split("shardId-000000000000").await;
    world.put("s", 0..10).await;
    assert_exact(&query.rows(10).await, "s", 0..10);
    assert!(called(&world).is_superset(&actions));
}

#[tokio::test]
async fn a_read_with_subscribe_to_shard() {
    let mut actions = allowed_of("Read with SubscribeToShard", "kinesis");
    let world = world(LEAST, &actions).await;
    world.hasten_subscriptions();
    let mut query = world.query(&[AS_LEAST, FAN_OUT, NAMED]).await;
    query.rows(10).await;
    while !called(&world).contains("SubscribeToShard") {
        world.put("s", 0..10).await;
        query.rows(10).await;
    }
    query.planner.release().await.expect("released");
    // Called only to explain why a consumer can't be registered.
    actions.remove("ListStreamConsumers");
    assert!(called(&world).is_superset(&actions), "{:?}", called(&world));
}

async fn write(world: &World) -> Result<()> {
    let options = BTreeMap::from([
        ("kinesis.streamName", STREAM),
        ("kinesis.region", "us-east-1"),
        ("kinesis.endpointUrl", world.endpoint.as_str()),
        AS_LEAST,
        ("kinesis.awsSecretKey", "secret"),
        ONCE,
    ]);
    let config = SinkConfig::parse(&json!({"version": 1, "options": options}).to_string()).expect("options");
    let writer = Engine::new().open_writer(config).expect("a writer");
    let record = SinkRecord {
        partition_key: Some("k".into()),
        data: "d".into(),
        explicit_hash_key: None,
    };
    writer.write(vec![record]).await?;
    writer.flush().await
}

#[tokio::test]
async fn a_write() {
    let actions = allowed_of("Write", "kinesis");
    let world = world(LEAST, &actions).await;
    write(&world).await.expect("written");
    assert!(called(&world).is_superset(&actions));
}

/// The job itself may do nothing with the stream, and the role may only read.
#[tokio::test]
async fn a_role() {
    assert_eq!(allowed("A role"), ["sts:AssumeRole".to_owned()].into());
    let world = world(LEAST, &BTreeSet::new()).await;
    let reads = allowed_of("Read with GetRecords", "kinesis");
    world.knobs(json!({"allowed": {LEAST: [], "ASIASESSION0": reads}}));
    let sts = Stub::sts().await;
    let role = [
        AS_LEAST,
        ("kinesis.stsRoleArn", "arn:aws:iam::123456789012:role/reader"),
        ("kinesis.stsEndpointUrl", sts.endpoint.as_str()),
    ];
    let mut query = world.query(&role).await;
    assert_exact(&query.rows(10).await, "r", 0..10);
    called(&world);
    for seen in sts.seen() {
        assert!(seen.body.contains("Action=AssumeRole&"), "{seen:?}");
    }
}

fn assert_names(error: &Error, action: &str) {
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Access, false),
        "{error}"
    );
    assert!(error.message().contains(action), "{error}");
}

/// Every action that the page lists is needed; the error names a missing one in the service's words.
#[tokio::test]
async fn a_missing_action_is_named() {
    let actions = allowed_of("Read with GetRecords", "kinesis");
    for missing in &actions {
        let mut others = actions.clone();
        others.remove(missing);
        let world = world(LEAST, &others).await;
        let read = async {
            let mut query = world.try_query(&[AS_LEAST, ONCE]).await?;
            loop {
                query.batch().await?;
            }
        };
        let error: Result<()> = read.await;
        assert_names(&error.expect_err("refused"), &format!("kinesis:{missing}"));
    }
    let world = world(LEAST, &BTreeSet::new()).await;
    assert_names(&write(&world).await.expect_err("refused"), "kinesis:PutRecords");
}

/// The page's other policies can be parsed too.
#[test]
fn every_policy_is_one() {
    const SERVICES: [&str; 5] = ["kinesis", "dynamodb", "s3", "sts", "kms"];
    let all: Vec<_> = every_policy().collect();
    assert!(all.len() >= 10, "{all:?}");
    for actions in &all {
        assert!(!actions.is_empty());
        for action in actions {
            let (service, name) = action.split_once(':').expect("a service and an action");
            assert!(SERVICES.contains(&service), "{action}");
            assert!(
                name.starts_with(|first: char| first.is_ascii_uppercase()),
                "{action}"
            );
        }
    }
    assert_eq!(
        allowed("A customer managed KMS key"),
        ["kms:Decrypt", "kms:GenerateDataKey"].map(str::to_owned).into()
    );
    for (heading, service) in [("Claims in DynamoDB", "dynamodb"), ("Claims in S3", "s3")] {
        assert!(allowed_of(heading, service).len() >= 4);
    }
}
