//! Calls and entries that fail as set, responses that are cut short, and limits.

use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::Blob;
use kinesis_sandbox::{ErrorCode, Fault, Operation, Schedule, ShardLimits};

use super::{SHARD, THROTTLED, get, horizon, put, start};

#[tokio::test]
async fn calls_fail_as_set() {
    let (sandbox, client) = start().await;
    let iterator = horizon(&client, SHARD).await;
    let throttle = Fault::Error(ErrorCode::ProvisionedThroughputExceededException);
    sandbox.fail(Operation::GetRecords, throttle, Schedule::Next(2));
    sandbox.fail(
        Operation::GetRecords,
        Fault::Error(ErrorCode::InternalFailure),
        Schedule::Next(1),
    );
    sandbox.fail(Operation::GetRecords, Fault::DropConnection, Schedule::Next(1));
    for expected in [THROTTLED, THROTTLED, "InternalFailure", "no answer"] {
        assert_eq!(get(&client, &iterator).await, Err(expected.into()));
    }
    assert_eq!(get(&client, &iterator).await, Ok(0));
    let errors = sandbox.stats().operations["GetRecords"].errors.clone();
    let errors: Vec<(&str, u64)> = errors.iter().map(|(name, n)| (name.as_str(), *n)).collect();
    assert_eq!(
        errors,
        [("DroppedConnection", 1), ("InternalFailure", 1), (THROTTLED, 2)]
    );
    sandbox.fail(Operation::GetRecords, throttle, Schedule::Fraction(1.0));
    assert_eq!(get(&client, &iterator).await, Err(THROTTLED.into()));
    sandbox.clear_faults();
    assert_eq!(get(&client, &iterator).await, Ok(0));
}

#[tokio::test]
async fn entries_fail_as_set() {
    let (sandbox, client) = start().await;
    sandbox.fail_entries(
        ErrorCode::ProvisionedThroughputExceededException,
        Schedule::Next(2),
    );
    sandbox.fail_entries(ErrorCode::InternalFailure, Schedule::Next(1));
    let answer = put(&client, 5).await;
    assert_eq!(answer.failed_record_count, Some(3));
    let codes: Vec<_> = answer.records.iter().map(|r| r.error_code()).collect();
    assert_eq!(
        codes,
        [
            Some(THROTTLED),
            Some(THROTTLED),
            Some("InternalFailure"),
            None,
            None
        ]
    );
    for record in &answer.records {
        assert_eq!(record.error_code.is_some(), record.error_message.is_some());
        assert_eq!(record.error_code.is_some(), record.sequence_number.is_none());
    }
    assert_eq!(
        get(&client, &horizon(&client, SHARD).await).await,
        Ok(2),
        "only what was accepted is there"
    );
    let shard = sandbox.stats().shard("s", SHARD);
    assert_eq!(
        (
            shard.records_in,
            shard.records_refused,
            shard.get_records,
            shard.records_out
        ),
        (2, 3, 1, 2)
    );
}

#[tokio::test]
async fn answers_are_cut_short_and_empty() {
    let (sandbox, client) = start().await;
    put(&client, 5).await;
    sandbox.answer_empty(1);
    sandbox.set_max_records_per_get(Some(2));
    let mut iterator = horizon(&client, SHARD).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let page = client
            .get_records()
            .shard_iterator(&iterator)
            .send()
            .await
            .unwrap();
        seen.push((page.records.len(), page.millis_behind_latest.unwrap() > 0));
        iterator = page.next_shard_iterator.unwrap();
    }
    assert_eq!(seen, [(0, true), (2, true), (2, true), (1, false)]);
}

#[tokio::test]
async fn shard_limits_throttle_when_switched_on() {
    let (sandbox, client) = start().await;
    // A rate so low that the test's own speed does not matter.
    let limits = ShardLimits {
        write_records: 3.0,
        read_calls: 2.0,
        ..ShardLimits::default()
    };
    sandbox.set_shard_limits(Some(limits));
    let answer = put(&client, 200).await;
    assert_eq!(answer.failed_record_count, Some(197));
    assert_eq!(answer.records[199].error_code(), Some(THROTTLED));
    let iterator = horizon(&client, SHARD).await;
    let mut results = Vec::new();
    while !results.contains(&Err(THROTTLED.to_owned())) && results.len() < 100 {
        results.push(get(&client, &iterator).await);
    }
    assert_eq!(results.first(), Some(&Ok(3)));
    assert_eq!(results.last(), Some(&Err(THROTTLED.to_owned())));
    assert_eq!(sandbox.stats().shard("s", SHARD).get_records_throttled, 1);
    sandbox.set_shard_limits(None);
    assert_eq!(get(&client, &iterator).await, Ok(3));
}

#[tokio::test]
async fn a_rejected_key_is_not_recognised() {
    let (sandbox, client) = start().await;
    sandbox.reject_key("AKIDBAD");
    let bad = super::client(&sandbox, "AKIDBAD");
    let error = bad.list_shards().stream_name("s").send().await.unwrap_err();
    assert_eq!(error.code(), Some("UnrecognizedClientException"));
    assert_eq!(
        error.message(),
        Some("The security token included in the request is invalid.")
    );
    client.list_shards().stream_name("s").send().await.unwrap();
    sandbox.accept_all_keys();
    bad.list_shards().stream_name("s").send().await.unwrap();
}

#[tokio::test]
async fn larger_records_where_the_stream_allows_them() {
    let (sandbox, client) = start().await;
    let create = client
        .create_stream()
        .stream_name("large")
        .shard_count(1)
        .max_record_size_in_kib(10_240);
    create.send().await.unwrap();
    let put = |stream: &str, size: usize| {
        client
            .put_record()
            .stream_name(stream)
            .partition_key("k")
            .data(Blob::new(vec![1; size]))
            .send()
    };
    put("large", 10 * 1024 * 1024 - 1).await.unwrap();
    put("large", 10 * 1024 * 1024).await.unwrap_err();
    put("s", 1024 * 1024).await.unwrap_err();
    assert_eq!(sandbox.stats().shard("large", SHARD).bytes_in, 10 * 1024 * 1024);
}
