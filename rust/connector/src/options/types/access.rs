//! How AWS's services are called: accounts, credentials, proxies, retries.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::super::GivesCredentials;

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for signing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// Text shown in place of a secret value.
pub(in crate::options) const HIDDEN: &str = "*********(redacted)";

/// The service's address and the credentials for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessOptions {
    /// The stream's region: the one in the endpoint's host if that is AWS's, otherwise `kinesis.kinesisRegion`,
    /// `kinesis.region`, or the one in the stream's ARN. `None`: the AWS default chain's.
    pub region: Option<String>,
    /// The service's address; `None`: the region's.
    pub endpoint_url: Option<String>,
    /// The role to assume, with `static_keys` or the `provider` if given, otherwise with the AWS default chain.
    pub sts_role_arn: Option<String>,
    /// The role session's name; `None`: a generated one.
    pub sts_session_name: Option<String>,
    /// STS's address, to assume the role; `None`: the region's STS.
    pub sts_endpoint_url: Option<String>,
    /// The region in `sts_endpoint_url` if its host is AWS's, for which STS requests are signed; `None`: `region`.
    pub sts_region: Option<String>,
    /// The external ID for AssumeRole.
    pub sts_external_id: Option<String>,
    /// Keys to use instead of the AWS default chain.
    pub static_keys: Option<StaticKeys>,
    /// The job's credentials class, to use instead of the AWS default chain.
    pub provider: Option<ProviderClass>,
    /// The proxy to use; `None`: the environment's, if it names one.
    pub proxy: Option<ProxyOptions>,
}

/// A class of the job that provides credentials.
#[derive(Clone)]
pub struct ProviderClass {
    /// Name of the class.
    pub name: String,
    /// Argument for its construction.
    pub param: Option<Secret>,
    /// Access to the class, which differs between processes: set by [`Self::bind`].
    pub(crate) given_by: Option<Arc<dyn GivesCredentials>>,
}

impl ProviderClass {
    /// A class that can't be called yet.
    pub fn new(name: impl Into<String>, param: Option<Secret>) -> Self {
        Self {
            name: name.into(),
            param,
            given_by: None,
        }
    }

    /// Sets the access to the class.
    pub fn bind(&mut self, given_by: Arc<dyn GivesCredentials>) {
        self.given_by = Some(given_by);
    }

    fn id(&self) -> Option<u64> {
        self.given_by.as_ref().map(|given_by| given_by.id())
    }
}

impl PartialEq for ProviderClass {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.param == other.param && self.id() == other.id()
    }
}

impl Eq for ProviderClass {}

impl fmt::Debug for ProviderClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderClass")
            .field("name", &self.name)
            .field("param", &self.param)
            .finish_non_exhaustive()
    }
}

/// An HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyOptions {
    /// The host; an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its credentials, if it requires some.
    pub login: Option<ProxyLogin>,
    /// The options that set it, for messages.
    pub keys: ProxyKeys,
}

impl ProxyOptions {
    /// The URL of scheme, host and port.
    pub fn url(&self) -> String {
        match self.host.contains(':') {
            true => format!("http://[{}]:{}", self.host, self.port),
            false => format!("http://{}:{}", self.host, self.port),
        }
    }
}

/// A proxy's user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyLogin {
    /// The name, which is not shown either.
    pub username: Secret,
    /// The password.
    pub password: Secret,
}

/// The options of a proxy, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyKeys {
    /// The option with the address.
    pub address: &'static str,
    /// The options with name and password.
    pub login: &'static str,
}

/// Region, credentials and proxy for the stores of claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreAccess {
    /// The stores' region; `None`: the AWS default chain's.
    pub region: Option<String>,
    /// The job's own keys from the JVM's system properties, to use instead of the AWS default chain.
    pub job_keys: Option<StaticKeys>,
    /// The options' keys, which are the stream's: used if the AWS default chain has no credentials.
    pub stream_keys: Option<StaticKeys>,
    /// The options' class, which is the stream's: used if the AWS default chain has no credentials.
    pub stream_provider: Option<ProviderClass>,
    /// The proxy to use; `None`: the environment's, if it names one.
    pub proxy: Option<ProxyOptions>,
}

/// Static AWS keys.
#[derive(Clone, PartialEq, Eq)]
pub struct StaticKeys {
    /// The key's ID, which is not shown either, as in Spark.
    pub access_key_id: String,
    /// The secret key.
    pub secret: Secret,
    /// The session token of temporary keys.
    pub session_token: Option<Secret>,
}

impl fmt::Debug for StaticKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticKeys")
            .field("access_key_id", &format_args!("{HIDDEN}"))
            .field("secret", &self.secret)
            .field("session_token", &self.session_token)
            .finish()
    }
}

/// Retries of a failed request. The wait between them doubles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOptions {
    /// Maximum number of attempts after the first.
    pub retries: u32,
    /// The first wait; not above `max_interval`.
    pub interval: Duration,
    /// The longest wait.
    pub max_interval: Duration,
}
