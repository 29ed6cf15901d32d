//! The writer against a scripted stream. Time is tokio's paused clock: it jumps to the next timer when all tasks
//! wait, so no test sleeps.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::fake::{Answer, FakeStream};
use super::{SinkRecord, StreamWriter, WriterSettings};
use crate::error::{Error, ErrorKind};
use crate::options::{RetryOptions, SinkOrdering};

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

#[tokio::test(start_paused = true)]
async fn a_flush_of_nothing_sends_nothing() {
    let stream = FakeStream::open([]);
    let writer = writer(&stream, settings());
    writer.flush().await.unwrap();
    writer.write(Vec::new()).await.unwrap();
    writer.flush().await.unwrap();
    assert!(stream.calls().is_empty());
    assert_eq!(writer.metrics().records, 0);
}

#[tokio::test(start_paused = true)]
async fn batches_of_500_go_out_by_themselves_and_the_rest_with_a_flush() {
    let stream = FakeStream::open([]);
    let writer = writer(&stream, settings());
    writer.write(records(0..1200)).await.unwrap();
    stream.called(2).await;
    assert_eq!(stream.call_sizes(), [500, 500]);
    writer.flush().await.unwrap();
    assert_eq!(stream.call_sizes(), [500, 500, 200]);
    assert_eq!(accepted_keys(&stream), keys(0..1200));
    let metrics = writer.metrics();
    assert_eq!((metrics.records, metrics.bytes, metrics.retries), (1200, 4800, 0));
}

#[tokio::test(start_paused = true)]
async fn an_entry_carries_key_data_and_hash_key() {
    let stream = FakeStream::open([]);
    let writer = writer(&stream, settings());
    let record = SinkRecord {
        partition_key: Some("schlüssel".into()),
        data: Bytes::new(),
        explicit_hash_key: Some("170141183460469231731687303715884105728".into()),
    };
    writer.write(vec![record.clone()]).await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(stream.accepted(), [record.into()]);
}

#[tokio::test(start_paused = true)]
async fn an_open_batch_goes_out_after_its_first_records_time() {
    let stream = FakeStream::open([]);
    let writer = writer(
        &stream,
        WriterSettings {
            max_buffered_time: Duration::from_secs(1),
            ..settings()
        },
    );
    let start = Instant::now();
    writer.write(records(0..1)).await.unwrap();
    tokio::time::advance(Duration::from_millis(700)).await;
    writer.write(records(1..3)).await.unwrap();
    stream.called(1).await;
    assert_eq!(start.elapsed().as_millis(), 1000);
    assert_eq!(stream.calls(), [keys(0..3)]);
    // The next batch has its own time.
    tokio::time::advance(Duration::from_millis(500)).await;
    writer.write(records(3..4)).await.unwrap();
    stream.called(2).await;
    assert_eq!(start.elapsed().as_millis(), 2500);
    assert_eq!(stream.calls()[1], keys(3..4));
}

#[tokio::test(start_paused = true)]
async fn without_buffered_time_every_write_goes_out() {
    let stream = FakeStream::open([]);
    let writer = writer(
        &stream,
        WriterSettings {
            max_buffered_time: Duration::ZERO,
            ..settings()
        },
    );
    for call in 0..20 {
        writer.write(records(call..call + 1)).await.unwrap();
        stream.called(call + 1).await;
    }
    assert_eq!(stream.call_sizes(), [1; 20]);
}

#[tokio::test(start_paused = true)]
async fn a_due_batch_waits_for_a_connection_and_grows_meanwhile() {
    let stream = FakeStream::gated([]);
    let settings = WriterSettings {
        max_connections: 1,
        max_buffered_time: Duration::from_secs(1),
        ..settings()
    };
    let writer = writer(&stream, settings);
    writer.write(records(0..500)).await.unwrap();
    writer.write(records(500..501)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    writer.write(records(501..502)).await.unwrap();
    assert_eq!(stream.call_sizes(), [500]);
    stream.let_through(1);
    stream.called(2).await;
    assert_eq!(stream.calls()[1], keys(500..502));
}

#[tokio::test(start_paused = true)]
async fn writes_wait_while_all_connections_are_busy() {
    let stream = FakeStream::gated([]);
    let writer = writer(&stream, settings());
    // Eight requests are under way, and one full batch waits.
    for batch in 0..9 {
        writer
            .write(records(batch * 500..batch * 500 + 500))
            .await
            .unwrap();
    }
    stream.called(8).await;
    let mut tenth = pin!(writer.write(records(4500..4501)));
    assert!(poll_once(tenth.as_mut()).is_pending());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(poll_once(tenth.as_mut()).is_pending());
    assert_eq!(stream.calls().len(), 8, "never more than eight at once");
    stream.let_through(1);
    tenth.await.unwrap();
    stream.called(9).await;
    stream.let_through(9);
    writer.flush().await.unwrap();
    assert_eq!(accepted_keys(&stream), keys(0..4501));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_write_that_is_dropped_took_nothing() {
    let stream = FakeStream::gated([]);
    let writer = writer(
        &stream,
        WriterSettings {
            max_connections: 1,
            ..settings()
        },
    );
    writer.write(records(0..1000)).await.unwrap();
    {
        let mut waiting = pin!(writer.write(records(5000..6500)));
        assert!(poll_once(waiting.as_mut()).is_pending());
    }
    stream.let_through(10);
    writer.flush().await.unwrap();
    assert_eq!(accepted_keys(&stream), keys(0..1000));
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_every_request() {
    let stream = FakeStream::gated([]);
    let writer = writer(
        &stream,
        WriterSettings {
            max_connections: 2,
            ..settings()
        },
    );
    writer.write(records(0..1001)).await.unwrap();
    let mut flush = pin!(writer.flush());
    for done in 0..3 {
        assert!(poll_once(flush.as_mut()).is_pending());
        stream.let_through(1);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(stream.accepted().len(), [500, 1000, 1001][done]);
    }
    flush.await.unwrap();
    assert_eq!(accepted_keys(&stream), keys(0..1001));
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_on_many_threads_lose_nothing() {
    let script = (0..30).map(|_| Answer::Throttle);
    let stream = FakeStream::open(script);
    let retry = RetryOptions {
        retries: 100,
        interval: Duration::from_millis(1),
        max_interval: Duration::from_millis(1),
    };
    let settings = WriterSettings {
        max_connections: 3,
        max_buffered_time: Duration::from_millis(1),
        retry,
        ..settings()
    };
    let writer = Arc::new(writer(&stream, settings));
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let writer = Arc::clone(&writer);
            tokio::spawn(async move {
                for call in 0..50 {
                    let first = (caller * 50 + call) * 37;
                    writer.write(records(first..first + 37)).await?;
                    if call % 10 == 9 {
                        writer.flush().await?;
                    }
                }
                Ok::<_, Error>(())
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(accepted_keys(&stream), keys(0..8 * 50 * 37));
    assert_eq!(writer.metrics().records, 8 * 50 * 37);
}
