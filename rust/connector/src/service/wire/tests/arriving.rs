//! Bodies that arrive slowly, break off, or stall.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use http_body::Body;
use tokio::time::{Instant, Sleep};

use super::*;
use crate::error::ErrorKind;

/// Time between two pieces of a body.
const APART: Duration = Duration::from_millis(500);

/// What follows the pieces of a body.
#[derive(Clone, Copy, Debug)]
enum Then {
    End,
    Break,
    Stall,
}

/// A body whose pieces arrive one by one.
#[derive(Debug)]
struct Arriving {
    pieces: VecDeque<Bytes>,
    then: Then,
    ended: bool,
    next: Pin<Box<Sleep>>,
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        std::task::ready!(self.next.as_mut().poll(context));
        self.next = Box::pin(tokio::time::sleep(APART));
        match (self.pieces.pop_front(), self.then) {
            (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            (None, Then::End) => {
                self.ended = true;
                Poll::Ready(None)
            }
            (None, Then::Break) => Poll::Ready(Some(Err("connection reset".into()))),
            // Nobody is woken.
            (None, Then::Stall) => Poll::Pending,
        }
    }
}

/// Answers each request with the next body.
#[derive(Clone, Debug)]
struct Bodies(Arc<Mutex<VecDeque<Answer>>>);

type Answer = (Vec<u8>, Then);

impl HttpConnector for Bodies {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let (body, then) = self.0.lock().expect("no panic").pop_front().expect("a body");
        let body = SdkBody::from_body_1_x(Arriving {
            pieces: body.chunks(20).map(Bytes::copy_from_slice).collect(),
            then,
            ended: false,
            next: Box::pin(tokio::time::sleep(APART)),
        });
        let mut response = HttpResponse::new(200_u16.try_into().expect("a status"), body);
        response.headers_mut().insert("content-type", JSON);
        HttpConnectorFuture::ready(Ok(response))
    }
}

/// Tokio's clock, which the tests pause.
#[derive(Debug)]
struct Clock(Instant);

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + self.0.elapsed()
    }
}

/// The first page by a client whose attempts have this time, and the page after it.
async fn read(
    bodies: impl IntoIterator<Item = (Vec<u8>, Then)>,
    attempt: Duration,
    attempts: u32,
) -> [Result<Page>; 2] {
    let connector = SharedHttpConnector::new(Bodies(Arc::new(Mutex::new(bodies.into_iter().collect()))));
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(attempt);
    let retries = RetryConfig::standard().with_max_attempts(attempts);
    let config = client_config()
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .time_source(Clock(Instant::now()))
        .timeout_config(timeouts.build())
        .retry_config(retries)
        .protocol(ColumnsProtocol::new());
    let kinesis = AwsKinesis::on(Arc::new(Connection::of(config.build())), stream(), retry());
    let page = async || {
        kinesis
            .get_page(&"s".into(), &ShardIterator("i".to_owned()), 10_000)
            .await
    };
    [page().await, page().await]
}

/// An answer with records of these sequence numbers.
fn answer(numbers: std::ops::Range<usize>) -> Vec<u8> {
    let records =
        numbers.map(|number| format!(r#"{{"Data":"aGk=","PartitionKey":"k","SequenceNumber":"{number}"}}"#));
    let records = records.collect::<Vec<_>>().join(",");
    format!(r#"{{"MillisBehindLatest":0,"NextShardIterator":"AA","Records":[{records}]}}"#).into_bytes()
}

fn numbers(page: &Result<Page>) -> Vec<String> {
    let records = &page.as_ref().expect("a page").records;
    let numbers = (0..records.len()).map(|row| records.sequence_number(row).to_owned());
    numbers.collect()
}

/// The SDK fails a body of which nothing arrives for seconds; the splitter, which passes nothing on until the end,
/// must not look like one.
#[tokio::test(start_paused = true)]
async fn a_body_that_arrives_slowly_is_read_to_its_end() {
    let bodies = [(answer(0..60), Then::End), (answer(60..61), Then::End)];
    let [first, second] = read(bodies, Duration::from_secs(3_600), 1).await;
    assert_eq!(numbers(&first).len(), 60);
    assert_eq!(numbers(&second), ["60"]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_is_given_up() {
    for (attempt, within) in [(10_000, 300), (200, 201)] {
        let start = Instant::now();
        let bodies = [
            (answer(0..9)[..300].to_vec(), Then::Stall),
            (answer(9..10), Then::End),
        ];
        let [first, second] = read(bodies, Duration::from_secs(attempt), 1).await;
        let error = first.expect_err("stalled");
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Transport, true));
        assert!(
            start.elapsed() < Duration::from_secs(within),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(numbers(&second), ["9"]);
    }
}

/// Records that were decoded before are not those of the next attempt or the next page.
#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_leaves_nothing() {
    let broken = || (answer(0..9)[..500].to_vec(), Then::Break);
    let time = Duration::from_secs(3_600);
    let [first, second] = read([broken(), (answer(4..6), Then::End)], time, 1).await;
    let error = first.expect_err("broken off");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Transport, true));
    assert_eq!(numbers(&second), ["4", "5"]);
    let whole = [(answer(0..2), Then::End), (answer(2..3), Then::End)];
    let [first, second] = read([broken()].into_iter().chain(whole), time, 2).await;
    assert_eq!(
        (numbers(&first), numbers(&second)),
        (vec!["0".to_owned(), "1".to_owned()], vec!["2".to_owned()])
    );
}
