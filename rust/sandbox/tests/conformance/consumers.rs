//! Enhanced fan-out consumers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_kinesis::types::ConsumerStatus;

use super::Service;
use super::service::code;

pub async fn a_consumer_is_registered_described_and_deregistered(service: &Service) {
    let client = &service.client;
    let name = service.stream(1).await;
    let stream = service.arn(&name).await;
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let arn = service.consumer(&stream, "c").await;
    let described = client
        .describe_stream_consumer()
        .consumer_arn(&arn)
        .send()
        .await
        .unwrap();
    let described = described.consumer_description.unwrap();
    assert_eq!(
        (described.consumer_name.as_str(), described.consumer_arn.as_str()),
        ("c", arn.as_str())
    );
    assert_eq!(described.consumer_status, ConsumerStatus::Active);
    assert_eq!(described.stream_arn, stream);
    let created = described.consumer_creation_timestamp.secs();
    assert!(
        (before - 2..before + 60).contains(&created),
        "{created}, asked for at {before}"
    );
    assert_eq!(arn, format!("{stream}/consumer/c:{created}"));
    let summary = client
        .describe_stream_summary()
        .stream_name(&name)
        .send()
        .await
        .unwrap();
    let consumers = summary.stream_description_summary.unwrap().consumer_count;
    assert_eq!(consumers, Some(1));

    let twice = client
        .register_stream_consumer()
        .stream_arn(&stream)
        .consumer_name("c")
        .send()
        .await;
    assert_eq!(code(twice), "ResourceInUseException");

    client
        .deregister_stream_consumer()
        .consumer_arn(&arn)
        .send()
        .await
        .unwrap();
    // The consumer may be DELETING for a while.
    let gone = loop {
        match client.describe_stream_consumer().consumer_arn(&arn).send().await {
            Ok(described) => {
                let status = described.consumer_description.unwrap().consumer_status;
                assert_eq!(status, ConsumerStatus::Deleting);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            gone => break gone,
        }
    };
    assert_eq!(code(gone), "ResourceNotFoundException");
    service.consumer(&stream, "c").await;
}

pub async fn a_consumer_is_named_in_two_ways(service: &Service) {
    let client = &service.client;
    let stream = service.arn(&service.stream(1).await).await;
    let arn = service.consumer(&stream, "c").await;
    let other = service.consumer(&stream, "other").await;
    let describe = || client.describe_stream_consumer();
    let by_name = describe()
        .stream_arn(&stream)
        .consumer_name("c")
        .send()
        .await
        .unwrap();
    assert_eq!(by_name.consumer_description.unwrap().consumer_arn, arn);
    let by_all = describe()
        .stream_arn(&stream)
        .consumer_name("c")
        .consumer_arn(&arn);
    assert_eq!(
        by_all
            .send()
            .await
            .unwrap()
            .consumer_description
            .unwrap()
            .consumer_arn,
        arn
    );
    let unknown = describe()
        .stream_arn(&stream)
        .consumer_name("nobody")
        .send()
        .await;
    assert_eq!(code(unknown), "ResourceNotFoundException");
    let half = describe().consumer_name("c").send().await;
    let not_found = "ResourceNotFoundException";
    service.refused(
        "a name without a stream",
        code(half),
        "InvalidArgumentException",
        not_found,
    );
    client
        .deregister_stream_consumer()
        .stream_arn(&stream)
        .consumer_name("c")
        .send()
        .await
        .unwrap();
    let left = describe().consumer_arn(&other).send().await.unwrap();
    assert_eq!(
        left.consumer_description.unwrap().consumer_status,
        ConsumerStatus::Active
    );
}

pub async fn lists_of_consumers_come_in_pages(service: &Service) {
    let client = &service.client;
    let stream = service.arn(&service.stream(1).await).await;
    for name in ["a", "b", "c"] {
        service.consumer(&stream, name).await;
    }
    let list = || client.list_stream_consumers().stream_arn(&stream);
    let names = |consumers: Option<Vec<aws_sdk_kinesis::types::Consumer>>| {
        let mut names: Vec<_> = consumers.unwrap().into_iter().map(|c| c.consumer_name).collect();
        names.sort();
        names
    };
    assert_eq!(names(list().send().await.unwrap().consumers), ["a", "b", "c"]);
    let first = list().max_results(2).send().await.unwrap();
    let rest = list().next_token(first.next_token.unwrap()).send().await.unwrap();
    assert_eq!(rest.next_token, None);
    let mut both = names(first.consumers);
    assert_eq!(both.len(), 2);
    both.extend(names(rest.consumers));
    both.sort();
    assert_eq!(both, ["a", "b", "c"]);
}

pub async fn a_stream_with_consumers_is_kept(service: &Service) {
    let client = &service.client;
    let name = service.stream(1).await;
    service.consumer(&service.arn(&name).await, "c").await;
    let delete = || client.delete_stream().stream_name(&name);
    let kept = code(delete().send().await);
    service.refused("with a consumer", kept, "ResourceInUseException", "accepted");
    if service.documented_or(false, true) {
        return;
    }
    delete().enforce_consumer_deletion(true).send().await.unwrap();
}

pub async fn bad_consumers_are_refused(service: &Service) {
    let client = &service.client;
    let stream = service.arn(&service.stream(1).await).await;
    let register = |stream: &str, name: &str| {
        client
            .register_stream_consumer()
            .stream_arn(stream)
            .consumer_name(name)
            .send()
    };
    let nowhere = register(&format!("{stream}-not"), "c").await;
    assert_eq!(code(nowhere), "ResourceNotFoundException");
    let bad_name = register(&stream, "not a name").await;
    service.refused(
        "a name with spaces",
        code(bad_name),
        "ValidationException",
        "accepted",
    );
    let deregister = client
        .deregister_stream_consumer()
        .stream_arn(&stream)
        .consumer_name("nobody");
    assert_eq!(code(deregister.send().await), "ResourceNotFoundException");
    let list = client.list_stream_consumers().stream_arn(format!("{stream}-not"));
    assert_eq!(code(list.send().await), "ResourceNotFoundException");
}
