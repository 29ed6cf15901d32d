//! Addresses of services, and the regions in their host names.
use super::{Refusal, digits};

/// An http or https URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::options) struct Endpoint {
    pub(in crate::options) url: String,
    pub(in crate::options) host: String,
}

/// Parses an http or https URL with a host, and optionally a port and a path.
pub(in crate::options) fn endpoint(text: &str) -> Result<Endpoint, Refusal> {
    let (scheme, rest) = text
        .split_once("://")
        .ok_or("it does not start with http:// or https://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err("it does not start with http:// or https://".to_owned());
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("it contains white space".to_owned());
    }
    if rest.contains(['?', '#']) {
        return Err("it has a query or a fragment".to_owned());
    }
    let authority = rest.split('/').next().unwrap_or("");
    if authority.contains('@') {
        return Err("it holds a user's name".to_owned());
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            address
                .parse::<std::net::Ipv6Addr>()
                .map_err(|_| "its host is not one")?;
            (
                address,
                port.strip_prefix(':').or((!port.is_empty()).then_some("")),
            )
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host_name(host)?, Some(port)),
            None => (host_name(authority)?, None),
        },
    };
    if let Some(port) = port {
        match digits(port) {
            Some(1..=65_535) => {}
            _ => return Err("its port is not a number from 1 to 65535".to_owned()),
        }
    }
    Ok(Endpoint {
        url: text.to_owned(),
        host: host.to_ascii_lowercase(),
    })
}

fn host_name(host: &str) -> Result<&str, Refusal> {
    if host.is_empty() {
        return Err("it has no host".to_owned());
    }
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if host.strip_suffix('.').unwrap_or(host).split('.').all(label) {
        Ok(host)
    } else {
        Err("its host is not one".to_owned())
    }
}

/// The region in the name of one of AWS's own hosts: the label after the service's, as in
/// `kinesis.us-west-2.amazonaws.com`, `kinesis-fips.us-gov-west-1.amazonaws.com`,
/// `111122223333.data-kinesis.us-east-1.amazonaws.com`, `vpce-….kinesis.us-east-1.vpce.amazonaws.com` and
/// `kinesis.us-east-1.api.aws`.
pub(in crate::options) fn region_of_host(host: &str) -> Option<String> {
    region_of_service(host, "kinesis")
}

/// The region in the name of an STS host; us-east-1 for the oldest one, which has none in its name.
pub(in crate::options) fn region_of_sts_host(host: &str) -> Option<String> {
    match host.strip_suffix('.').unwrap_or(host) {
        "sts.amazonaws.com" => Some("us-east-1".to_owned()),
        host => region_of_service(host, "sts"),
    }
}

fn region_of_service(host: &str, service: &str) -> Option<String> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if ![".amazonaws.com", ".amazonaws.com.cn", ".api.aws"]
        .iter()
        .any(|domain| host.ends_with(domain))
    {
        return None;
    }
    let mut labels = host.split('.');
    labels.find(|label| {
        let label = label.strip_suffix("-fips").unwrap_or(label);
        label
            .strip_suffix(service)
            .is_some_and(|before| before.is_empty() || before.ends_with('-'))
    })?;
    let region = labels.next()?;
    let looks_like_one = region.contains('-') && region.ends_with(|c: char| c.is_ascii_digit());
    looks_like_one.then(|| region.to_owned())
}
