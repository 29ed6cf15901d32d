//! Streams: creation, description, listing, settings and deletion.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{
    EncryptionType, ShardIteratorType, StreamMode, StreamModeDetails, StreamStatus,
};

use super::Service;
use super::service::code;

pub async fn a_stream_is_created_described_and_deleted(service: &Service) {
    let client = &service.client;
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let name = service.stream(3).await;

    let summary = client
        .describe_stream_summary()
        .stream_name(&name)
        .send()
        .await
        .unwrap();
    let summary = summary.stream_description_summary.unwrap();
    assert_eq!(summary.stream_name, name);
    let ending = format!(":000000000000:stream/{name}");
    assert!(
        summary.stream_arn.starts_with("arn:aws:kinesis:"),
        "{}",
        summary.stream_arn
    );
    assert!(summary.stream_arn.ends_with(&ending), "{}", summary.stream_arn);
    assert_eq!(summary.stream_status, StreamStatus::Active);
    assert_eq!(summary.open_shard_count, 3);
    assert_eq!(summary.retention_period_hours, 24);
    assert_eq!(
        summary.encryption_type.unwrap_or(EncryptionType::None),
        EncryptionType::None
    );
    assert_eq!(
        summary.stream_mode_details.unwrap().stream_mode,
        StreamMode::Provisioned
    );
    let created = summary.stream_creation_timestamp.to_millis().unwrap();
    assert!(
        (before - 2000..before + 60_000).contains(&created),
        "{created}, asked for at {before}"
    );

    let described = client
        .describe_stream()
        .stream_name(&name)
        .limit(2)
        .send()
        .await
        .unwrap();
    let described = described.stream_description.unwrap();
    assert_eq!(described.shards.len(), 2);
    assert!(described.has_more_shards);
    let after = described.shards[1].shard_id.clone();
    let rest = client
        .describe_stream()
        .stream_name(&name)
        .exclusive_start_shard_id(after)
        .send()
        .await
        .unwrap();
    let rest = rest.stream_description.unwrap();
    assert_eq!((rest.shards.len(), rest.has_more_shards), (1, false));

    client.delete_stream().stream_name(&name).send().await.unwrap();
    let gone = loop {
        // A service may show the stream as DELETING for a while.
        match client.describe_stream_summary().stream_name(&name).send().await {
            Ok(answer) => {
                let status = answer.stream_description_summary.unwrap().stream_status;
                assert_eq!(status, StreamStatus::Deleting);
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            gone => break gone,
        }
    };
    assert_eq!(code(gone), "ResourceNotFoundException");
}

/// Uses a stream that stays: half a second after the refusal, kinesis-local reports any stream as ACTIVE, even one
/// that is being deleted.
pub async fn a_stream_is_not_created_twice(service: &Service) {
    let name = service.stream(1).await;
    let again = service.client.create_stream().stream_name(&name).shard_count(1);
    assert_eq!(code(again.send().await), "ResourceInUseException");
}

pub async fn an_on_demand_stream_has_four_shards(service: &Service) {
    let name = service.name();
    let mode = StreamModeDetails::builder()
        .stream_mode(StreamMode::OnDemand)
        .build()
        .unwrap();
    service
        .client
        .create_stream()
        .stream_name(&name)
        .stream_mode_details(mode)
        .send()
        .await
        .unwrap();
    service.active(&name).await;
    let summary = service
        .client
        .describe_stream_summary()
        .stream_name(&name)
        .send()
        .await
        .unwrap();
    let summary = summary.stream_description_summary.unwrap();
    assert_eq!(summary.open_shard_count, 4);
    assert_eq!(
        summary.stream_mode_details.unwrap().stream_mode,
        StreamMode::OnDemand
    );
    let scaled = service
        .client
        .update_shard_count()
        .stream_name(&name)
        .target_shard_count(5);
    let scaled = scaled
        .scaling_type(aws_sdk_kinesis::types::ScalingType::UniformScaling)
        .send()
        .await;
    // An on-demand stream scales by itself. kinesis-local allows scaling it.
    service.refused("scaling", code(scaled), "InvalidArgumentException", "accepted");
}

pub async fn a_stream_is_found_by_its_arn(service: &Service) {
    let client = &service.client;
    let name = service.stream(1).await;
    let summary = client
        .describe_stream_summary()
        .stream_name(&name)
        .send()
        .await
        .unwrap();
    let arn = summary.stream_description_summary.unwrap().stream_arn;
    let by_arn = client
        .describe_stream_summary()
        .stream_arn(&arn)
        .send()
        .await
        .unwrap();
    assert_eq!(by_arn.stream_description_summary.unwrap().stream_name, name);
    assert_eq!(
        client
            .list_shards()
            .stream_arn(&arn)
            .send()
            .await
            .unwrap()
            .shards()
            .len(),
        1
    );
    let put = client
        .put_record()
        .stream_arn(&arn)
        .partition_key("k")
        .data(Blob::new("x"));
    let put = put.send().await.unwrap();
    let iterator = client
        .get_shard_iterator()
        .stream_arn(&arn)
        .shard_id(&put.shard_id);
    let iterator = iterator
        .shard_iterator_type(ShardIteratorType::TrimHorizon)
        .send()
        .await
        .unwrap();
    let records = client
        .get_records()
        .stream_arn(&arn)
        .set_shard_iterator(iterator.shard_iterator)
        .send()
        .await;
    assert_eq!(records.unwrap().records[0].sequence_number, put.sequence_number);
}

pub async fn lists_of_streams_come_in_pages(service: &Service) {
    let mut names = vec![
        service.stream(1).await,
        service.stream(1).await,
        service.stream(1).await,
    ];
    names.sort();
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let request = service
            .client
            .list_streams()
            .limit(2)
            .set_exclusive_start_stream_name(after.clone());
        let page = request.send().await.unwrap();
        assert!(page.stream_names.len() <= 2);
        after = page.stream_names.last().cloned();
        found.extend(page.stream_names);
        if !page.has_more_streams {
            break;
        }
    }
    assert!(found.is_sorted(), "{found:?}");
    assert!(
        names.iter().all(|name| found.contains(name)),
        "{names:?} in {found:?}"
    );
}

pub async fn what_names_no_stream_is_not_found(service: &Service) {
    let client = &service.client;
    let name = "no-such-stream";
    let not_found = "ResourceNotFoundException";
    assert_eq!(
        code(client.describe_stream().stream_name(name).send().await),
        not_found
    );
    assert_eq!(
        code(client.describe_stream_summary().stream_name(name).send().await),
        not_found
    );
    assert_eq!(
        code(client.list_shards().stream_name(name).send().await),
        not_found
    );
    assert_eq!(
        code(client.delete_stream().stream_name(name).send().await),
        not_found
    );
    let iterator = client
        .get_shard_iterator()
        .stream_name(name)
        .shard_id("shardId-000000000000");
    assert_eq!(
        code(
            iterator
                .shard_iterator_type(ShardIteratorType::Latest)
                .send()
                .await
        ),
        not_found
    );
    let put = client
        .put_record()
        .stream_name(name)
        .partition_key("k")
        .data(Blob::new("x"));
    assert_eq!(code(put.send().await), not_found);
}

pub async fn bad_names_and_counts_are_refused(service: &Service) {
    let client = &service.client;
    let (validation, invalid) = ("ValidationException", "InvalidArgumentException");
    for bad in ["white space", "sla/sh", &"x".repeat(129)] {
        let create = client
            .create_stream()
            .stream_name(bad)
            .shard_count(1)
            .send()
            .await;
        service.refused(bad, code(create), validation, invalid);
    }
    let none = client
        .create_stream()
        .stream_name("fine")
        .shard_count(0)
        .send()
        .await;
    service.refused("no shards", code(none), validation, "LimitExceededException");
}

pub async fn retention_goes_up_and_down(service: &Service) {
    let client = &service.client;
    let name = service.stream(1).await;
    let up = client.increase_stream_retention_period().stream_name(&name);
    up.retention_period_hours(48).send().await.unwrap();
    service.active(&name).await;
    let summary = client
        .describe_stream_summary()
        .stream_name(&name)
        .send()
        .await
        .unwrap();
    assert_eq!(
        summary.stream_description_summary.unwrap().retention_period_hours,
        48
    );
    let wrong_way = client
        .increase_stream_retention_period()
        .stream_name(&name)
        .retention_period_hours(24);
    assert_eq!(code(wrong_way.send().await), "InvalidArgumentException");
    let down = client.decrease_stream_retention_period().stream_name(&name);
    down.retention_period_hours(24).send().await.unwrap();
    service.active(&name).await;
    let wrong_way = client
        .decrease_stream_retention_period()
        .stream_name(&name)
        .retention_period_hours(48);
    assert_eq!(code(wrong_way.send().await), "InvalidArgumentException");
}
