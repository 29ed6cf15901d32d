//! Enhanced fan-out against the sandbox: a query reads from subscriptions, which end, break and are taken over.

mod batches;
mod registration;
mod subscriptions;
use crate::support::{FAN_OUT, NAMED, PATIENCE, Query, Row, STREAM, World};
use kinesis_sandbox::ShardStats;
use tempfile::TempDir;

const LATEST: (&str, &str) = ("kinesis.startingPosition", "LATEST");

const SHARD_0: &str = "shardId-000000000000";

const SHARD_1: &str = "shardId-000000000001";

async fn world(shards: i32) -> World {
    let world = World::with_shards(shards).await;
    world.hasten_subscriptions();
    world
}

async fn query(world: &World, more: &[(&str, &str)]) -> Query {
    world.query(&[&[FAN_OUT, NAMED], more].concat()).await
}

/// Reads batches until `count` rows have come; fails after [`PATIENCE`].
async fn rows(query: &mut Query, count: usize) -> Vec<Row> {
    tokio::time::timeout(PATIENCE, query.rows(count))
        .await
        .expect("the rows in time")
}

/// Reads batches until one fails; returns its error.
async fn failure(query: &mut Query) -> kinesis_connector::Error {
    let failing = async {
        loop {
            if let Err(error) = query.batch().await {
                return error;
            }
        }
    };
    tokio::time::timeout(PATIENCE, failing)
        .await
        .expect("a failure in time")
}

/// Replaces the checkpoint folder, so that the next query opened is another one. Returns the first query's folder,
/// which must be kept.
fn another_folder(world: &mut World) -> TempDir {
    std::mem::replace(&mut world.checkpoint, TempDir::new().expect("a folder"))
}

fn calls(world: &World, operation: &str) -> u64 {
    world.sandbox.stats().calls(operation)
}

/// Number of open subscriptions.
fn subscriptions(world: &World) -> u64 {
    let stats = world.sandbox.stats();
    let shards = stats.streams[STREAM].values();
    shards.map(ShardStats::subscriptions_active).sum()
}

async fn consumers(world: &World) -> Vec<String> {
    let arn = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}");
    let listed = world.client.list_stream_consumers().stream_arn(arn).send().await;
    let listed = listed.expect("listed");
    let consumers = listed.consumers().iter();
    consumers
        .map(|consumer| consumer.consumer_name().to_owned())
        .collect()
}
