//! The proxy.

use super::*;

const PORT: (&str, &str) = ("kinesis.proxyPort", "3128");

fn url(proxy: Option<ProxyOptions>) -> Option<String> {
    proxy.map(|proxy| proxy.url())
}

#[test]
fn a_proxy_is_a_host_and_a_port() {
    for (address, port, expected) in [
        ("proxy.test", Some("3128"), "http://proxy.test:3128"),
        ("http://proxy.test", Some("3128"), "http://proxy.test:3128"),
        ("HTTP://Proxy.test:3128/", None, "http://proxy.test:3128"),
        ("10.0.0.1:8080", Some("8080"), "http://10.0.0.1:8080"),
        ("fe80::1", Some("80"), "http://[fe80::1]:80"),
        ("[fe80::1]:80", None, "http://[fe80::1]:80"),
    ] {
        let port = port.map(|port| ("kinesis.proxyPort", port));
        let pairs: Vec<_> = [("kinesis.proxyAddress", address)]
            .into_iter()
            .chain(port)
            .collect();
        let options = read(&pairs);
        assert_eq!(url(options.access.proxy.clone()).as_deref(), Some(expected));
        assert_eq!(options.store_access().proxy, options.access.proxy);
        assert_eq!(url(write(&pairs).access.proxy).as_deref(), Some(expected));
    }
    let login = read(&[
        ("kinesis.proxyAddress", "proxy.test:3128"),
        ("kinesis.proxyUsername", "me"),
        ("kinesis.proxyPassword", "hush"),
    ]);
    let login = login.access.proxy.unwrap().login.unwrap();
    assert_eq!((login.username.expose(), login.password.expose()), ("me", "hush"));
}

#[test]
fn that_of_the_sink_comes_first_for_a_write_and_is_none_for_a_read() {
    let both = [
        ("kinesis.proxyAddress", "general.test:1"),
        ("kinesis.proxyUsername", "me"),
        ("kinesis.proxyPassword", "hush"),
        ("kinesis.sink.proxyAddress", "own.test"),
        ("kinesis.sink.proxyPort", "2"),
    ];
    let own = write(&both).access.proxy.unwrap();
    assert_eq!((own.url().as_str(), &own.login), ("http://own.test:2", &None));
    assert_eq!(
        own.keys.login,
        "kinesis.sink.proxyUsername and kinesis.sink.proxyPassword"
    );
    assert_eq!(
        url(write(&both[..3]).access.proxy).as_deref(),
        Some("http://general.test:1")
    );
    let parsed = source(&with_name(&both)).unwrap();
    assert_eq!(
        url(parsed.options.access.proxy).as_deref(),
        Some("http://general.test:1")
    );
    assert_eq!(
        parsed.warnings[0],
        "kinesis.sink.proxyAddress has no effect: it is an option of writing (writeStream, write)"
    );
    assert_eq!(read(&both[3..]).access.proxy, None);
}

#[test]
fn what_does_not_stand_together_is_refused() {
    for (given, missing) in [
        ("kinesis.proxyPort", "kinesis.proxyAddress"),
        ("kinesis.proxyUsername", "kinesis.proxyAddress"),
        ("kinesis.proxyPassword", "kinesis.proxyAddress"),
        ("kinesis.sink.proxyPort", "kinesis.sink.proxyAddress"),
    ] {
        let message = format!("{given} is given without {missing}: give both or neither");
        assert_refused(&write_error(&[(given, "1")]), missing, &message);
    }
    let address = ("kinesis.proxyAddress", "proxy.test");
    for (given, missing) in [
        ("kinesis.proxyUsername", "kinesis.proxyPassword"),
        ("kinesis.proxyPassword", "kinesis.proxyUsername"),
    ] {
        let message = format!("{given} is given without {missing}: give both or neither");
        assert_refused(&read_error(&[address, PORT, (given, "hush")]), missing, &message);
    }
    assert_refused(
        &read_error(&[address]),
        "kinesis.proxyPort",
        "kinesis.proxyPort is missing: give the port of the proxy",
    );
    assert_refused(
        &read_error(&[("kinesis.proxyAddress", "proxy.test:80"), PORT]),
        "kinesis.proxyPort",
        "kinesis.proxyPort is 3128, but kinesis.proxyAddress has the port 80: remove one, or make them agree",
    );
}

#[test]
fn what_is_no_address_is_refused_without_a_password_in_it() {
    for (address, shown, why) in [
        (
            "https://proxy.test:3128",
            "https://proxy.test:3128",
            "its scheme is \"https\", and only http is possible",
        ),
        (
            "socks5://proxy.test",
            "socks5://proxy.test",
            "its scheme is \"socks5\", and only http is possible",
        ),
        (
            "http://me:hush@proxy.test:1",
            "http://***@proxy.test:1",
            "it holds a user's name",
        ),
        (
            "me:hush@proxy.test:1",
            "***@proxy.test:1",
            "it holds a user's name",
        ),
        ("proxy.test:1/path", "proxy.test:1/path", "it has a path"),
        ("proxy test", "proxy test", "it contains white space"),
        (
            "proxy.test:99999",
            "proxy.test:99999",
            "its port is not a number from 1 to 65535",
        ),
    ] {
        assert_refused(
            &read_error(&[("kinesis.proxyAddress", address), PORT]),
            "kinesis.proxyAddress",
            &format!(
                "kinesis.proxyAddress is \"{shown}\": {why}. Allowed: the name or address of a host, such as \
                 proxy.example.com or http://proxy.example.com:3128"
            ),
        );
    }
    assert_refused(
        &write_error(&[("kinesis.sink.proxyPort", "99999")]),
        "kinesis.sink.proxyPort",
        "kinesis.sink.proxyPort is \"99999\": it is too large. Allowed: a whole number from 1 to 65535",
    );
}
