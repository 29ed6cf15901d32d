//! Services whose connections go dark: the cost to the clients of each service.

use aws_sdk_kinesis::config::SharedHttpClient;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::timeout::TimeoutConfig;
use kinesis_sandbox::{KnobUpdate, Sandbox, SandboxConfig};

use crate::options::{AccessOptions, Secret, StaticKeys};

/// A sandbox reached by HTTP/2, whose single connection carries all requests. It refuses operations other than
/// Kinesis's; a refusal counts as an answer.
pub(crate) struct Dark {
    sandbox: Sandbox,
}

impl Dark {
    pub async fn start() -> Self {
        let config = SandboxConfig {
            tls_port: Some(0),
            ..SandboxConfig::default()
        };
        let sandbox = Sandbox::start(config).await.expect("the sandbox starts");
        Self { sandbox }
    }

    pub fn endpoint(&self) -> String {
        self.sandbox.tls_endpoint().expect("HTTPS")
    }

    /// An HTTP client that trusts the sandbox's certificate.
    pub fn trusting(&self) -> SharedHttpClient {
        let certificate = self.sandbox.tls_certificate().expect("HTTPS");
        let roots = TrustStore::empty().with_pem_certificate(certificate);
        let tls = TlsContext::builder().with_trust_store(roots).build();
        aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(tls.expect("a context"))
            .build_https()
    }

    /// Timeouts of the clients, short because tests wait for them.
    pub fn timeouts() -> TimeoutConfig {
        TimeoutConfig::builder()
            .operation_attempt_timeout(std::time::Duration::from_secs(2))
            .build()
    }

    /// The peer of a client's connection vanishes silently: this costs one attempt, not all that follow.
    pub async fn costs_one_attempt<T, E>(&self, ask: impl AsyncFn() -> Result<T, SdkError<E, HttpResponse>>) {
        assert!(Self::is_answered_at_last(&ask).await, "it is there");
        let before = self.sandbox.stats().connections;
        let dark = KnobUpdate {
            darken_connections: true,
            ..KnobUpdate::default()
        };
        self.sandbox.apply(&dark).expect("turned");
        assert!(
            Self::is_answered_at_last(&ask).await,
            "no other connection is used"
        );
        assert!(self.sandbox.stats().connections > before);
    }

    /// Makes a few attempts, since a busy machine may lose one, too.
    async fn is_answered_at_last<T, E>(ask: impl AsyncFn() -> Result<T, SdkError<E, HttpResponse>>) -> bool {
        for _ in 0..4 {
            if is_answered(&ask().await) {
                return true;
            }
        }
        false
    }
}

fn is_answered<T, E>(answer: &Result<T, SdkError<E, HttpResponse>>) -> bool {
    match answer {
        Ok(_) | Err(SdkError::ServiceError(_) | SdkError::ResponseError(_)) => true,
        Err(SdkError::TimeoutError(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Access to Kinesis and this STS with the user's keys.
pub(crate) fn options(sts_endpoint_url: Option<String>) -> AccessOptions {
    AccessOptions {
        region: Some("us-east-1".to_owned()),
        endpoint_url: None,
        sts_role_arn: None,
        sts_session_name: None,
        sts_endpoint_url,
        sts_region: None,
        sts_external_id: None,
        proxy: None,
        static_keys: Some(keys()),
        provider: None,
    }
}

pub(crate) fn keys() -> StaticKeys {
    StaticKeys {
        access_key_id: "AKIDTEST".to_owned(),
        secret: Secret::new("secret"),
        session_token: None,
    }
}
