//! Selects the proxy for a request, if any.

use std::net::IpAddr;

use aws_smithy_http_client::proxy::ProxyConfig;
use http::Uri;
use http::uri::Authority;
use hyper_util::client::proxy::matcher::Matcher;

use super::NetworkFailure;
use super::failure::ByProxy;
use crate::error::ErrorKind;
use crate::options::ProxyOptions;

/// Variables with the addresses of a machine's or container's own credentials.
const METADATA: [&str; 2] = [
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
];

/// One value for HTTP requests and one for HTTPS.
#[derive(Debug)]
pub(super) struct PerScheme<T> {
    http: Option<T>,
    https: Option<T>,
}

impl<T> PerScheme<T> {
    /// The value for this address.
    pub fn of(&self, to: &Uri) -> Option<&T> {
        match is_https(to) {
            true => self.https.as_ref(),
            false => self.http.as_ref(),
        }
    }

    pub fn as_ref(&self) -> PerScheme<&T> {
        PerScheme {
            http: self.http.as_ref(),
            https: self.https.as_ref(),
        }
    }

    pub fn map<U>(self, map: impl Fn(T) -> U) -> PerScheme<U> {
        PerScheme {
            http: self.http.map(&map),
            https: self.https.map(map),
        }
    }
}

pub(super) fn is_https(to: &Uri) -> bool {
    to.scheme_str() == Some("https")
}

/// The configured proxies and their exceptions.
#[derive(Debug)]
pub(super) struct Proxies {
    proxies: PerScheme<Result<Proxy, NetworkFailure>>,
    /// Matches hosts outside `NO_PROXY`.
    not_excluded: Option<Matcher>,
    /// True if requests to this machine go by the proxies, too.
    for_this_machine: bool,
    metadata: Vec<Authority>,
}

/// A proxy. Its `Debug` output hides the password.
#[derive(Clone)]
pub(super) struct Proxy {
    /// Scheme, host and port.
    address: String,
    config: ProxyConfig,
    said_by: &'static str,
    login: &'static str,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Proxy").field(&self.address).finish()
    }
}

/// Route of a request.
pub(super) enum Way<'a> {
    Direct,
    By(&'a Proxy),
    /// A proxy that is configured but unusable.
    Nowhere(&'a NetworkFailure),
}

impl Way<'_> {
    /// The proxy's description for failures of requests to this address; none without a proxy.
    pub fn by_proxy(&self, to: &Uri) -> Option<ByProxy> {
        let Self::By(proxy) = self else {
            return None;
        };
        let port = to.port_u16().unwrap_or(if is_https(to) { 443 } else { 80 });
        Some(ByProxy {
            address: proxy.address.clone(),
            said_by: proxy.said_by,
            login: proxy.login,
            to: format!("{}:{port}", to.host().unwrap_or_default()),
        })
    }
}

impl Proxies {
    pub fn none() -> Self {
        Self {
            proxies: PerScheme {
                http: None,
                https: None,
            },
            not_excluded: None,
            for_this_machine: false,
            metadata: Vec::new(),
        }
    }

    /// The proxy of the options, otherwise the environment's.
    pub fn of(options: Option<&ProxyOptions>, variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let metadata = METADATA
            .iter()
            .filter_map(|name| set(name)?.parse::<Uri>().ok()?.authority().cloned())
            .collect();
        if let Some(options) = options {
            let proxy = Proxy::of_options(options);
            return Self {
                proxies: PerScheme {
                    http: Some(proxy.clone()),
                    https: Some(proxy),
                },
                for_this_machine: true,
                metadata,
                ..Self::none()
            };
        }
        let first = |names: [&'static str; 4]| {
            names
                .into_iter()
                .find_map(|name| Some(Proxy::of_environment(name, &set(name)?)))
        };
        Self {
            proxies: PerScheme {
                http: first(["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]),
                https: first(["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
            },
            not_excluded: set("NO_PROXY")
                .or_else(|| set("no_proxy"))
                .map(|rules| excluding(&rules)),
            for_this_machine: false,
            metadata,
        }
    }

    /// The usable proxies.
    pub fn usable(&self) -> PerScheme<&Proxy> {
        let PerScheme { http, https } = self.proxies.as_ref();
        PerScheme {
            http: http.and_then(|proxy| proxy.as_ref().ok()),
            https: https.and_then(|proxy| proxy.as_ref().ok()),
        }
    }

    /// Route of a request to this address.
    pub fn way(&self, to: &Uri) -> Way<'_> {
        match self.proxies.of(to) {
            Some(_) if self.excludes(to) => Way::Direct,
            Some(Ok(proxy)) => Way::By(proxy),
            Some(Err(failure)) => Way::Nowhere(failure),
            None => Way::Direct,
        }
    }

    fn excludes(&self, to: &Uri) -> bool {
        let place = to.host().map_or(Place::Elsewhere, place);
        place == Place::Link
            || (place == Place::Machine && !self.for_this_machine)
            || to.authority().is_some_and(|there| self.metadata.contains(there))
            || self
                .not_excluded
                .as_ref()
                .is_some_and(|matcher| matcher.intercept(to).is_none())
    }
}

/// Matches hosts outside these `NO_PROXY` rules. A leading star, which other programs accept, is dropped: a domain
/// covers its subdomains anyway.
fn excluding(rules: &str) -> Matcher {
    let rules: Vec<_> = rules
        .split([',', ' '])
        .map(str::trim)
        .map(|rule| match rule.strip_prefix("*.") {
            Some(domain) => format!(".{domain}"),
            None => rule.to_owned(),
        })
        .collect();
    Matcher::builder().all("http://any").no(rules.join(",")).build()
}

/// Location of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// This machine.
    Machine,
    /// Reachable only on this machine's link, never by a proxy: metadata of instances and containers.
    Link,
    Elsewhere,
}

fn place(host: &str) -> Place {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        return Place::Machine;
    }
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address) if address.is_loopback() || address.is_unspecified() => Place::Machine,
        Ok(IpAddr::V4(address)) if address.is_link_local() => Place::Link,
        // fd00:ec2::/32 holds the addresses of instance metadata and EKS Pod Identity.
        Ok(IpAddr::V6(address))
            if address.is_unicast_link_local() || matches!(address.segments(), [0xfd00, 0xec2, ..]) =>
        {
            Place::Link
        }
        _ => Place::Elsewhere,
    }
}

impl Proxy {
    fn of_options(options: &ProxyOptions) -> Result<Self, NetworkFailure> {
        let address = options.url();
        let said_by = options.keys.address;
        let config =
            ProxyConfig::all(address.as_str()).map_err(|error| unusable(said_by, &error.to_string()))?;
        let config = match &options.login {
            Some(login) => {
                config.with_basic_auth(encoded(login.username.expose()), encoded(login.password.expose()))
            }
            None => config,
        };
        Ok(Self {
            address,
            config,
            said_by,
            login: options.keys.login,
        })
    }

    /// Parses a variable's value `http://name:password@host:port`; the scheme is optional.
    fn of_environment(name: &'static str, value: &str) -> Result<Self, NetworkFailure> {
        let value = value.trim();
        let url = match value.contains("://") {
            true => value.to_owned(),
            false => format!("http://{value}"),
        };
        let uri: Uri = url.parse().map_err(|_| unusable(name, "it is not a URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(unusable(name, "its scheme is not http"));
        }
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| unusable(name, "it names no host"))?;
        let port = uri.port_u16().unwrap_or(80);
        Ok(Self {
            address: format!("http://{host}:{port}"),
            config: ProxyConfig::all(uri.clone()).map_err(|error| unusable(name, &error.to_string()))?,
            said_by: name,
            login: "the name and password in its value, http://name:password@host:port",
        })
    }

    pub fn config(&self) -> ProxyConfig {
        self.config.clone()
    }
}

fn unusable(said_by: &str, why: &str) -> NetworkFailure {
    NetworkFailure::new(
        ErrorKind::InvalidOption,
        format!(
            "{said_by} names no proxy that can be used: {why}. An HTTP proxy is meant, as http://host:port; the \
             options kinesis.proxyAddress and kinesis.proxyPort come before it"
        ),
    )
}

/// Percent-encodes a part of a URL before the @.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;

    fn of_environment(variables: &[(&str, &str)]) -> Proxies {
        Proxies::of(None, |name| {
            let set = variables.iter().find(|(set, _)| *set == name);
            set.map(|(_, value)| (*value).to_owned())
        })
    }

    fn way(proxies: &Proxies, to: &str) -> String {
        match proxies.way(&to.parse().expect("a URI")) {
            Way::Direct => "direct".to_owned(),
            Way::By(proxy) => proxy.address.clone(),
            Way::Nowhere(failure) => failure.to_string(),
        }
    }

    #[test]
    fn a_scheme_has_its_proxy_and_this_machine_none() {
        let proxies = of_environment(&[
            ("HTTP_PROXY", "http://plain:3128"),
            ("https_proxy", "secure:8080"),
            (
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "https://agent.internal:1338/v1/credentials",
            ),
        ]);
        assert_eq!(way(&proxies, "http://kinesis.test/"), "http://plain:3128");
        assert_eq!(
            way(&proxies, "https://kinesis.us-east-1.amazonaws.com/"),
            "http://secure:8080"
        );
        assert_eq!(way(&proxies, "https://agent.internal/"), "http://secure:8080");
        for here in [
            "http://127.0.0.1:4566/",
            "http://127.8.9.1/",
            "http://localhost:4566/",
            "https://LocalHost./",
            "https://a.localhost/",
            "http://[::1]:4566/",
            "http://[::ffff:127.0.0.1]/",
            "http://0.0.0.0:80/",
            "http://169.254.169.254/latest/meta-data/",
            "http://169.254.170.2/v2/credentials",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::254]/latest/meta-data/",
            "http://[fd00:ec2::23]/v1/credentials",
            "http://[fe80::1]/",
            "https://agent.internal:1338/v1/credentials",
        ] {
            assert_eq!(way(&proxies, here), "direct", "{here}");
        }
    }

    #[test]
    fn a_proxy_for_all_stands_in_and_empty_values_count_for_nothing() {
        let proxies = of_environment(&[
            ("HTTPS_PROXY", ""),
            ("ALL_PROXY", "http://all:3128"),
            ("NO_PROXY", " "),
        ]);
        assert_eq!(way(&proxies, "http://kinesis.test/"), "http://all:3128");
        assert_eq!(way(&proxies, "https://kinesis.test/"), "http://all:3128");
        assert_eq!(way(&of_environment(&[]), "https://kinesis.test/"), "direct");
    }

    #[test]
    fn hosts_of_no_proxy_go_by_none() {
        let rules = "internal.test, .example.org,*.vpce.amazonaws.com 10.0.0.0/8,192.168.1.7";
        let proxies = of_environment(&[("ALL_PROXY", "http://all:3128"), ("NO_PROXY", rules)]);
        for excluded in [
            "http://internal.test/",
            "https://kinesis.internal.test:443/",
            "https://a.example.org/",
            "https://vpce-1.kinesis.us-east-1.vpce.amazonaws.com/",
            "http://10.1.2.3/",
            "http://192.168.1.7:4566/",
        ] {
            assert_eq!(way(&proxies, excluded), "direct", "{excluded}");
        }
        for other in [
            "http://notinternal.test/",
            "https://kinesis.us-east-1.amazonaws.com/",
            "http://192.168.1.8/",
        ] {
            assert_eq!(way(&proxies, other), "http://all:3128", "{other}");
        }
        let none = of_environment(&[("ALL_PROXY", "http://all:3128"), ("no_proxy", "*")]);
        assert_eq!(way(&none, "https://kinesis.test/"), "direct");
    }

    #[test]
    fn a_value_that_names_no_http_proxy_is_an_error_where_it_counts() {
        for bad in ["socks5://p:1080", "https://p:443", "http://", "http://p p:1"] {
            let proxies = of_environment(&[("HTTPS_PROXY", bad)]);
            let shown = way(&proxies, "https://kinesis.test/");
            assert!(
                shown.contains("HTTPS_PROXY names no proxy that can be used"),
                "{bad}: {shown}"
            );
            assert_eq!(way(&proxies, "http://kinesis.test/"), "direct");
            assert_eq!(way(&proxies, "https://localhost/"), "direct");
        }
    }

    #[test]
    fn a_proxy_of_the_options_is_for_all_but_metadata_and_its_password_is_not_shown() {
        let all = [
            ("kinesis.streamName", "s"),
            ("kinesis.proxyAddress", "proxy.test"),
            ("kinesis.proxyPort", "3128"),
            ("kinesis.proxyUsername", "me"),
            ("kinesis.proxyPassword", "h@sh:1/2%"),
        ];
        let all = all.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let options = options::source(&all.into()).expect("options").options;
        let elsewhere = |name: &str| match name {
            "NO_PROXY" => Some("*".to_owned()),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT" => Some("http://127.0.0.1:1338".to_owned()),
            _ => Some("http://elsewhere:1".to_owned()),
        };
        let proxies = Proxies::of(options.access.proxy.as_ref(), elsewhere);
        for to in [
            "http://127.0.0.1:4566/",
            "https://kinesis.test/",
            "http://localhost/",
        ] {
            assert_eq!(way(&proxies, to), "http://proxy.test:3128");
        }
        for metadata in [
            "http://127.0.0.1:1338/latest",
            "http://169.254.170.2/v2/credentials",
        ] {
            assert_eq!(way(&proxies, metadata), "direct", "{metadata}");
        }
        let shown = format!("{proxies:?} {:?}", options.access);
        assert!(!shown.contains("h@sh") && !shown.contains("h%40sh"), "{shown}");
    }
}
