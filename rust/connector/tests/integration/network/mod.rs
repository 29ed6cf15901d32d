//! Network access to the services: proxies and trusted certificates.

mod endpoints;
mod proxies;
mod trust;
use crate::support::stub::{Answer, Seen, Stub, session};
use crate::support::{World, assert_exact, store_options};
use kinesis_connector::Error;
use kinesis_connector::claims::backends::dynamodb::DynamoDbStore;
use kinesis_connector::claims::backends::s3::S3Store;
use kinesis_connector::claims::{ClaimKey, ClaimStore};
use kinesis_connector::options::S3Location;
use kinesis_sandbox::{Sandbox, SandboxConfig};

/// Disables retries.
const ONCE: (&str, &str) = ("kinesis.clientNumRetries", "0");

/// Clears the options' static keys, so that the credentials chain is used.
const BY_CHAIN: [(&str, &str); 2] = [("kinesis.awsAccessKeyId", ""), ("kinesis.awsSecretKey", "")];

/// The error of a query with these options at its start.
async fn refused(world: &World, options: &[(&str, &str)]) -> Error {
    match world.try_query(options).await {
        Ok(_) => panic!("the query opens"),
        Err(error) => error,
    }
}

async fn reads_ten(world: &World, options: &[(&str, &str)]) {
    world.put("r", 0..10).await;
    let mut query = world.query(options).await;
    assert_exact(&query.rows(10).await, "r", 0..10);
}

fn assert_says(error: &Error, parts: &[&str]) {
    for part in parts {
        assert!(error.message().contains(part), "{part} in: {error}");
    }
}

/// A sandbox with one shard, called over HTTPS.
async fn secure_world() -> World {
    let config = SandboxConfig {
        tls_port: Some(0),
        ..SandboxConfig::default()
    };
    let sandbox = Sandbox::start(config).await.expect("the sandbox starts");
    let endpoint = sandbox.tls_endpoint().expect("HTTPS");
    let mut world = World::with(sandbox, 1).await;
    world.endpoint = endpoint;
    world
}

/// Options for a proxy that requires a user name and password.
fn proxy_options(proxy: &Stub) -> [(&'static str, String); 3] {
    [
        ("kinesis.proxyAddress", proxy.endpoint.clone()),
        ("kinesis.proxyUsername", "me".to_owned()),
        ("kinesis.proxyPassword", "h@sh:1/2%".to_owned()),
    ]
}

/// Encoded `me` and `h@sh:1/2%`.
const LOGIN: &str = "Basic bWU6aEBzaDoxLzIl";

fn with<'a>(
    options: &'a [(&'static str, String)],
    more: &[(&'static str, &'a str)],
) -> Vec<(&'static str, &'a str)> {
    let options = options.iter().map(|(key, value)| (*key, value.as_str()));
    options.chain(more.iter().copied()).collect()
}

/// Requests a claim from a table and from a bucket; returns both results.
async fn ask_stores(more: &[(&str, &str)]) -> [kinesis_connector::Result<()>; 2] {
    let key = ClaimKey {
        source: "s".to_owned(),
        batch: 1,
        shard: "shardId-0".into(),
    };
    let table = [
        ("kinesis.metadataCommitterType", "DYNAMODB"),
        ("kinesis.dynamodb.tableName", "claims"),
    ];
    let of_table: Vec<_> = more
        .iter()
        .filter(|(key, _)| !key.contains(".s3."))
        .chain(&table)
        .copied()
        .collect();
    let table = DynamoDbStore::new(&store_options("us-east-1", &of_table)).expect("a store");
    let of_bucket: Vec<_> = more
        .iter()
        .filter(|(key, _)| !key.contains(".dynamodb."))
        .copied()
        .collect();
    let location = S3Location::parse("s3://claims/x")
        .expect("a path")
        .expect("of S3");
    let bucket = S3Store::new(&store_options("us-east-1", &of_bucket), &location);
    [
        table.get(&key).await.map(|found| assert_eq!(found, None)),
        bucket.get(&key).await.map(|found| assert_eq!(found, None)),
    ]
}

/// Distinct targets of a proxy's requests.
fn places(proxy: &Stub) -> Vec<String> {
    let mut places: Vec<_> = proxy.seen().iter().map(|seen| seen.path.clone()).collect();
    places.sort();
    places.dedup();
    places
}

/// The services behind the proxy in one: a store without content, and an STS.
fn behind(number: usize, seen: &Seen) -> Answer {
    if seen.path.contains("sts") {
        session(seen, number, 3_600)
    } else if seen.path.contains("bucket") {
        Answer::of(404, "<Error><Code>NoSuchKey</Code></Error>")
    } else {
        Answer::of(200, "{}")
    }
}

/// A proxy that refuses everybody.
async fn closed_proxy() -> Stub {
    Stub::start(|_, _| Answer::of(407, "who are you?")).await
}
