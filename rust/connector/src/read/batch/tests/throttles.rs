//! Requests throttled because others use up the rate, and iterators that are too old.

use tokio::time::Instant;

use super::*;

fn query(records: u64, turns: &[bool]) -> Query {
    let mut query = Query::new(records);
    query.options.max_fetch_records_per_shard = 1_000;
    query.shard.state().turns.extend(turns);
    query
}

#[tokio::test(start_paused = true)]
async fn a_reader_waits_for_its_turn() {
    let started = Instant::now();
    let report = query(30, &[false; 100]).expect(100..130).await;
    assert_eq!((report.throttles, report.retries), (100, 100));
    let tries = started.elapsed().as_secs();
    assert!((20..=100).contains(&tries), "a second at most each, {tries} s");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_got_somewhere_ends_there() {
    let mut query = query(30, &[true, false]);
    let first = query.expect(100..110).await;
    assert_eq!((first.backlog, first.throttles), (Backlog::Remaining, 1));
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(
        query.shard.asked(),
        ["after 100", "get 100", "get 110", "get 110", "get 120"],
        "the iterator is of use still"
    );
    assert_eq!(query.expect(110..130).await.prefetch_hits, 1);
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_ends_nothing_before_a_record_was_read() {
    let mut query = query(30, &[false; 30]);
    let limit = Duration::from_secs(5);
    query.options.max_fetch_time_per_shard = Some(limit);
    let started = Instant::now();
    let first = query.expect(100..110).await;
    assert!(started.elapsed() > limit);
    assert_eq!(first.backlog, Backlog::Remaining);
}

#[tokio::test(start_paused = true)]
async fn a_batch_with_an_end_goes_on_to_it() {
    let mut query = query(30, &[]);
    let claimed = query.task.clone();
    query.expect(100..130).await;
    query.task = claimed;
    query
        .shard
        .state()
        .turns
        .extend([true, false, true, false, false]);
    query.expect(100..130).await;
    query.task.until = Some(i64::MAX);
    query
        .shard
        .state()
        .turns
        .extend([true, false, true, false, false]);
    query.task.start = Position::TrimHorizon;
    query.expect(100..130).await;
}

#[tokio::test(start_paused = true)]
async fn iterators_have_their_turn_too() {
    let mut query = query(30, &[]);
    query.shard.state().iterator_turns.extend([false; 10]);
    assert_eq!(query.expect(100..130).await.throttles, 10);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_learns_nothing_for_minutes_gives_up() {
    let query = query(30, &[false; 10_000]);
    let started = Instant::now();
    let error = rows(&query.reader()).await.expect_err("never its turn");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Throttled, true));
    assert!(error.to_string().contains("shard=s"), "{error}");
    let minutes = started.elapsed().as_secs() / 60;
    assert_eq!(minutes, 10);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_early_does_not_wait_for_its_turn() {
    let query = query(30, &[false; 1_000]);
    let reader = query.reader();
    tokio::time::sleep(A_WHILE).await;
    let started = Instant::now();
    assert_eq!(reader.finish(true).await.expect("finished"), None);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_is_fetched_ahead_waits_for_its_turn() {
    let mut query = query(40, &[]);
    query.options.max_fetch_records_per_shard = 10;
    query
        .shard
        .state()
        .turns
        .extend([true, false, false, false, true, false]);
    query.expect(100..110).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(query.used(), 30 * RECORD);
    let second = query.expect(110..120).await;
    assert_eq!(
        (second.prefetch_hits, second.throttles, second.retries),
        (1, 4, 4)
    );
    query.shard.state().turns.extend([false; 1_000]);
    query.shard.state().records += 100;
    query.expect(120..130).await;
    query.expect(130..140).await;
    query.shard.state().turns.clear();
    query.expect(140..150).await;
}

#[tokio::test(start_paused = true)]
async fn iterators_may_be_too_old_more_than_once() {
    let mut query = query(30, &[]);
    query.options.max_fetch_records_per_shard = 10;
    query.expect(100..110).await;
    query.feeds.close("q");
    query.shard.state().too_old = 10;
    query.expect(110..120).await;
    query.feeds.close("q");
    query.shard.state().too_old = 1_000;
    let error = rows(&query.reader()).await.expect_err("all are too old");
    assert_eq!(error.kind(), ErrorKind::ExpiredIterator);
}
