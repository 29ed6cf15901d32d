//! Region, endpoint and credentials of a client.

use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::meta::region::RegionProviderChain;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig, environment, imds, profile};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use super::clock::ServiceClock;
use super::credentials::{
    ClassCredentials, JobChain, KeptCredentials, RoleCredentials, metadata_client, static_credentials,
    timeouts,
};
use super::guard::{Guard, once_more};
use super::network::Network;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{AccessOptions, StoreAccess};

/// Connect timeout.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of one request; the KCL's request timeout.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// Configuration, credentials and clock that the clients of one access share.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub config: SdkConfig,
    pub guard: Guard,
    /// Creates further HTTP clients beside the configuration's, each with its own connections.
    pub network: Network,
}

/// Completes a service's configuration builder that was made from an [`Access`]: adds the guard and the options'
/// endpoint, whatever endpoints the environment sets.
macro_rules! guarded {
    ($builder:expr, $access:expr, $endpoint:expr) => {{
        let guard = &$access.guard;
        let builder = $builder
            .interceptor(guard.clone())
            .retry_classifier(guard.clone());
        match $endpoint {
            // The environment's FIPS and dual-stack switches concern AWS's own addresses and are refused with any
            // other.
            Some(url) => builder.endpoint_url(url).use_fips(false).use_dual_stack(false),
            None => builder,
        }
    }};
}
pub(crate) use guarded;

/// The region of the options, otherwise of the AWS default chain (environment, profile, instance metadata).
pub async fn resolve_region(options: &AccessOptions) -> Result<String> {
    region_or_default(options.region.as_deref()).await
}

async fn region_or_default(region: Option<&str>) -> Result<String> {
    if let Some(region) = region {
        return Ok(region.to_owned());
    }
    let metadata = metadata_client(&ProviderConfig::default());
    let found = RegionProviderChain::first_try(environment::EnvironmentVariableRegionProvider::new())
        .or_else(profile::ProfileFileRegionProvider::new())
        .or_else(imds::region::Builder::default().imds_client(metadata).build())
        .region()
        .await;
    match found {
        Some(region) => Ok(region.to_string()),
        None => Err(Error::new(
            ErrorKind::InvalidOption,
            "no region: set kinesis.region (it could not be derived from kinesis.endpointUrl, and neither the \
             environment, nor a profile, nor the instance's metadata name one)",
        )
        .with("option", "kinesis.region")),
    }
}

/// Access of a stream's clients.
pub(super) async fn stream_access(options: &AccessOptions) -> Result<Access> {
    let clock = ServiceClock::default();
    let network = Network::of(options.proxy.as_ref());
    let base = base_config(&resolve_region(options).await?, &clock, &network).await;
    let job = match (&options.static_keys, &options.provider) {
        (Some(keys), _) => signed_by(base, static_credentials(keys), &clock, network),
        (None, Some(class)) => {
            let class = ClassCredentials { class: class.clone() };
            loading(base, class, &clock, network)
        }
        (None, None) => {
            let chain = JobChain::of(&base, &network);
            loading(base, chain, &clock, network)
        }
    };
    let Some(role) = &options.sts_role_arn else {
        return Ok(job);
    };
    let session = options
        .sts_session_name
        .clone()
        .unwrap_or_else(|| format!("spark-kinesis-{}", uuid::Uuid::new_v4().simple()));
    let role = RoleCredentials {
        client: aws_sdk_sts::Client::from_conf(sts_config(&job, options)),
        role: role.clone(),
        session,
        external_id: options.sts_external_id.clone(),
    };
    Ok(loading(job.config, role, &clock, job.network))
}

/// Client configuration for loading a role's sessions with the job's credentials. The client retries by itself,
/// within one load.
fn sts_config(job: &Access, options: &AccessOptions) -> aws_sdk_sts::Config {
    let asking = Access {
        guard: job.guard.clone().with_retries(),
        ..job.clone()
    };
    let mut sts = aws_sdk_sts::config::Builder::from(&asking.config)
        .retry_config(RetryConfig::standard())
        .timeout_config(timeouts());
    if let Some(region) = &options.sts_region {
        sts.set_region(Some(Region::new(region.clone())));
    }
    guarded!(sts, asking, options.sts_endpoint_url.as_deref()).build()
}

/// Access of a checkpoint store's clients, with the job's own credentials. The stream's role is never used: it may
/// belong to the stream's account, while checkpoint tables and buckets are the job's own. The stream's keys or class
/// serve if the job has none.
pub(crate) async fn store_access(options: &StoreAccess) -> Result<Access> {
    let clock = ServiceClock::default();
    let network = Network::of(options.proxy.as_ref());
    let region = region_or_default(options.region.as_deref()).await?;
    let base = base_config(&region, &clock, &network).await;
    Ok(match &options.job_keys {
        Some(keys) => signed_by(base, static_credentials(keys), &clock, network),
        None => {
            let others = match (&options.stream_keys, &options.stream_provider) {
                (Some(keys), _) => Some(SharedCredentialsProvider::new(static_credentials(keys))),
                (None, Some(class)) => Some(SharedCredentialsProvider::new(ClassCredentials {
                    class: class.clone(),
                })),
                (None, None) => None,
            };
            let chain = JobChain::of(&base, &network).or_else(others);
            loading(base, chain, &clock, network)
        }
    })
}

/// Everything except credentials and endpoints. The SDK's retries are off, except those of the [`Guard`]: the
/// connector's own are counted and follow `kinesis.client*`.
async fn base_config(region: &str, clock: &ServiceClock, network: &Network) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .http_client(network.client())
        .timeout_config(timeouts)
        .retry_config(once_more())
        .time_source(clock.clone())
        // All clients share one clock, including fan-out's short-lived ones.
        .disable_clock_skew_correction(true)
        // KeptCredentials caches loaded credentials.
        .identity_cache(IdentityCache::no_cache())
        .no_credentials()
        .load()
        .await
}

fn signed_by(base: SdkConfig, keys: Credentials, clock: &ServiceClock, network: Network) -> Access {
    let keys = SharedCredentialsProvider::new(keys);
    Access {
        config: base.into_builder().credentials_provider(keys).build(),
        guard: Guard::new(clock.clone(), None),
        network,
    }
}

fn loading(
    base: SdkConfig,
    provider: impl ProvideCredentials + 'static,
    clock: &ServiceClock,
    network: Network,
) -> Access {
    let kept = KeptCredentials::of(provider, clock.clone());
    let shared = SharedCredentialsProvider::new(kept.clone());
    Access {
        config: base.into_builder().credentials_provider(shared).build(),
        guard: Guard::new(clock.clone(), Some(kept)),
        network,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
    use aws_smithy_types::body::SdkBody;

    use super::*;
    use crate::service::LoadFailure;
    use crate::service::dark::{Dark, options};

    #[tokio::test]
    async fn a_connection_to_sts_that_went_dark_costs_one_attempt() {
        let service = Dark::start().await;
        let options = options(Some(service.endpoint()));
        let job = stream_access(&options).await.expect("an access");
        let config = sts_config(&job, &options).to_builder();
        let config = config
            .http_client(service.trusting())
            .timeout_config(Dark::timeouts());
        let client = aws_sdk_sts::Client::from_conf(config.build());
        service
            .costs_one_attempt(async || client.get_caller_identity().send().await)
            .await;
    }

    /// Leaves the first `times` requests without an answer, then works.
    #[derive(Debug)]
    struct Silent {
        times: usize,
        asked: AtomicUsize,
    }

    impl HttpConnector for Silent {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            const SESSION: &str = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIASESSION\
                                   </AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
                                   <Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>\
                                   </AssumeRoleResponse>";
            match self.asked.fetch_add(1, Ordering::Relaxed) {
                before if before < self.times => HttpConnectorFuture::new(std::future::pending()),
                _ => {
                    let ok = 200.try_into().expect("a status");
                    HttpConnectorFuture::ready(Ok(HttpResponse::new(ok, SdkBody::from(SESSION))))
                }
            }
        }
    }

    /// Credentials of a role whose STS leaves the first `times` requests without an answer.
    async fn role_with_silent_sts(times: usize) -> KeptCredentials {
        let options = options(Some("https://sts.test".to_owned()));
        let job = stream_access(&options).await.expect("an access");
        let sts = SharedHttpConnector::new(Silent {
            times,
            asked: AtomicUsize::new(0),
        });
        let config = sts_config(&job, &options)
            .to_builder()
            .http_client(http_client_fn(move |_, _| sts.clone()));
        let role = RoleCredentials {
            client: aws_sdk_sts::Client::from_conf(config.build()),
            role: "arn:aws:iam::123456789012:role/reader".to_owned(),
            session: "s".to_owned(),
            external_id: None,
        };
        KeptCredentials::of(role, ServiceClock::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_sts_is_asked_again_within_one_load() {
        for times in [1, 2] {
            let kept = role_with_silent_sts(times).await;
            let credentials = kept.provide_credentials().await.expect("asked again");
            assert_eq!(credentials.access_key_id(), "ASIASESSION", "silent {times} times");
        }
    }

    /// Pauses between attempts are random; none may end the load before its attempts do.
    #[tokio::test(start_paused = true)]
    async fn the_failure_of_a_silent_sts_names_it() {
        for _ in 0..30 {
            let kept = role_with_silent_sts(usize::MAX).await;
            let error = kept.provide_credentials().await.expect_err("silent");
            let message = LoadFailure::in_error(&error)
                .map_or_else(|| error.to_string(), |failure| failure.to_string());
            assert!(message.contains("https://sts.test"), "{message}");
        }
    }
}
