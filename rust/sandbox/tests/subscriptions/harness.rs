//! Test fixture: a sandbox with a stream and a consumer.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{
    BehaviorVersion, Builder, Credentials, Region, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, StartingPosition};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use kinesis_sandbox::{KnobUpdate, Sandbox, SandboxConfig, ShardStats};
use serde_json::Value;
use tokio::time::timeout;

use crate::events::{Events, PATIENCE, subscribe};

pub const SHARD: &str = "shardId-000000000000";

/// A sandbox with the stream `s` of one shard, and its consumer `c`.
pub struct Fixture {
    pub sandbox: Sandbox,
    pub client: Client,
    pub consumer: String,
}

/// SDK configuration for any endpoint, without retries.
pub fn config(endpoint: &str) -> Builder {
    aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("AKIDTEST", "secret", None, None, "test"))
        .endpoint_url(endpoint)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .retry_config(RetryConfig::disabled())
}

/// The SDK's default HTTPS client, with this certificate as its only root.
fn trusting(certificate: &str) -> SharedHttpClient {
    let roots = TrustStore::empty().with_pem_certificate(certificate);
    let tls = TlsContext::builder().with_trust_store(roots).build().unwrap();
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(tls)
        .build_https()
}

impl Fixture {
    pub async fn start() -> Fixture {
        Fixture::with(SandboxConfig::default()).await
    }

    pub async fn with(with: SandboxConfig) -> Fixture {
        let sandbox = Sandbox::start(with).await.unwrap();
        let client = match (sandbox.tls_endpoint(), sandbox.tls_certificate()) {
            (Some(endpoint), Some(certificate)) => config(&endpoint).http_client(trusting(certificate)),
            _ => config(&sandbox.endpoint()),
        };
        let client = Client::from_conf(client.build());
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

    /// A fixture over HTTPS, where the SDK uses HTTP/2; without TLS it uses HTTP/1.1.
    pub async fn start_tls() -> Fixture {
        let with = SandboxConfig {
            tls_port: Some(0),
            ..SandboxConfig::default()
        };
        Fixture::with(with).await
    }

    /// A fixture over HTTP/1.1 and one over HTTP/2.
    pub async fn both() -> [Fixture; 2] {
        [Fixture::start().await, Fixture::start_tls().await]
    }

    /// Applies an update of the knobs, written as for HTTP.
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

    /// Waits until the shard's counters satisfy the condition.
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

/// Registers a consumer of the stream `s`; returns its ARN, or the error's code.
pub async fn register(client: &Client, name: &str) -> Result<String, String> {
    let request = client.register_stream_consumer().stream_arn(stream_arn());
    match request.consumer_name(name).send().await {
        Ok(answer) => Ok(answer.consumer.unwrap().consumer_arn),
        Err(error) => Err(error.code().unwrap_or("no answer").to_owned()),
    }
}
