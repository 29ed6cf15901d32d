//! Checkpoints of the AWS connector whose stream was split, before or after the old query stopped.
use super::{Old, RESHARD, SHARD_0, SHARD_1, assert_next, number_of, numbers, put, records, split};
use crate::support::World;

#[tokio::test]
async fn after_a_split_the_shards_that_followed_go_on() {
    let world = split().await;
    let old = Old::of(RESHARD, &world).await;
    put(&world, 90..100).await;
    assert_next(&mut old.query(&world, &[]).await, 90..100).await;
}

#[tokio::test]
async fn in_a_split_the_rest_of_the_shard_comes_before_those_that_follow() {
    let world = split().await;
    let old = Old::of(RESHARD, &world).await;
    for batch in 3..6 {
        old.remove(&format!("offsets/{batch}"));
    }
    for batch in 2..5 {
        old.remove(&format!("commits/{batch}"));
    }
    // Batch 2, records 40 to 49, is in flight, whatever end is stored for it.
    let mut query = old.query(&world, &[]).await;
    let rows = query.rows(10).await;
    assert_eq!(numbers(&rows), (40..50).collect::<Vec<_>>());
    assert_next(&mut query, 50..90).await;
}

#[tokio::test]
async fn records_that_the_old_query_left_in_a_shard_that_was_split_are_read() {
    for committed in [true, false] {
        let world = split().await;
        let old = Old::of(RESHARD, &world).await;
        let read = number_of(&world, SHARD_0, 44).await;
        old.ends_at(2, SHARD_0, "AFTER_SEQUENCE_NUMBER", &read);
        let mut query;
        if committed {
            // The child shards were read to their ends.
            put(&world, 90..100).await;
            query = old.query(&world, &[]).await;
            assert_next(&mut query, (45..50).chain(90..100)).await;
        } else {
            // The children's first batch is in flight: they wait for the parent.
            for batch in 4..6 {
                old.remove(&format!("offsets/{batch}"));
            }
            for batch in 3..5 {
                old.remove(&format!("commits/{batch}"));
            }
            query = old.query(&world, &[]).await;
            let rows = query.rows(5).await;
            assert_eq!(numbers(&rows), (45..50).collect::<Vec<_>>());
            assert_next(&mut query, 50..90).await;
        }
    }
}

/// Makes `batch` the last one, committed, from the fixture's batch `of` with only these shards in its offset.
fn last_batch(old: &Old, batch: u64, of: u64, shards: &[&str]) {
    let text = std::fs::read_to_string(old.file(&format!("offsets/{of}"))).expect("text");
    let mut lines: Vec<&str> = text.lines().collect();
    let mut offset: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(lines.pop().expect("an offset")).expect("json");
    offset.retain(|name, _| name == "metadata" || shards.contains(&name.as_str()));
    offset["metadata"]["batchId"] = batch.to_string().into();
    let text = format!("{}\n{}", lines.join("\n"), serde_json::Value::from(offset));
    std::fs::write(old.file(&format!("offsets/{batch}")), text).expect("written");
    let commit = std::fs::read_to_string(old.file("commits/0")).expect("text");
    std::fs::write(old.file(&format!("commits/{batch}")), commit).expect("written");
}

#[tokio::test]
async fn shards_that_followed_after_the_last_listing_are_read_and_the_one_before_them_is_not_again() {
    let world = split().await;
    let old = Old::of(RESHARD, &world).await;
    old.ends_at(2, SHARD_0, "SHARD_END", "");
    last_batch(&old, 3, 3, &[]);
    for batch in 4..6 {
        old.remove(&format!("offsets/{batch}"));
    }
    old.remove("commits/4");
    for batch in 3..6 {
        old.remove(&format!("sources/0/shard-source/{batch}"));
    }
    let mut query = old.query(&world, &[]).await;
    assert_next(&mut query, 50..90).await;

    let world = World::with_shards(2).await;
    put(&world, 0..60).await;
    let old = Old::of("GetRecords-hdfs", &world).await;
    world.split(SHARD_0).await;
    put(&world, 60..80).await;
    old.ends_at(1, SHARD_0, "SHARD_END", "");
    last_batch(&old, 2, 1, &[SHARD_1]);
    let (before, after) = ("sources/0/shard-source/1", "sources/0/shard-source/2");
    std::fs::create_dir(old.file(after)).expect("made");
    std::fs::copy(
        old.file(&format!("{before}/{SHARD_1}")),
        old.file(&format!("{after}/{SHARD_1}")),
    )
    .expect("copied");
    let mut query = old.query(&world, &[]).await;
    assert_next(&mut query, 60..80).await;
    let offset = query.offset.clone();
    let mut again = old.query(&world, &[]).await.from(&offset);
    assert_eq!(again.batch().await.expect("a look"), None);
}

#[tokio::test]
async fn a_shard_that_was_left_without_its_end_has_its_part_of_the_batch_again() {
    for kept in ["nothing", "a part", "LATEST"] {
        let world = split().await;
        let old = Old::of(RESHARD, &world).await;
        put(&world, 90..100).await;
        let end = format!("sources/0/shard-source/2/{SHARD_0}");
        match kept {
            "nothing" => old.remove(&end),
            "a part" => std::fs::write(old.file(&end), r#"{"shardId":"shardId-0000"#).expect("written"),
            _ => old.ends_at(2, SHARD_0, "LATEST", ""),
        }
        assert_next(&mut old.query(&world, &[]).await, (40..50).chain(90..100)).await;
    }
}

#[tokio::test]
async fn a_shard_whose_end_is_missing_or_cut_short_has_its_part_of_the_batch_again() {
    for missing in [true, false] {
        let world = World::with_shards(2).await;
        put(&world, 0..80).await;
        let old = Old::of("GetRecords-hdfs", &world).await;
        let end = format!("sources/0/shard-source/1/{SHARD_1}");
        match missing {
            true => old.remove(&end),
            false => std::fs::write(old.file(&end), r#"{"shardId":"shardId-0000"#).expect("written"),
        }
        let again = records(&world, SHARD_1).await[22..33].to_vec();
        let expected: Vec<usize> = again
            .into_iter()
            .map(|(_, number)| number)
            .chain(60..80)
            .collect();
        assert_next(&mut old.query(&world, &[]).await, expected).await;
    }
}
