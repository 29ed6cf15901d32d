//! For every body, the result equals that of the SDK's own decoder.

mod arriving;
mod bodies;
mod cbor;
mod fuzz;
mod put;

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_kinesis::config::{BehaviorVersion, Config, Region};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{
    ShardIteratorType, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use kinesis_sandbox::{Sandbox, SandboxConfig};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use self::bodies::{change, odd, usual};
use super::super::aws::{AwsKinesis, Connection};
use super::super::credentials::static_credentials;
use super::super::dark::keys;
use super::super::{Page, ShardIterator, fan_out};
use super::protocol::{ColumnsProtocol, stock_codec, stock_protocol};
use super::*;
use crate::error::Result;
use crate::options::{RetryOptions, StreamId};

const JSON: &str = "application/x-amz-json-1.1";

/// Gives every request the same answer, whose body arrives in pieces.
#[derive(Clone, Debug, Default)]
struct Answering {
    answer: Arc<Mutex<(u16, &'static str, Vec<u8>)>>,
    /// Length of the pieces; 0 for the whole body.
    piece: Arc<AtomicUsize>,
    asked: Arc<Mutex<(String, Vec<u8>)>>,
}

impl Answering {
    /// Content type and body of the last request.
    fn asked(&self) -> (String, Vec<u8>) {
        self.asked.lock().expect("no panic").clone()
    }
}

impl HttpConnector for Answering {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let asked_in = request
            .headers()
            .get("content-type")
            .unwrap_or_default()
            .to_owned();
        let body = request.body().bytes().unwrap_or_default().to_vec();
        *self.asked.lock().expect("no panic") = (asked_in, body);
        let (status, content_type, body) = self.answer.lock().expect("no panic").clone();
        let piece = match self.piece.load(Ordering::Relaxed) {
            0 => body.len().max(1),
            piece => piece,
        };
        let pieces: Vec<_> = body
            .chunks(piece)
            .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(piece))))
            .collect();
        let body = SdkBody::from_body_1_x(StreamBody::new(stream::iter(pieces)));
        let mut response = HttpResponse::new(status.try_into().expect("a status"), body);
        response.headers_mut().insert("content-type", content_type);
        HttpConnectorFuture::ready(Ok(response))
    }
}

fn client_config() -> aws_sdk_kinesis::config::Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(static_credentials(&keys()))
}

fn stream() -> StreamId {
    StreamId {
        name: "s".to_owned(),
        arn: None,
    }
}

fn retry() -> RetryOptions {
    RetryOptions {
        retries: 0,
        interval: Duration::ZERO,
        max_interval: Duration::ZERO,
    }
}

/// The same answer through both decoders.
struct Both {
    answering: Answering,
    stock: AwsKinesis,
    columns: AwsKinesis,
    runtime: tokio::runtime::Runtime,
}

impl Both {
    fn new() -> Self {
        let answering = Answering::default();
        Self {
            stock: Self::by(&answering, None),
            columns: Self::by(&answering, Some(ColumnsProtocol::new())),
            answering,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("a runtime"),
        }
    }

    fn by(answering: &Answering, protocol: Option<ColumnsProtocol>) -> AwsKinesis {
        let connector = SharedHttpConnector::new(answering.clone());
        let config = client_config()
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .retry_config(aws_smithy_types::retry::RetryConfig::disabled());
        let config = match protocol {
            Some(protocol) => config.protocol(protocol),
            None => config,
        };
        AwsKinesis::on(Arc::new(Connection::of(config.build())), stream(), retry())
    }

    /// Another client that decodes into columns.
    fn client(&self) -> AwsKinesis {
        Self::by(&self.answering, Some(ColumnsProtocol::new()))
    }

    /// Results of both decoders for a GetRecords answer: the SDK's, then ours.
    fn read(&self, status: u16, body: &[u8]) -> [std::result::Result<Read, String>; 2] {
        [&self.stock, &self.columns].map(|kinesis| outcome(self.answer(kinesis, status, JSON, body)))
    }

    fn answer(
        &self,
        kinesis: &AwsKinesis,
        status: u16,
        content_type: &'static str,
        body: &[u8],
    ) -> Result<Page> {
        *self.answering.answer.lock().expect("no panic") = (status, content_type, body.to_vec());
        let iterator = ShardIterator("i".to_owned());
        self.runtime
            .block_on(kinesis.get_page(&"s".into(), &iterator, 10_000))
    }
}

/// Results of both decoders for an event's payload.
fn read_event(body: &[u8]) -> [std::result::Result<Read, String>; 2] {
    let records = DecodedRecords::default();
    let read = |protocol: &dyn aws_smithy_schema::protocol::ClientProtocol| {
        let codec = protocol.payload_codec().expect("a codec");
        let event = SubscribeToShardEvent::deserialize(&mut *codec.create_deserializer(body));
        match event {
            Ok(event) => outcome(fan_out::page(event, records.take())),
            Err(error) => Err(error.to_string()),
        }
    };
    [
        read(&stock_protocol()),
        read(&ColumnsProtocol::of_events(records.clone())),
    ]
}

type Row = (
    Vec<u8>,
    Option<String>,
    String,
    i64,
    Option<crate::service::Encryption>,
);

/// The compared parts of a page.
#[derive(Debug, PartialEq)]
struct Read {
    rows: Vec<Row>,
    next: Option<String>,
    millis_behind_latest: Option<i64>,
    child_shards: Vec<crate::stream::ShardId>,
}

fn outcome(page: Result<Page>) -> std::result::Result<Read, String> {
    let page = page.map_err(|error| error.to_string())?;
    let records = &page.records;
    let row = |row| {
        let key = records.partition_key(row).map(str::to_owned);
        let number = records.sequence_number(row).to_owned();
        let data = records.data(row).to_vec();
        (
            data,
            key,
            number,
            records.arrival_millis(row),
            records.encryption(row),
        )
    };
    let rows: Vec<Row> = (0..records.len()).map(row).collect();
    let batch = records.clone().into_batch().map_err(|error| error.to_string())?;
    assert_eq!(batch.rows(), rows.len(), "as columns of Arrow, too");
    Ok(Read {
        rows,
        next: page.next.map(|next| next.0),
        millis_behind_latest: page.millis_behind_latest,
        child_shards: page.child_shards,
    })
}

/// Same cases in every run, unless PROPTEST_CASES or PROPTEST_RNG_SEED is set.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(42);
    }
    config.failure_persistence = None;
    config
}

fn is_same(body: &[u8], both: &Both) -> std::result::Result<(), TestCaseError> {
    let [stock, columns] = read_event(body);
    prop_assert_eq!(columns, stock);
    for piece in [0, 1, 5, 64] {
        both.answering.piece.store(piece, Ordering::Relaxed);
        let [stock, columns] = both.read(200, body);
        prop_assert_eq!(columns, stock, "in pieces of {}", piece);
    }
    Ok(())
}

#[test]
fn usual_bodies_are_taken_apart() {
    let both = Both::new();
    proptest!(config(), |(body in usual())| {
        prop_assert!(split::take_apart(&body, &Arc::new(stock_codec())).is_some());
        is_same(&body, &both)?;
    });
}

#[test]
fn odd_bodies_mean_what_they_mean_to_the_sdk() {
    let both = Both::new();
    proptest!(config(), |(body in odd())| is_same(&body, &both)?);
}

#[test]
fn broken_bodies_mean_what_they_mean_to_the_sdk() {
    let both = Both::new();
    let body = prop_oneof![usual(), odd()];
    proptest!(config(), |(mut body in body, changes in vec(change(), 1..4))| {
        changes.iter().for_each(|change| change.apply(&mut body));
        is_same(&body, &both)?;
    });
}

/// The records of a usual body leave it while it arrives, however it is cut.
#[test]
fn usual_bodies_are_split_in_any_pieces() {
    let codec = Arc::new(stock_codec());
    proptest!(config(), |(body in usual(), piece in 1..200_usize)| {
        let mut splitter = Splitter::new(Format::Json(Arc::clone(&codec)), None);
        body.chunks(piece).for_each(|piece| splitter.add(piece));
        let apart = splitter.finish().expect("a usual body");
        let at_once = split::take_apart(&body, &codec).expect("a usual body");
        prop_assert_eq!((&apart.rest, apart.list_at), (&at_once.rest, at_once.list_at));
        prop_assert_eq!(&apart.rest[apart.list_at..apart.list_at + 2], b"[]");
        prop_assert_eq!(apart.records.len(), at_once.records.len());
    });
}

/// In this respect the sandbox's answers equal the service's.
#[tokio::test]
async fn answers_and_events_of_the_sandbox_are_taken_apart() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.expect("it starts");
    let config = client_config()
        .endpoint_url(sandbox.endpoint())
        .protocol(ColumnsProtocol::new());
    let client = aws_sdk_kinesis::Client::from_conf(config.build());
    let created = client.create_stream().stream_name("s").shard_count(1).send();
    created.await.expect("a stream");
    let put = client.put_record().stream_name("s").partition_key("k");
    put.data(Blob::new("data")).send().await.expect("a record");
    let shard = "shardId-000000000000";

    let iterator = client.get_shard_iterator().stream_name("s").shard_id(shard);
    let iterator = iterator
        .shard_iterator_type(ShardIteratorType::TrimHorizon)
        .send();
    let iterator = iterator.await.expect("an iterator").shard_iterator;
    let records = DecodedRecords::default();
    let answer = client.get_records().set_shard_iterator(iterator).customize();
    let answer = answer
        .interceptor(records.clone())
        .send()
        .await
        .expect("an answer");
    assert!(answer.records().is_empty() && answer.next_shard_iterator().is_some());
    let found = records.take().expect("taken apart");
    assert_eq!(
        (found.len(), found.data(0), found.partition_key(0)),
        (1, b"data".as_slice(), Some("k"))
    );

    let stream = client.describe_stream_summary().stream_name("s").send();
    let stream = stream.await.expect("a stream").stream_description_summary;
    let arn = stream.expect("a description").stream_arn;
    let consumer = client
        .register_stream_consumer()
        .stream_arn(arn)
        .consumer_name("c")
        .send();
    let consumer = consumer.await.expect("registered").consumer.expect("a consumer");
    let oldest = StartingPosition::builder()
        .r#type(ShardIteratorType::TrimHorizon)
        .build();
    let subscription = client
        .subscribe_to_shard()
        .consumer_arn(consumer.consumer_arn)
        .shard_id(shard)
        .starting_position(oldest.expect("a position"))
        .customize()
        .config_override(Config::builder().protocol(ColumnsProtocol::of_events(records.clone())));
    let mut subscription = subscription.send().await.expect("a subscription");
    let event = subscription
        .event_stream
        .recv()
        .await
        .expect("an event")
        .expect("not the end");
    let SubscribeToShardEventStream::SubscribeToShardEvent(event) = event else {
        panic!("{event:?}");
    };
    assert!(event.records().is_empty() && !event.continuation_sequence_number().is_empty());
    let found = records.take().expect("taken apart");
    assert_eq!(
        (found.len(), found.data(0), found.partition_key(0)),
        (1, b"data".as_slice(), Some("k"))
    );
}

#[test]
fn every_beginning_of_a_body_is_an_error() {
    let both = Both::new();
    let body =
        br#"{"MillisBehindLatest":0,"NextShardIterator":"AA","Records":[{"Data":"aGk=","PartitionKey":"k",
        "SequenceNumber":"1","ApproximateArrivalTimestamp":1.7E9}],"ContinuationSequenceNumber":"1"}"#;
    // An empty body is an answer without members.
    for end in 0..=body.len() {
        let [stock, columns] = both.read(200, &body[..end]);
        assert_eq!(columns, stock, "the first {end} bytes");
        assert_eq!(columns.is_ok(), end == 0 || end == body.len());
        let [stock, columns] = read_event(&body[..end]);
        assert_eq!(columns, stock, "the first {end} bytes");
    }
}

#[test]
fn errors_of_the_service_are_its_own() {
    let both = Both::new();
    for (status, body) in [
        (
            400,
            r#"{"__type":"ExpiredIteratorException","message":"gone","Records":[]}"#,
        ),
        (
            400,
            r#"{"__type":"ProvisionedThroughputExceededException","message":"slow down"}"#,
        ),
        (
            400,
            r#"{"__type":"com.amazonaws.kinesis#ResourceNotFoundException","message":"none"}"#,
        ),
        (400, r#"{"Records":[]}"#),
        (500, "<html>"),
        (503, ""),
        (200, r#"{"__type":"InternalFailure"}"#),
        (301, "{}"),
    ] {
        let [stock, columns] = both.read(status, body.as_bytes());
        assert_eq!(columns, stock, "{status} {body}");
    }
}

#[test]
fn a_record_of_ten_mebibytes_is_one_value() {
    let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, vec![7; 10 << 20]);
    let small = r#"{"Data":"aGk=","PartitionKey":"k","SequenceNumber":"1"}"#;
    let large = format!(r#"{{"Data":"{data}","PartitionKey":"k","SequenceNumber":"2"}}"#);
    for records in [[small, &large], [&large, small]] {
        let body = format!(
            r#"{{"Records":[{}],"ContinuationSequenceNumber":"2"}}"#,
            records.join(",")
        );
        assert!(split::take_apart(body.as_bytes(), &Arc::new(stock_codec())).is_some());
        let [stock, columns] = read_event(body.as_bytes());
        assert!(columns == stock && columns.is_ok_and(|read| read.rows.len() == 2));
    }
}
