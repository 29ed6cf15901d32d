//! What expires or takes time: iterators, records, shards, tokens and transitions.

use std::time::{Duration, Instant};

use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::ShardIteratorType;
use kinesis_sandbox::{Operation, Trim};

use super::{SHARD, get, horizon, put, start};

#[tokio::test]
async fn iterators_expire_by_age_and_at_once() {
    let (sandbox, client) = start().await;
    put(&client, 1).await;
    let old = horizon(&client, SHARD).await;
    sandbox.expire_iterators();
    assert_eq!(get(&client, &old).await, Err("ExpiredIteratorException".into()));
    let new = horizon(&client, SHARD).await;
    assert_eq!(get(&client, &new).await, Ok(1));
    sandbox.set_iterator_max_age(Duration::from_millis(1));
    let started = Instant::now();
    while get(&client, &new).await == Ok(1) {
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(get(&client, &new).await, Err("ExpiredIteratorException".into()));
}

#[tokio::test]
async fn a_trim_moves_the_horizon() {
    let (sandbox, client) = start().await;
    let numbers: Vec<String> = put(&client, 5)
        .await
        .records
        .into_iter()
        .map(|r| r.sequence_number.unwrap())
        .collect();
    let from_start = horizon(&client, SHARD).await;
    assert_eq!(sandbox.trim("s", None, Trim::UpTo(numbers[1].clone())), Ok(2));
    assert_eq!(
        get(&client, &from_start).await,
        Ok(3),
        "an older iterator goes on behind what was trimmed"
    );
    // A trimmed position is still a valid position of the shard.
    let request = client.get_shard_iterator().stream_name("s").shard_id(SHARD);
    let request = request.shard_iterator_type(ShardIteratorType::AfterSequenceNumber);
    let trimmed = request
        .starting_sequence_number(&numbers[0])
        .send()
        .await
        .unwrap();
    assert_eq!(get(&client, &trimmed.shard_iterator.unwrap()).await, Ok(3));
    assert_eq!(
        sandbox.trim("s", Some(SHARD), Trim::OlderThanMs(3_600_000)),
        Ok(0)
    );
    assert_eq!(sandbox.trim("s", Some(SHARD), Trim::All), Ok(3));
    assert_eq!(get(&client, &horizon(&client, SHARD).await).await, Ok(0));
    assert!(sandbox.trim("s", None, Trim::UpTo("1".into())).is_err());
    assert!(sandbox.trim("none", None, Trim::All).is_err());
    // Old by arrival time, independent of the clock.
    sandbox.set_arrival_offset_ms(-7_200_000);
    put(&client, 2).await;
    sandbox.set_arrival_offset_ms(0);
    put(&client, 1).await;
    assert_eq!(sandbox.trim("s", None, Trim::OlderThanMs(3_600_000)), Ok(2));
}

#[tokio::test]
async fn a_closed_shard_is_forgotten() {
    let (sandbox, client) = start().await;
    let iterator = horizon(&client, SHARD).await;
    assert!(sandbox.forget_shard("s", SHARD).is_err(), "it is open");
    let split = client.split_shard().stream_name("s").shard_to_split(SHARD);
    split.new_starting_hash_key("1000").send().await.unwrap();
    sandbox.forget_shard("s", SHARD).unwrap();
    let listed = client.list_shards().stream_name("s").send().await.unwrap();
    let listed: Vec<_> = listed
        .shards()
        .iter()
        .map(|s| (s.shard_id(), s.parent_shard_id()))
        .collect();
    assert_eq!(
        listed,
        [
            ("shardId-000000000001", Some(SHARD)),
            ("shardId-000000000002", Some(SHARD))
        ]
    );
    assert_eq!(
        get(&client, &iterator).await,
        Err("ResourceNotFoundException".into())
    );
    assert!(
        sandbox.forget_shard("s", SHARD).is_err(),
        "it is not there any more"
    );
}

#[tokio::test]
async fn delays_and_transitions_take_their_time() {
    let (sandbox, client) = start().await;
    sandbox.delay(Operation::ListShards, Duration::from_millis(150));
    let started = Instant::now();
    client.list_shards().stream_name("s").send().await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(150));
    sandbox.delay(Operation::ListShards, Duration::ZERO);

    sandbox.set_transition(Duration::from_secs(3600));
    client
        .create_stream()
        .stream_name("slow")
        .shard_count(1)
        .send()
        .await
        .unwrap();
    let summary = client
        .describe_stream_summary()
        .stream_name("slow")
        .send()
        .await
        .unwrap();
    assert_eq!(
        summary.stream_description_summary.unwrap().stream_status.as_str(),
        "CREATING"
    );
    let put = client
        .put_record()
        .stream_name("slow")
        .partition_key("k")
        .data(Blob::new("x"))
        .send()
        .await;
    assert_eq!(put.unwrap_err().code(), Some("ResourceNotFoundException"));
    let listed = client.list_shards().stream_name("slow").send().await;
    assert_eq!(listed.unwrap_err().code(), Some("ResourceInUseException"));
}

#[tokio::test]
async fn page_tokens_expire() {
    let (sandbox, client) = start().await;
    client
        .create_stream()
        .stream_name("two")
        .shard_count(2)
        .send()
        .await
        .unwrap();
    let page = client
        .list_shards()
        .stream_name("two")
        .max_results(1)
        .send()
        .await
        .unwrap();
    let token = page.next_token.unwrap();
    client.list_shards().next_token(&token).send().await.unwrap();
    sandbox.set_next_token_max_age(Duration::ZERO);
    let started = Instant::now();
    let error = loop {
        match client.list_shards().next_token(&token).send().await {
            Ok(_) => assert!(started.elapsed() < Duration::from_secs(10)),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Some("ExpiredNextTokenException"));
}
