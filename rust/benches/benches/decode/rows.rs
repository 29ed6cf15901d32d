//! The records of an answer: from columns into the rows of a batch, as Arrow arrays.

use std::collections::BTreeMap;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion};
use kinesis_connector::options::{self, SourceOptions};
use kinesis_connector::read::{ReadTask, rows_of};
use kinesis_connector::service::RecordColumns;
use kinesis_connector::stream::Position;

use crate::aggregates::aggregate;
use crate::samples::{Sample, arrival_millis, key, sequence_number};

/// Records that aren't aggregates: the columns become arrays without a copy.
const PLAIN: Sample = Sample {
    name: "1,000 × 1 KiB",
    count: 1_000,
    bytes: 1024,
};

/// One of the aggregates in an answer.
const AGGREGATE: Sample = Sample {
    name: "10 × 100 × 1 KiB",
    count: 100,
    bytes: 1024,
};

/// Number of aggregates in an answer.
const AGGREGATES: usize = 10;

pub fn measure(criterion: &mut Criterion) {
    let aggregates = vec![aggregate(&AGGREGATE); AGGREGATES];
    let all = Sample {
        count: AGGREGATES * AGGREGATE.count,
        ..AGGREGATE
    };
    let options = source_options();
    let task = ReadTask::new("bench", 0, "shardId-000000000000".into(), Position::TrimHorizon);
    let rows = |records: RecordColumns| rows_of(records, &options, &task).expect("rows");
    let mut group = criterion.benchmark_group("rows");
    let answers = [
        ("plain records", PLAIN, columns(&PLAIN.payloads())),
        ("aggregates", all, columns(&aggregates)),
    ];
    for (what, sample, records) in answers {
        let taken: usize = rows(records.clone()).iter().map(|batch| batch.rows()).sum();
        assert_eq!(taken, sample.count);
        group.throughput(sample.throughput());
        group.bench_function(BenchmarkId::new(what, sample.name), |bencher| {
            // Neither the copy of the columns nor the release of the rows is measured.
            bencher.iter_batched(|| records.clone(), &rows, BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn columns(payloads: &[Bytes]) -> RecordColumns {
    let mut columns = RecordColumns::with_capacity(payloads.len(), payloads.iter().map(Bytes::len).sum());
    for (row, payload) in payloads.iter().enumerate() {
        columns
            .push(payload, &key(row), &sequence_number(row), arrival_millis(row))
            .expect("columns below 2 GiB");
    }
    columns
}

/// The default options.
fn source_options() -> SourceOptions {
    let given = [("kinesis.streamName", "bench"), ("kinesis.region", "us-east-1")];
    let given: BTreeMap<String, String> = given
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    options::source(&given).expect("good options").options
}
