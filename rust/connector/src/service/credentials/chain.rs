//! The AWS default credential chain.

use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig, imds};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, Result, SharedCredentialsProvider, future};
use aws_smithy_types::timeout::TimeoutConfig;

use crate::service::network::Network;

/// Timeout of an instance metadata request; a busy instance takes seconds.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// Connect and request timeouts of the other credential services (STS, SSO): short enough for retries within one
/// load.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);

/// Timeouts of the clients that load credentials.
pub(in crate::service) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build()
}

/// An instance metadata client that tolerates slow answers. It bypasses proxies, wherever the metadata is.
pub(in crate::service) fn metadata_client(config: &ProviderConfig) -> imds::Client {
    let direct = config.clone().with_http_client(Network::direct().client());
    imds::Client::builder()
        .configure(&direct)
        .read_timeout(METADATA_TIMEOUT)
        .build()
}

/// The default chain: environment, profile, web identity, container, instance metadata. Each load builds it anew, so
/// files and processes are read again and no connection of an earlier load is reused. Its clients retry by
/// themselves.
#[derive(Clone, Debug)]
pub(in crate::service) struct JobChain {
    region: Option<Region>,
    use_fips: Option<bool>,
    use_dual_stack: Option<bool>,
    last_resort: Option<SharedCredentialsProvider>,
    network: Network,
}

impl JobChain {
    /// The chain for a process whose clients have this configuration.
    pub fn of(config: &SdkConfig, network: &Network) -> Self {
        Self {
            region: config.region().cloned(),
            use_fips: config.use_fips(),
            use_dual_stack: config.use_dual_stack(),
            last_resort: None,
            network: network.clone(),
        }
    }

    /// Adds credentials to use if the chain finds none.
    pub fn or_else(self, last_resort: Option<SharedCredentialsProvider>) -> Self {
        Self { last_resort, ..self }
    }

    async fn load(&self) -> Result {
        let config = ProviderConfig::default()
            .with_behavior_version(Some(BehaviorVersion::latest()))
            .with_region(self.region.clone())
            .with_use_fips(self.use_fips)
            .with_use_dual_stack(self.use_dual_stack)
            .with_timeout_config(timeouts())
            .with_http_client(self.network.client());
        let metadata = metadata_client(&config);
        let mut chain = DefaultCredentialsChain::builder()
            .configure(config)
            .imds_client(metadata);
        chain.set_region(self.region.clone());
        let loaded = chain.build().await.provide_credentials().await;
        match (&self.last_resort, loaded) {
            (Some(others), Err(CredentialsError::CredentialsNotLoaded(_))) => {
                others.provide_credentials().await
            }
            (_, loaded) => loaded,
        }
    }
}

impl ProvideCredentials for JobChain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}
