//! Claims in a bucket of S3.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{MOTO, folder, keys, new_bucket, put_object, table};
use crate::doubles::{Fate, Proxy, Seen, endpoint, options, s3, unique};
use crate::store_suite::{CORRUPT, claim, conforms, keeps_two_thousand_shards, key, refuses_corrupt};
use aws_sdk_s3::types::ServerSideEncryption;
use kinesis_connector::ErrorKind;
use kinesis_connector::claims::backends::s3::S3Store;
use kinesis_connector::claims::{ClaimStore, PutResult};
use kinesis_connector::options::S3Location;

#[tokio::test(flavor = "multi_thread")]
async fn s3_conforms() {
    let (moto, bucket) = (endpoint(MOTO), unique("conforms"));
    new_bucket(&moto, &bucket).await;
    for path in [
        "",
        "/plain",
        "/with space/ünïcode + %20 % & <x>/日本",
        "/..dots./a=b;c,d'e!(f)*$@:?#",
    ] {
        conforms(folder(&moto, &format!("s3a://{bucket}{path}"))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_conforms_with_what_a_bucket_s_policy_demands() {
    let (moto, bucket) = (endpoint(MOTO), unique("demands"));
    new_bucket(&moto, &bucket).await;
    let path = format!("s3://{bucket}/claims");
    let location = S3Location::parse(&path).expect("a path").expect("of S3");
    let options = options(&[
        ("kinesis.metadataPath", path.as_str()),
        ("kinesis.s3.endpointUrl", &moto),
        ("kinesis.s3.serverSideEncryption", "aws:kms"),
        ("kinesis.s3.kmsKeyId", "alias/claims"),
        ("kinesis.s3.acl", "bucket-owner-full-control"),
    ]);
    let store = Arc::new(S3Store::new(&options, &location));
    store
        .put_if_absent(&key("kept", 1, 0), &claim(1))
        .await
        .expect("put");
    let kept = keys(&moto, &bucket).await;
    let head = s3(&moto).head_object().bucket(&bucket).key(&kept[0]);
    let head = head.send().await.expect("there");
    assert_eq!(head.server_side_encryption(), Some(&ServerSideEncryption::AwsKms));
    assert!(
        head.ssekms_key_id()
            .is_some_and(|id| id.ends_with("alias/claims")),
        "{head:?}"
    );
    conforms(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_conforms_in_a_bucket_with_dots() {
    let (moto, bucket) = (endpoint(MOTO), unique("with.dots"));
    new_bucket(&moto, &bucket).await;
    conforms(folder(&moto, &format!("s3n://{bucket}/claims"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_keeps_two_thousand_shards() {
    let (moto, bucket) = (endpoint(MOTO), unique("wide"));
    new_bucket(&moto, &bucket).await;
    keeps_two_thousand_shards(folder(&moto, &format!("s3://{bucket}/claims"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_conforms_where_every_third_request_fails() {
    let (moto, bucket) = (endpoint(MOTO), unique("unreliable"));
    new_bucket(&moto, &bucket).await;
    let trouble = |number: usize, _: &Seen| match number % 6 {
        2 => Fate::Refused(503, "SlowDown"),
        5 => Fate::Refused(409, "ConditionalRequestConflict"),
        _ => Fate::Forwarded,
    };
    let proxy = Proxy::before(&moto, trouble).await;
    conforms(folder(&proxy.endpoint, &format!("s3://{bucket}/claims"))).await;
}

#[tokio::test]
async fn a_put_to_s3_whose_answer_is_lost_finds_its_own_claim() {
    let (moto, bucket) = (endpoint(MOTO), unique("lost"));
    new_bucket(&moto, &bucket).await;
    let lost = AtomicBool::new(false);
    let proxy = Proxy::before(&moto, move |_, seen| {
        if seen.method == "PUT" && !lost.swap(true, Ordering::Relaxed) {
            Fate::AnswerLost(500, "InternalError")
        } else {
            Fate::Forwarded
        }
    })
    .await;
    let store = folder(&proxy.endpoint, &format!("s3://{bucket}/claims"));
    let put = store
        .put_if_absent(&key("s", 1, 0), &claim(1))
        .await
        .expect("put");
    assert_eq!(put, PutResult::Exists(claim(1)));
}

#[tokio::test]
async fn a_claim_in_s3_is_one_request_and_old_ones_are_deleted_in_bulk() {
    let (moto, bucket) = (endpoint(MOTO), unique("requests"));
    new_bucket(&moto, &bucket).await;
    let proxy = Proxy::before(&moto, |_, _| Fate::Forwarded).await;
    let store = folder(&proxy.endpoint, &format!("s3://{bucket}/claims"));
    // The first request looks up the bucket.
    assert_eq!(store.get(&key("s", 1, 0)).await.expect("read"), None);
    let before = proxy.seen().len();
    for batch in 1..=3 {
        for shard in 0..10 {
            store
                .put_if_absent(&key("s", batch, shard), &claim(shard))
                .await
                .expect("put");
        }
    }
    store.purge("s", 3).await.expect("purged");
    let methods: Vec<_> = proxy.seen()[before..]
        .iter()
        .map(|seen| seen.method.to_string())
        .collect();
    assert_eq!(methods[..30], ["PUT"; 30]);
    assert_eq!(methods[30..], ["GET", "POST"], "a listing, a DeleteObjects");
    assert_eq!(store.load("s", 3).await.expect("loaded").len(), 10);
}

#[tokio::test]
async fn a_store_that_overwrites_is_refused_and_nothing_is_left_in_it() {
    let (moto, bucket) = (endpoint(MOTO), unique("overwrites"));
    new_bucket(&moto, &bucket).await;
    let proxy = Proxy::before(&moto, |_, _| Fate::Without("if-none-match")).await;
    let path = format!("s3://{bucket}/claims");
    let error = folder(&proxy.endpoint, &path)
        .prepare()
        .await
        .expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(
        error.message().contains("does not keep conditional puts"),
        "{error}"
    );
    assert!(error.message().contains(&path), "{error}");
    assert_eq!(keys(&moto, &bucket).await, Vec::<String>::new());
    folder(&moto, &path).prepare().await.expect("as it should be");
    assert_eq!(keys(&moto, &bucket).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_bucket_in_another_region_is_found() {
    let (moto, bucket) = (endpoint(MOTO), unique("elsewhere"));
    new_bucket(&moto, &bucket).await;
    let proxy = Proxy::before(&moto, |_, seen| match seen.method.as_str() {
        "HEAD" => Fate::WithHeader(301, "x-amz-bucket-region", "ap-south-1"),
        _ => Fate::Forwarded,
    })
    .await;
    let store = folder(&proxy.endpoint, &format!("s3://{bucket}/claims"));
    store
        .put_if_absent(&key("s", 1, 0), &claim(1))
        .await
        .expect("put");
    let regions: Vec<_> = proxy
        .seen()
        .iter()
        .map(|seen| {
            let signature = seen.headers["authorization"].to_str().expect("text");
            let scope = signature.split("Credential=").nth(1).expect("a scope");
            (
                seen.method.to_string(),
                scope.split('/').nth(2).expect("a region").to_owned(),
            )
        })
        .collect();
    let expected = [("HEAD", "eu-west-1"), ("PUT", "ap-south-1")];
    assert_eq!(
        regions,
        expected.map(|(method, region)| (method.to_owned(), region.to_owned()))
    );
}

#[tokio::test]
async fn a_missing_bucket_and_a_missing_right_say_what_to_do() {
    let (moto, bucket) = (endpoint(MOTO), unique("missing"));
    let store = folder(&moto, &format!("s3://{bucket}/claims"));
    for error in [
        store.prepare().await.expect_err("no bucket"),
        store.get(&key("s", 1, 0)).await.expect_err("no bucket"),
        store.load("s", 1).await.expect_err("no bucket"),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(!error.is_retryable());
        assert!(
            error.to_string().contains(&bucket) && error.message().contains("make it"),
            "{error}"
        );
    }

    let proxy = Proxy::before(&moto, |_, _| Fate::Refused(403, "AccessDenied")).await;
    let error = folder(&proxy.endpoint, &format!("s3://{bucket}/claims"))
        .prepare()
        .await;
    let error = error.expect_err("denied");
    assert_eq!(error.kind(), ErrorKind::Access, "{error}");
    assert!(
        error.message().contains("need s3:GetObject, PutObject"),
        "{error}"
    );
    let proxy = Proxy::before(&moto, |_, _| Fate::Refused(400, "AccessDeniedException")).await;
    let error = table(&proxy.endpoint, &unique("denied"))
        .prepare()
        .await
        .expect_err("denied");
    assert_eq!(error.kind(), ErrorKind::Access, "{error}");
    assert!(error.message().contains("need dynamodb:DescribeTable"), "{error}");
}

#[tokio::test]
async fn a_corrupt_object_is_an_error_that_names_it_and_the_way_on() {
    let (moto, bucket) = (endpoint(MOTO), unique("corrupt"));
    new_bucket(&moto, &bucket).await;
    let store = folder(&moto, &format!("s3://{bucket}/a b"));
    let object = "a b/s/00000000000000000001/shardId-000000000000";
    for content in CORRUPT {
        put_object(&moto, &bucket, object, content).await;
        refuses_corrupt(&*store, &key("s", 1, 0), &format!("s3://{bucket}/{object}")).await;
    }
}

#[tokio::test]
async fn objects_that_are_no_claims_are_left_alone() {
    let (moto, bucket) = (endpoint(MOTO), unique("strangers"));
    new_bucket(&moto, &bucket).await;
    let store = folder(&moto, &format!("s3://{bucket}/claims"));
    // Folder markers, as Hadoop and consoles create them, and unrelated notes.
    let strangers = [
        "claims/s/",
        "claims/s/00000000000000000002/",
        "claims/s/notes.txt",
        "claims/s2",
    ];
    for stranger in strangers {
        put_object(&moto, &bucket, stranger, "").await;
    }
    for batch in 1..=2 {
        store
            .put_if_absent(&key("s", batch, 0), &claim(1))
            .await
            .expect("put");
    }
    assert_eq!(store.load("s", 2).await.expect("loaded").len(), 1);
    store.purge("s", 2).await.expect("purged");
    let left = keys(&moto, &bucket).await;
    assert!(
        strangers
            .iter()
            .all(|stranger| left.iter().any(|key| key == stranger)),
        "{left:?}"
    );
    assert_eq!(left.len(), strangers.len() + 1, "{left:?}");
}
