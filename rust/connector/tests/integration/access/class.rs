//! Credentials of a class that the options name.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{BY_CHAIN, claim, empty_store, role, store_options, ten_records};
use crate::support::stub::{Stub, in_own_process};
use crate::support::{Query, World, assert_exact};
use async_trait::async_trait;
use kinesis_connector::claims::ClaimStore;
use kinesis_connector::claims::backends::dynamodb::DynamoDbStore;
use kinesis_connector::options::{GivenCredentials, GivesCredentials, Secret, StaticKeys};
use kinesis_connector::{Error, ErrorKind};
use serde_json::json;

/// A credentials class controlled by the test: `give` returns the access key id for each load.
struct Class<F> {
    loads: AtomicUsize,
    give: F,
}

impl<F> Class<F> {
    fn of(give: F) -> Arc<Self> {
        let loads = AtomicUsize::new(0);
        Arc::new(Self { loads, give })
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::Relaxed)
    }
}

impl<F> std::fmt::Debug for Class<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Class")
    }
}

#[async_trait]
impl<F: Fn(usize) -> Result<String, Error> + Send + Sync> GivesCredentials for Class<F> {
    fn id(&self) -> u64 {
        1
    }

    async fn give(&self) -> Result<GivenCredentials, Error> {
        let key = (self.give)(self.loads.fetch_add(1, Ordering::Relaxed))?;
        Ok(GivenCredentials {
            keys: StaticKeys {
                access_key_id: key,
                secret: Secret::new("secret"),
                session_token: Some(Secret::new("token")),
            },
            expires_millis: Some(chrono::Utc::now().timestamp_millis() + 3_600_000),
        })
    }
}

/// A query whose options name this credentials class.
async fn query_by(
    world: &World,
    class: &Arc<impl GivesCredentials + 'static>,
    options: &[(&str, &str)],
) -> Result<Query, Error> {
    let named = [
        &BY_CHAIN[..],
        &[("kinesis.credentialProviderClass", "a.Provider")],
    ]
    .concat();
    let mut config = world.config(&[&named, options].concat());
    config.provider().expect("a class").bind(class.clone());
    world.query_of(config).await
}

#[tokio::test]
async fn a_class_gives_the_credentials_and_is_asked_again_when_they_are_refused() {
    let world = ten_records(&["AKIDTEST"]).await;
    let class = Class::of(|load| Ok(format!("AKIDCLASS{load}")));
    let mut query = query_by(&world, &class, &[]).await.expect("opens");
    assert_exact(&query.rows(10).await, "r", 0..10);
    assert_eq!(class.loads(), 1, "kept until they are due");
    world.knobs(json!({"rejected_keys": ["AKIDCLASS0"]}));
    world.put("s", 0..10).await;
    assert_exact(&query.rows(10).await, "s", 0..10);
    assert_eq!(class.loads(), 2);
}

#[tokio::test]
async fn a_role_is_assumed_with_what_a_class_gives() {
    let world = ten_records(&["AKIDTEST", "AKIDCLASS"]).await;
    let (sts, class) = (Stub::sts().await, Class::of(|_| Ok("AKIDCLASS".to_owned())));
    let mut query = query_by(&world, &class, &role(&sts)).await.expect("opens");
    assert_exact(&query.rows(10).await, "r", 0..10);
    let asked = sts.seen();
    assert!(
        asked.len() == 1 && asked[0].signed().contains("Credential=AKIDCLASS/"),
        "{asked:?}"
    );
}

#[test]
fn a_store_is_called_by_a_class_where_the_chain_has_nothing() {
    let name = "a_store_is_called_by_a_class_where_the_chain_has_nothing";
    in_own_process(name, &[], async {
        let store = empty_store().await;
        let mut options = store_options(&[
            ("kinesis.metadataCommitterType", "DYNAMODB"),
            ("kinesis.dynamodb.tableName", "claims"),
            ("kinesis.dynamodb.endpointUrl", &store.endpoint),
            ("kinesis.credentialProviderClass", "a.Provider"),
        ]);
        let class = options.access.provider.as_mut().expect("a class");
        class.bind(Class::of(|_| Ok("AKIDCLASS".to_owned())));
        let table = DynamoDbStore::new(&options).expect("a store");
        assert_eq!(table.get(&claim()).await.expect("asked"), None);
        let seen = store.seen();
        assert!(seen[0].signed().contains("Credential=AKIDCLASS/"), "{seen:?}");
    });
}

#[tokio::test]
async fn a_class_that_fails_for_a_while_is_asked_again() {
    let world = ten_records(&[]).await;
    let class = Class::of(|load| match load {
        0 | 1 => Err(Error::new(ErrorKind::Access, "java.io.IOException: later").retryable(true)),
        _ => Ok("AKIDCLASS".to_owned()),
    });
    let mut query = query_by(&world, &class, &[]).await.expect("opens");
    assert_exact(&query.rows(10).await, "r", 0..10);
}

#[tokio::test]
async fn a_class_that_gives_none_is_reported_in_its_own_words() {
    let world = ten_records(&[]).await;
    for (words, passes) in [
        ("com.example.Vault: sealed.", true),
        ("there is no such class.", false),
    ] {
        let class = Class::of(move |_| Err(Error::new(ErrorKind::Access, words).retryable(passes)));
        let error = query_by(&world, &class, &[]).await.err().expect("refused");
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Access, passes));
        let message = format!(
            "kinesis.credentialProviderClass a.Provider: {}",
            words.trim_end_matches('.')
        );
        assert!(error.message().contains(&message), "{error}");
        assert!(!error.message().contains("kinesis.awsAccessKeyId"), "{error}");
        assert_eq!(class.loads(), if passes { 6 } else { 1 }, "tries: {words}");
    }
    let quoting = Class::of(|_| {
        Err(Error::new(
            ErrorKind::Access,
            "The Canonical String should have been HUSH",
        ))
    });
    let error = query_by(&world, &quoting, &[]).await.err().expect("refused");
    assert!(!error.to_string().contains("HUSH"), "{error}");
}
