//! The suite over the stores in DynamoDB and S3, against moto 5.2.5 and DynamoDBLocal 3.1.0.
//!
//! To run it by hand:
//!
//! ```text
//! pip install 'moto==5.2.5' flask flask-cors
//! python scripts/lib/moto_server.py -H 127.0.0.1 -p 4503 &
//! java -cp 'DynamoDBLocal 3.1.0 and what it needs' scripts/lib/DynamoDbLocal.java -inMemory -port 4504 &
//! MOTO_ENDPOINT=http://127.0.0.1:4503 DYNAMODB_LOCAL_ENDPOINT=http://127.0.0.1:4504 \
//!     cargo test -p kinesis-connector --features store-services --test services
//! ```
//!
//! The services must ensure that exactly one of several attempts wins. DynamoDBLocal does; moto's own server does not,
//! so the script makes it handle one request at a time. For S3 itself this rests on its documentation only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::doubles::{Fate, Proxy, Seen, dynamodb, dynamodb_options, endpoint, options, s3, unique};
use crate::store_suite::{CORRUPT, claim, conforms, keeps_two_thousand_shards, key, refuses_corrupt};
use crate::support::policies::allowed_of;
use crate::support::{World, assert_exact};
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration, ServerSideEncryption};
use kinesis_connector::claims::backends::dynamodb::DynamoDbStore;
use kinesis_connector::claims::backends::s3::S3Store;
use kinesis_connector::claims::{ClaimStore, PutResult};
use kinesis_connector::options::S3Location;
use kinesis_connector::sink::SinkRecord;
use kinesis_connector::{Engine, ErrorKind, SinkConfig};

const MOTO: &str = "MOTO_ENDPOINT";
const DYNAMODB_LOCAL: &str = "DYNAMODB_LOCAL_ENDPOINT";

fn table(endpoint: &str, name: &str) -> Arc<DynamoDbStore> {
    Arc::new(DynamoDbStore::new(&dynamodb_options(endpoint, name)).expect("a store"))
}

/// A store in this folder of a bucket.
fn folder(endpoint: &str, path: &str) -> Arc<S3Store> {
    let location = S3Location::parse(path).expect("a path").expect("of S3");
    let options = options(&[
        ("kinesis.metadataPath", path),
        ("kinesis.s3.endpointUrl", endpoint),
    ]);
    Arc::new(S3Store::new(&options, &location))
}

async fn new_bucket(endpoint: &str, name: &str) {
    let place = CreateBucketConfiguration::builder()
        .location_constraint(BucketLocationConstraint::EuWest1)
        .build();
    let create = s3(endpoint)
        .create_bucket()
        .bucket(name)
        .create_bucket_configuration(place);
    create.send().await.expect("a bucket");
}

async fn put_object(endpoint: &str, bucket: &str, key: &str, content: &str) {
    let put = s3(endpoint).put_object().bucket(bucket).key(key);
    put.body(content.as_bytes().to_vec().into())
        .send()
        .await
        .expect("put");
}

async fn keys(endpoint: &str, bucket: &str) -> Vec<String> {
    let listed = s3(endpoint)
        .list_objects_v2()
        .bucket(bucket)
        .send()
        .await
        .expect("listed");
    listed
        .contents()
        .iter()
        .filter_map(|object| object.key().map(str::to_owned))
        .collect()
}

/// Declares tests for both implementations of DynamoDB.
macro_rules! dynamodb_cases {
    ($($service:ident: $variable:expr;)+) => {$(
        mod $service {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn the_store_conforms() {
                conforms(table(&endpoint($variable), &unique("conforms"))).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn the_store_keeps_two_thousand_shards() {
                keeps_two_thousand_shards(table(&endpoint($variable), &unique("wide"))).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn the_store_conforms_where_every_third_request_fails() {
                unreliable_table(&endpoint($variable)).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_missing_table_is_made_by_whoever_comes_first() {
                missing_table(&endpoint($variable)).await;
            }

            #[tokio::test]
            async fn a_table_that_went_away_is_an_empty_one() {
                wiped_table(&endpoint($variable)).await;
            }

            #[tokio::test]
            async fn what_the_aws_connector_keeps_in_its_table_is_read() {
                foreign_items(&endpoint($variable)).await;
            }

            #[tokio::test]
            async fn a_table_with_other_keys_is_refused() {
                other_keys(&endpoint($variable)).await;
            }

            #[tokio::test]
            async fn a_corrupt_item_is_an_error_that_names_it_and_the_way_on() {
                corrupt_item(&endpoint($variable)).await;
            }
        }
    )+};
}

dynamodb_cases! {
    dynamodb_in_moto: MOTO;
    dynamodb_local: DYNAMODB_LOCAL;
}

/// Fails every third request as a throttled table does, and loses the response to every seventh.
fn dynamodb_trouble(number: usize, _: &Seen) -> Fate {
    match number {
        _ if number % 3 == 2 => Fate::Refused(400, "ProvisionedThroughputExceededException"),
        _ if number % 7 == 6 => Fate::AnswerLost(500, "InternalServerError"),
        _ => Fate::Forwarded,
    }
}

async fn unreliable_table(endpoint: &str) {
    let name = unique("unreliable");
    table(endpoint, &name).prepare().await.expect("a table");
    let refuse = |number, seen: &Seen| match dynamodb_trouble(number, seen) {
        // The suite asserts that each first put is the stored one, which a lost response would hide.
        Fate::AnswerLost(..) => Fate::Forwarded,
        fate => fate,
    };
    let proxy = Proxy::before(endpoint, refuse).await;
    conforms(table(&proxy.endpoint, &name)).await;

    let proxy = Proxy::before(endpoint, dynamodb_trouble).await;
    let store = table(&proxy.endpoint, &name);
    for shard in 0..50 {
        let (key, claim) = (key("lost", 1, shard), claim(shard));
        match store.put_if_absent(&key, &claim).await.expect("put") {
            PutResult::Stored => {}
            PutResult::Exists(first) => assert_eq!(first, claim, "its own"),
        }
    }
    assert_eq!(store.load("lost", 1).await.expect("loaded").len(), 50);
}

async fn missing_table(endpoint: &str) {
    let name = unique("missing");
    let stores: Vec<_> = (0..4).map(|_| table(endpoint, &name)).collect();
    assert_eq!(stores[0].get(&key("s", 1, 0)).await.expect("read"), None);
    assert_eq!(stores[0].load("s", 1).await.expect("read"), BTreeMap::new());
    stores[0].purge("s", 7).await.expect("nothing to do");

    let puts = stores.iter().enumerate().map(|(number, store)| {
        let store = store.clone();
        tokio::spawn(async move {
            if number % 2 == 0 {
                store.prepare().await.expect("prepared");
            }
            store
                .put_if_absent(&key("s", 1, 0), &claim(number))
                .await
                .expect("put")
        })
    });
    let mut stored = 0;
    for put in puts.collect::<Vec<_>>() {
        stored += usize::from(put.await.expect("ran") == PutResult::Stored);
    }
    assert_eq!(stored, 1, "one attempt wins");
    let made = dynamodb(endpoint)
        .describe_table()
        .table_name(&name)
        .send()
        .await
        .expect("made");
    let billing = made.table().and_then(|table| table.billing_mode_summary());
    assert_eq!(
        billing.and_then(|billing| billing.billing_mode()),
        Some(&BillingMode::PayPerRequest)
    );
}

async fn wiped_table(endpoint: &str) {
    let name = unique("wiped");
    let store = table(endpoint, &name);
    store
        .put_if_absent(&key("s", 1, 0), &claim(1))
        .await
        .expect("put");
    dynamodb(endpoint)
        .delete_table()
        .table_name(&name)
        .send()
        .await
        .expect("deleted");
    assert_eq!(store.load("s", 1).await.expect("read"), BTreeMap::new());
    let put = store
        .put_if_absent(&key("s", 1, 0), &claim(2))
        .await
        .expect("put");
    assert_eq!(put, PutResult::Stored);
}

/// Items of AWS's connector are in the same table as the claims.
async fn foreign_items(endpoint: &str) {
    let name = unique("foreign");
    let store = table(endpoint, &name);
    store.prepare().await.expect("a table");
    store
        .put_if_absent(&key("s", 1, 0), &claim(1))
        .await
        .expect("put");
    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/awslabs-checkpoints/GetRecords-dynamodb/dynamodb-table.json"
    );
    let fixture = std::fs::read(fixture).expect("the fixture");
    let fixture: serde_json::Value = serde_json::from_slice(&fixture).expect("json");
    let mut expected: BTreeMap<u64, BTreeMap<_, _>> = BTreeMap::new();
    for item in fixture["items"].as_array().expect("items") {
        let text = |name: &str| item[name]["S"].as_str().expect("text").to_owned();
        let (batch, shard, end) = (
            text("metadataKey"),
            text("metadataSortKey"),
            text("metadataValue"),
        );
        let put = dynamodb(endpoint)
            .put_item()
            .table_name(&name)
            .item("metadataKey", AttributeValue::S(batch.clone()))
            .item("metadataSortKey", AttributeValue::S(shard.clone()))
            .item("metadataValue", AttributeValue::S(end.clone()));
        put.send().await.expect("put");
        let ends = expected.entry(batch.parse().expect("a number")).or_default();
        ends.insert(shard.as_str().into(), end);
    }
    for batch in [0, 1, 2, 10] {
        let ends = store.foreign_ends(batch).await.expect("read");
        assert_eq!(ends, expected.remove(&batch).unwrap_or_default(), "batch {batch}");
    }
    assert_eq!(store.load("s", 1).await.expect("read").len(), 1);
    store.purge("s", 2).await.expect("purged");
    assert_eq!(
        store.foreign_ends(1).await.expect("read").len(),
        2,
        "a purge leaves them alone"
    );
}

async fn other_keys(endpoint: &str) {
    let name = unique("other");
    let attribute = AttributeDefinition::builder()
        .attribute_name("id")
        .attribute_type(ScalarAttributeType::N);
    let create = dynamodb(endpoint)
        .create_table()
        .table_name(&name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute.build().expect("an attribute"))
        .key_schema(
            KeySchemaElement::builder()
                .attribute_name("id")
                .key_type(KeyType::Hash)
                .build()
                .expect("a key"),
        );
    create.send().await.expect("a table");
    let store = table(endpoint, &name);
    let (key, claim) = (key("s", 1, 0), claim(1));
    for error in [
        store.prepare().await.expect_err("refused"),
        store.put_if_absent(&key, &claim).await.expect_err("refused"),
        store.get(&key).await.expect_err("refused"),
        store.load("s", 1).await.expect_err("refused"),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
        assert_eq!(
            error.message(),
            format!(
                "the DynamoDB table {name} has the keys id (HASH N), but claims need the keys metadataKey (HASH S), \
                 metadataSortKey (RANGE S). Name another table in kinesis.dynamodb.tableName: one that does not \
                 exist is made"
            )
        );
    }
}

async fn corrupt_item(endpoint: &str) {
    let name = unique("corrupt");
    let store = table(endpoint, &name);
    store.prepare().await.expect("a table");
    let key = key("s", 1, 0);
    let sort = "00000000000000000001/shardId-000000000000";
    let place = format!("DynamoDB table {name}, item metadataKey=\"s\" metadataSortKey=\"{sort}\"");
    // A missing value, one of another type, and texts that are no claims.
    let texts = CORRUPT
        .iter()
        .map(|text| Some(AttributeValue::S((*text).to_owned())));
    for value in [None, Some(AttributeValue::Bool(true))].into_iter().chain(texts) {
        let put = dynamodb(endpoint)
            .put_item()
            .table_name(&name)
            .item("metadataKey", AttributeValue::S("s".to_owned()))
            .item("metadataSortKey", AttributeValue::S(sort.to_owned()));
        let put = match value {
            Some(value) => put.item("metadataValue", value),
            None => put,
        };
        put.send().await.expect("written");
        refuses_corrupt(&*store, &key, &place).await;
    }
}

#[tokio::test]
async fn a_batch_of_dynamodb_is_one_query_and_a_put_is_one_request() {
    let moto = endpoint(MOTO);
    let proxy = Proxy::before(&moto, |_, _| Fate::Forwarded).await;
    let name = unique("requests");
    table(&moto, &name).prepare().await.expect("a table");
    let store = table(&proxy.endpoint, &name);
    for shard in 0..100 {
        store
            .put_if_absent(&key("s", 1, shard), &claim(shard))
            .await
            .expect("put");
    }
    store
        .put_if_absent(&key("s", 1, 0), &claim(9))
        .await
        .expect("put");
    store.load("s", 1).await.expect("loaded");
    store.purge("s", 2).await.expect("purged");
    let mut counts = BTreeMap::new();
    for seen in proxy.seen() {
        let operation = seen.target.rsplit('.').next().unwrap_or_default().to_owned();
        *counts.entry(operation).or_insert(0) += 1;
    }
    let expected = [("BatchWriteItem", 4), ("PutItem", 101), ("Query", 2)];
    assert_eq!(
        counts,
        expected
            .map(|(operation, count)| (operation.to_owned(), count))
            .into()
    );
}

#[tokio::test]
async fn deletes_that_a_service_leaves_are_made_again() {
    let (moto, bucket) = (endpoint(MOTO), unique("left"));
    new_bucket(&moto, &bucket).await;
    let first = |operation: &'static str, fate: Fate| {
        let done = AtomicBool::new(false);
        move |_, seen: &Seen| match () {
            () if !seen.target.ends_with(operation) && !seen.path.contains(operation) => Fate::Forwarded,
            () if done.swap(true, Ordering::Relaxed) => Fate::Forwarded,
            () => fate.clone(),
        }
    };
    let left = "<DeleteResult><Error><Key>k</Key><Code>InternalError</Code><Message>later</Message></Error></DeleteResult>";
    let table_proxy = Proxy::before(&moto, first("BatchWriteItem", Fate::Unprocessed)).await;
    let bucket_proxy = Proxy::before(&moto, first("?delete", Fate::Answered(left))).await;
    let stores: [Arc<dyn ClaimStore>; 2] = [
        table(&table_proxy.endpoint, &unique("left")),
        folder(&bucket_proxy.endpoint, &format!("s3://{bucket}/claims")),
    ];
    for store in stores {
        for shard in 0..3 {
            store
                .put_if_absent(&key("s", 1, shard), &claim(shard))
                .await
                .expect("put");
        }
        store.purge("s", 2).await.expect("purged");
        assert_eq!(
            store.load("s", 1).await.expect("loaded"),
            BTreeMap::new(),
            "{store:?}"
        );
    }
    let tries = |proxy: &Proxy, operation: &str| {
        let seen = proxy.seen();
        seen.iter()
            .filter(|seen| seen.target.ends_with(operation) || seen.path.contains(operation))
            .count()
    };
    assert_eq!(tries(&table_proxy, "BatchWriteItem"), 2);
    assert_eq!(tries(&bucket_proxy, "?delete"), 2);
}

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

/// The stream's role does not apply to the store: nothing listens where the role would be requested.
#[tokio::test]
async fn a_store_is_called_as_the_job_itself() {
    let (moto, name) = (endpoint(MOTO), unique("job"));
    new_bucket(&moto, &name).await;
    let role = [
        ("kinesis.stsRoleArn", "arn:aws:iam::111122223333:role/reader"),
        ("kinesis.stsEndpointUrl", "http://127.0.0.1:1"),
    ];
    let in_table = [
        ("kinesis.metadataCommitterType", "DYNAMODB"),
        ("kinesis.dynamodb.tableName", &name),
        ("kinesis.dynamodb.endpointUrl", &moto),
    ];
    let table = DynamoDbStore::new(&options(&[&role[..], &in_table].concat())).expect("a store");
    table.prepare().await.expect("prepared");
    let location = S3Location::parse(&format!("s3://{name}/x"))
        .expect("a path")
        .expect("of S3");
    let in_bucket = [("kinesis.s3.endpointUrl", moto.as_str())];
    let bucket = S3Store::new(&options(&[&role[..], &in_bucket].concat()), &location);
    bucket.prepare().await.expect("prepared");
}

/// Runs batches through planner and readers: one again after a restart, the following ones, and all with another
/// store.
async fn carries_a_query(store: &[(&str, &str)], other: &[(&str, &str)]) {
    let limit = |most| [("kinesis.maxFetchRecordsPerShard", most)];
    let options = [store, &limit("30")].concat();
    let world = World::with_shards(2).await;
    world.put("r", 0..200).await;
    let mut query = world.query(&options).await;
    let mut rows = query.batch().await.expect("a batch").expect("news");
    let offset = query.offset.clone();
    drop(query);

    let lower = [store, &limit("7")].concat();
    let again = world.query(&lower).await.run(offset.clone()).await;
    assert_eq!(
        again.expect("runs again"),
        rows,
        "the same rows, under another limit"
    );

    let mut restarted = world.query(&options).await.from(&offset);
    rows.extend(restarted.rows(200 - rows.len()).await);
    assert_exact(&rows, "r", 0..200);

    let elsewhere = [other, &limit("30")].concat();
    let rows = world.query(&elsewhere).await.from(&offset).rows(200).await;
    assert_exact(&rows, "r", 0..200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_goes_on_from_either_store() {
    let (moto, name) = (endpoint(MOTO), unique("query"));
    new_bucket(&moto, &name).await;
    let path = format!("s3a://{name}/claims of all");
    let table = [
        ("kinesis.metadataCommitterType", "DYNAMODB"),
        ("kinesis.dynamodb.tableName", name.as_str()),
        ("kinesis.dynamodb.endpointUrl", moto.as_str()),
    ];
    let folder = [
        ("kinesis.metadataPath", path.as_str()),
        ("kinesis.s3.endpointUrl", moto.as_str()),
    ];
    // Two queries whose claims share one table and one folder.
    tokio::join!(carries_a_query(&table, &folder), carries_a_query(&folder, &table));
    assert!(
        keys(&moto, &name)
            .await
            .iter()
            .all(|key| key.starts_with("claims of all/"))
    );
}

/// moto separates streams by account: that of the keys, or of the assumed role.
#[tokio::test]
async fn a_stream_of_another_account_is_read_and_written_by_its_role() {
    const OWNERS_ROLE: &str = "arn:aws:iam::222222222222:role/reader";
    let (moto, stream) = (endpoint(MOTO), unique("owned"));
    let sts = aws_sdk_sts::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AKIDJOB", "secret", None, None, "test"))
        .endpoint_url(&moto);
    let assumed = aws_sdk_sts::Client::from_conf(sts.build())
        .assume_role()
        .role_arn(OWNERS_ROLE)
        .role_session_name("owner");
    let assumed = assumed.send().await.expect("a session");
    let session = assumed.credentials().expect("of the role");
    let token = Some(session.session_token().to_owned());
    let keys = Credentials::new(
        session.access_key_id(),
        session.secret_access_key(),
        token,
        None,
        "test",
    );
    let owner = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(keys)
        .endpoint_url(&moto);
    let owner = aws_sdk_kinesis::Client::from_conf(owner.build());
    let create = owner.create_stream().stream_name(&stream).shard_count(1);
    create.send().await.expect("a stream");

    let mut world = World::with_shards(1).await;
    world.endpoint.clone_from(&moto);
    let by_job = [
        ("kinesis.streamName", stream.as_str()),
        ("kinesis.clientNumRetries", "0"),
    ];
    let error = world.try_query(&by_job).await.err().expect("refused");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");

    let role = [
        ("kinesis.stsRoleArn", OWNERS_ROLE),
        ("kinesis.stsEndpointUrl", moto.as_str()),
        ("kinesis.stsExternalId", "between-us"),
    ];
    let by_role = [&by_job[..], &role].concat();
    let mut options: BTreeMap<_, _> = by_role.iter().copied().collect();
    options.extend([
        ("kinesis.region", "us-east-1"),
        ("kinesis.endpointUrl", &moto),
        ("kinesis.awsAccessKeyId", "AKIDJOB"),
        ("kinesis.awsSecretKey", "secret"),
    ]);
    let config = serde_json::json!({"version": 1, "options": options}).to_string();
    let config = SinkConfig::parse(&config).expect("options");
    let writer = Engine::new().open_writer(config).expect("a writer");
    let records = (0..10).map(|row| SinkRecord {
        partition_key: Some("k".into()),
        data: format!("r{row}").into(),
        explicit_hash_key: None,
    });
    writer.write(records.collect()).await.expect("taken");
    writer.flush().await.expect("written");
    let mut query = world.query(&by_role).await;
    assert_exact(&query.rows(10).await, "r", 0..10);
}

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
