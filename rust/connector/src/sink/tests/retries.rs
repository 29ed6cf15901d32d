//! Entries and requests that are put again.
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::super::fake::{Answer, FakeStream};
use super::super::{StreamWriter, WriterSettings};
use super::{PATIENCE, accepted_keys, keys, records, settings, writer};
use crate::error::{Error, ErrorKind};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn only_failed_entries_are_put_again_in_their_order() {
    let stream = FakeStream::open([Answer::Outcomes("atfat"), Answer::Outcomes("taf")]);
    let writer = writer(&stream, settings());
    writer.write(records(0..5)).await.unwrap();
    let start = Instant::now();
    writer.flush().await.unwrap();
    assert_eq!(
        stream.calls(),
        [vec!["0", "1", "2", "3", "4"], vec!["1", "2", "4"], vec!["1", "4"]]
    );
    assert_eq!(accepted_keys(&stream), keys(0..5));
    let metrics = writer.metrics();
    assert_eq!((metrics.records, metrics.bytes), (5, 20));
    assert_eq!(metrics.retries, 5, "three entries, then two");
    assert_eq!(metrics.throttles, 3);
    // Every round had an accepted entry, so the wait didn't grow: each one is an interval, with jitter up to twice of
    // it.
    let waited = start.elapsed();
    assert!(
        waited >= Duration::from_secs(2) && waited <= Duration::from_secs(4),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn rounds_without_an_accepted_entry_are_waited_for_and_not_counted() {
    let stream = FakeStream::open((0..20).map(|_| Answer::Throttle));
    let writer = writer(&stream, settings());
    writer.write(records(0..2)).await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(accepted_keys(&stream), keys(0..2));
    assert_eq!(
        stream.calls().len(),
        21,
        "of three retries that the options allow"
    );
}

#[tokio::test(start_paused = true)]
async fn gives_up_when_the_stream_accepts_nothing_for_long() {
    let throttled = |rounds| (0..rounds).map(|_| Answer::Throttle);
    let stream = FakeStream::open(
        throttled(20)
            // This accepted record restores the whole patience.
            .chain([Answer::Outcomes("at")])
            .chain(throttled(1_000)),
    );
    let writer = writer(&stream, settings());
    writer.write(records(0..2)).await.unwrap();
    let start = Instant::now();
    let error = writer.flush().await.unwrap_err();
    let calls = stream.call_sizes();
    assert_eq!(calls[..22], [[2; 21].as_slice(), &[1]].concat());
    // 1, 2, 4 and 8 s, then 10 s, each with jitter, and then the whole patience.
    let waited = start.elapsed();
    assert!(
        waited >= PATIENCE + Duration::from_secs(175) && waited <= PATIENCE + Duration::from_secs(350),
        "{waited:?}"
    );
    assert_eq!(error.kind(), ErrorKind::PutFailed);
    assert!(error.is_retryable());
    for part in [
        "Stream orders: 1 of 2 records",
        "for 600 s (kinesis.sink.maxRetryTimeSec) the stream accepted no record",
        "ProvisionedThroughputExceededException: Rate exceeded for shard shardId-000000000000",
        "on-demand",
    ] {
        assert!(error.message().contains(part), "{part} in {error}");
    }
    assert!(error.context().contains(&("stream", "orders".to_owned())));
    assert_eq!(writer.metrics().records, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_takes_nothing_is_given_up_after_the_time_that_is_set() {
    let stream = FakeStream::open((0..400).map(|_| Answer::Throttle));
    let max_retry_time = Duration::from_secs(30);
    let impatient = WriterSettings {
        max_retry_time,
        ..settings()
    };
    let writer = writer(&stream, impatient);
    writer.write(records(0..1)).await.unwrap();
    let start = Instant::now();
    let error = writer.flush().await.unwrap_err();
    // Each request is tried several times.
    assert!(
        (max_retry_time..4 * max_retry_time).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
    assert!(
        error
            .message()
            .contains("for 30 s (kinesis.sink.maxRetryTimeSec)"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_gets_nothing_through_waits_as_long_as_another_of_the_process_does() {
    let progress = Arc::default();
    let open = |stream: &Arc<FakeStream>| {
        let stream: Arc<FakeStream> = Arc::clone(stream);
        StreamWriter::sharing(stream, settings(), Arc::clone(&progress)).unwrap()
    };
    let (starved, served) = (
        FakeStream::open((0..400).map(|_| Answer::Throttle)),
        FakeStream::open([]),
    );
    let (starving, other) = (open(&starved), open(&served));
    starving.write(records(0..1)).await.unwrap();
    let mut flush = pin!(starving.flush());
    let mut minutes = 0;
    let outcome = loop {
        tokio::select! {
            outcome = &mut flush => break outcome,
            () = tokio::time::sleep(Duration::from_secs(60)) => {
                minutes += 1;
                other.write(records(minutes..minutes + 1)).await.unwrap();
                other.flush().await.unwrap();
            }
        }
    };
    outcome.unwrap();
    assert!(minutes as u64 > 2 * PATIENCE.as_secs() / 60, "{minutes}");
    assert_eq!(accepted_keys(&starved), keys(0..1));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_whole_is_sent_again_where_that_is_likely_to_pass() {
    let throttled = || Answer::Fail(Error::new(ErrorKind::Throttled, "slow down").retryable(true));
    let lost = || Answer::Fail(Error::new(ErrorKind::Transport, "lost").retryable(true));
    // Throttling is temporary, and a network that worked not long ago comes back.
    let stream = FakeStream::open([throttled(), Answer::Outcomes("at"), lost(), lost()]);
    let writer = writer(&stream, settings());
    writer.write(records(0..2)).await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(stream.call_sizes(), [2, 2, 1, 1, 1]);
    let metrics = writer.metrics();
    assert_eq!((metrics.records, metrics.retries, metrics.throttles), (2, 4, 2));
    // A permanent error fails at once.
    let denied = Answer::Fail(Error::new(ErrorKind::Access, "not allowed"));
    let stream = FakeStream::open([Answer::Outcomes("at"), denied]);
    let writer = self::writer(&stream, settings());
    writer.write(records(0..2)).await.unwrap();
    assert_eq!(writer.flush().await.unwrap_err().kind(), ErrorKind::Access);
    assert_eq!(stream.call_sizes(), [2, 1]);
}
