//! Enhanced fan-out over TLS and HTTP/2, as in the service.

use std::time::Duration;

use crate::support::{Query, STREAM, World, assert_exact, read_all, stub};
use aws_sdk_kinesis::primitives::Blob;
use kinesis_connector::ErrorKind;
use kinesis_sandbox::{KnobUpdate, Sandbox, SandboxConfig};
use serde_json::{Value, json};

const FAN_OUT: [(&str, &str); 2] = [
    ("kinesis.consumerType", "SubscribeToShard"),
    ("kinesis.consumerName", "app"),
];
/// Variable for the file with trusted certificates (OpenSSL's name, which rustls-native-certs also reads).
const TRUSTED: &str = "SSL_CERT_FILE";

/// Runs a test in its own process: the environment names the certificates, which a process reads only once.
fn in_own_process(test: &str, body: impl Future<Output = ()>) {
    let folder = tempfile::TempDir::new().expect("a folder");
    let trusted = folder.path().join("authority.pem");
    stub::in_own_process(test, &[(TRUSTED, &trusted.to_string_lossy())], body);
}

async fn sandbox(http2_streams: u32) -> Sandbox {
    let config = SandboxConfig {
        tls_port: Some(0),
        http2_streams,
        ..SandboxConfig::default()
    };
    Sandbox::start(config).await.expect("the sandbox starts")
}

/// Makes this process trust only a sandbox's HTTPS. Must be called before the process's first SDK client.
fn trust(sandbox: &Sandbox) {
    let certificate = sandbox.tls_certificate().expect("a certificate");
    std::fs::write(std::env::var_os(TRUSTED).expect("a path"), certificate).expect("written");
}

/// A stream whose query uses HTTPS.
async fn stream(sandbox: Sandbox, shards: i32) -> World {
    let endpoint = sandbox.tls_endpoint().expect("HTTPS");
    let mut world = World::with(sandbox, shards).await;
    world.endpoint = endpoint;
    world
}

async fn world(shards: i32, http2_streams: u32) -> World {
    let sandbox = sandbox(http2_streams).await;
    trust(&sandbox);
    stream(sandbox, shards).await
}

fn knobs(world: &World, update: Value) {
    let update: KnobUpdate = serde_json::from_value(update).expect("knobs");
    world.sandbox.apply(&update).expect("turned");
}

/// Applies a fault to the only open subscription, and waits for the next one.
async fn meets_the_open_subscription(world: &World, fault: &Value) {
    let opened = |world: &World| {
        world.sandbox.stats().streams[STREAM]
            .values()
            .next()
            .expect("a shard")
            .subscriptions
    };
    let before = opened(world);
    knobs(
        world,
        json!({"subscription_faults": [{"fault": fault, "open": true, "count": 1}]}),
    );
    while opened(world) == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Puts `records` records of this size into each shard.
async fn fill(world: &World, records: usize, bytes: usize) {
    let shards = world.client.list_shards().stream_name(STREAM).send().await;
    for shard in shards.expect("listed").shards() {
        let key = shard.hash_key_range().expect("a range").starting_hash_key();
        for _ in 0..records {
            let put = world.client.put_record().stream_name(STREAM).partition_key("k");
            let put = put.explicit_hash_key(key).data(Blob::new(vec![b'x'; bytes]));
            put.send().await.expect("put");
        }
    }
}

/// Tasks of the next batch.
async fn tasks(query: &mut Query) -> Vec<String> {
    loop {
        let planned = query.planner.latest_offset(&query.offset).await.expect("a look");
        if let Some(offset) = planned {
            query.offset = offset;
            return query.planner.partitions(&query.offset).expect("tasks");
        }
    }
}

#[test]
fn a_query_reads_over_http2_with_a_certificate_named_by_the_environment() {
    in_own_process(
        "a_query_reads_over_http2_with_a_certificate_named_by_the_environment",
        async {
            let world = world(2, 200).await;
            world.put("r", 0..200).await;
            let mut query = world.query(&FAN_OUT).await;
            assert_exact(&query.rows(200).await, "r", 0..200);
            world.put("r", 200..300).await;
            assert_exact(&query.rows(100).await, "r", 200..300);
            let subscribed = &world.sandbox.stats().operations["SubscribeToShard"];
            // Over HTTP/1.1 the sandbox would refuse the call, as the service does.
            assert_eq!((subscribed.calls, subscribed.errors.len()), (2, 0));
        },
    );
}

#[test]
fn an_unknown_certificate_is_an_error_that_says_so() {
    in_own_process("an_unknown_certificate_is_an_error_that_says_so", async {
        trust(&sandbox(200).await);
        let stranger = stream(sandbox(200).await, 1).await;
        let error = stranger.try_query(&FAN_OUT).await.err().expect("refused");
        assert_eq!(error.kind(), ErrorKind::Transport);
        assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    });
}

#[test]
fn more_shards_than_streams_of_a_connection_are_all_read() {
    in_own_process("more_shards_than_streams_of_a_connection_are_all_read", async {
        let world = world(8, 4).await;
        world.put("r", 0..400).await;
        let mut query = world.query(&FAN_OUT).await;
        assert_exact(&query.rows(400).await, "r", 0..400);
        for shard in world.sandbox.stats().streams[STREAM].values() {
            assert_eq!(shard.subscriptions_active(), 1);
        }
    });
}

#[test]
fn shards_that_nobody_drains_hold_up_no_other() {
    in_own_process("shards_that_nobody_drains_hold_up_no_other", async {
        let world = world(7, 200).await;
        // More than the prefetch limit and HTTP/2's windows hold.
        fill(&world, 8, 900_000).await;
        let small = [("kinesis.prefetch.maxBytesPerShard", "1m")];
        let mut query = world.query(&[&FAN_OUT[..], &small].concat()).await;
        let tasks = tasks(&mut query).await;
        let mut waiting = Vec::new();
        for task in &tasks[..6] {
            let reader = query.reader(task).expect("a reader");
            assert!(reader.next().await.expect("rows").is_some());
            waiting.push(reader);
        }
        let last = query.reader(&tasks[6]).expect("a reader");
        assert_eq!(read_all(&last).await.expect("rows").len(), 8);
        for reader in &waiting {
            assert_eq!(read_all(reader).await.expect("rows").len(), 7);
        }
    });
}

#[test]
fn a_shard_keeps_its_connection_until_it_breaks() {
    in_own_process("a_shard_keeps_its_connection_until_it_breaks", async {
        let world = world(1, 200).await;
        knobs(
            &world,
            json!({"subscriptions": {"idle_event_ms": 50, "exclusive_ms": 500}}),
        );
        let mut query = world.query(&FAN_OUT).await;
        world.put("r", 0..10).await;
        assert_exact(&query.rows(10).await, "r", 0..10);
        let before = world.sandbox.stats().connections;
        for first in (10..50).step_by(10) {
            meets_the_open_subscription(&world, &json!("cut")).await;
            world.put("r", first..first + 10).await;
            assert_exact(&query.rows(10).await, "r", first..first + 10);
        }
        let renewed = world.sandbox.stats();
        assert!(renewed.calls("SubscribeToShard") >= 5);
        assert_eq!(renewed.connections, before, "renewed on the same connection");
        meets_the_open_subscription(&world, &json!("reset")).await;
        world.put("r", 50..60).await;
        assert_exact(&query.rows(10).await, "r", 50..60);
        assert_eq!(world.sandbox.stats().connections, before + 1, "another one");
        while world.sandbox.stats().connections_open > renewed.connections_open {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}
