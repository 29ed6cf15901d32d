//! Region, endpoint and credentials of a client.

use std::time::Duration;

use aws_config::meta::region::ProvideRegion;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use crate::error::{Error, ErrorKind, Result};
use crate::options::{AccessOptions, StaticKeys};

/// Longest wait for a connection.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for one answer; the KCL's request time-out.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// The region of the options, else the one of the AWS default chain (environment, profile, instance metadata).
pub async fn resolve_region(options: &AccessOptions) -> Result<String> {
    if let Some(region) = &options.region {
        return Ok(region.clone());
    }
    match aws_config::default_provider::region::default_provider()
        .region()
        .await
    {
        Some(region) => Ok(region.to_string()),
        None => Err(Error::new(
            ErrorKind::InvalidOption,
            "no region: set kinesis.region (it could not be told from kinesis.endpointUrl, and neither the \
             environment, nor a profile, nor the instance's metadata name one)",
        )
        .with("option", "kinesis.region")),
    }
}

/// The configuration of a Kinesis client with these options.
pub async fn sdk_config(options: &AccessOptions) -> Result<SdkConfig> {
    let region = resolve_region(options).await?;
    let base = base_config(options, &region).await;
    let config = match &options.sts_role_arn {
        Some(role) => base
            .to_builder()
            .credentials_provider(assumed_role(options, role, &base).await)
            .build(),
        None => base,
    };
    Ok(match &options.endpoint_url {
        Some(url) => config.into_builder().endpoint_url(url.as_str()).build(),
        None => config,
    })
}

/// The configuration of a client of a checkpoint store: as the job itself, with the static keys or the AWS default
/// chain. Never as the stream's role: that one may belong to the stream's account, while tables and buckets of
/// checkpoints are the job's own.
pub(crate) async fn store_config(options: &AccessOptions) -> Result<SdkConfig> {
    Ok(base_config(options, &resolve_region(options).await?).await)
}

/// Everything but the role and the stream's endpoint. The SDK's own retries are off: the connector's count what
/// they do and follow `kinesis.client*`.
async fn base_config(options: &AccessOptions, region: &str) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build();
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .timeout_config(timeouts)
        .retry_config(RetryConfig::disabled());
    match &options.static_keys {
        Some(keys) => loader.credentials_provider(static_credentials(keys)).load().await,
        None => loader.load().await,
    }
}

fn static_credentials(keys: &StaticKeys) -> Credentials {
    Credentials::new(
        keys.access_key_id.clone(),
        keys.secret.expose().to_owned(),
        keys.session_token.as_ref().map(|token| token.expose().to_owned()),
        None,
        "connector options",
    )
}

/// Credentials of the role, renewed by the SDK before they expire. STS itself does retry: a query must not fail
/// because one renewal did.
async fn assumed_role(options: &AccessOptions, role: &str, base: &SdkConfig) -> SharedCredentialsProvider {
    let sts = base.to_builder().retry_config(RetryConfig::standard());
    let sts = match &options.sts_endpoint_url {
        Some(url) => sts.endpoint_url(url.as_str()),
        None => sts,
    };
    let session = options
        .sts_session_name
        .clone()
        .unwrap_or_else(|| format!("spark-kinesis-{}", uuid::Uuid::new_v4().simple()));
    let mut provider = AssumeRoleProvider::builder(role)
        .session_name(session)
        .configure(&sts.build());
    if let Some(id) = &options.sts_external_id {
        provider = provider.external_id(id);
    }
    if let Some(region) = base.region() {
        provider = provider.region(region.clone());
    }
    let source = match base.credentials_provider() {
        Some(source) => source,
        None => return SharedCredentialsProvider::new(provider.build().await),
    };
    SharedCredentialsProvider::new(provider.build_from_provider(source).await)
}
