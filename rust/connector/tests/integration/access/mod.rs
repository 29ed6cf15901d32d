//! Endpoints and credentials of the services, and a query's behaviour when either fails or changes.

mod chain;
mod class;
mod requests;
mod role;
mod stores;
use std::collections::BTreeMap;

use crate::support::stub::{Answer, Stub};
use crate::support::{STREAM, World, assert_exact};
use kinesis_connector::claims::backends::dynamodb::DynamoDbStore;
use kinesis_connector::claims::backends::s3::S3Store;
use kinesis_connector::claims::{ClaimKey, ClaimStore};
use kinesis_connector::options::{S3Location, SourceOptions};
use kinesis_connector::sink::SinkRecord;
use kinesis_connector::{Engine, Error, SinkConfig};
use serde_json::json;

const ROLE: &str = "arn:aws:iam::123456789012:role/reader";

/// Clears the options' static keys, so that the credentials chain is used.
const BY_CHAIN: [(&str, &str); 2] = [("kinesis.awsAccessKeyId", ""), ("kinesis.awsSecretKey", "")];

/// Disables retries.
const ONCE: (&str, &str) = ("kinesis.clientNumRetries", "0");

/// The error of a query with these options at its start.
async fn refused(world: &World, options: &[(&str, &str)]) -> Error {
    match world.try_query(options).await {
        Ok(_) => panic!("the query opens"),
        Err(error) => error,
    }
}

/// Options for a role of this STS.
fn role(sts: &Stub) -> [(&str, &str); 2] {
    [
        ("kinesis.stsRoleArn", ROLE),
        ("kinesis.stsEndpointUrl", sts.endpoint.as_str()),
    ]
}

/// A stream of ten records that refuses requests signed with one of these keys.
async fn ten_records(rejected_keys: &[&str]) -> World {
    let world = World::with_shards(1).await;
    world.put("r", 0..10).await;
    world.knobs(json!({"rejected_keys": rejected_keys}));
    world
}

async fn reads_ten(world: &World, options: &[(&str, &str)]) {
    let mut query = world.query(options).await;
    assert_exact(&query.rows(10).await, "r", 0..10);
}

fn store_options(more: &[(&str, &str)]) -> SourceOptions {
    crate::support::store_options("eu-west-1", more)
}

fn claim() -> ClaimKey {
    ClaimKey {
        source: "s".to_owned(),
        batch: 1,
        shard: "shardId-0".into(),
    }
}

async fn ask_table(endpoint: &str, more: &[(&str, &str)]) {
    let table = [
        ("kinesis.metadataCommitterType", "DYNAMODB"),
        ("kinesis.dynamodb.tableName", "claims"),
        ("kinesis.dynamodb.endpointUrl", endpoint),
    ];
    let store = DynamoDbStore::new(&store_options(&[&table[..], more].concat())).expect("a store");
    assert_eq!(store.get(&claim()).await.expect("asked"), None);
}

async fn ask_bucket(endpoint: &str, more: &[(&str, &str)]) {
    let options = store_options(&[&[("kinesis.s3.endpointUrl", endpoint)], more].concat());
    let location = S3Location::parse("s3://claims/x")
        .expect("a path")
        .expect("of S3");
    let store = S3Store::new(&options, &location);
    assert_eq!(store.get(&claim()).await.expect("asked"), None);
}

/// A store without content.
async fn empty_store() -> Stub {
    Stub::start(|_, seen| match seen.header("x-amz-target") {
        "" => Answer::of(404, "<Error><Code>NoSuchKey</Code></Error>"),
        _ => Answer::of(200, "{}"),
    })
    .await
}

async fn write(world: &World, rows: usize, more: &[(&str, &str)]) {
    try_write(world, rows, more).await.expect("written");
}

async fn try_write(world: &World, rows: usize, more: &[(&str, &str)]) -> Result<(), Error> {
    let mut options = BTreeMap::from([
        ("kinesis.streamName", STREAM),
        ("kinesis.region", "us-east-1"),
        ("kinesis.endpointUrl", world.endpoint.as_str()),
        ("kinesis.awsAccessKeyId", "AKIDTEST"),
        ("kinesis.awsSecretKey", "secret"),
    ]);
    options.extend(more.iter().copied());
    let config = SinkConfig::parse(&json!({"version": 1, "options": options}).to_string());
    let writer = Engine::new()
        .open_writer(config.expect("options"))
        .expect("a writer");
    let records = (0..rows)
        .map(|row| SinkRecord {
            partition_key: Some("k".into()),
            data: format!("r{row}").into(),
            explicit_hash_key: None,
        })
        .collect();
    writer.write(records).await?;
    writer.flush().await
}
