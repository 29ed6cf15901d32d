//! Registration of a query's consumer, with a simulated service and paused time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::consumer::RegisteredConsumer;
use crate::error::{Error, ErrorKind, Result};
use crate::options::ConsumerChoice;
use crate::service::{
    Consumer, ConsumerId, ConsumerStatus, FanOutApi, RequestCounters, SubscribeAt, Subscription,
    SubscriptionConnection,
};
use crate::storage::FileSystem;
use crate::stream::{ShardId, offset_home};

/// Time that the service takes to create a consumer.
const CREATING: Duration = Duration::from_secs(40);

#[derive(Debug)]
struct Service {
    made: Mutex<BTreeMap<String, Instant>>,
    most: usize,
    may_be_listed: bool,
}

impl Service {
    fn with(consumers: usize, most: usize) -> Self {
        let long_ago = Instant::now();
        let made = (0..consumers).map(|number| (format!("other-{number}"), long_ago));
        Self {
            made: Mutex::new(made.collect()),
            most,
            may_be_listed: true,
        }
    }

    fn consumer(name: &str, made: Instant) -> Consumer {
        Consumer {
            arn: format!("{name}:1"),
            status: match made.elapsed() < CREATING {
                true => ConsumerStatus::Creating,
                false => ConsumerStatus::Active,
            },
        }
    }

    fn all(&self) -> Vec<Consumer> {
        let made = self.made.lock().expect("made");
        made.iter().map(|(name, at)| Self::consumer(name, *at)).collect()
    }
}

#[async_trait]
impl FanOutApi for Service {
    async fn register_consumer(&self, _: &str, name: &str) -> Result<Consumer> {
        let all = self.all();
        let creating = |consumer: &&Consumer| consumer.status == ConsumerStatus::Creating;
        if all.len() >= self.most || all.iter().filter(creating).count() >= 5 {
            return Err(Error::new(ErrorKind::Throttled, "a limit was exceeded"));
        }
        let now = Instant::now();
        self.made.lock().expect("made").insert(name.to_owned(), now);
        Ok(Self::consumer(name, now))
    }

    async fn describe_consumer(&self, consumer: ConsumerId<'_>) -> Result<Consumer> {
        let ConsumerId::Named { name, .. } = consumer else {
            panic!("described by ARN")
        };
        let made = self.made.lock().expect("made").get(name).copied();
        made.map(|made| Self::consumer(name, made))
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "none"))
    }

    async fn list_consumers(&self, _: &str) -> Result<Vec<Consumer>> {
        match self.may_be_listed {
            true => Ok(self.all()),
            false => Err(Error::new(ErrorKind::Access, "not allowed")),
        }
    }

    async fn deregister_consumer(&self, arn: &str) -> Result<()> {
        panic!("{arn} was deregistered")
    }

    async fn subscribe(
        &self,
        _: &SubscriptionConnection,
        _: &str,
        shard: &ShardId,
        _: &SubscribeAt,
        _: Duration,
        _: &Arc<RequestCounters>,
    ) -> Result<Subscription> {
        panic!("{shard} was subscribed to")
    }
}

/// A file system in memory.
#[derive(Default)]
struct Files(Mutex<BTreeMap<String, Vec<u8>>>);

#[async_trait]
impl FileSystem for Files {
    async fn put_if_absent(&self, path: &str, content: Vec<u8>) -> Result<bool> {
        let mut files = self.0.lock().expect("files");
        Ok(files.insert(path.to_owned(), content).is_none())
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.0.lock().expect("files").get(path).cloned())
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        panic!("{folder} was listed")
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.0.lock().expect("files").remove(path);
        Ok(())
    }
}

async fn prepare(service: &Service, name: &str, inherited: Option<&str>) -> Result<RegisteredConsumer> {
    let choice = ConsumerChoice::Name(name.to_owned());
    let files = Files::default();
    let prepared = RegisteredConsumer::prepare(service, "stream", &choice, inherited, &files, name).await?;
    let noted = files.read(&format!("{name}/registered-consumer")).await?;
    let note = |arn| format!("{arn}\n{}\n", offset_home(name)).into_bytes();
    assert_eq!(
        noted,
        prepared.to_deregister().map(note),
        "what it registered is kept"
    );
    Ok(prepared)
}

#[tokio::test(start_paused = true)]
async fn queries_wait_for_their_turn_however_many_start_at_a_time() {
    let service = Service::with(0, 20);
    let began = Instant::now();
    let names: Vec<String> = (0..20).map(|number| format!("app-{number}")).collect();
    let prepared = join_all(names.iter().map(|name| prepare(&service, name, None))).await;
    for consumer in prepared {
        assert!(consumer.expect("registered").to_deregister().is_some());
    }
    // Four rounds of five, each with a few seconds for the attempts between them.
    assert!(began.elapsed() >= 4 * CREATING && began.elapsed() < 5 * CREATING);
}

#[tokio::test(start_paused = true)]
async fn a_full_stream_is_reported_soon_whatever_the_limit_is() {
    for most in [20, 50] {
        let service = Service::with(most, most);
        tokio::time::advance(CREATING).await;
        let began = Instant::now();
        let error = prepare(&service, "app", None).await.expect_err("full");
        assert!(began.elapsed() < Duration::from_secs(10));
        let message = error.to_string();
        assert!(message.contains(&format!("has {most} consumers")), "{message}");
        assert!(
            message.contains("20, or 50 with On-demand Advantage"),
            "{message}"
        );
        assert!(!error.is_retryable());
    }
    // Under the higher limit there is room for more.
    let service = Service::with(30, 50);
    prepare(&service, "app", None).await.expect("registered");
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_list_consumers_the_wait_has_an_end() {
    let service = Service {
        may_be_listed: false,
        ..Service::with(20, 20)
    };
    let error = prepare(&service, "app", None).await.expect_err("full");
    assert!(error.message().contains("kinesis:ListStreamConsumers"), "{error}");
    assert!(error.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_was_there_is_the_querys_own_only_if_it_was_left_to_it() {
    let service = Service::with(1, 20);
    tokio::time::advance(CREATING).await;
    for (inherited, own) in [
        (None, None),
        (Some("other-0:0"), None),
        (Some("other-0:1"), Some("other-0:1")),
    ] {
        let consumer = prepare(&service, "other-0", inherited).await.expect("found");
        assert_eq!(consumer.to_deregister(), own);
    }
}

/// Notes of every form so far, all of which stay readable.
#[tokio::test(start_paused = true)]
async fn what_a_query_registered_at_an_earlier_start_is_its_own_unless_the_note_was_copied() {
    let service = Service::with(1, 20);
    tokio::time::advance(CREATING).await;
    let folder = "file:/checkpoints/a/sources/0";
    for (note, own) in [
        ("other-0:1", true),
        ("other-0:1\n56664cd54b70f70d\n", true),
        ("other-0:1\n0123456789abcdef\n", false),
        ("other-0:0\n56664cd54b70f70d\n", false),
        ("other-0:0", false),
        ("", false),
    ] {
        let files = Files::default();
        let path = format!("{folder}/registered-consumer");
        files.put_if_absent(&path, note.into()).await.expect("put");
        let choice = ConsumerChoice::Name("other-0".to_owned());
        let prepared = RegisteredConsumer::prepare(&service, "stream", &choice, None, &files, folder).await;
        let own = own.then_some("other-0:1");
        assert_eq!(prepared.expect("found").to_deregister(), own, "{note:?}");
    }
}
