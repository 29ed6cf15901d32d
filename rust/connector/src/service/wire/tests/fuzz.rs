//! Arbitrary bytes as an answer or a subscription: the result equals that of the SDK's own decoder, or for CBOR, of
//! an independent one.

mod oracle;

use aws_sdk_kinesis::config::StalledStreamProtectionConfig;
use aws_sdk_kinesis::operation::get_records::{GetRecords, GetRecordsOutput};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_schema::protocol::{ClientProtocol, ClientProtocolInner};
use kinesis_fuzzing::fuzz;

use super::super::super::aws::page;
use super::super::super::failure::classify;
use super::cbor::CBOR;
use super::*;
use crate::error::Error;

/// A protocol's result for a GetRecords answer.
fn read_answer(
    protocol: &dyn ClientProtocolInner<Request = HttpRequest, Response = HttpResponse>,
    content_type: &'static str,
    body: &[u8],
) -> Outcome {
    read_into(&DecodedRecords::default(), protocol, content_type, body)
}

/// The result for an answer that arrives in pieces of this length.
fn read_pieces(
    protocol: &ColumnsProtocol,
    content_type: &'static str,
    format: Format,
    body: &[u8],
    piece: usize,
) -> Outcome {
    let records = DecodedRecords::default();
    let mut splitter = Splitter::new(format, None);
    body.chunks(piece).for_each(|piece| splitter.add(piece));
    let body = match splitter.finish() {
        Ok(apart) => {
            records.set_apart(apart.records, apart.list_at);
            apart.rest
        }
        Err(whole) => whole,
    };
    read_into(&records, protocol, content_type, &body)
}

fn read_into(
    records: &DecodedRecords,
    protocol: &dyn ClientProtocolInner<Request = HttpRequest, Response = HttpResponse>,
    content_type: &'static str,
    body: &[u8],
) -> Outcome {
    let mut cfg = ConfigBag::base();
    cfg.interceptor_state().store_put(records.clone());
    let status = StatusCode::try_from(200_u16).expect("a status");
    let mut response = HttpResponse::new(status, SdkBody::from(body.to_vec()));
    response.headers_mut().insert("content-type", content_type);
    let answer = protocol
        .deserialize_response(&response, GetRecords::OUTPUT_SCHEMA, &cfg)
        .and_then(|mut answer| GetRecordsOutput::deserialize(&mut *answer))
        .map_err(|error| error.to_string())?;
    outcome(Ok(
        page(answer, records.take()).map_err(|error| error.to_string())?
    ))
}

#[test]
fn any_json_means_what_it_means_to_the_sdk() {
    let (stock, ours) = (stock_protocol(), ColumnsProtocol::new());
    let codec = Arc::new(stock_codec());
    let json = || Format::Json(Arc::clone(&codec));
    let usual = include_bytes!("../../../../corpus/records-in-json/usual.json");
    assert!(
        split::take_apart(usual, &Arc::new(stock_codec())).is_some(),
        "not left to the SDK"
    );
    fuzz!("records-in-json", 5_000, |body| {
        let [whole, apart] = read_event(body);
        assert_eq!(apart, whole, "of an event");
        let [whole, apart] = [read_answer(&stock, JSON, body), read_answer(&ours, JSON, body)];
        assert_eq!(apart, whole, "of an answer");
        let piece = 1 + body.len() % 97;
        let arrived = read_pieces(&ours, JSON, json(), body, piece);
        // The message may say where in a record the error is, and records before it are written in another way.
        let unlocated = |outcome: Outcome| outcome.map_err(drop);
        assert_eq!(
            unlocated(arrived),
            unlocated(whole),
            "of an answer in pieces of {piece}"
        );
    });
}

#[test]
fn any_cbor_means_what_it_means_to_another_reader() {
    let (stock, ours) = (stock_protocol(), ColumnsProtocol::new());
    let usual = read_answer(
        &ours,
        CBOR,
        include_bytes!("../../../../corpus/records-in-cbor/usual.cbor"),
    );
    assert!(usual.is_ok_and(|usual| !usual.rows.is_empty()), "accepted");
    fuzz!("records-in-cbor", 5_000, |body| {
        // That is JSON, despite the header.
        if body.starts_with(b"{") {
            return;
        }
        let read = read_answer(&ours, CBOR, body);
        let piece = 1 + body.len() % 97;
        let arrived = read_pieces(&ours, CBOR, Format::Cbor, body, piece);
        assert_eq!(arrived.as_ref().ok(), read.as_ref().ok(), "in pieces of {piece}");
        // Ours may refuse more, for instance a duplicate member.
        let Ok(read) = read else {
            return;
        };
        // The SDK has seconds as an f64, which is too coarse for the milliseconds of remote times.
        let exact = read.rows.iter().all(|row| row.3.unsigned_abs() < 1 << 43);
        if exact && !body.is_empty() {
            let json = oracle::json(body).expect("CBOR");
            assert_eq!(Ok(read), read_answer(&stock, JSON, json.as_bytes()), "{json}");
        }
    });
}

/// A client's view of a subscription: its pages and the error that ends it.
struct Subscribing {
    answering: Answering,
    client: aws_sdk_kinesis::Client,
    runtime: tokio::runtime::Runtime,
}

impl Subscribing {
    fn new() -> Self {
        let Both {
            answering, runtime, ..
        } = Both::new();
        let connector = SharedHttpConnector::new(answering.clone());
        let config = client_config()
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(aws_smithy_types::retry::RetryConfig::disabled());
        Self {
            answering,
            client: aws_sdk_kinesis::Client::from_conf(config.build()),
            runtime,
        }
    }

    fn read(
        &self,
        body: &[u8],
        protocol: impl ClientProtocol + 'static,
        records: &DecodedRecords,
    ) -> Vec<Outcome> {
        const EVENTS: &str = "application/vnd.amazon.eventstream";
        *self.answering.answer.lock().expect("no panic") = (200, EVENTS, body.to_vec());
        let oldest = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon);
        let subscription = self
            .client
            .subscribe_to_shard()
            .consumer_arn("arn:aws:kinesis:us-east-1:123456789012:stream/s/consumer/c:1")
            .shard_id("s")
            .starting_position(oldest.build().expect("a position"))
            .customize()
            .config_override(Config::builder().protocol(protocol))
            .send();
        self.runtime.block_on(async {
            let mut answer = match subscription.await {
                Ok(answer) => answer,
                Err(error) => return vec![failed(classify("SubscribeToShard", "s", error))],
            };
            let mut outcomes = Vec::new();
            loop {
                match fan_out::next_page(&mut answer, records).await {
                    Ok(Some(page)) => outcomes.push(outcome(Ok(page))),
                    Ok(None) => return outcomes,
                    Err(error) => {
                        outcomes.push(failed(error));
                        return outcomes;
                    }
                }
            }
        })
    }
}

type Outcome = std::result::Result<Read, String>;

fn failed(error: Error) -> Outcome {
    Err(format!(
        "{:?}, retryable {}: {error}",
        error.kind(),
        error.is_retryable()
    ))
}

/// Rewrites the checksums of everything that looks like a message, and the length of the last one.
fn sealed(input: &[u8]) -> Vec<u8> {
    const SHORTEST: usize = 16;
    let mut input = input.to_vec();
    let length = |bytes: &[u8]| {
        let length = bytes
            .first_chunk()
            .map(|length| u32::from_be_bytes(*length) as usize);
        length.filter(|length| (SHORTEST..=bytes.len()).contains(length))
    };
    let mut rest = input.as_mut_slice();
    while rest.len() >= SHORTEST {
        let whole = rest.len();
        let found = length(rest).filter(|end| *end == whole || length(&rest[*end..]).is_some());
        let (message, more) = rest.split_at_mut(found.unwrap_or(whole));
        let end = message.len() - 4;
        message[..4].copy_from_slice(&(end as u32 + 4).to_be_bytes());
        let prelude = crc32(&message[..8]);
        message[8..12].copy_from_slice(&prelude.to_be_bytes());
        let all = crc32(&message[..end]);
        message[end..].copy_from_slice(&all.to_be_bytes());
        rest = more;
    }
    input
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

#[test]
fn any_subscription_has_the_pages_and_the_end_that_the_sdk_gives_it() {
    let subscribing = Subscribing::new();
    let both = |body: &[u8]| {
        let records = DecodedRecords::default();
        let stock = subscribing.read(body, stock_protocol(), &records);
        let columns = subscribing.read(body, ColumnsProtocol::of_events(records.clone()), &records);
        assert_eq!(columns, stock);
        stock
    };
    let event = include_bytes!("../../../../corpus/subscriptions/one-event");
    let pages = both(event);
    assert!(
        matches!(pages.as_slice(), [Ok(page)] if page.rows.len() == 1),
        "{pages:?}"
    );
    assert_eq!(sealed(event), event, "checksums are what they should be");
    fuzz!("subscriptions", 300, |body| {
        both(body);
        both(&sealed(body));
    });
}
