//! The writer against a scripted stream. Time is tokio's paused clock: it jumps to the next timer when all tasks
//! wait, so no test sleeps.

mod batches;
mod failures;
mod retries;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::fake::FakeStream;
use super::{SinkRecord, StreamWriter, WriterSettings};
use crate::options::{RetryOptions, SinkOrdering};
use bytes::Bytes;

/// Buffered time that ends only with a full batch or a flush.
const NEVER: Duration = Duration::MAX;

const PATIENCE: Duration = Duration::from_secs(600);

fn settings() -> WriterSettings {
    WriterSettings {
        stream: "orders".into(),
        max_connections: 8,
        max_buffered_time: NEVER,
        max_record_bytes: 1024 * 1024,
        aggregation: false,
        ordering: SinkOrdering::None,
        auto_distribution: false,
        max_retry_time: PATIENCE,
        retry: RetryOptions {
            retries: 3,
            interval: Duration::from_secs(1),
            max_interval: Duration::from_secs(10),
        },
    }
}

fn writer(stream: &Arc<FakeStream>, settings: WriterSettings) -> StreamWriter {
    let stream: Arc<FakeStream> = Arc::clone(stream);
    StreamWriter::new(stream, settings).unwrap()
}

pub(super) fn records(keys: std::ops::Range<usize>) -> Vec<SinkRecord> {
    keys.map(|key| SinkRecord {
        partition_key: Some(key.to_string()),
        data: Bytes::from_static(b"four"),
        explicit_hash_key: None,
    })
    .collect()
}

fn keys(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|key| key.to_string()).collect()
}

fn accepted_keys(stream: &FakeStream) -> Vec<String> {
    let mut keys: Vec<_> = stream
        .accepted()
        .into_iter()
        .filter_map(|entry| entry.partition_key)
        .collect();
    keys.sort_by_key(|key| key.parse::<usize>().unwrap());
    keys
}

/// Polls the future once, without any task running in between.
fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
