//! The body of a PutRecords request.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion};
use kinesis_connector::options::StreamId;
use kinesis_connector::service::PutEntry;
use kinesis_connector::service::measured::{put_body, stock_put_body};

use crate::samples::{Sample, key};

/// As many entries as a request may have (AWS limit).
const SAMPLES: [Sample; 2] = [
    Sample {
        name: "500 × 1 KiB",
        count: 500,
        bytes: 1024,
    },
    Sample {
        name: "500 × 100 B",
        count: 500,
        bytes: 100,
    },
];

pub fn measure(criterion: &mut Criterion) {
    let stream = StreamId {
        name: "bench".to_owned(),
        arn: None,
    };
    let mut group = criterion.benchmark_group("PutRecords");
    for sample in SAMPLES {
        let entries = entries(&sample);
        group.throughput(sample.throughput());
        group.bench_function(BenchmarkId::new("JSON", sample.name), |bencher| {
            bencher.iter(|| put_body(black_box(&entries), &stream).expect("a body"));
        });
        group.bench_function(BenchmarkId::new("JSON by the SDK", sample.name), |bencher| {
            bencher.iter(|| stock_put_body(black_box(&entries), &stream).expect("a body"));
        });
    }
    group.finish();
}

fn entries(sample: &Sample) -> Vec<PutEntry> {
    let entry = |(row, data): (usize, Bytes)| PutEntry {
        partition_key: Some(key(row)),
        data,
        explicit_hash_key: None,
    };
    sample.payloads().into_iter().enumerate().map(entry).collect()
}
