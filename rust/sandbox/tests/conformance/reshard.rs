//! Splitting, merging and scaling, and reading closed shards.

use aws_sdk_kinesis::types::{ScalingType, Shard, ShardIteratorType};

use super::Service;
use super::service::code;

const FIRST: &str = "shardId-000000000000";

async fn split(service: &Service, name: &str, shard: &str, at: u128) {
    let split = service
        .client
        .split_shard()
        .stream_name(name)
        .shard_to_split(shard);
    split.new_starting_hash_key(at.to_string()).send().await.unwrap();
    service.active(name).await;
}

async fn merge(service: &Service, name: &str, shard: &str, adjacent: &str) {
    let merge = service
        .client
        .merge_shards()
        .stream_name(name)
        .shard_to_merge(shard);
    merge.adjacent_shard_to_merge(adjacent).send().await.unwrap();
    service.active(name).await;
}

fn range(shard: &Shard) -> (u128, u128) {
    let range = shard.hash_key_range.as_ref().unwrap();
    (
        range.starting_hash_key.parse().unwrap(),
        range.ending_hash_key.parse().unwrap(),
    )
}

fn is_open(shard: &Shard) -> bool {
    shard
        .sequence_number_range
        .as_ref()
        .is_some_and(|r| r.ending_sequence_number.is_none())
}

pub async fn a_split_shard_ends_and_names_its_children(service: &Service) {
    let name = service.stream(1).await;
    for i in 0..10 {
        service.put(&name, &format!("{i}"), b"x").await;
    }
    let at_tip = service.iterator(&name, FIRST, ShardIteratorType::Latest).await;
    split(service, &name, FIRST, 1 << 100).await;

    let shards = service.shards(&name).await;
    assert_eq!(shards.len(), 3);
    assert!(!is_open(&shards[0]));
    assert_eq!(range(&shards[1]), (0, (1 << 100) - 1));
    assert_eq!(range(&shards[2]), (1 << 100, u128::MAX));
    for child in &shards[1..] {
        assert_eq!(
            (child.parent_shard_id(), child.adjacent_parent_shard_id()),
            (Some(FIRST), None)
        );
        assert!(is_open(child));
    }
    let summary = service
        .client
        .describe_stream_summary()
        .stream_name(&name)
        .send()
        .await
        .unwrap();
    assert_eq!(summary.stream_description_summary.unwrap().open_shard_count, 2);

    let (records, last) = service.read(&name, FIRST).await;
    assert_eq!(records.len(), 10);
    assert_eq!(last.next_shard_iterator, None);
    let (none, at_end) = service.drain(at_tip).await;
    assert_eq!((none.len(), at_end.next_shard_iterator()), (0, None));
    for answer in [last, at_end] {
        let mut children = answer.child_shards.unwrap();
        children.sort_by(|a, b| a.shard_id.cmp(&b.shard_id));
        assert_eq!(children.len(), 2);
        for (child, listed) in children.iter().zip(&shards[1..]) {
            assert_eq!(child.shard_id, listed.shard_id);
            assert_eq!(child.parent_shards, [FIRST]);
            assert_eq!(child.hash_key_range, listed.hash_key_range);
        }
    }
}

pub async fn merged_shards_end_in_their_child(service: &Service) {
    let name = service.stream(2).await;
    let second = "shardId-000000000001";
    merge(service, &name, FIRST, second).await;
    let shards = service.shards(&name).await;
    assert_eq!(shards.len(), 3);
    let child = &shards[2];
    assert_eq!(
        (child.parent_shard_id(), child.adjacent_parent_shard_id()),
        (Some(FIRST), Some(second))
    );
    assert_eq!(range(child), (0, u128::MAX));
    for parent in [FIRST, second] {
        let (_, last) = service.read(&name, parent).await;
        assert_eq!(last.next_shard_iterator, None);
        let children = last.child_shards.unwrap();
        assert_eq!(children.len(), 1);
        assert_eq!(children[0].shard_id, child.shard_id);
        let mut parents = children[0].parent_shards.clone();
        parents.sort();
        assert_eq!(parents, [FIRST, second]);
    }
}

pub async fn a_closed_shard_can_be_read_again(service: &Service) {
    let name = service.stream(1).await;
    let mut numbers = Vec::new();
    for i in 0..4 {
        numbers.push(service.put(&name, &format!("{i}"), b"x").await.1);
    }
    split(service, &name, FIRST, 1 << 127).await;
    for _ in 0..2 {
        let (records, _) = service.read(&name, FIRST).await;
        assert_eq!(
            records
                .iter()
                .map(|r| r.sequence_number.clone())
                .collect::<Vec<_>>(),
            numbers
        );
    }
    let after = service
        .client
        .get_shard_iterator()
        .stream_name(&name)
        .shard_id(FIRST);
    let after = after.shard_iterator_type(ShardIteratorType::AfterSequenceNumber);
    let after = after.starting_sequence_number(&numbers[1]).send().await.unwrap();
    let (records, last) = service.drain(after.shard_iterator.unwrap()).await;
    assert_eq!(
        records
            .iter()
            .map(|r| r.sequence_number.clone())
            .collect::<Vec<_>>(),
        numbers[2..]
    );
    assert_eq!(last.next_shard_iterator, None);
    // LATEST of a closed shard is its end.
    let latest = service.iterator(&name, FIRST, ShardIteratorType::Latest).await;
    let (records, last) = service.drain(latest).await;
    assert_eq!((records.len(), last.next_shard_iterator()), (0, None));
}

pub async fn children_have_greater_sequence_numbers(service: &Service) {
    let name = service.stream(1).await;
    let (_, before) = service.put(&name, "same", b"x").await;
    split(service, &name, FIRST, 1 << 127).await;
    let (child, after) = service.put(&name, "same", b"x").await;
    assert_ne!(child, FIRST);
    assert!(before < after, "{before} < {after}");
    let shards = service.shards(&name).await;
    let ending = shards[0]
        .sequence_number_range
        .as_ref()
        .and_then(|r| r.ending_sequence_number.clone())
        .unwrap();
    assert!(before <= ending, "{before} <= {ending}");
    for child in &shards[1..] {
        let start = &child
            .sequence_number_range
            .as_ref()
            .unwrap()
            .starting_sequence_number;
        assert!(before < *start, "{before} < {start}");
    }
}

pub async fn records_go_to_children_after_a_split(service: &Service) {
    let name = service.stream(1).await;
    split(service, &name, FIRST, 1 << 127).await;
    for (hash, shard) in [(0, 1), ((1 << 127) - 1, 1), (1 << 127, 2), (u128::MAX, 2)] {
        let put = service
            .client
            .put_record()
            .stream_name(&name)
            .partition_key("k")
            .data(b"x".as_slice().into());
        let put = put.explicit_hash_key(hash.to_string()).send().await.unwrap();
        assert_eq!(put.shard_id, format!("shardId-{shard:012}"));
    }
    assert_eq!(service.read(&name, FIRST).await.0.len(), 0);
    assert_eq!(service.read(&name, "shardId-000000000001").await.0.len(), 2);
    assert_eq!(service.read(&name, "shardId-000000000002").await.0.len(), 2);
}

pub async fn uniform_scaling_keeps_the_lineage(service: &Service) {
    let client = &service.client;
    let name = service.stream(2).await;
    for target in [4, 2, 3] {
        let before = service.shards(&name).await;
        let open = before.iter().filter(|s| is_open(s)).count() as i32;
        let request = client
            .update_shard_count()
            .stream_name(&name)
            .target_shard_count(target);
        let answer = request
            .scaling_type(ScalingType::UniformScaling)
            .send()
            .await
            .unwrap();
        assert_eq!(
            (answer.current_shard_count, answer.target_shard_count),
            (Some(open), Some(target))
        );
        service.active(&name).await;

        let shards = service.shards(&name).await;
        let mut ranges: Vec<_> = shards.iter().filter(|s| is_open(s)).map(range).collect();
        ranges.sort_unstable();
        assert_eq!(ranges.len(), target as usize, "{shards:#?}");
        assert_eq!((ranges[0].0, ranges[ranges.len() - 1].1), (0, u128::MAX));
        assert!(ranges.windows(2).all(|w| w[0].1 + 1 == w[1].0), "{ranges:?}");
        for shard in &shards[before.len()..] {
            let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
            let parents: Vec<&Shard> = parents
                .into_iter()
                .flatten()
                .map(|id| {
                    shards
                        .iter()
                        .find(|s| s.shard_id == id)
                        .expect("a parent is listed")
                })
                .collect();
            assert!(!parents.is_empty(), "{} has no parent", shard.shard_id);
            for parent in parents {
                assert!(!is_open(parent), "{} has children", parent.shard_id);
                let (theirs, ours) = (range(parent), range(shard));
                assert!(
                    theirs.0 <= ours.1 && ours.0 <= theirs.1,
                    "{theirs:?} and {ours:?} do not meet"
                );
            }
        }
    }
}

pub async fn what_cannot_be_resharded_is_refused(service: &Service) {
    let client = &service.client;
    let (invalid, not_found, limit) = (
        "InvalidArgumentException",
        "ResourceNotFoundException",
        "LimitExceededException",
    );
    let (second, third, unknown) = (
        "shardId-000000000001",
        "shardId-000000000002",
        "shardId-000000000077",
    );
    // Each split has its own stream, because kinesis-local accepts some and is then busy.
    let split_at = async |shard: &str, at: u128| {
        let name = service.stream(3).await;
        let request = client.split_shard().stream_name(&name).shard_to_split(shard);
        code(request.new_starting_hash_key(at.to_string()).send().await)
    };
    let merged = async |a: &str, b: &str| {
        let name = service.stream(3).await;
        code(
            client
                .merge_shards()
                .stream_name(&name)
                .shard_to_merge(a)
                .adjacent_shard_to_merge(b)
                .send()
                .await,
        )
    };
    let scaled = async |target| {
        let name = service.stream(3).await;
        let request = client
            .update_shard_count()
            .stream_name(&name)
            .target_shard_count(target);
        code(request.scaling_type(ScalingType::UniformScaling).send().await)
    };
    // kinesis-local creates an empty child.
    service.refused(
        "split at the start",
        split_at(FIRST, 0).await,
        invalid,
        "accepted",
    );
    service.refused(
        "split outside",
        split_at(FIRST, u128::MAX / 2).await,
        invalid,
        invalid,
    );
    service.refused(
        "split of no shard",
        split_at(unknown, 1 << 100).await,
        not_found,
        not_found,
    );
    service.refused("merge across a gap", merged(FIRST, third).await, invalid, invalid);
    service.refused(
        "merge with no shard",
        merged(FIRST, unknown).await,
        not_found,
        not_found,
    );
    // kinesis-local has another code for too many shards, and no lower limit.
    service.refused("more than double", scaled(7).await, limit, invalid);
    service.refused("less than half", scaled(1).await, limit, "accepted");

    let name = service.stream(2).await;
    split(service, &name, FIRST, 1 << 100).await;
    let request = client.split_shard().stream_name(&name).shard_to_split(FIRST);
    let again = request
        .new_starting_hash_key((1_u128 << 99).to_string())
        .send()
        .await;
    service.refused(
        "split of a closed shard",
        code(again),
        invalid,
        "ResourceInUseException",
    );
    let request = client.merge_shards().stream_name(&name).shard_to_merge(FIRST);
    let closed = request.adjacent_shard_to_merge(second).send().await;
    service.refused(
        "merge of a closed shard",
        code(closed),
        invalid,
        "ResourceInUseException",
    );
}
