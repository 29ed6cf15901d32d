//! Network path to a service: its proxy and the trusted certificates.

mod failure;
mod proxies;
mod trust;

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

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

/// State shared by the HTTP clients of one access.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    proxies: Arc<Proxies>,
}

impl Network {
    /// Uses the proxy of the options, otherwise the environment's.
    pub fn of(proxy: Option<&ProxyOptions>) -> Self {
        Self {
            proxies: Arc::new(Proxies::of(proxy, |name| std::env::var(name).ok())),
        }
    }

    /// Uses no proxy, whatever the configuration: for services of this machine alone.
    pub fn direct() -> Self {
        Self {
            proxies: Arc::new(Proxies::none()),
        }
    }

    /// A client with its own connections. It trusts the certificates that the environment sets; a problem with them
    /// fails only the requests that need them.
    pub fn client(&self) -> SharedHttpClient {
        SharedHttpClient::new(Client {
            proxies: self.proxies.clone(),
            first: Ways::new(&self.proxies, Trusted::of_environment()),
            later: OnceLock::new(),
        })
    }
}

/// An HTTP client.
#[derive(Debug)]
struct Client {
    proxies: Arc<Proxies>,
    first: Ways,
    /// Replaces `first` once certificates are found that were missing at first.
    later: OnceLock<Ways>,
}

impl Client {
    fn ways(&self) -> &Ways {
        if self.first.trust.is_ok() {
            return &self.first;
        }
        if let Some(later) = self.later.get() {
            return later;
        }
        match Trusted::of_environment() {
            Ok(trusted) => self.later.get_or_init(|| Ways::new(&self.proxies, Ok(trusted))),
            // Still usable for unencrypted requests.
            Err(_) => &self.first,
        }
    }
}

impl HttpClient for Client {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let ways = self.ways();
        let connector = |client: &SharedHttpClient| client.http_connector(settings, components);
        SharedHttpConnector::new(Crossing {
            proxies: self.proxies.clone(),
            trust: ways.trust.clone(),
            direct: connector(&ways.direct),
            by_proxy: ways.by_proxy.as_ref().map(connector),
        })
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        Some(ConnectorMetadata::new("hyper", Some(Cow::Borrowed("1.x"))))
    }
}

/// One client for each way.
#[derive(Debug)]
struct Ways {
    trust: Arc<Result<Trusted, NetworkFailure>>,
    direct: SharedHttpClient,
    by_proxy: PerScheme<SharedHttpClient>,
}

impl Ways {
    fn new(proxies: &Proxies, trust: Result<Trusted, NetworkFailure>) -> Self {
        let store = match &trust {
            Ok(trusted) => trusted.store.clone(),
            // These clients carry unencrypted requests only.
            Err(_) => TrustStore::empty(),
        };
        Self {
            trust: Arc::new(trust),
            direct: client(&store, ProxyConfig::disabled()),
            by_proxy: proxies.usable().map(|proxy| client(&store, proxy.config())),
        }
    }
}

fn client(store: &TrustStore, proxy: ProxyConfig) -> SharedHttpClient {
    let store = store.clone();
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = ConnectorBuilder::default().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        // With only a trust store, building the context can't fail.
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

/// Routes each request, and adds the route to its failures.
#[derive(Debug)]
struct Crossing {
    proxies: Arc<Proxies>,
    trust: Arc<Result<Trusted, NetworkFailure>>,
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
            && let Err(failure) = &*self.trust
        {
            return failed(ConnectorError::user(Box::new(failure.clone())));
        }
        let way = self.proxies.way(&uri);
        let connector = match &way {
            Way::Direct => Some(&self.direct),
            Way::By(_) => self.by_proxy.of(&uri),
            Way::Nowhere(failure) => {
                return failed(ConnectorError::user(Box::new(NetworkFailure::clone(failure))));
            }
        };
        // Every usable proxy has a connector.
        let call = connector.unwrap_or(&self.direct).call(request);
        let (trust, by_proxy) = (self.trust.clone(), way.by_proxy(&uri));
        HttpConnectorFuture::new(async move {
            match (call.await, by_proxy) {
                // AWS services never answer 401; some proxies do after a wrong password.
                (Ok(answer), Some(by_proxy)) if matches!(answer.status().as_u16(), 401 | 407) => {
                    Err(ConnectorError::user(Box::new(by_proxy.login_refused())))
                }
                (Ok(answer), _) => Ok(answer),
                (Err(error), by_proxy) => {
                    let trusted = trust
                        .as_ref()
                        .as_ref()
                        .ok()
                        .map(|trusted| trusted.source.as_str());
                    Err(failure::with_path(error, by_proxy.as_ref(), trusted))
                }
            }
        })
    }
}

fn failed(error: ConnectorError) -> HttpConnectorFuture {
    HttpConnectorFuture::ready(Err(error))
}
