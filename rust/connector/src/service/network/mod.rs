//! The way to a service: by which proxy, and trusting which certificates.

mod failure;
mod proxies;
mod trust;

use std::borrow::Cow;
use std::sync::Arc;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use http::Uri;

pub(crate) use failure::NetworkFailure;

use self::proxies::{PerScheme, Proxies, Way, is_https};
use self::trust::Trusted;
use crate::options::ProxyOptions;

/// What the HTTP clients of one access have in common.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    proxies: Proxies,
    trust: Result<Trusted, NetworkFailure>,
}

impl Network {
    /// By the proxy of the options, else by those of the environment. Reads what the environment says is to be trusted;
    /// what is wrong with it is told to the first request that needs it.
    pub fn of(proxy: Option<&ProxyOptions>) -> Self {
        Self::by(Proxies::of(proxy, |name| std::env::var(name).ok()))
    }

    /// By no proxy, whatever anybody says: for what is of this machine alone.
    pub fn direct() -> Self {
        Self::by(Proxies::none())
    }

    fn by(proxies: Proxies) -> Self {
        let trust = Trusted::of_environment();
        Self {
            shared: Arc::new(Shared { proxies, trust }),
        }
    }

    /// A client with connections of its own.
    pub fn client(&self) -> SharedHttpClient {
        let proxies = self.shared.proxies.usable();
        SharedHttpClient::new(Ways {
            shared: self.shared.clone(),
            direct: self.client_by(ProxyConfig::disabled()),
            by_proxy: proxies.map(|proxy| self.client_by(proxy.config())),
        })
    }

    fn client_by(&self, proxy: ProxyConfig) -> SharedHttpClient {
        let store = match &self.shared.trust {
            Ok(trusted) => trusted.store.clone(),
            // Nothing is encrypted by this client, then.
            Err(_) => TrustStore::empty(),
        };
        Builder::new().build_with_connector_fn(move |settings, components| {
            let mut builder = ConnectorBuilder::default().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
            // With the trust store alone the context can't fail.
            if let Ok(context) = TlsContext::builder().with_trust_store(store.clone()).build() {
                builder.set_tls_context(context);
            }
            builder.set_connector_settings(settings.cloned());
            builder.set_proxy_config(Some(proxy.clone()));
            if let Some(components) = components {
                builder.set_sleep_impl(components.sleep_impl());
            }
            builder.build()
        })
    }
}

/// The clients of a [`Network`]: one for each way there is.
#[derive(Debug)]
struct Ways {
    shared: Arc<Shared>,
    direct: SharedHttpClient,
    by_proxy: PerScheme<SharedHttpClient>,
}

impl HttpClient for Ways {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let connector = |client: &SharedHttpClient| client.http_connector(settings, components);
        SharedHttpConnector::new(Crossing {
            shared: self.shared.clone(),
            direct: connector(&self.direct),
            by_proxy: self.by_proxy.as_ref().map(connector),
        })
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        Some(ConnectorMetadata::new("hyper", Some(Cow::Borrowed("1.x"))))
    }
}

/// Sends each request on its way, and tells of a failure which way that was.
#[derive(Debug)]
struct Crossing {
    shared: Arc<Shared>,
    direct: SharedHttpConnector,
    by_proxy: PerScheme<SharedHttpConnector>,
}

impl HttpConnector for Crossing {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let uri: Uri = match request.uri().parse() {
            Ok(uri) => uri,
            Err(error) => return failed(ConnectorError::user(Box::new(error))),
        };
        if is_https(&uri)
            && let Err(failure) = &self.shared.trust
        {
            return failed(ConnectorError::user(Box::new(failure.clone())));
        }
        let way = self.shared.proxies.way(&uri);
        let connector = match &way {
            Way::Direct => Some(&self.direct),
            Way::By(_) => self.by_proxy.of(&uri),
            Way::Nowhere(failure) => {
                return failed(ConnectorError::user(Box::new(NetworkFailure::clone(failure))));
            }
        };
        // Every proxy that can be used has a connector.
        let call = connector.unwrap_or(&self.direct).call(request);
        let (shared, told) = (self.shared.clone(), way.told(&uri));
        HttpConnectorFuture::new(async move {
            let answer = call.await;
            match (answer, told) {
                // No service of AWS answers 401; some proxies do, to a wrong password.
                (Ok(answer), Some(told)) if matches!(answer.status().as_u16(), 401 | 407) => {
                    Err(ConnectorError::user(Box::new(told.login_refused())))
                }
                (Ok(answer), _) => Ok(answer),
                (Err(error), told) => {
                    let trusted = shared.trust.as_ref().ok().map(|trusted| trusted.told.as_str());
                    Err(failure::told(error, told.as_ref(), trusted))
                }
            }
        })
    }
}

fn failed(error: ConnectorError) -> HttpConnectorFuture {
    HttpConnectorFuture::ready(Err(error))
}
