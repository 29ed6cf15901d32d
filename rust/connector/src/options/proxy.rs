//! The proxy: options for reading and writing, and options of the sink alone, which take precedence for a write.

use super::parse::{self, Refusal};
use super::raw::{RawOptions, conflict};
use super::spec::{OptionSpec, User};
use super::table as t;
use super::types::{ProxyKeys, ProxyLogin, ProxyOptions, Secret};
use crate::error::Result;

/// The four options of a proxy.
struct Rows {
    address: &'static OptionSpec,
    port: &'static OptionSpec,
    username: &'static OptionSpec,
    password: &'static OptionSpec,
    login: &'static str,
}

const OF_BOTH_SIDES: Rows = Rows {
    address: &t::PROXY_ADDRESS,
    port: &t::PROXY_PORT,
    username: &t::PROXY_USERNAME,
    password: &t::PROXY_PASSWORD,
    login: "kinesis.proxyUsername and kinesis.proxyPassword",
};
const OF_THE_SINK: Rows = Rows {
    address: &t::SINK_PROXY_ADDRESS,
    port: &t::SINK_PROXY_PORT,
    username: &t::SINK_PROXY_USERNAME,
    password: &t::SINK_PROXY_PASSWORD,
    login: "kinesis.sink.proxyUsername and kinesis.sink.proxyPassword",
};

/// The proxy in the options; a write uses the sink's own options first.
pub(super) fn parse(raw: &RawOptions, user: User) -> Result<Option<ProxyOptions>> {
    let own = match user {
        User::Sink => of(raw, &OF_THE_SINK)?,
        User::Source | User::BatchRead => None,
    };
    let general = of(raw, &OF_BOTH_SIDES)?;
    Ok(own.or(general))
}

fn of(raw: &RawOptions, rows: &Rows) -> Result<Option<ProxyOptions>> {
    let address = raw.get(rows.address, host_and_port)?;
    let port: Option<u16> = raw.number_as(rows.port)?;
    let username = raw.text(rows.username)?.map(Secret::new);
    let password = raw.text(rows.password)?.map(Secret::new);
    let without = |given: &OptionSpec, missing: &'static OptionSpec| {
        conflict(
            missing,
            format!(
                "{} is given without {}: give both or neither",
                given.key, missing.key
            ),
        )
    };
    let Some((host, port_of_address)) = address else {
        return match [rows.port, rows.username, rows.password]
            .into_iter()
            .find(|row| raw.has(row))
        {
            Some(given) => Err(without(given, rows.address)),
            None => Ok(None),
        };
    };
    let port = match (port, port_of_address) {
        (Some(port), Some(of_address)) if port != of_address => {
            return Err(conflict(
                rows.port,
                format!(
                    "{} is {port}, but {} has the port {of_address}: remove one, or make them agree",
                    rows.port.key, rows.address.key
                ),
            ));
        }
        (Some(port), _) | (None, Some(port)) => port,
        (None, None) => {
            return Err(conflict(
                rows.port,
                format!("{} is missing: give the port of the proxy", rows.port.key),
            ));
        }
    };
    let login = match (username, password) {
        (Some(username), Some(password)) => Some(ProxyLogin { username, password }),
        (Some(_), None) => return Err(without(rows.username, rows.password)),
        (None, Some(_)) => return Err(without(rows.password, rows.username)),
        (None, None) => None,
    };
    Ok(Some(ProxyOptions {
        host,
        port,
        login,
        keys: ProxyKeys {
            address: rows.address.key,
            login: rows.login,
        },
    }))
}

/// A host, optionally with `http://` before it and a port after it.
fn host_and_port(text: &str) -> Result<(String, Option<u16>), Refusal> {
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok((text.to_owned(), None));
    }
    let url = match text.split_once("://") {
        Some((scheme, _)) if !scheme.eq_ignore_ascii_case("http") => {
            return Err(format!("its scheme is {scheme:?}, and only http is possible"));
        }
        Some(_) => text.to_owned(),
        None => format!("http://{text}"),
    };
    let endpoint = parse::endpoint(&url)?;
    let authority = match url.split_once("://").and_then(|(_, rest)| rest.split_once('/')) {
        Some((_, path)) if !path.is_empty() => return Err("it has a path".to_owned()),
        _ => url.trim_end_matches('/'),
    };
    // Checked above: the text after the last colon is a port, unless it is inside an IPv6 address.
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    Ok((endpoint.host, port))
}
