//! Concurrent attempts of one process at the same batch.

use tokio::join;

use super::*;

/// A query whose attempts stop after every answer until their rows are taken.
fn stepwise() -> Query {
    let mut query = Query::new(100);
    query.options.max_fetch_records_per_shard = 1_000;
    query.options.prefetch_max_bytes_per_shard = 1;
    query
}

/// The next rows of an attempt.
async fn some(reader: &ShardReader) -> Vec<u64> {
    let batch = reader.next().await.expect("rows").expect("some");
    let numbers = batch.sequence_number.iter().flatten();
    numbers.map(|number| number.parse().expect("ours")).collect()
}

#[tokio::test(start_paused = true)]
async fn the_second_has_what_the_first_decides() {
    let mut query = stepwise();
    let first = query.reader();
    let mut begun = some(&first).await;
    query.options.max_fetch_records_per_shard = 5;
    let second = query.reader();
    let rest = async { rows(&first).await.expect("rows") };
    let (rest, (second, _)) = join!(rest, read(&second));
    begun.extend(rest);
    assert_eq!(begun, second);
    assert!(begun.len() >= 10, "{begun:?}");
    first.finish(true).await.expect("finished").expect("a report");
}

#[tokio::test(start_paused = true)]
async fn one_thread_may_take_the_second_s_rows_first() {
    let mut query = stepwise();
    let first = query.reader();
    let begun = some(&first).await;
    // The first attempt waits for this thread.
    tokio::time::sleep(A_WHILE).await;
    let second = query.reader();
    let (all, ended) = read(&second).await;
    assert_eq!(all[..begun.len()], begun);
    assert!(all.len() < 100, "the first one would not wait for more room");
    let rest = rows(&first).await.expect("rows");
    assert_eq!([begun, rest].concat(), all);
    let report = first.finish(true).await.expect("finished").expect("a report");
    assert_eq!(ShardReport::from_json(&report).expect("a report").end, ended.end);
    query.task.batch += 1;
    query.task.start = ended.end;
    query.options.prefetch_max_bytes_per_shard = 1_000_000;
    query.expect(100 + all.len() as u64..200).await;
    assert_eq!(query.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_second_that_comes_when_the_first_has_all_it_wants_waits_for_its_claim_only() {
    let mut query = stepwise();
    query.options.prefetch_max_bytes_per_shard = 1_000_000;
    let first = query.reader();
    let second = query.reader();
    assert_eq!(rows(&second).await.expect("rows"), (100..200).collect::<Vec<_>>());
    assert_eq!(rows(&first).await.expect("rows"), (100..200).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn where_the_first_fails_the_second_decides() {
    let mut query = stepwise();
    let first = query.reader();
    some(&first).await;
    query.options.max_fetch_records_per_shard = 5;
    let second = query.reader();
    let killed = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        first.finish(false).await
    };
    let (killed, (second, _)) = join!(killed, read(&second));
    assert_eq!(killed.expect("finished"), None);
    assert!(second.len() == 5 || second.len() >= 10, "{second:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_needs_no_row_waits_for_nobody() {
    let query = stepwise();
    let first = query.reader();
    some(&first).await;
    query.shard.state().delay = A_WHILE;
    let second = query.reader();
    tokio::task::yield_now().await;
    let ended = tokio::time::timeout(Duration::from_secs(1), second.finish(true)).await;
    assert_eq!(ended.expect("at once").expect("finished"), None);
}

#[tokio::test(start_paused = true)]
async fn groups_of_shards_decide_together() {
    let query = stepwise();
    let plan = || TaskPlan::new(vec![task("s"), task("t"), task("u")]).expect("a plan");
    let reader = || {
        let (api, store) = (query.shard.clone(), query.store.clone());
        ShardReader::with_feeds(api, None, store, &query.options, plan(), &query.feeds)
    };
    let first = reader();
    let begun = some(&first).await;
    let second = reader();
    let all = rows(&second).await.expect("rows");
    let rest = rows(&first).await.expect("rows");
    assert_eq!([begun, rest].concat(), all);
    assert_eq!(
        first.finish(true).await.expect("finished").is_some(),
        second.finish(true).await.expect("finished").is_some()
    );
    assert_eq!(query.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_end_is_given_up_claims_nothing() {
    let query = stepwise();
    let slow = Arc::new(SlowStore::default());
    let reader = ShardReader::with_feeds(
        query.shard.clone(),
        None,
        slow.clone(),
        &query.options,
        query.task.clone(),
        &query.feeds,
    );
    some(&reader).await;
    let given_up = tokio::time::timeout(Duration::from_millis(500), reader.finish(true)).await;
    assert!(given_up.is_err(), "the store takes longer");
    drop(reader);
    tokio::time::sleep(A_WHILE).await;
    assert!(slow.kept.load("q", 1).await.expect("claims").is_empty());
}

/// A store whose operations take a second to begin.
#[derive(Debug, Default)]
struct SlowStore {
    kept: MemoryStore,
}

#[async_trait]
impl ClaimStore for SlowStore {
    async fn put_if_absent(&self, key: &ClaimKey, claim: &Claim) -> Result<PutResult> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.kept.put_if_absent(key, claim).await
    }

    async fn get(&self, key: &ClaimKey) -> Result<Option<Claim>> {
        self.kept.get(key).await
    }

    async fn load(&self, source: &str, batch: u64) -> Result<BTreeMap<ShardId, Claim>> {
        self.kept.load(source, batch).await
    }

    async fn has_from(&self, source: &str, batch: u64) -> Result<bool> {
        self.kept.has_from(source, batch).await
    }

    async fn purge(&self, source: &str, before: u64) -> Result<()> {
        self.kept.purge(source, before).await
    }
}
