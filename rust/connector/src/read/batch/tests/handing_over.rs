//! What a task takes over from the previous batch.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_page_is_handed_over_without_a_request() {
    let mut query = Query::new(10);
    query.options.max_fetch_bytes_per_shard = Some(400);
    let first = query.expect(100..104).await;
    assert_eq!(query.shard.asked(), ["after 100", "get 100"]);
    assert_eq!(first.backlog, Backlog::Remaining);
    assert_eq!(
        (first.prefetch_hits, first.buffered_bytes),
        (0, 6 * RECORD as u64)
    );
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(query.shard.asked(), [""; 0], "the answer came from the tip");
    let second = query.expect(104..108).await;
    assert_eq!(query.shard.asked(), [""; 0]);
    assert_eq!((second.requests, second.prefetch_hits), (0, 1));
    assert_eq!(second.buffered_bytes, 2 * RECORD as u64);
    let third = query.expect(108..110).await;
    assert_eq!(query.shard.asked(), ["get 110"]);
    assert_eq!(
        (third.backlog, third.requests, third.buffered_bytes),
        (Backlog::Empty, 1, 0)
    );
    assert_eq!(query.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn of_a_rest_above_the_bound_as_much_as_fits_is_kept() {
    let mut query = Query::new(10);
    query.options.max_fetch_bytes_per_shard = Some(400);
    query.options.prefetch_max_bytes_per_shard = 6 * RECORD as u64 - 1;
    let first = query.expect(100..104).await;
    assert_eq!(
        (first.backlog, first.buffered_bytes),
        (Backlog::Remaining, 5 * RECORD as u64)
    );
    query.shard.asked();
    let second = query.expect(104..108).await;
    assert_eq!(
        (second.backlog, second.buffered_bytes),
        (Backlog::Remaining, RECORD as u64)
    );
    assert_eq!(query.shard.asked(), [""; 0]);
    let third = query.expect(108..110).await;
    assert_eq!(third.backlog, Backlog::Empty);
    assert_eq!(query.shard.asked(), ["after 109", "get 109"]);
    assert_eq!(query.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_shard_that_follows_a_dropped_rest_is_not_missed_nor_early() {
    let mut query = Query::new(10);
    query.shard.state().closed = true;
    query.options.max_fetch_bytes_per_shard = Some(400);
    query.options.prefetch_max_bytes_per_shard = 4 * RECORD as u64;
    query.expect(100..104).await;
    assert_eq!(query.expect(104..108).await.end.to_string(), "AFTER 107");
    let last = query.expect(108..110).await;
    assert_eq!((last.end, last.backlog), (Position::ShardEnd, Backlog::Empty));
}

/// Reads a backlog in batches of four records; returns how many records the shard served in total.
async fn given_for_a_backlog(prefetch_bytes: u64) -> u64 {
    let mut query = Query::new(2_000);
    query.shard.state().page = 500;
    query.options.max_fetch_records_per_shard = 10_000;
    query.options.max_fetch_bytes_per_shard = Some(400);
    query.options.prefetch_max_bytes_per_shard = prefetch_bytes;
    for from in (100..2_100).step_by(4) {
        query.expect(from..from + 4).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    query.shard.state().given
}

#[tokio::test(start_paused = true)]
async fn small_batches_do_not_fetch_the_same_answers_again() {
    // The records' size is known after the first answer.
    let given = given_for_a_backlog(100 * RECORD as u64).await;
    assert!(given <= 2_600, "{given} records for 2,000");
    let given = given_for_a_backlog(1_000_000).await;
    assert_eq!(given, 2_000);
    // Each batch requests the record before its start again.
    let given = given_for_a_backlog(1).await;
    assert!(given <= 500 + 2_000 / 4 * 5, "{given} records for 2,000");
}

#[tokio::test(start_paused = true)]
async fn a_rest_without_room_in_the_process_takes_what_follows_with_it() {
    let mut query = Query::new(40);
    query.expect(100..110).await;
    tokio::time::sleep(A_WHILE).await;
    query.options.max_fetch_bytes_per_shard = Some(400);
    let _others = query
        .feeds
        .pool()
        .grow(query.options.prefetch_max_bytes_per_executor as usize);
    query.expect(110..114).await;
    query.expect(114..118).await;
}

#[tokio::test(start_paused = true)]
async fn pages_that_were_fetched_before_are_no_proof_of_the_tip() {
    let mut query = Query::new(30);
    query.expect(100..110).await;
    tokio::time::sleep(A_WHILE).await;
    query.shard.state().records += 5;
    query.options.max_fetch_records_per_shard = 20;
    let limited = query.expect(110..130).await;
    assert_eq!(limited.backlog, Backlog::Unknown, "the driver has to ask");
    query.shard.asked();
    query.shard.state().records += 20;
    query.options.max_fetch_records_per_shard = 1_000;
    let last = query.expect(130..155).await;
    assert_eq!(last.backlog, Backlog::Empty);
}

#[tokio::test(start_paused = true)]
async fn the_tip_is_asked_for_once_more_behind_the_pages() {
    let mut query = Query::new(30);
    query.expect(100..110).await;
    tokio::time::sleep(A_WHILE).await;
    query.shard.asked();
    query.shard.state().records += 5;
    query.options.max_fetch_records_per_shard = 1_000;
    let second = query.expect(110..135).await;
    assert_eq!(query.shard.asked(), ["get 130"]);
    assert_eq!(second.backlog, Backlog::Empty);
}

#[tokio::test(start_paused = true)]
async fn a_start_elsewhere_drops_what_was_fetched() {
    let mut query = Query::new(100);
    query.expect(100..110).await;
    tokio::time::sleep(A_WHILE).await;
    assert_ne!(query.used(), 0);
    query.shard.asked();
    query.task.start = Position::After("104".parse().expect("a number"));
    let reader = query.reader();
    assert_eq!(rows(&reader).await.expect("rows"), (105..115).collect::<Vec<_>>());
    assert_eq!(query.shard.asked()[..2], ["at 104", "get 104"]);
    let report = reader.finish(true).await.expect("finished").expect("a report");
    let report = ShardReport::from_json(&report).expect("a report");
    assert_eq!((report.prefetch_hits, report.requests), (0, 3 + 9));
}

#[tokio::test(start_paused = true)]
async fn a_second_action_leaves_it_for_the_batch_after() {
    let mut query = Query::new(40);
    let first_task = query.task.clone();
    query.expect(100..110).await;
    tokio::time::sleep(A_WHILE).await;
    let (used, next_task) = (query.used(), std::mem::replace(&mut query.task, first_task));
    query.shard.asked();
    let (again, _) = read(&query.reader()).await;
    assert_eq!(again, (100..110).collect::<Vec<_>>());
    assert_eq!(query.shard.asked(), ["after 100", "get 100"]);
    assert_eq!(query.used(), used);
    tokio::time::sleep(A_WHILE / 2).await;
    query.task = next_task;
    assert_eq!(query.expect(110..120).await.prefetch_hits, 1);
    assert_eq!(query.shard.asked(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_killed_task_leaves_nothing_and_its_retry_is_exact() {
    let mut query = Query::new(100);
    query.expect(100..110).await;
    tokio::time::sleep(A_WHILE).await;
    query.shard.asked();
    query.options.max_fetch_records_per_shard = 30;
    let bound = std::mem::replace(&mut query.options.prefetch_max_bytes_per_shard, 1);
    let killed = query.reader();
    assert!(killed.next().await.expect("rows").is_some());
    assert_eq!(killed.finish(false).await.expect("finished"), None);
    drop(killed);
    query.options.prefetch_max_bytes_per_shard = bound;
    tokio::time::sleep(A_WHILE / 2).await;
    assert_eq!(query.used(), 0);
    assert_eq!(query.expect(110..140).await.prefetch_hits, 0);
    assert_eq!(query.shard.asked()[..2], ["at 109", "get 109"]);
}

#[tokio::test(start_paused = true)]
async fn an_early_end_leaves_what_was_not_read() {
    let mut query = Query::new(40);
    query.expect(100..110).await;
    tokio::time::sleep(A_WHILE).await;
    query.shard.asked();
    let unread = query.reader();
    assert_eq!(unread.finish(true).await.expect("finished"), None);
    assert_eq!(query.expect(110..120).await.prefetch_hits, 1);
    assert_eq!(query.shard.asked(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_shard_s_end_is_handed_over() {
    let mut query = Query::new(25);
    query.shard.state().closed = true;
    query.expect(100..110).await;
    tokio::time::sleep(A_WHILE).await;
    query.shard.asked();
    assert_eq!(query.expect(110..120).await.end.to_string(), "AFTER 119");
    assert_eq!(query.expect(120..125).await.end, Position::ShardEnd);
    assert_eq!(query.shard.asked(), [""; 0]);
    assert_eq!(query.used(), 0);
}
