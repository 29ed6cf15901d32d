//! Records that expire while they wait.

use super::*;

const DAY: i64 = 24 * 3_600 * 1_000;

#[tokio::test(start_paused = true)]
async fn what_was_fetched_may_expire() {
    let mut query = Query::new(100);
    query.expect(100..110).await;
    tokio::time::sleep(A_WHILE).await;
    query.shard.state().expired = 100;
    for from in (110..200).step_by(10) {
        assert!(!query.expect(from..from + 10).await.lost);
    }
}

/// A query so far behind that its unread records may be about to expire.
fn far_behind() -> Query {
    let query = Query::new(100);
    query.shard.state().arrival -= DAY;
    query
}

#[tokio::test(start_paused = true)]
async fn far_behind_the_fetch_looks_for_the_record_before() {
    let mut query = far_behind();
    query.expect(100..110).await;
    query.shard.asked();
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(query.shard.asked()[..3], ["at 109", "get 109", "get 119"]);
    assert!(!query.expect(110..120).await.lost);
}

#[tokio::test(start_paused = true)]
async fn far_behind_a_task_looks_for_the_record_before_what_follows_the_pages() {
    let mut query = far_behind();
    query.options.prefetch_max_bytes_per_shard = 14 * RECORD as u64;
    query.expect(100..110).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(query.shard.asked(), ["after 100", "get 100", "at 109", "get 109"]);
    query.options.max_fetch_records_per_shard = 15;
    assert!(!query.expect(110..125).await.lost);
    assert_eq!(query.shard.asked(), ["at 118", "get 118"]);
    tokio::time::sleep(A_WHILE).await;
    query.shard.state().expired = 60;
    let error = rows(&query.reader()).await.expect_err("many have expired");
    assert_eq!(error.kind(), ErrorKind::DataLoss);
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_the_fetch_finds_is_reported_by_the_next_task() {
    let mut query = far_behind();
    query.expect(100..110).await;
    query.shard.state().expired = 15;
    query.shard.asked();
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(query.shard.asked(), ["at 109", "get 109"]);
    assert_eq!(query.used(), 0);
    let error = rows(&query.reader()).await.expect_err("110 to 114 have expired");
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    query.options.fail_on_data_loss = false;
    assert!(query.expect(115..125).await.lost);
}

#[tokio::test(start_paused = true)]
async fn records_that_expire_behind_an_iterator_alone_are_missed() {
    let mut query = Query::new(100);
    query.options.prefetch_max_bytes_per_shard = 1;
    query.expect(100..110).await;
    query.shard.state().expired = 15;
    let error = rows(&query.reader()).await.expect_err("110 to 114 have expired");
    assert_eq!(error.kind(), ErrorKind::DataLoss);
}
