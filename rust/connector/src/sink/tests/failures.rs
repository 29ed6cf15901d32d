//! Failures of a writer, and what it does after them.
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::super::fake::{Answer, FakeStream};
use super::super::{StreamWriter, WriterSettings};
use super::{accepted_keys, keys, poll_once, records, settings, writer};
use crate::error::{Error, ErrorKind};
use crate::options::RetryOptions;
use bytes::Bytes;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_no_throttling_is_not_cured_by_shards() {
    let stream = FakeStream::open([Answer::Outcomes("f")]);
    let retry = RetryOptions {
        retries: 0,
        ..settings().retry
    };
    let writer = writer(&stream, WriterSettings { retry, ..settings() });
    writer.write(records(0..1)).await.unwrap();
    let error = writer.flush().await.unwrap_err();
    assert!(
        error
            .message()
            .contains("no retries; the last answer was InternalFailure: try later"),
        "{error}"
    );
    assert!(!error.message().contains("on-demand"), "{error}");
    assert_eq!(stream.call_sizes(), [1], "no retry was asked for");
    assert_eq!(writer.metrics().throttles, 0);
}

#[tokio::test(start_paused = true)]
async fn answers_that_do_not_align_are_an_error() {
    for outcomes in ["aa", "aaaa", ""] {
        let stream = FakeStream::open([Answer::Outcomes(outcomes)]);
        let writer = writer(&stream, settings());
        writer.write(records(0..3)).await.unwrap();
        let error = writer.flush().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PutFailed);
        assert!(error.is_retryable());
        let expected = format!("{} outcomes for 3 records", outcomes.len());
        assert!(error.message().contains(&expected), "{error}");
        assert_eq!(stream.calls().len(), 1);
        assert_eq!(writer.metrics().records, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_answers_all_later_calls() {
    let denied = Error::new(ErrorKind::Access, "not allowed").with("requestId", "r1");
    let stream = FakeStream::open([Answer::Fail(denied)]);
    let writer = writer(&stream, settings());
    writer.write(records(0..600)).await.unwrap();
    let first = writer.flush().await.unwrap_err();
    assert_eq!(first.kind(), ErrorKind::Access);
    assert!(!first.is_retryable());
    assert_eq!(
        first.to_string(),
        "not allowed [requestId=r1, recordsNotAccepted=500]"
    );
    let calls = stream.calls().len();
    assert_eq!(
        writer.write(records(0..1)).await.unwrap_err().to_string(),
        first.to_string()
    );
    assert_eq!(writer.flush().await.unwrap_err().to_string(), first.to_string());
    assert_eq!(stream.calls().len(), calls, "nothing more is sent");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waits_learns_of_the_failure() {
    let stream = FakeStream::gated([Answer::Fail(Error::new(ErrorKind::NotFound, "no such stream"))]);
    let writer = writer(
        &stream,
        WriterSettings {
            max_connections: 1,
            ..settings()
        },
    );
    writer.write(records(0..1000)).await.unwrap();
    let mut waiting = pin!(writer.write(records(1000..1001)));
    assert!(poll_once(waiting.as_mut()).is_pending());
    stream.let_through(1);
    assert_eq!(waiting.await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(stream.call_sizes(), [500], "the batch that waited is not sent");
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_a_flush_lets_the_others_end_without_retries() {
    let lost = Error::new(ErrorKind::Transport, "lost").retryable(true);
    let stream = FakeStream::gated([Answer::Fail(lost), Answer::Throttle]);
    let writer = writer(&stream, settings());
    writer.write(records(0..1500)).await.unwrap();
    stream.called(3).await;
    stream.let_through(2);
    let mut flush = pin!(writer.flush());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(
        poll_once(flush.as_mut()).is_pending(),
        "the third request is still under way"
    );
    stream.let_through(1);
    let start = Instant::now();
    assert_eq!(flush.await.unwrap_err().kind(), ErrorKind::Transport);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(
        stream.call_sizes(),
        [500, 500, 500],
        "the throttled one is not put again"
    );
    assert_eq!(writer.metrics().records, 500);
}

#[tokio::test(start_paused = true)]
async fn an_oversize_record_keeps_its_whole_call_back_and_nothing_else() {
    let stream = FakeStream::open([Answer::Outcomes("at")]);
    let writer = writer(
        &stream,
        WriterSettings {
            max_record_bytes: 100,
            ..settings()
        },
    );
    writer.write(records(0..2)).await.unwrap();
    let mut bad = records(10..13);
    bad[1].data = Bytes::from(vec![b'x'; 99]);
    let error = writer.write(bad).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRow);
    assert!(!error.is_retryable());
    assert!(
        error
            .message()
            .contains("101 bytes (99 of data, 2 of partitionKey), the limit is 100"),
        "{error}"
    );
    // Records taken before are sent, retries included.
    writer.flush().await.unwrap();
    assert_eq!(accepted_keys(&stream), keys(0..2));
    assert_eq!(stream.call_sizes(), [2, 1]);
    // No record is taken after the refused one.
    assert_eq!(
        writer.write(records(20..21)).await.unwrap_err().to_string(),
        error.to_string()
    );
    writer.flush().await.unwrap();
    assert_eq!(stream.call_sizes(), [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_flush_after_a_refused_record_fails_when_those_before_it_fail() {
    let stream = FakeStream::open([Answer::Fail(Error::new(ErrorKind::Access, "not allowed"))]);
    let writer = writer(&stream, settings());
    writer.write(records(0..2)).await.unwrap();
    let mut bad = records(2..3);
    bad[0].partition_key = Some(String::new());
    assert_eq!(writer.write(bad).await.unwrap_err().kind(), ErrorKind::InvalidRow);
    assert_eq!(writer.flush().await.unwrap_err().kind(), ErrorKind::Access);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_panics_fails_the_writer() {
    let stream = FakeStream::open([Answer::Panic]);
    let writer = writer(&stream, settings());
    writer.write(records(0..1)).await.unwrap();
    let error = writer.flush().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.message().contains("without an answer"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_writer_ends_its_tasks() {
    let stream = FakeStream::gated([]);
    let writer = writer(&stream, settings());
    writer.write(records(0..501)).await.unwrap();
    stream.called(1).await;
    assert!(Arc::strong_count(&stream) > 1);
    drop(writer);
    // The tasks end at their next turn and drop their references to the stream.
    while Arc::strong_count(&stream) > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(stream.call_sizes(), [500]);
    assert!(stream.accepted().is_empty());
}

#[test]
fn a_writer_outside_of_a_runtime_is_an_error() {
    let error = StreamWriter::new(FakeStream::open([]), settings()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
}
