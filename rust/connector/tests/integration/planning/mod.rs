//! A query's batches against the sandbox: starts, limits, restarts, resharding and refusals.

mod available_now;
mod batches;
mod refusals;
mod resharding;
mod restarts;
mod set_back;
use crate::support::{Query, Row};

const LATEST: (&str, &str) = ("kinesis.startingPosition", "LATEST");

const SHARD_0: &str = "shardId-000000000000";

const SHARD_1: &str = "shardId-000000000001";

fn offset_batch(offset: &str) -> u64 {
    let parsed: serde_json::Value = serde_json::from_str(offset).expect("json");
    parsed["batch"].as_u64().expect("a batch")
}

/// Runs three batches of a query, which don't reach the end; returns each one's offset and rows.
async fn half(query: &mut Query) -> Vec<(String, Vec<Row>)> {
    let mut batches = Vec::new();
    for _ in 0..3 {
        let rows = query.batch().await.expect("a batch").expect("rows");
        batches.push((query.offset.clone(), rows));
    }
    batches
}
