//! An answer in CBOR has the same meaning as in JSON.

use base64::Engine;
use minicbor::Encoder;
use minicbor::data::Tag;
use minicbor::encode::Error;
use proptest::option;

use super::*;
use crate::options::WireProtocol;

pub(super) const CBOR: &str = "application/x-amz-cbor-1.1";

/// Items that exist in both formats.
#[derive(Clone, Debug)]
enum Item {
    Null,
    Whole(i64),
    Text(String),
    Bytes(Vec<u8>),
    Time(i64),
    List(Vec<Item>),
    Object(Members),
}

type Members = Vec<(&'static str, Item)>;

impl Item {
    fn json(&self) -> String {
        let joined = |items: Vec<String>| items.join(",");
        match self {
            Self::Null => "null".to_owned(),
            Self::Whole(number) => number.to_string(),
            Self::Text(text) => serde_json::to_string(text).expect("text"),
            Self::Bytes(bytes) => format!("\"{}\"", base64::engine::general_purpose::STANDARD.encode(bytes)),
            Self::Time(millis) => format!("{}.{:03}", millis / 1000, millis % 1000),
            Self::List(items) => format!("[{}]", joined(items.iter().map(Self::json).collect())),
            Self::Object(members) => {
                let member = |(name, value): &(&str, Item)| format!("\"{name}\":{}", value.json());
                format!("{{{}}}", joined(members.iter().map(member).collect()))
            }
        }
    }
}

/// One of several equivalent CBOR encodings.
#[derive(Clone, Copy, Debug)]
struct Style {
    /// Lists, objects, texts and bytes have indefinite length and end with a break.
    breaks: bool,
    tagged: bool,
    float: bool,
    /// Payloads are in base64, as in JSON.
    base64: bool,
}

type Written = std::result::Result<(), Error<std::convert::Infallible>>;

impl Style {
    fn write(self, item: &Item) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new());
        self.append(&mut encoder, item).expect("it fits");
        encoder.into_writer()
    }

    fn append(self, to: &mut Encoder<Vec<u8>>, item: &Item) -> Written {
        match item {
            Item::Null => to.null()?,
            Item::Whole(number) => to.i64(*number)?,
            Item::Text(text) if self.breaks => {
                let half = text
                    .char_indices()
                    .nth(text.chars().count() / 2)
                    .map_or(0, |(at, _)| at);
                to.begin_str()?.str(&text[..half])?.str(&text[half..])?.end()?
            }
            Item::Text(text) => to.str(text)?,
            Item::Bytes(bytes) if self.base64 => {
                let text = base64::engine::general_purpose::STANDARD.encode(bytes);
                return self.append(to, &Item::Text(text));
            }
            Item::Bytes(bytes) if self.breaks => {
                let (first, second) = bytes.split_at(bytes.len() / 2);
                to.begin_bytes()?.bytes(first)?.bytes(second)?.end()?
            }
            Item::Bytes(bytes) => to.bytes(bytes)?,
            Item::Time(millis) => {
                if self.tagged {
                    to.tag(Tag::new(1))?;
                }
                match self.float {
                    true => to.f64(*millis as f64)?,
                    false => to.i64(*millis)?,
                }
            }
            Item::List(items) => {
                match self.breaks {
                    true => to.begin_array()?,
                    false => to.array(items.len() as u64)?,
                };
                items.iter().try_for_each(|item| self.append(to, item))?;
                return self.end(to);
            }
            Item::Object(members) => {
                match self.breaks {
                    true => to.begin_map()?,
                    false => to.map(members.len() as u64)?,
                };
                for (name, item) in members {
                    self.append(to, &Item::Text((*name).to_owned()))?;
                    self.append(to, item)?;
                }
                return self.end(to);
            }
        };
        Ok(())
    }

    fn end(self, to: &mut Encoder<Vec<u8>>) -> Written {
        if self.breaks {
            to.end()?;
        }
        Ok(())
    }
}

fn style() -> impl Strategy<Value = Style> {
    any::<[bool; 4]>().prop_map(|[breaks, tagged, float, base64]| Style {
        breaks,
        tagged,
        float,
        base64,
    })
}

fn text() -> impl Strategy<Value = Item> {
    "\\PC{0,20}".prop_map(Item::Text)
}

fn unknown() -> impl Strategy<Value = Item> {
    let leaf = prop_oneof![
        Just(Item::Null),
        any::<i64>().prop_map(Item::Whole),
        text(),
        vec(any::<u8>(), 0..20).prop_map(Item::Bytes),
        (0..4_000_000_000_000_i64).prop_map(Item::Time),
    ];
    leaf.prop_recursive(3, 10, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Item::List),
            inner.prop_map(|item| Item::Object(vec![("Inner", item)])),
        ]
    })
}

fn record() -> impl Strategy<Value = Item> {
    let nullable = |item: BoxedStrategy<Item>| option::of(prop_oneof![9 => item, 1 => Just(Item::Null)]);
    let encryption = proptest::sample::select(vec!["NONE", "KMS", "OTHER"]);
    let members = (
        nullable(vec(any::<u8>(), 0..200).prop_map(Item::Bytes).boxed()),
        nullable(text().boxed()),
        nullable(text().boxed()),
        nullable((0..4_000_000_000_000_i64).prop_map(Item::Time).boxed()),
        nullable(encryption.prop_map(|name| Item::Text(name.to_owned())).boxed()),
        option::weighted(0.2, unknown()),
    );
    let members = members.prop_map(|(data, key, number, time, encryption, unknown)| {
        let members = [
            ("Data", data),
            ("PartitionKey", key),
            ("SequenceNumber", number),
            ("ApproximateArrivalTimestamp", time),
            ("EncryptionType", encryption),
            ("Unknown", unknown),
        ];
        let given = members.into_iter().filter_map(|(name, item)| Some((name, item?)));
        given.collect::<Vec<_>>()
    });
    members.prop_shuffle().prop_map(Item::Object)
}

fn answer() -> impl Strategy<Value = Item> {
    let records = prop_oneof![9 => vec(record(), 0..6).prop_map(Item::List), 1 => Just(Item::Null)];
    let child = Item::Object(vec![
        ("ShardId", Item::Text("shardId-1".to_owned())),
        (
            "ParentShards",
            Item::List(vec![Item::Text("shardId-0".to_owned())]),
        ),
    ]);
    let members = (
        option::weighted(0.95, records),
        option::of(prop_oneof![9 => text(), 1 => Just(Item::Null)]),
        option::of(any::<i64>().prop_map(Item::Whole)),
        option::of(Just(Item::List(vec![child]))),
        option::weighted(0.2, unknown()),
    );
    let members = members.prop_map(|(records, next, behind, children, unknown)| {
        let members = [
            ("Records", records),
            ("NextShardIterator", next),
            ("MillisBehindLatest", behind),
            ("ChildShards", children),
            ("Unknown", unknown),
        ];
        let given = members.into_iter().filter_map(|(name, item)| Some((name, item?)));
        given.collect::<Vec<_>>()
    });
    members.prop_shuffle().prop_map(Item::Object)
}

#[test]
fn an_answer_means_in_cbor_what_it_means_in_json() {
    let both = Both::new();
    proptest!(config(), |(answer in answer(), style in style())| {
        let json = outcome(both.answer(&both.stock, 200, JSON, answer.json().as_bytes()));
        prop_assert!(json.is_ok());
        let cbor = outcome(both.answer(&both.columns, 200, CBOR, &style.write(&answer)));
        prop_assert_eq!(cbor, json);
    });
}

#[test]
fn a_part_of_an_answer_is_an_error_and_a_broken_one_no_panic() {
    let both = Both::new();
    let broken = both.answer(&both.stock, 200, JSON, b"{").expect_err("not JSON");
    let cut = any::<proptest::sample::Index>();
    proptest!(config(), |(answer in answer(), style in style(), cut in cut, changes in vec(change(), 1..4))| {
        let mut body = style.write(&answer);
        let part = &body[..1 + cut.index(body.len())];
        if part.len() < body.len() {
            let error = both.answer(&both.columns, 200, CBOR, part).expect_err("a part");
            prop_assert_eq!((error.kind(), error.is_retryable()), (broken.kind(), broken.is_retryable()));
        }
        let more = [body.as_slice(), &[0]].concat();
        prop_assert!(both.answer(&both.columns, 200, CBOR, &more).is_err());
        changes.iter().for_each(|change| change.apply(&mut body));
        drop(outcome(both.answer(&both.columns, 200, CBOR, &body)));
    });
}

#[test]
fn lengths_that_are_not_there_cost_nothing() {
    let both = Both::new();
    let bodies: [&[u8]; 4] = [
        b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xa1\x67Records\x9b\x00\xff\xff\xff\xff\xff\xff\xff",
        b"\xa1\x67Records\x81\xa1\x64Data\x5b\x00\xff\xff\xff\xff\xff\xff\xff",
        b"\xa1\x67Records\x81\xa1\x65Other\x9b\x00\xff\xff\xff\xff\xff\xff\xff",
    ];
    for body in bodies {
        assert!(both.answer(&both.columns, 200, CBOR, body).is_err());
    }
    let not_base64 = b"\xa1\x67Records\x81\xa1\x64Data\x63aaa";
    assert!(both.answer(&both.columns, 200, CBOR, not_base64).is_err());
    let deep = [b"\xa1\x65Other".as_slice(), &[0x81; 100_000], &[0]].concat();
    assert!(both.answer(&both.columns, 200, CBOR, &deep).is_err());
}

#[test]
fn errors_of_the_service_are_the_same_in_cbor() {
    let both = Both::new();
    let body = |code: &str| {
        let text = |text: &str| Item::Text(text.to_owned());
        Item::Object(vec![("__type", text(code)), ("message", text("so it is"))])
    };
    let style = Style {
        breaks: true,
        tagged: false,
        float: false,
        base64: false,
    };
    for (status, code) in [
        (400, "ExpiredIteratorException"),
        (400, "ProvisionedThroughputExceededException"),
        (400, "com.amazonaws.kinesis#ResourceNotFoundException"),
        (400, "ExpiredTokenException"),
        (500, "InternalFailure"),
    ] {
        let body = body(code);
        let json = both.answer(&both.stock, status, JSON, body.json().as_bytes());
        let cbor = both.answer(&both.columns, status, CBOR, &style.write(&body));
        let mislabelled = both.answer(&both.columns, status, CBOR, body.json().as_bytes());
        let json = json.expect_err(code);
        for other in [cbor, mislabelled] {
            let other = other.expect_err(code);
            assert_eq!((other.to_string(), other.kind()), (json.to_string(), json.kind()));
        }
    }
    let unreadable = both
        .answer(&both.columns, 500, CBOR, b"<html>")
        .expect_err("an error");
    let json = both.answer(&both.stock, 500, JSON, b"{}").expect_err("an error");
    assert_eq!(
        (unreadable.kind(), unreadable.is_retryable()),
        (json.kind(), json.is_retryable())
    );
}

#[test]
fn numbers_that_nothing_here_has_are_passed_over_and_breaks_are_not() {
    let with = |other: &[u8]| [&b"\xa2\x67Records\x80\x65Other"[..], other].concat();
    for number in [
        b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        assert!(crate::service::wire::cbor::take_apart(&with(number)).is_ok());
    }
    let of_record = |other: &[u8]| [&b"\xa1\x67Records\x81\xa1\x65Other"[..], other].concat();
    for broken in [&b"\xff"[..], b"\x81\xff", b"\xc1\xff", b"\xbf\x61\x6b\xff"] {
        assert!(crate::service::wire::cbor::take_apart(&with(broken)).is_err());
        assert!(crate::service::wire::cbor::take_apart(&of_record(broken)).is_err());
    }
}

#[test]
fn only_get_records_asks_in_cbor() {
    let json = br#"{"ShardIterator":"i","Limit":10,"StreamARN":"a"}"#;
    let cbor = crate::service::wire::cbor::request(json).expect("texts and numbers");
    assert_eq!(crate::service::wire::cbor::to_json(&cbor).expect("CBOR"), {
        let value: serde_json::Value = serde_json::from_slice(json).expect("JSON");
        value.to_string().into_bytes()
    });

    let both = Both::new();
    let asked = |kinesis: AwsKinesis| {
        both.answer(&kinesis, 200, JSON, b"{}").expect("an answer");
        both.answering.asked()
    };
    let (content_type, body) = asked(both.client().with_protocol(WireProtocol::Cbor));
    assert_eq!(content_type, CBOR);
    assert!(
        crate::service::wire::cbor::to_json(&body).is_ok_and(|json| json.starts_with(b"{\"Limit\":10000"))
    );
    let (content_type, body) = asked(both.client());
    assert_eq!((content_type.as_str(), body[0]), (JSON, b'{'));
}

/// The sandbox answers CBOR requests in CBOR, errors included.
#[tokio::test]
async fn the_sandbox_is_read_by_both_protocols() {
    use crate::service::KinesisApi;
    use crate::service::RequestCounters;
    use crate::stream::{Position, ShardId};

    let sandbox = Sandbox::start(SandboxConfig::default()).await.expect("it starts");
    let config = client_config().endpoint_url(sandbox.endpoint());
    let connection = Arc::new(Connection::of(config.protocol(ColumnsProtocol::new()).build()));
    let client = connection.client.clone();
    let created = client.create_stream().stream_name("s").shard_count(1).send();
    created.await.expect("a stream");
    for (key, data) in [("k", "one"), ("ключ", ""), ("\"", "three")] {
        let put = client.put_record().stream_name("s").partition_key(key);
        put.data(Blob::new(data)).send().await.expect("a record");
    }
    let counters = Arc::new(RequestCounters::default());
    let shard = ShardId::from("shardId-000000000000");
    let mut read = Vec::new();
    for protocol in [WireProtocol::Json, WireProtocol::Cbor] {
        let kinesis = AwsKinesis::on(Arc::clone(&connection), stream(), retry()).with_protocol(protocol);
        let iterator = kinesis
            .shard_iterator(&shard, &Position::TrimHorizon, &counters)
            .await;
        let page = kinesis
            .get_records(&shard, &iterator.expect("an iterator"), 10, &counters)
            .await;
        let page = outcome(page).expect("a page");
        assert!(page.next.is_some());
        read.push((page.rows, page.millis_behind_latest));
        let wrong = ShardIterator("wrong".to_owned());
        let error = kinesis.get_records(&shard, &wrong, 10, &counters).await;
        assert!(
            error
                .expect_err("no iterator")
                .to_string()
                .contains("Invalid ShardIterator")
        );
    }
    assert_eq!(read[0].0.len(), 3);
    assert_eq!(read[1], read[0]);
}
