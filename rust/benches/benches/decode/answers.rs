//! The answer to a GetRecords request: from its body into columns.

use std::convert::Infallible;
use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion};
use kinesis_connector::options::WireProtocol;
use kinesis_connector::service::measured::Answer;
use minicbor::Encoder;
use minicbor::data::Tag;
use minicbor::encode::Error;

use crate::samples::{Sample, arrival_millis, key, sequence_number};

const SAMPLE: Sample = Sample {
    name: "1,000 × 1 KiB",
    count: 1_000,
    bytes: 1024,
};

/// Length of a shard iterator, as of the service's.
const ITERATOR_BYTES: usize = 236;

/// CBOR tag of a time.
const TIME: Tag = Tag::new(1);

pub fn measure(criterion: &mut Criterion) {
    let payloads = SAMPLE.payloads();
    let json = Answer::new(WireProtocol::Json, json(&payloads));
    let cbor = cbor(&payloads).expect("an answer");
    let cbor = Answer::new(WireProtocol::Cbor, cbor);
    // Each decoder reads all records.
    for page in [json.page(), json.stock_page(), cbor.page()] {
        let records = page.expect("a page").records;
        assert_eq!((records.len(), records.data(1)), (SAMPLE.count, &payloads[1][..]));
    }
    let mut group = criterion.benchmark_group("GetRecords");
    group.throughput(SAMPLE.throughput());
    group.bench_function(BenchmarkId::new("JSON", SAMPLE.name), |bencher| {
        bencher.iter(|| black_box(&json).page().expect("a page"));
    });
    group.bench_function(BenchmarkId::new("JSON by the SDK", SAMPLE.name), |bencher| {
        bencher.iter(|| black_box(&json).stock_page().expect("a page"));
    });
    group.bench_function(BenchmarkId::new("CBOR", SAMPLE.name), |bencher| {
        bencher.iter(|| black_box(&cbor).page().expect("a page"));
    });
    group.finish();
}

/// A body in JSON, with the members that the service writes.
fn json(payloads: &[Bytes]) -> Vec<u8> {
    let record = |(row, payload): (usize, &Bytes)| {
        let (number, key, data) = (sequence_number(row), key(row), STANDARD.encode(payload));
        let arrival = arrival_millis(row);
        let time = format!("{}.{:03}", arrival / 1000, arrival % 1000);
        let first = format!(r#""SequenceNumber":"{number}","ApproximateArrivalTimestamp":{time}"#);
        format!(r#"{{{first},"Data":"{data}","PartitionKey":"{key}","EncryptionType":"NONE"}}"#)
    };
    let records: Vec<String> = payloads.iter().enumerate().map(record).collect();
    format!(
        r#"{{"Records":[{}],"NextShardIterator":"{}","MillisBehindLatest":0}}"#,
        records.join(","),
        "A".repeat(ITERATOR_BYTES),
    )
    .into_bytes()
}

/// The same body in CBOR.
fn cbor(payloads: &[Bytes]) -> Result<Vec<u8>, Error<Infallible>> {
    let mut body = Encoder::new(Vec::new());
    body.map(3)?.str("Records")?.array(payloads.len() as u64)?;
    for (row, payload) in payloads.iter().enumerate() {
        body.map(5)?;
        body.str("SequenceNumber")?.str(&sequence_number(row))?;
        body.str("ApproximateArrivalTimestamp")?
            .tag(TIME)?
            .i64(arrival_millis(row))?;
        body.str("Data")?.bytes(payload)?;
        body.str("PartitionKey")?.str(&key(row))?;
        body.str("EncryptionType")?.str("NONE")?;
    }
    body.str("NextShardIterator")?.str(&"A".repeat(ITERATOR_BYTES))?;
    body.str("MillisBehindLatest")?.i64(0)?;
    Ok(body.into_writer())
}
