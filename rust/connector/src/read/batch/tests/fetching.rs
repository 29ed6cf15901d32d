//! Fetching between two batches, and when it stops.

use super::*;

/// The latest request of the test.
fn last(asked: &[String]) -> Option<&str> {
    asked.last().map(String::as_str)
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_to_the_tip_and_stops_there() {
    let mut query = Query::new(60);
    query.expect(100..110).await;
    assert_eq!(query.shard.asked(), ["after 100", "get 100"]);
    tokio::time::sleep(A_WHILE).await;
    let gets: Vec<String> = (110..160)
        .step_by(10)
        .map(|number| format!("get {number}"))
        .collect();
    assert_eq!(query.shard.asked(), gets);
    query.shard.state().records += 10;
    tokio::time::sleep(A_WHILE / 2).await;
    assert_eq!(query.shard.asked(), [""; 0], "the tip is the driver's to look at");
    assert_eq!(query.used(), 50 * RECORD);
    let second = query.expect(110..120).await;
    assert_eq!((second.requests, second.prefetch_hits), (5, 1));
    assert_eq!(second.buffered_bytes, 40 * RECORD as u64);
}

#[tokio::test(start_paused = true)]
async fn it_keeps_to_the_pace() {
    let mut query = Query::new(1_000);
    query.expect(100..110).await;
    query.shard.asked();
    let interval = query.options.fetch_interval;
    tokio::time::sleep(interval * 10 + interval / 2).await;
    assert_eq!(query.shard.asked().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_task_waits_for_the_answer_under_way() {
    let mut query = Query::new(100);
    query.expect(100..110).await;
    query.shard.asked();
    query.shard.state().delay = A_WHILE / 2;
    tokio::time::sleep(query.options.fetch_interval * 2).await;
    let second = query.expect(110..120).await;
    assert_eq!(query.shard.asked(), ["get 110"]);
    assert_eq!((second.requests, second.prefetch_hits), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn it_stops_at_the_shard_s_bound() {
    let mut query = Query::new(100);
    query.options.prefetch_max_bytes_per_shard = 35 * RECORD as u64;
    query.options.records_per_fetch = 10;
    query.expect(100..110).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(last(&query.shard.asked()), Some("get 130"));
    assert_eq!(query.used(), 30 * RECORD);
    query.expect(110..120).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(query.shard.asked(), ["get 140"]);
    assert_eq!(query.used(), 30 * RECORD);
}

#[tokio::test(start_paused = true)]
async fn records_that_turn_out_larger_are_not_kept_above_the_bound() {
    let mut query = Query::new(100);
    query.shard.state().page = 2;
    query.options.prefetch_max_bytes_per_shard = 500;
    query.expect(100..110).await;
    tokio::time::sleep(A_WHILE).await;
    assert!(query.used() <= 500, "{}", query.used());
    query.expect(110..120).await;
}

#[tokio::test(start_paused = true)]
async fn it_stops_at_the_bound_of_the_process() {
    let mut query = Query::new(100);
    query.options.prefetch_max_bytes_per_executor = 45 * RECORD as u64;
    query.options.records_per_fetch = 10;
    query.expect(100..110).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(query.used(), 40 * RECORD);
    let first = std::mem::replace(&mut query.task, task("t"));
    query.expect(100..110).await;
    tokio::time::sleep(A_WHILE / 2).await;
    assert_eq!(query.used(), 40 * RECORD);
    query.task = first;
    query.expect(110..120).await;
    query.feeds.close("q");
    assert_eq!(query.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_left_to_the_next_task() {
    let mut query = Query::new(100);
    query.expect(100..110).await;
    query.shard.asked();
    query.shard.state().failing = true;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(query.shard.asked(), ["get 110"]);
    query.shard.state().failing = false;
    assert_eq!(query.expect(110..120).await.prefetch_hits, 0);
    assert_eq!(query.shard.asked()[..2], ["at 109", "get 109"]);
}

#[tokio::test(start_paused = true)]
async fn what_no_task_takes_over_is_dropped() {
    let mut query = Query::new(30);
    query.expect(100..110).await;
    tokio::time::sleep(A_WHILE).await;
    assert_ne!(query.used(), 0);
    tokio::time::sleep(A_WHILE * 2).await;
    assert_eq!(query.used(), 0);
    query.expect(110..120).await;
    query.feeds.close("another");
    tokio::time::sleep(A_WHILE / 2).await;
    assert_ne!(query.used(), 0);
    query.feeds.close("q");
    assert_eq!(query.used(), 0);
    query.shard.asked();
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(query.shard.asked(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn only_the_attempt_that_fixed_the_end_fetches() {
    let mut query = Query::new(100);
    let first_task = query.task.clone();
    query.expect(100..110).await;
    query.feeds.close("q");
    query.shard.asked();
    query.task = first_task;
    query.expect(100..110).await;
    assert_eq!(query.shard.asked(), ["after 100", "get 100"]);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(query.shard.asked(), [""; 0]);
}

/// Reads a backlog of 100 pages in 29 batches. Returns the numbers of GetRecords and GetShardIterator calls.
async fn cost_of_a_backlog(mut query: Query) -> (usize, usize) {
    query.options.max_fetch_records_per_shard = 35;
    let (mut from, mut requests) = (100, 0);
    while from < 1_100 {
        let to = (from + 35).min(1_100);
        requests += query.expect(from..to).await.requests;
        // Duration of a batch.
        tokio::time::sleep(Duration::from_millis(700)).await;
        from = to;
    }
    let asked = query.shard.asked();
    assert_eq!(requests, asked.len() as u64, "each is reported once");
    let gets = asked.iter().filter(|request| request.starts_with("get")).count();
    (gets, asked.len() - gets)
}

#[tokio::test(start_paused = true)]
async fn a_backlog_costs_one_request_a_page_and_one_iterator() {
    // The last answer is the one from the tip.
    assert_eq!(cost_of_a_backlog(Query::new(1_000)).await, (101, 1));
    let mut alone = Query::new(1_000);
    alone.options.prefetch_max_bytes_per_shard = 1;
    assert_eq!(cost_of_a_backlog(alone).await, (115, 29));
}
