//! The contract of claim stores. Each test program runs it over its own stores.

// Each test program uses only a part of this module.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use kinesis_connector::claims::{Claim, ClaimKey, ClaimStore, PutResult};
use kinesis_connector::options::RetryOptions;
use kinesis_connector::stream::{Position, ShardId};
use kinesis_connector::{Error, ErrorKind};

pub const RETRY: RetryOptions = RetryOptions {
    // Enough retries even if one of many tasks gets all failures.
    retries: 20,
    interval: Duration::from_millis(1),
    max_interval: Duration::from_millis(2),
};

pub fn key(source: &str, batch: u64, shard: usize) -> ClaimKey {
    ClaimKey {
        source: source.into(),
        batch,
        shard: ShardId::from(format!("shardId-{shard:012}").as_str()),
    }
}

pub fn claim(number: usize) -> Claim {
    Claim::new(Position::After(number.to_string().parse().expect("a number")))
}

/// The contract that every store fulfils.
pub async fn conforms(store: Arc<dyn ClaimStore>) {
    store.prepare().await.expect("prepared");
    let contested = key("race", 1, 0);
    let attempts: Vec<_> = (1..=16)
        .map(|number| {
            let (store, key) = (store.clone(), contested.clone());
            tokio::spawn(async move { (number, store.put_if_absent(&key, &claim(number)).await) })
        })
        .collect();
    let mut winners = Vec::new();
    let mut seen = Vec::new();
    for attempt in attempts {
        match attempt.await.expect("ran") {
            (number, Ok(PutResult::Stored)) => winners.push(claim(number)),
            (_, Ok(PutResult::Exists(first))) => seen.push(first),
            (_, Err(error)) => panic!("{error}"),
        }
    }
    assert_eq!(winners.len(), 1, "one attempt wins");
    assert!(
        seen.iter().all(|first| *first == winners[0]),
        "the others see the winner's"
    );
    assert_eq!(
        store.get(&contested).await.expect("read"),
        Some(winners[0].clone())
    );

    assert_eq!(store.get(&key("s", 1, 0)).await.expect("read"), None);
    assert_eq!(store.load("s", 1).await.expect("read"), BTreeMap::new());
    for batch in 1..=5 {
        for shard in 0..3 {
            let put = store.put_if_absent(&key("s", batch, shard), &claim(shard)).await;
            assert_eq!(put.expect("put"), PutResult::Stored);
        }
    }
    store
        .put_if_absent(&key("other", 2, 7), &claim(7))
        .await
        .expect("put");
    let loaded = store.load("s", 2).await.expect("loaded");
    let expected = (0..3)
        .map(|shard| (key("s", 2, shard).shard, claim(shard)))
        .collect();
    assert_eq!(loaded, expected, "exactly the batch's own");

    let has_from = async |source, batch| store.has_from(source, batch).await.expect("asked");
    assert!(has_from("s", 1).await && has_from("s", 5).await && has_from("other", 2).await);
    assert!(!has_from("s", 6).await && !has_from("other", 3).await && !has_from("none", 0).await);

    store.purge("s", 4).await.expect("purged");
    assert!(has_from("s", 0).await, "of batches that were kept");
    for (batch, claims) in [(3, 0), (4, 3), (5, 3)] {
        assert_eq!(
            store.load("s", batch).await.expect("loaded").len(),
            claims,
            "batch {batch}"
        );
    }
    assert_eq!(
        store.load("other", 2).await.expect("loaded").len(),
        1,
        "another source's stay"
    );
}

/// A batch with more claims than fit into one page of any service's responses.
pub async fn keeps_two_thousand_shards(store: Arc<dyn ClaimStore>) {
    for (batch, shards) in [(1, 2_000), (2, 10)] {
        stream::iter((0..shards).map(|shard| (key("wide", batch, shard), claim(shard))))
            .map(|(key, claim)| {
                let store = store.clone();
                async move { store.put_if_absent(&key, &claim).await }
            })
            .buffer_unordered(32)
            .try_for_each(|put| async move {
                assert_eq!(put, PutResult::Stored);
                Ok(())
            })
            .await
            .expect("put");
    }
    let expected = |shards| -> BTreeMap<_, _> {
        (0..shards)
            .map(|shard| (key("wide", 1, shard).shard, claim(shard)))
            .collect()
    };
    assert_eq!(store.load("wide", 1).await.expect("loaded"), expected(2_000));

    store.purge("wide", 2).await.expect("purged");
    assert_eq!(store.load("wide", 1).await.expect("loaded"), BTreeMap::new());
    assert_eq!(store.load("wide", 2).await.expect("loaded"), expected(10));
}

/// Contents that are not a valid claim.
pub const CORRUPT: [&str; 3] = [
    "",
    "{\"version\":1,\"end\":\"AFT",
    "{\"version\":9,\"end\":\"SHARD_END\"}",
];

/// Every access to the corrupt claim `key` must fail with an error that names its `place` and the remedy.
pub async fn refuses_corrupt(store: &dyn ClaimStore, key: &ClaimKey, place: &str) {
    let named = |error: &Error| {
        assert_eq!(error.kind(), ErrorKind::CorruptCheckpoint, "{error}");
        assert!(error.to_string().contains(place), "{error}");
        assert!(error.message().contains("Remove this one entry"), "{error}");
    };
    named(&store.get(key).await.expect_err("corrupt"));
    named(&store.load(&key.source, key.batch).await.expect_err("corrupt"));
    named(&store.put_if_absent(key, &claim(1)).await.expect_err("corrupt"));
}
