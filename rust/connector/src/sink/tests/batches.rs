//! When requests go out, and what they hold.
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::super::fake::{Answer, FakeStream};
use super::super::{SinkRecord, WriterSettings};
use super::{accepted_keys, keys, poll_once, records, settings, writer};
use crate::error::Error;
use crate::options::RetryOptions;
use bytes::Bytes;
use tokio::time::Instant;

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
