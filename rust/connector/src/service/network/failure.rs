//! Failures between client and service, with the network path in their messages.

use std::error::Error as StdError;
use std::fmt;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::result::ConnectorError;

use crate::error::ErrorKind;

/// A failure that stops every request until the configuration changes: a refusing proxy, missing certificates.
#[derive(Clone, Debug)]
pub(crate) struct NetworkFailure {
    /// The failure's kind.
    pub kind: ErrorKind,
    message: String,
}

impl NetworkFailure {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// The failure among an error's causes.
    pub fn in_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        causes(error).find_map(|cause| cause.downcast_ref())
    }
}

impl fmt::Display for NetworkFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for NetworkFailure {}

/// A proxy on the way to a host, described for messages.
#[derive(Clone, Debug)]
pub(super) struct ByProxy {
    /// Address without user name and password.
    pub address: String,
    /// The option or variable that set the proxy.
    pub said_by: &'static str,
    /// The option or variable that holds user name and password.
    pub login: &'static str,
    /// The service's host and port.
    pub to: String,
}

impl ByProxy {
    /// The proxy demands another user name or password.
    pub fn login_refused(&self) -> NetworkFailure {
        NetworkFailure::new(
            ErrorKind::Access,
            format!(
                "the proxy {} ({}) refused the way to {} (Proxy Authentication Required): check {}",
                self.address, self.said_by, self.to, self.login
            ),
        )
    }
}

/// A connector's error with a message in front.
#[derive(Debug)]
struct InWords {
    words: String,
    source: BoxError,
}

impl fmt::Display for InWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl StdError for InWords {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.source.as_ref())
    }
}

/// Message texts by which the HTTP client's errors are recognized; it has no other sign of them.
const LOGIN_REFUSED: &str = "proxy authorization required";
const NO_TUNNEL: &str = "tunnel error: unsuccessful";
const UNTRUSTED: &str = "invalid peer certificate";

/// A connector's error, of the same kind, with the proxy on the way and, after a refused certificate, the trusted
/// ones.
pub(super) fn with_path(
    error: ConnectorError,
    proxy: Option<&ByProxy>,
    trusted: Option<&str>,
) -> ConnectorError {
    let says = |words: &str| causes(&error).any(|cause| cause.to_string().contains(words));
    if let Some(proxy) = proxy
        && says(LOGIN_REFUSED)
    {
        return ConnectorError::user(Box::new(proxy.login_refused()));
    }
    let by_proxy = proxy.map(|proxy| {
        let way = format!(
            "by the proxy {} ({}) to {}",
            proxy.address, proxy.said_by, proxy.to
        );
        // The reason is in the response status, which the client hides; some proxies refuse a wrong password this
        // way.
        match says(NO_TUNNEL) {
            true => format!(
                "{way}, which refused (check what it lets through, and {})",
                proxy.login
            ),
            false => way,
        }
    });
    let trusted = trusted
        .filter(|_| says(UNTRUSTED))
        .map(|trusted| format!("nobody of those trusted ({trusted}) vouches for the certificate"));
    let words: Vec<_> = [by_proxy, trusted].into_iter().flatten().collect();
    match words.is_empty() {
        true => error,
        false => with_words(error, words.join(", ")),
    }
}

fn with_words(error: ConnectorError, words: String) -> ConnectorError {
    let (timeout, io, user, other) = (
        error.is_timeout(),
        error.is_io(),
        error.is_user(),
        error.as_other(),
    );
    let connection = error.connection_metadata().cloned();
    let source = error.into_source();
    let described = Box::new(InWords { words, source });
    let error = match (timeout, io, user) {
        (true, ..) => ConnectorError::timeout(described),
        (_, true, _) => ConnectorError::io(described),
        (.., true) => ConnectorError::user(described),
        _ => ConnectorError::other(described, other),
    };
    match connection {
        Some(connection) => error.with_connection(connection),
        None => error,
    }
}

/// An error, its cause, and so on.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
