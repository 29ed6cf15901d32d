//! What the stores may do with the permissions that docs/permissions.md grants.
use std::collections::{BTreeMap, BTreeSet};

use super::{MOTO, folder, new_bucket, table};
use crate::doubles::{Fate, Proxy, Seen, endpoint, unique};
use crate::store_suite::{claim, conforms, key};
use crate::support::policies::allowed_of;
use kinesis_connector::ErrorKind;
use kinesis_connector::claims::ClaimStore;

/// Forwards only the actions that docs/permissions.md allows for this store.
fn only(heading: &'static str) -> impl Fn(usize, &Seen) -> Fate {
    let (of_table, of_bucket) = match heading {
        "Claims in DynamoDB" => (allowed_of(heading, "dynamodb"), BTreeSet::new()),
        _ => (BTreeSet::new(), allowed_of(heading, "s3")),
    };
    move |_, seen| {
        let action = match (seen.method.as_str(), seen.target.rsplit('.').next()) {
            (_, Some(target)) if !target.is_empty() => target,
            ("PUT", _) => "PutObject",
            ("POST", _) if seen.path.contains("?delete") => "DeleteObject",
            ("GET", _) if seen.path.contains("list-type=2") => "ListBucket",
            ("GET", _) => "GetObject",
            ("HEAD", _) => "ListBucket",
            _ => "unknown",
        };
        match (
            of_table.contains(action),
            of_bucket.contains(action),
            seen.target.is_empty(),
        ) {
            (false, false, true) => Fate::Refused(403, "AccessDenied"),
            (false, false, false) => Fate::Refused(400, "AccessDeniedException"),
            _ => Fate::Forwarded,
        }
    }
}

#[tokio::test]
async fn stores_need_no_more_than_the_page_allows() {
    let (moto, bucket) = (endpoint(MOTO), unique("least"));
    new_bucket(&moto, &bucket).await;
    let before_table = Proxy::before(&moto, only("Claims in DynamoDB")).await;
    let before_bucket = Proxy::before(&moto, only("Claims in S3")).await;
    let table = table(&before_table.endpoint, &unique("least"));
    table.prepare().await.expect("made");
    conforms(table).await;
    let folder = folder(&before_bucket.endpoint, &format!("s3://{bucket}/claims"));
    folder.prepare().await.expect("prepared");
    conforms(folder).await;
    let deleted = before_table
        .seen()
        .iter()
        .any(|seen| seen.target.ends_with("DeleteItem"));
    assert!(!deleted, "nothing was refused");
}

/// A missing permission must not keep claims forever.
#[tokio::test]
async fn old_items_go_one_by_one_where_they_may_not_go_together() {
    let moto = endpoint(MOTO);
    let refuse = |_, seen: &Seen| match seen.target.ends_with("BatchWriteItem") {
        true => Fate::Refused(400, "AccessDeniedException"),
        false => Fate::Forwarded,
    };
    let proxy = Proxy::before(&moto, refuse).await;
    let store = table(&proxy.endpoint, &unique("single"));
    for shard in 0..60 {
        let put = store.put_if_absent(&key("s", 1, shard), &claim(shard)).await;
        put.expect("put");
    }
    store
        .put_if_absent(&key("s", 2, 0), &claim(0))
        .await
        .expect("put");
    store.purge("s", 2).await.expect("purged");
    assert_eq!(store.load("s", 1).await.expect("loaded"), BTreeMap::new());
    assert_eq!(store.load("s", 2).await.expect("loaded").len(), 1);
    let seen = proxy.seen();
    let tries = |operation| {
        seen.iter()
            .filter(|seen| seen.target.ends_with(operation))
            .count()
    };
    // A few concurrent requests were sent before the first response came.
    assert!((1..=3).contains(&tries("BatchWriteItem")));
    assert_eq!(tries(".DeleteItem"), 60);

    let denied =
        |_, seen: &Seen| match seen.target.contains("WriteItem") || seen.target.contains("DeleteItem") {
            true => Fate::Refused(400, "AccessDeniedException"),
            false => Fate::Forwarded,
        };
    let proxy = Proxy::before(&moto, denied).await;
    let store = table(&proxy.endpoint, &unique("none"));
    store
        .put_if_absent(&key("s", 1, 0), &claim(0))
        .await
        .expect("put");
    let error = store.purge("s", 2).await.expect_err("denied");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Access, false));
    assert!(
        error.message().contains("BatchWriteItem (or DeleteItem)"),
        "{error}"
    );
}
