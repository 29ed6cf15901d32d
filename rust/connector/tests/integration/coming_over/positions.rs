//! `kinesis.startingPositions`: a position for each shard.
use std::collections::BTreeMap;

use super::{SHARD_0, SHARD_1, SHARD_2, assert_next, assert_says, put, records, refused, split};
use crate::support::{BOTH_CONSUMERS, STREAM, World};
use kinesis_connector::ErrorKind;

const POSITIONS: &str = "kinesis.startingPositions";

/// Positions as JSON.
fn positions(of: &[(&str, &str)]) -> String {
    serde_json::to_string(&of.iter().copied().collect::<BTreeMap<_, _>>()).expect("json")
}

#[tokio::test]
async fn shards_start_at_their_given_positions_and_the_others_at_the_starting_position() {
    for consumer in BOTH_CONSUMERS {
        let world = World::with_shards(4).await;
        world.hasten_subscriptions();
        put(&world, 0..200).await;
        let (first, second) = (records(&world, SHARD_0).await, records(&world, SHARD_1).await);
        let given = positions(&[
            (SHARD_0, &format!("AFTER_SEQUENCE_NUMBER {}", first[9].0)),
            (SHARD_1, &format!("AT_SEQUENCE_NUMBER {}", second[9].0)),
            (SHARD_2, "LATEST"),
        ]);
        let mut options = vec![(POSITIONS, given.as_str())];
        options.extend_from_slice(consumer);
        let pinned = world.query(&options).await.offset;
        // LATEST refers to the first start.
        put(&world, 200..220).await;
        let mut query = world.query(&options).await;
        assert_eq!(query.offset, pinned);
        let last = records(&world, "shardId-000000000003").await;
        let third = records(&world, SHARD_2).await;
        let (first, second) = (records(&world, SHARD_0).await, records(&world, SHARD_1).await);
        let expected: Vec<usize> = [&first[10..], &second[9..], &third[..], &last[..]]
            .concat()
            .into_iter()
            .map(|(_, number)| number)
            .filter(|number| *number >= 200 || !third.iter().any(|(_, old)| old == number))
            .collect();
        assert_next(&mut query, expected).await;
    }
}

#[tokio::test]
async fn what_comes_before_a_named_shard_counts_as_read() {
    let world = split().await;
    let child = records(&world, SHARD_1).await;
    let sibling = records(&world, SHARD_2).await;
    let given = positions(&[(SHARD_1, &format!("AFTER_SEQUENCE_NUMBER {}", child[4].0))]);
    let mut query = world.query(&[(POSITIONS, &given)]).await;
    let expected: Vec<usize> = [&child[5..], &sibling[..]]
        .concat()
        .into_iter()
        .map(|(_, number)| number)
        .collect();
    assert_next(&mut query, expected).await;
}

#[tokio::test]
async fn a_shard_at_its_end_gives_way_to_those_that_follow() {
    let world = split().await;
    let given = positions(&[(SHARD_0, "SHARD_END")]);
    assert_next(&mut world.query(&[(POSITIONS, &given)]).await, 50..90).await;
}

#[tokio::test]
async fn positions_that_cannot_be_are_refused_by_name_and_nothing_is_kept() {
    let world = split().await;
    let foreign = records(&world, SHARD_2).await[0].0.clone();
    let last = records(&world, SHARD_0).await[49].0.clone();
    for (given, says) in [
        (
            positions(&[("shardId-000000000009", "TRIM_HORIZON")]),
            "names shardId-000000000009, which the stream never had: its newest is shardId-000000000002",
        ),
        (
            positions(&[
                (SHARD_0, &format!("AFTER_SEQUENCE_NUMBER {last}")),
                (SHARD_1, "TRIM_HORIZON"),
            ]),
            "names shardId-000000000000 and shardId-000000000001, which descends from it",
        ),
        (
            positions(&[(SHARD_1, "SHARD_END")]),
            "shardId-000000000001 at SHARD_END, but it takes records still",
        ),
        (
            positions(&[(SHARD_1, &format!("AFTER_SEQUENCE_NUMBER {foreign}"))]),
            "has shardId-000000000001 at AFTER_SEQUENCE_NUMBER",
        ),
        (
            positions(&[(SHARD_1, "AT_TIMESTAMP 2999-01-01T00:00:00Z")]),
            "in the future",
        ),
    ] {
        let error = refused(world.try_query(&[(POSITIONS, &given)]).await).await;
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
        assert_says(&error, &[says, POSITIONS, "shard="]);
        assert!(!world.checkpoint.path().join("initial-offset").exists());
    }
}

#[tokio::test]
async fn a_shard_that_has_expired_is_refused_by_name() {
    let world = split().await;
    let last = records(&world, SHARD_0).await[49].0.clone();
    world.sandbox.forget_shard(STREAM, SHARD_0).expect("forgotten");
    let given = positions(&[(SHARD_0, &format!("AFTER_SEQUENCE_NUMBER {last}"))]);
    let error = refused(world.try_query(&[(POSITIONS, &given)]).await).await;
    assert_says(
        &error,
        &[
            "names shardId-000000000000, which the stream doesn't list any more",
            "Leave it out",
        ],
    );
}
