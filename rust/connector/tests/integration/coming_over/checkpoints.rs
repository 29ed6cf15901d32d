//! Where a query starts that takes over a checkpoint of the AWS connector.
use super::{Old, RESHARD, SHARD_0, assert_next, assert_says, put, records, refused, split};
use crate::support::{BOTH_CONSUMERS, FAN_OUT, NAMED, STREAM, World};
use kinesis_connector::ErrorKind;
use tempfile::TempDir;

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
