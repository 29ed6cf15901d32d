//! The body of PutRecords is the SDK's, whatever the entries.

use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use bytes::Bytes;
use serde_json::Value;

use super::*;
use crate::service::{KinesisApi, PutEntry, PutOutcome};

const ACCEPTED: &str =
    r#"{"FailedRecordCount":0,"Records":[{"SequenceNumber":"7","ShardId":"shardId-000000000003"}]}"#;

fn entry() -> impl Strategy<Value = PutEntry> {
    let key = prop::option::weighted(0.9, any::<String>());
    let hash = prop::option::weighted(0.3, "[0-9]{1,39}");
    (vec(any::<u8>(), 0..300), key, hash).prop_map(|(data, partition_key, explicit_hash_key)| PutEntry {
        partition_key,
        data: Bytes::from(data),
        explicit_hash_key,
    })
}

fn streams() -> [StreamId; 2] {
    let arn = "arn:aws:kinesis:us-east-1:123456789012:stream/s".to_owned();
    let by_arn = StreamId {
        arn: Some(arn),
        ..stream()
    };
    [stream(), by_arn]
}

/// What the SDK's own client sends.
async fn stock_body(answering: &Answering, entries: &[PutEntry], stream: &StreamId) -> (String, Vec<u8>) {
    let connector = SharedHttpConnector::new(answering.clone());
    let config = client_config().http_client(http_client_fn(move |_, _| connector.clone()));
    let entries = entries.iter().map(|entry| {
        let record = PutRecordsRequestEntry::builder()
            .data(Blob::new(entry.data.as_ref()))
            .set_partition_key(entry.partition_key.clone())
            .set_explicit_hash_key(entry.explicit_hash_key.clone());
        record.build().expect("an entry")
    });
    let call = aws_sdk_kinesis::Client::from_conf(config.build())
        .put_records()
        .set_stream_name(stream.arn.is_none().then(|| stream.name.clone()))
        .set_stream_arn(stream.arn.clone())
        .set_records(Some(entries.collect()));
    call.send().await.expect("an answer");
    answering.asked()
}

#[test]
fn it_means_what_the_sdks_body_means() {
    let both = Both::new();
    *both.answering.answer.lock().expect("no panic") = (200, JSON, ACCEPTED.into());
    proptest!(config(), |(entries in vec(entry(), 1..5))| {
        for stream in streams() {
            let (content_type, stock) = both.runtime.block_on(stock_body(&both.answering, &entries, &stream));
            let body = PutBody::of(&entries, &stream).expect("a body").bytes();
            let [own, stock]: [Value; 2] = [&body[..], &stock].map(|body| serde_json::from_slice(body).expect("JSON"));
            prop_assert_eq!(own, stock);
            prop_assert_eq!(content_type, JSON);
        }
    });
}

#[test]
fn it_is_what_a_call_sends_and_the_outcomes_are_read() {
    let both = Both::new();
    *both.answering.answer.lock().expect("no panic") = (200, JSON, ACCEPTED.into());
    let entry = PutEntry {
        partition_key: Some("k\"ä\u{1}".to_owned()),
        data: Bytes::from_static(b"\xff\x00"),
        explicit_hash_key: None,
    };
    let counters = Arc::default();
    let put = both.columns.put_records(std::slice::from_ref(&entry), &counters);
    let outcomes = both.runtime.block_on(put).expect("an answer");
    let PutOutcome::Accepted {
        shard,
        sequence_number,
    } = &outcomes[0]
    else {
        panic!("{outcomes:?}");
    };
    assert_eq!(
        (shard.as_str(), sequence_number.as_str()),
        ("shardId-000000000003", "7")
    );
    let (content_type, body) = both.answering.asked();
    assert_eq!(content_type, JSON);
    assert_eq!(body, PutBody::of(&[entry], &stream()).expect("a body").bytes());
}
