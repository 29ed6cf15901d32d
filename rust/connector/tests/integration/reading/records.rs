//! Records of other producers: aggregates, AUTO streams, and entries that failed.
use std::sync::Arc;

use super::{api, memory, reader};
use crate::support::{BOTH_CONSUMERS, STREAM, World, assert_exact, read_all};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use bytes::Bytes;
use kinesis_aggregation::UserRecord;
use kinesis_connector::ErrorKind;
use kinesis_sandbox::{ErrorCode, Schedule};

#[tokio::test]
async fn a_record_without_a_partition_key_has_a_null_one() {
    for consumer in BOTH_CONSUMERS {
        let world = World::with_shards(1).await;
        world.knobs(serde_json::json!({"auto_distribution": true}));
        for key in [Some("a"), None, Some("c")] {
            let entry = PutRecordsRequestEntry::builder()
                .data(Blob::new("x"))
                .set_partition_key(key.map(str::to_owned));
            let put = world.client.put_records().stream_name(STREAM);
            let put = put.records(entry.build().expect("an entry")).send().await;
            assert_eq!(put.expect("put").failed_record_count(), Some(0));
        }
        let mut query = world.query(consumer).await;
        let offset = query.planner.latest_offset(&query.offset).await.expect("a look");
        let offset = offset.expect("news");
        let tasks = query.planner.partitions(&offset).expect("planned");
        let reader = query.reader(&tasks[0]).expect("a reader");
        let batch = reader.next().await.expect("rows").expect("rows");
        let keys = batch.partition_key.as_ref().expect("keys");
        let keys: Vec<_> = keys.iter().collect();
        assert_eq!(keys, [Some("a"), None, Some("c")]);
        reader.finish(true).await.expect("finished");
        query.offset = offset;
    }
}

async fn put_raw(world: &World, data: Bytes) {
    let put = world
        .client
        .put_record()
        .stream_name(STREAM)
        .partition_key("outer");
    put.data(aws_sdk_kinesis::primitives::Blob::new(data))
        .send()
        .await
        .expect("put");
}

fn user(key: &str, data: &str) -> UserRecord {
    UserRecord {
        partition_key: key.into(),
        explicit_hash_key: None,
        data: Bytes::copy_from_slice(data.as_bytes()),
        sub_sequence: 0,
    }
}

#[tokio::test]
async fn aggregates_are_rows_and_limits_never_cut_one() {
    let world = World::with_shards(1).await;
    for start in [0, 3, 6] {
        let users: Vec<UserRecord> = (start..start + 3)
            .map(|number| user("k", &format!("r{number}")))
            .collect();
        put_raw(&world, kinesis_aggregation::encode(&users)).await;
    }
    let mut query = world.query(&[("kinesis.maxFetchRecordsPerShard", "4")]).await;
    let first = query.batch().await.expect("a batch").expect("rows");
    assert_exact(&first, "r", 0..3);
    assert_eq!(first[0].key, "k");
    assert_exact(&query.rows(6).await, "r", 3..9);
}

#[tokio::test]
async fn an_aggregate_that_cannot_be_taken_apart_is_an_error_that_names_it() {
    let world = World::with_shards(1).await;
    let mut broken = kinesis_aggregation::encode(&[user("k", "x")]).to_vec();
    // Sets partition_key_index (field 1 of the record in field 3) from 0 to 9, with a matching digest.
    let index = broken
        .windows(2)
        .position(|pair| pair == [0x08, 0x00])
        .expect("the index")
        + 1;
    broken[index] = 9;
    let message_end = broken.len() - 16;
    let digest = md5(&broken[4..message_end]);
    broken[message_end..].copy_from_slice(&digest);
    put_raw(&world, broken.into()).await;
    let error = read_all(&reader(&world, &memory(), &[]).await)
        .await
        .expect_err("malformed");
    assert_eq!(error.kind(), ErrorKind::MalformedRecord);
    assert!(error.to_string().contains("sequence number 49"), "{error}");
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    use md5::{Digest, Md5};
    Md5::digest(bytes).into()
}

#[tokio::test]
async fn a_put_entry_that_failed_is_not_in_the_stream() {
    let world = World::with_shards(1).await;
    world.sandbox.fail_entries(
        ErrorCode::ProvisionedThroughputExceededException,
        Schedule::Next(1),
    );
    let entries = [0, 1].map(|number| kinesis_connector::service::PutEntry {
        partition_key: Some("k".into()),
        data: Bytes::from(format!("r{number}")),
        explicit_hash_key: None,
    });
    let outcomes = api(&world)
        .await
        .put_records(&entries, &Arc::default())
        .await
        .expect("an answer");
    assert!(
        matches!(
            outcomes[0],
            kinesis_connector::service::PutOutcome::Throttled { .. }
        ),
        "{outcomes:?}"
    );
    let rows = read_all(&reader(&world, &memory(), &[]).await)
        .await
        .expect("rows");
    assert_exact(&rows, "r", 1..2);
}
