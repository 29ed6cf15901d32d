//! KPL aggregates: decoding and encoding. Each user record has its own key.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion};
use kinesis_aggregation::{Decoded, UserRecord, decode, encode};

use crate::samples::{Sample, key};

const SAMPLES: [Sample; 2] = [
    Sample {
        name: "100 × 1 KiB",
        count: 100,
        bytes: 1024,
    },
    Sample {
        name: "1,000 × 100 B",
        count: 1_000,
        bytes: 100,
    },
];

pub fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("KPL aggregate");
    for sample in SAMPLES {
        let users = users(&sample);
        let aggregate = aggregate(&sample);
        let decoded = decode(&aggregate).expect("an aggregate");
        assert!(matches!(decoded, Decoded::Aggregate(found) if found.len() == sample.count));
        group.throughput(sample.throughput());
        group.bench_function(BenchmarkId::new("decode", sample.name), |bencher| {
            bencher.iter(|| decode(black_box(&aggregate)).expect("an aggregate"));
        });
        group.bench_function(BenchmarkId::new("encode", sample.name), |bencher| {
            bencher.iter(|| encode(black_box(&users)));
        });
    }
    group.finish();
}

/// The sample's records as one aggregate.
pub fn aggregate(sample: &Sample) -> Bytes {
    encode(&users(sample))
}

fn users(sample: &Sample) -> Vec<UserRecord> {
    let user = |(row, data): (usize, Bytes)| UserRecord {
        partition_key: key(row).into(),
        explicit_hash_key: None,
        data,
        sub_sequence: 0,
    };
    sample.payloads().into_iter().enumerate().map(user).collect()
}
