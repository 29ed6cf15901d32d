//! Planning with more shards than one listing page holds, or than can be probed at a time.

use std::time::Duration;

use crate::support::{STREAM, World};
use aws_sdk_kinesis::primitives::Blob;
use kinesis_sandbox::{ErrorCode, Fault, Operation, Schedule};

#[tokio::test]
async fn a_listing_of_many_pages_survives_throttling_and_an_expired_token() {
    let world = World::with_shards(1_100).await;
    let record = world.client.put_record().stream_name(STREAM).partition_key("k");
    let record = record.explicit_hash_key("0").data(Blob::new("r0"));
    record
        .send()
        .await
        .expect("put into the shard that is asked first");
    for code in [
        ErrorCode::LimitExceededException,
        ErrorCode::ExpiredNextTokenException,
    ] {
        world
            .sandbox
            .fail(Operation::ListShards, Fault::Error(code), Schedule::Next(1));
    }
    // The listing made on opening also serves the start.
    let mut query = world.query(&[("kinesis.describeShardInterval", "1h")]).await;
    let planned = loop {
        let planned = query.planner.latest_offset(&query.offset).await;
        if let Some(offset) = planned.expect("a look") {
            break offset;
        }
    };
    assert_eq!(query.planner.partitions(&planned).expect("tasks").len(), 1);
    let stats = world.sandbox.stats();
    assert_eq!(stats.calls("ListShards"), 4, "two that failed, and two pages");
    assert!(
        stats.calls("GetRecords") <= 1_500,
        "no shard is asked twice in a look"
    );
    query.offset = planned;
    for _ in 0..3 {
        query.planner.latest_offset(&query.offset).await.expect("a look");
    }
    assert_eq!(
        world.sandbox.stats().calls("ListShards"),
        4,
        "no shard ended since"
    );
}

#[tokio::test]
async fn a_call_asks_all_shards_once_and_the_batch_reads_those_that_have_something() {
    let world = World::with_shards(9).await;
    let slow = [("kinesis.checkNewRecordThreads", "1")];
    let query = world.query(&slow).await;
    world.put("r", 0..1).await;
    // One shard at a time, each with a slow response.
    world
        .sandbox
        .delay(Operation::GetRecords, Duration::from_millis(250));
    let planned = query.planner.latest_offset(&query.offset).await;
    let planned = planned.expect("a look").expect("the record was found");
    assert_eq!(world.sandbox.stats().calls("GetRecords"), 9);
    assert_eq!(query.planner.partitions(&planned).expect("tasks").len(), 1);
}

#[tokio::test]
async fn of_few_shards_one_with_records_is_enough_to_read_all() {
    let world = World::with_shards(8).await;
    let slow = [("kinesis.checkNewRecordThreads", "1")];
    let query = world.query(&slow).await;
    world.put("r", 0..1).await;
    let with_record = {
        let stats = world.sandbox.stats();
        let mut shards = stats.streams[STREAM].values();
        shards
            .position(|shard| shard.records_in > 0)
            .expect("a record was put") as u64
    };
    // One shard at a time, each with a slow response.
    world
        .sandbox
        .delay(Operation::GetRecords, Duration::from_millis(100));
    let planned = query.planner.latest_offset(&query.offset).await;
    let planned = planned.expect("a probe").expect("the record was found");
    assert_eq!(world.sandbox.stats().calls("GetRecords"), with_record + 1);
    assert_eq!(query.planner.partitions(&planned).expect("tasks").len(), 8);
}
