//! Certificates that are trusted, and versions of TLS.
use std::sync::Arc;

use super::{ONCE, assert_says, reads_ten, refused, secure_world};
use crate::support::stub::{in_own_process, variable};
use crate::support::{LocalFiles, World};
use kinesis_connector::{Engine, ErrorKind};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// Reads over HTTPS with these variables, in which `AUTHORITY` is replaced by a file with the service's certificate.
fn trusts_by(test: &str, variables: &[(&str, &str)]) {
    let folder = tempfile::TempDir::new().expect("a folder");
    let authority = folder.path().join("authority.pem").to_string_lossy().into_owned();
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, value.replace("AUTHORITY", &authority)))
        .chain([("TRUSTED", authority.clone())])
        .collect();
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    in_own_process(test, &variables, async {
        let world = secure_world().await;
        let certificate = world.sandbox.tls_certificate().expect("a certificate");
        std::fs::write(variable("TRUSTED"), certificate).expect("written");
        reads_ten(&world, &[ONCE]).await;
    });
}

#[test]
fn a_bundle_for_aws_is_trusted() {
    trusts_by("a_bundle_for_aws_is_trusted", &[("AWS_CA_BUNDLE", "AUTHORITY")]);
}

#[test]
fn a_bundle_for_aws_comes_before_that_for_all() {
    trusts_by(
        "a_bundle_for_aws_comes_before_that_for_all",
        &[("AWS_CA_BUNDLE", "AUTHORITY"), ("SSL_CERT_FILE", "/nowhere")],
    );
}

#[test]
fn what_cannot_be_trusted_is_refused_by_name() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).expect("a folder");
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        path.to_string_lossy().into_owned()
    };
    let nothing = file("nothing.pem", "# no certificate\n");
    let broken = file(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
    );
    let odd = file(
        "odd.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let empty = empty.to_string_lossy().into_owned();
    let cases = [
        ("AWS_CA_BUNDLE", "/nowhere", "No such file"),
        ("AWS_CA_BUNDLE", &empty, "directory"),
        ("AWS_CA_BUNDLE", &nothing, "no certificate"),
        ("AWS_CA_BUNDLE", &broken, "not a PEM file"),
        ("AWS_CA_BUNDLE", &odd, "no certificate"),
        ("SSL_CERT_FILE", &odd, "no certificate"),
        ("SSL_CERT_FILE", "/nowhere", "No such file"),
        ("SSL_CERT_FILE", &nothing, "no certificate"),
        ("SSL_CERT_DIR", &empty, "no certificate"),
    ];
    for (name, value, why) in cases {
        let variables = [(name, value), ("NAME", name), ("VALUE", value), ("WHY", why)];
        in_own_process("what_cannot_be_trusted_is_refused_by_name", &variables, async {
            let error = refused(&secure_world().await, &[ONCE]).await;
            assert_eq!(
                (error.kind(), error.is_retryable()),
                (ErrorKind::Transport, false),
                "{error}"
            );
            let (name, value, why) = (variable("NAME"), variable("VALUE"), variable("WHY"));
            assert_says(&error, &[&name, &value, &why, "SSL_CERT_FILE", "AWS_CA_BUNDLE"]);
            // Without encryption, no certificate has to be trusted.
            reads_ten(&World::with_shards(1).await, &[ONCE]).await;
        });
    }
}

/// The process lives on, as in a notebook.
#[test]
fn certificates_that_come_later_are_found() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let bundle = folder.path().join("bundle.pem").to_string_lossy().into_owned();
    let variables = [("AWS_CA_BUNDLE", bundle.as_str())];
    in_own_process("certificates_that_come_later_are_found", &variables, async {
        let world = secure_world().await;
        let engine = Engine::new();
        let open = || async {
            let planner = engine
                .open_planner(world.config(&[ONCE]), Arc::new(LocalFiles))
                .await?;
            planner.initial_offset().await
        };
        let error = open().await.expect_err("no certificates yet");
        assert_says(&error, &["AWS_CA_BUNDLE", "No such file"]);
        let certificate = world.sandbox.tls_certificate().expect("a certificate");
        std::fs::write(variable("AWS_CA_BUNDLE"), certificate).expect("written");
        open().await.expect("opened");
    });
}

#[test]
fn an_unknown_certificate_is_reported_with_what_is_trusted() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let bundle = folder.path().join("bundle.pem").to_string_lossy().into_owned();
    let variables = [("AWS_CA_BUNDLE", bundle.as_str())];
    in_own_process(
        "an_unknown_certificate_is_reported_with_what_is_trusted",
        &variables,
        async {
            let other = secure_world().await;
            let certificate = other.sandbox.tls_certificate().expect("a certificate");
            std::fs::write(variable("AWS_CA_BUNDLE"), certificate).expect("written");
            let error = refused(&secure_world().await, &[ONCE]).await;
            assert_says(
                &error,
                &[
                    "invalid peer certificate",
                    "AWS_CA_BUNDLE",
                    &variable("AWS_CA_BUNDLE"),
                ],
            );
        },
    );
}

/// TLS versions offered by a ClientHello (RFC 8446, section 4.2.1: extension 43).
fn offered_versions(hello: &[u8]) -> Vec<u16> {
    let number = |at: usize| usize::from(hello[at]) << 8 | usize::from(hello[at + 1]);
    // Record and handshake headers, version and random; then session id, cipher suites, compression methods.
    let mut at = 5 + 4 + 2 + 32;
    at += 1 + usize::from(hello[at]);
    at += 2 + number(at);
    at += 1 + usize::from(hello[at]);
    let end = at + 2 + number(at);
    at += 2;
    while at < end {
        let (kind, length) = (number(at), number(at + 2));
        if kind == 43 {
            let list = &hello[at + 5..at + 4 + length];
            return list
                .chunks(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .collect();
        }
        at += 4 + length;
    }
    Vec::new()
}

#[tokio::test]
async fn no_tls_before_1_2_is_offered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut world = World::with_shards(1).await;
    world.endpoint = format!("https://{}", listener.local_addr().expect("bound"));
    let hello = async {
        let (mut connection, _) = listener.accept().await.expect("a connection");
        let mut header = [0; 5];
        connection.read_exact(&mut header).await.expect("a record");
        let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        connection.read_exact(&mut hello).await.expect("a record");
        [&header[..], &hello].concat()
    };
    let (hello, refused) = tokio::join!(hello, world.try_query(&[ONCE]));
    assert!(refused.is_err());
    assert_eq!(offered_versions(&hello), [0x0304, 0x0303]);
}
