//! A sandbox with a stream and a consumer, and what is pushed to a subscriber.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Builder, Credentials, Region, StalledStreamProtectionConfig};
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError;
use aws_sdk_kinesis::types::{
    PutRecordsRequestEntry, ShardIteratorType, StartingPosition, SubscribeToShardEvent,
    SubscribeToShardEventStream,
};
use kinesis_sandbox::{KnobUpdate, Sandbox, SandboxConfig, ShardStats};
use serde_json::Value;
use tokio::time::timeout;

pub const SHARD: &str = "shardId-000000000000";

/// How long anything may take that is to happen at once.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A sandbox with the stream `s` of one shard, and its consumer `c`.
pub struct Fixture {
    pub sandbox: Sandbox,
    pub client: Client,
    pub consumer: String,
}

/// The SDK's configuration for any endpoint, without retries.
pub fn config(endpoint: &str) -> Builder {
    aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("AKIDTEST", "secret", None, None, "test"))
        .endpoint_url(endpoint)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .retry_config(RetryConfig::disabled())
}

impl Fixture {
    pub async fn start() -> Fixture {
        Fixture::with(SandboxConfig::default()).await
    }

    pub async fn with(with: SandboxConfig) -> Fixture {
        let sandbox = Sandbox::start(with).await.unwrap();
        let client = Client::from_conf(config(&sandbox.endpoint()).build());
        client
            .create_stream()
            .stream_name("s")
            .shard_count(1)
            .send()
            .await
            .unwrap();
        let consumer = register(&client, "c").await.unwrap();
        Fixture {
            sandbox,
            client,
            consumer,
        }
    }

    /// Turns knobs as over HTTP.
    pub fn knobs(&self, update: Value) {
        let update: KnobUpdate = serde_json::from_value(update).unwrap();
        self.sandbox.apply(&update).unwrap();
    }

    pub async fn put(&self, keys: &[&str]) -> Vec<String> {
        let entry = |key: &&str| {
            PutRecordsRequestEntry::builder()
                .partition_key(*key)
                .data(Blob::new(format!("data of {key}")))
                .build()
                .unwrap()
        };
        let put = self.client.put_records().stream_name("s");
        let put = put
            .set_records(Some(keys.iter().map(entry).collect()))
            .send()
            .await
            .unwrap();
        put.records
            .into_iter()
            .map(|r| r.sequence_number.unwrap())
            .collect()
    }

    pub async fn subscribe(&self, position: StartingPosition) -> Result<Events, String> {
        subscribe(&self.client, &self.consumer, SHARD, position).await
    }

    pub fn stats(&self) -> ShardStats {
        self.sandbox.stats().shard("s", SHARD)
    }

    /// Waits until the shard's counters are so.
    pub async fn until(&self, condition: impl Fn(&ShardStats) -> bool) {
        let waiting = async {
            while !condition(&self.stats()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout(PATIENCE, waiting).await.is_err() {
            panic!("still {:?}", self.stats());
        }
    }
}

pub fn stream_arn() -> String {
    "arn:aws:kinesis:eu-west-1:000000000000:stream/s".to_owned()
}

/// Registers a consumer of the stream `s`; gives its ARN, or the error's code.
pub async fn register(client: &Client, name: &str) -> Result<String, String> {
    let request = client.register_stream_consumer().stream_arn(stream_arn());
    match request.consumer_name(name).send().await {
        Ok(answer) => Ok(answer.consumer.unwrap().consumer_arn),
        Err(error) => Err(error.code().unwrap_or("no answer").to_owned()),
    }
}

/// Opens a subscription; gives its events, or the error's code.
pub async fn subscribe(
    client: &Client,
    consumer: &str,
    shard: &str,
    position: StartingPosition,
) -> Result<Events, String> {
    let request = client.subscribe_to_shard().consumer_arn(consumer).shard_id(shard);
    match request.starting_position(position).send().await {
        Ok(output) => Ok(Events { output }),
        Err(error) => Err(error.code().unwrap_or("no answer").to_owned()),
    }
}

pub fn at(kind: ShardIteratorType) -> StartingPosition {
    StartingPosition::builder().r#type(kind).build().unwrap()
}

pub fn horizon() -> StartingPosition {
    at(ShardIteratorType::TrimHorizon)
}

pub fn after(number: &str) -> StartingPosition {
    StartingPosition::builder()
        .r#type(ShardIteratorType::AfterSequenceNumber)
        .sequence_number(number)
        .build()
        .unwrap()
}

/// The events of one subscription.
pub struct Events {
    output: SubscribeToShardOutput,
}

impl Events {
    /// The next event, the end, or the error's code (`broken` for one of the transport).
    pub async fn next(&mut self) -> Result<Option<SubscribeToShardEvent>, String> {
        let next = self.output.event_stream.recv();
        match timeout(PATIENCE, next).await.expect("an event in time") {
            Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => Ok(Some(event)),
            Ok(Some(other)) => panic!("unknown event {other:?}"),
            Ok(None) => Ok(None),
            Err(error) => Err(error.as_service_error().map_or("broken", exception).to_owned()),
        }
    }

    /// The next event, which there must be.
    pub async fn event(&mut self) -> SubscribeToShardEvent {
        self.next().await.unwrap().expect("an event")
    }

    /// The keys of the next records that come, empty events left out.
    pub async fn keys(&mut self, count: usize) -> Vec<String> {
        let mut keys = Vec::new();
        while keys.len() < count {
            keys.extend(keys_of(&self.event().await));
        }
        keys
    }
}

/// The name of an error in the stream: it is in a header, not in the JSON that the SDK takes a code from.
fn exception(error: &SubscribeToShardEventStreamError) -> &'static str {
    use SubscribeToShardEventStreamError::*;
    match error {
        ResourceNotFoundException(_) => "ResourceNotFoundException",
        ResourceInUseException(_) => "ResourceInUseException",
        InternalFailureException(_) => "InternalFailureException",
        KmsThrottlingException(_) => "KMSThrottlingException",
        _ => "another exception",
    }
}

pub fn keys_of(event: &SubscribeToShardEvent) -> Vec<String> {
    event
        .records
        .iter()
        .map(|r| r.partition_key.clone().unwrap())
        .collect()
}
