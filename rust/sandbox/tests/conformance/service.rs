//! A service under test, with helpers for the cases.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region, StalledStreamProtectionConfig};
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{ConsumerStatus, Record, Shard, ShardIteratorType, StreamStatus};
use kinesis_sandbox::{Sandbox, SandboxConfig};

/// Time limit for the service to reach a requested state.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service under test.
pub struct Service {
    pub client: Client,
    /// The case's own sandbox; `None` if the cases run against another service.
    sandbox: Option<Sandbox>,
    created: Mutex<Vec<String>>,
    mismatches: Mutex<Vec<String>>,
}

fn client(endpoint: &str, retries: RetryConfig) -> Client {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("AKIDTEST", "secret", None, None, "test"))
        .endpoint_url(endpoint)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .retry_config(retries)
        .build();
    Client::from_conf(config)
}

impl Service {
    /// A new sandbox. Requests are not retried, as it has no reason to fail.
    #[allow(dead_code, reason = "of use to one of the targets")]
    pub async fn sandbox() -> Service {
        let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
        let client = client(&sandbox.endpoint(), RetryConfig::disabled());
        Service {
            client,
            sandbox: Some(sandbox),
            created: Mutex::default(),
            mismatches: Mutex::default(),
        }
    }

    /// A service at this endpoint. Some services limit the rate of some calls, as Kinesis does.
    #[allow(dead_code, reason = "of use to some of the targets")]
    pub fn elsewhere(endpoint: &str) -> Service {
        let client = client(
            endpoint,
            RetryConfig::standard()
                .with_max_attempts(6)
                .with_initial_backoff(Duration::from_millis(300)),
        );
        Service {
            client,
            sandbox: None,
            created: Mutex::default(),
            mismatches: Mutex::default(),
        }
    }

    /// The documented value for the sandbox; for another service, the value it is known to have instead.
    pub fn documented_or<T>(&self, documented: T, other: T) -> T {
        if self.sandbox.is_some() { documented } else { other }
    }

    /// Records a mismatch unless a bad request was refused as documented, or as the other service is known to refuse
    /// it. The case fails only after all its requests.
    pub fn refused(&self, what: &str, got: String, documented: &str, other: &str) {
        let expected = self.documented_or(documented, other);
        if got != expected {
            self.mismatches
                .lock()
                .unwrap()
                .push(format!("{what}: {got} instead of {expected}"));
        }
    }

    /// Fails the case if a bad request was not refused as expected.
    pub fn assert_refusals(&self) {
        let mismatches = self.mismatches.lock().unwrap();
        assert!(mismatches.is_empty(), "{}", mismatches.join("\n"));
    }

    /// Deletes the case's streams, because a shared service has a shard limit.
    pub async fn clean(&self) {
        let created = std::mem::take(&mut *self.created.lock().unwrap());
        for name in created {
            // Some may already be deleted.
            let delete = self.client.delete_stream().stream_name(name);
            drop(delete.enforce_consumer_deletion(true).send().await);
        }
    }

    /// A unique stream name; the stream is deleted at the end of the case.
    pub fn name(&self) -> String {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let name = format!("case-{millis}-{count}");
        self.created.lock().unwrap().push(name.clone());
        name
    }

    /// Creates a stream with this number of shards and waits until it is active.
    pub async fn stream(&self, shards: i32) -> String {
        let name = self.name();
        self.client
            .create_stream()
            .stream_name(&name)
            .shard_count(shards)
            .send()
            .await
            .unwrap();
        self.active(&name).await;
        name
    }

    /// Waits until the stream is active.
    pub async fn active(&self, name: &str) {
        let started = Instant::now();
        loop {
            let summary = self
                .client
                .describe_stream_summary()
                .stream_name(name)
                .send()
                .await
                .unwrap();
            let status = summary.stream_description_summary.unwrap().stream_status;
            if status == StreamStatus::Active {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "stream {name} is still {status}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The stream's ARN.
    pub async fn arn(&self, name: &str) -> String {
        let summary = self.client.describe_stream_summary().stream_name(name);
        let summary = summary.send().await.unwrap().stream_description_summary.unwrap();
        summary.stream_arn
    }

    /// Registers a consumer and waits until it is active; returns its ARN.
    pub async fn consumer(&self, stream_arn: &str, name: &str) -> String {
        let register = self.client.register_stream_consumer().stream_arn(stream_arn);
        let registered = register.consumer_name(name).send().await.unwrap();
        let arn = registered.consumer.unwrap().consumer_arn;
        let started = Instant::now();
        loop {
            let describe = self.client.describe_stream_consumer().consumer_arn(&arn);
            let described = describe.send().await.unwrap().consumer_description.unwrap();
            let status = described.consumer_status;
            if status == ConsumerStatus::Active {
                return arn;
            }
            assert!(started.elapsed() < PATIENCE, "consumer {name} is still {status}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All shards, from all pages.
    pub async fn shards(&self, name: &str) -> Vec<Shard> {
        self.client
            .list_shards()
            .stream_name(name)
            .send()
            .await
            .unwrap()
            .shards
            .unwrap()
    }

    pub async fn put(&self, name: &str, key: &str, data: &[u8]) -> (String, String) {
        let put = self
            .client
            .put_record()
            .stream_name(name)
            .partition_key(key)
            .data(Blob::new(data));
        let put = put.send().await.unwrap();
        (put.shard_id, put.sequence_number)
    }

    pub async fn iterator(&self, name: &str, shard: &str, kind: ShardIteratorType) -> String {
        let request = self.client.get_shard_iterator().stream_name(name).shard_id(shard);
        request
            .shard_iterator_type(kind)
            .send()
            .await
            .unwrap()
            .shard_iterator
            .unwrap()
    }

    pub async fn get(&self, iterator: &str) -> GetRecordsOutput {
        self.client
            .get_records()
            .shard_iterator(iterator)
            .send()
            .await
            .unwrap()
    }

    /// All records from `iterator` to the tip or the shard's end, and the last response.
    pub async fn drain(&self, iterator: String) -> (Vec<Record>, GetRecordsOutput) {
        let (mut records, mut iterator) = (Vec::new(), iterator);
        loop {
            let mut page = self.get(&iterator).await;
            records.append(&mut page.records);
            // An empty page behind the tip is not the tip. A closed shard may name its children first, and end with
            // the null iterator of the next response.
            let ending = page
                .child_shards
                .as_ref()
                .is_some_and(|children| !children.is_empty());
            match &page.next_shard_iterator {
                Some(next) if ending || page.millis_behind_latest != Some(0) => iterator = next.clone(),
                _ => return (records, page),
            }
        }
    }

    /// All records of a shard from its trim horizon, and the last response.
    pub async fn read(&self, name: &str, shard: &str) -> (Vec<Record>, GetRecordsOutput) {
        self.drain(self.iterator(name, shard, ShardIteratorType::TrimHorizon).await)
            .await
    }
}

/// The error's code on the wire, `accepted` if there was none, or the status of a response without a code.
pub fn code<T, E: ProvideErrorMetadata + std::fmt::Debug>(
    result: Result<T, SdkError<E, HttpResponse>>,
) -> String {
    match result {
        Ok(_) => "accepted".to_owned(),
        Err(error) => match (error.code(), error.raw_response()) {
            (Some(code), _) => code.to_owned(),
            (None, Some(answer)) => format!("HTTP {}", answer.status().as_u16()),
            (None, None) => panic!("failed without an answer: {error:?}"),
        },
    }
}
