//! Claims in a table of DynamoDB.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{DYNAMODB_LOCAL, MOTO, folder, new_bucket, table};
use crate::doubles::{Fate, Proxy, Seen, dynamodb, endpoint, unique};
use crate::store_suite::{CORRUPT, claim, conforms, keeps_two_thousand_shards, key, refuses_corrupt};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use kinesis_connector::ErrorKind;
use kinesis_connector::claims::{ClaimStore, PutResult};

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

/// Items of the AWS connector are in the same table as the claims.
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
