//! ListShards.

use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{ShardFilter, ShardFilterType};

use super::Service;
use super::service::code;

pub async fn shards_cover_the_key_space(service: &Service) {
    let name = service.stream(3).await;
    let shards = service.shards(&name).await;
    let ids: Vec<&str> = shards.iter().map(|s| s.shard_id()).collect();
    assert_eq!(
        ids,
        [
            "shardId-000000000000",
            "shardId-000000000001",
            "shardId-000000000002"
        ]
    );
    let mut next = Some(0_u128);
    for shard in &shards {
        let range = shard.hash_key_range.as_ref().unwrap();
        assert_eq!(Some(range.starting_hash_key.parse().unwrap()), next);
        next = range.ending_hash_key.parse::<u128>().unwrap().checked_add(1);
        assert_eq!(
            (shard.parent_shard_id(), shard.adjacent_parent_shard_id()),
            (None, None)
        );
        let numbers = shard.sequence_number_range.as_ref().unwrap();
        assert_eq!(numbers.starting_sequence_number.len(), 56);
        assert_eq!(numbers.ending_sequence_number, None, "an open shard has no end");
    }
    assert_eq!(next, None, "the last shard ends with the key space");
}

pub async fn lists_of_shards_come_in_pages(service: &Service) {
    let client = &service.client;
    let name = service.stream(5).await;
    let mut ids = Vec::new();
    let mut page = client
        .list_shards()
        .stream_name(&name)
        .max_results(2)
        .send()
        .await
        .unwrap();
    loop {
        assert!(page.shards().len() <= 2);
        ids.extend(page.shards().iter().map(|s| s.shard_id.clone()));
        let Some(token) = page.next_token else { break };
        page = client
            .list_shards()
            .next_token(token)
            .max_results(2)
            .send()
            .await
            .unwrap();
    }
    let all: Vec<String> = (0..5).map(|i| format!("shardId-{i:012}")).collect();
    assert_eq!(ids, all);
    let rest = client
        .list_shards()
        .stream_name(&name)
        .exclusive_start_shard_id(&all[2])
        .send()
        .await
        .unwrap();
    assert_eq!(
        rest.shards()
            .iter()
            .map(|s| s.shard_id.clone())
            .collect::<Vec<_>>(),
        all[3..]
    );
}

pub async fn page_tokens_stand_alone(service: &Service) {
    let client = &service.client;
    let name = service.stream(2).await;
    let page = client
        .list_shards()
        .stream_name(&name)
        .max_results(1)
        .send()
        .await
        .unwrap();
    let token = page.next_token.unwrap();
    let invalid = "InvalidArgumentException";
    let both = client
        .list_shards()
        .stream_name(&name)
        .next_token(&token)
        .send()
        .await;
    service.refused("token and name", code(both), invalid, invalid);
    let neither = client.list_shards().send().await;
    service.refused("neither token nor name", code(neither), invalid, invalid);
    let nonsense = client.list_shards().next_token("nonsense").send().await;
    service.refused("nonsense", code(nonsense), invalid, invalid);
    // kinesis-local fails on a page size of 0, and has no upper limit.
    for (bad, kinesis_local) in [(0, "HTTP 500"), (10_001, "accepted")] {
        let list = client
            .list_shards()
            .stream_name(&name)
            .max_results(bad)
            .send()
            .await;
        service.refused(
            &format!("{bad} results"),
            code(list),
            "ValidationException",
            kinesis_local,
        );
    }
}

pub async fn filters_choose_shards(service: &Service) {
    let client = &service.client;
    let name = service.stream(2).await;
    let summary = client
        .describe_stream_summary()
        .stream_name(&name)
        .send()
        .await
        .unwrap();
    let created = summary
        .stream_description_summary
        .unwrap()
        .stream_creation_timestamp;
    let just_after_creation = DateTime::from_millis(created.to_millis().unwrap() + 600);
    more_than_a_second_after(just_after_creation).await;
    let split = client
        .split_shard()
        .stream_name(&name)
        .shard_to_split("shardId-000000000000");
    split
        .new_starting_hash_key((1_u128 << 126).to_string())
        .send()
        .await
        .unwrap();
    service.active(&name).await;

    let listed = async |filter: ShardFilter| -> Vec<u32> {
        let page = client
            .list_shards()
            .stream_name(&name)
            .shard_filter(filter)
            .send()
            .await
            .unwrap();
        page.shards()
            .iter()
            .map(|s| s.shard_id()["shardId-".len()..].parse().unwrap())
            .collect()
    };
    let of = |kind| ShardFilter::builder().r#type(kind).build().unwrap();
    let timed = |kind, time| {
        ShardFilter::builder()
            .r#type(kind)
            .timestamp(time)
            .build()
            .unwrap()
    };
    assert_eq!(listed(of(ShardFilterType::AtLatest)).await, [1, 2, 3]);
    assert_eq!(listed(of(ShardFilterType::FromTrimHorizon)).await, [0, 1, 2, 3]);
    // kinesis-local also lists the children, which were not open at the trim horizon.
    let at_horizon = service.documented_or(vec![0, 1], vec![0, 1, 2, 3]);
    assert_eq!(listed(of(ShardFilterType::AtTrimHorizon)).await, at_horizon);
    let after = ShardFilter::builder()
        .r#type(ShardFilterType::AfterShardId)
        .shard_id("shardId-000000000001");
    assert_eq!(listed(after.build().unwrap()).await, [2, 3]);
    assert_eq!(
        listed(timed(ShardFilterType::AtTimestamp, just_after_creation)).await,
        [0, 1]
    );
    assert_eq!(
        listed(timed(ShardFilterType::FromTimestamp, just_after_creation)).await,
        [0, 1, 2, 3]
    );
    more_than_a_second_after(DateTime::from(SystemTime::now())).await;
    let now = DateTime::from(SystemTime::now());
    assert_eq!(
        listed(timed(ShardFilterType::FromTimestamp, now)).await,
        [1, 2, 3]
    );
}

/// Waits until `time` lies in an earlier second than the clock, because kinesis-local compares whole seconds.
async fn more_than_a_second_after(time: DateTime) {
    let due = SystemTime::try_from(time).unwrap() + Duration::from_millis(1_001);
    while let Ok(wait) = due.duration_since(SystemTime::now()) {
        tokio::time::sleep(wait).await;
    }
}
