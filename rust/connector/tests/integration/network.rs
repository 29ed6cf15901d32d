//! Network access to the services: proxies and trusted certificates.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::support::stub::{Answer, Seen, Stub, in_own_process, session, variable};
use crate::support::{LocalFiles, STREAM, World, assert_exact, store_options};
use kinesis_connector::claims::backends::dynamodb::DynamoDbStore;
use kinesis_connector::claims::backends::s3::S3Store;
use kinesis_connector::claims::{ClaimKey, ClaimStore};
use kinesis_connector::options::S3Location;
use kinesis_connector::{Engine, Error, ErrorKind, SinkConfig};
use kinesis_sandbox::{Sandbox, SandboxConfig};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// Disables retries.
const ONCE: (&str, &str) = ("kinesis.clientNumRetries", "0");
/// Clears the options' static keys, so that the credentials chain is used.
const BY_CHAIN: [(&str, &str); 2] = [("kinesis.awsAccessKeyId", ""), ("kinesis.awsSecretKey", "")];

/// The error of a query with these options at its start.
async fn refused(world: &World, options: &[(&str, &str)]) -> Error {
    match world.try_query(options).await {
        Ok(_) => panic!("the query opens"),
        Err(error) => error,
    }
}

async fn reads_ten(world: &World, options: &[(&str, &str)]) {
    world.put("r", 0..10).await;
    let mut query = world.query(options).await;
    assert_exact(&query.rows(10).await, "r", 0..10);
}

fn assert_says(error: &Error, parts: &[&str]) {
    for part in parts {
        assert!(error.message().contains(part), "{part} in: {error}");
    }
}

/// A proxy that refuses everybody.
async fn closed_proxy() -> Stub {
    Stub::start(|_, _| Answer::of(407, "who are you?")).await
}

/// A sandbox with one shard, called over HTTPS.
async fn secure_world() -> World {
    let config = SandboxConfig {
        tls_port: Some(0),
        ..SandboxConfig::default()
    };
    let sandbox = Sandbox::start(config).await.expect("the sandbox starts");
    let endpoint = sandbox.tls_endpoint().expect("HTTPS");
    let mut world = World::with(sandbox, 1).await;
    world.endpoint = endpoint;
    world
}

#[test]
fn a_proxy_of_the_environment_is_not_for_this_machine_and_its_metadata() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let proxy = runtime.block_on(closed_proxy());
    let variables: Vec<_> = [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
    ]
    .map(|name| (name, proxy.endpoint.as_str()))
    .into();
    let here = in_own_process(
        "a_proxy_of_the_environment_is_not_for_this_machine_and_its_metadata",
        &variables,
        async {
            reads_ten(&World::with_shards(1).await, &[ONCE]).await;
        },
    );
    assert!(!here || proxy.seen().is_empty(), "{:?}", proxy.seen());
}

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

/// Options for a proxy that requires a user name and password.
fn proxy_options(proxy: &Stub) -> [(&'static str, String); 3] {
    [
        ("kinesis.proxyAddress", proxy.endpoint.clone()),
        ("kinesis.proxyUsername", "me".to_owned()),
        ("kinesis.proxyPassword", "h@sh:1/2%".to_owned()),
    ]
}

/// Encoded `me` and `h@sh:1/2%`.
const LOGIN: &str = "Basic bWU6aEBzaDoxLzIl";

fn with<'a>(
    options: &'a [(&'static str, String)],
    more: &[(&'static str, &'a str)],
) -> Vec<(&'static str, &'a str)> {
    let options = options.iter().map(|(key, value)| (*key, value.as_str()));
    options.chain(more.iter().copied()).collect()
}

/// Requests a claim from a table and from a bucket; returns both results.
async fn ask_stores(more: &[(&str, &str)]) -> [kinesis_connector::Result<()>; 2] {
    let key = ClaimKey {
        source: "s".to_owned(),
        batch: 1,
        shard: "shardId-0".into(),
    };
    let table = [
        ("kinesis.metadataCommitterType", "DYNAMODB"),
        ("kinesis.dynamodb.tableName", "claims"),
    ];
    let of_table: Vec<_> = more
        .iter()
        .filter(|(key, _)| !key.contains(".s3."))
        .chain(&table)
        .copied()
        .collect();
    let table = DynamoDbStore::new(&store_options("us-east-1", &of_table)).expect("a store");
    let of_bucket: Vec<_> = more
        .iter()
        .filter(|(key, _)| !key.contains(".dynamodb."))
        .copied()
        .collect();
    let location = S3Location::parse("s3://claims/x")
        .expect("a path")
        .expect("of S3");
    let bucket = S3Store::new(&store_options("us-east-1", &of_bucket), &location);
    [
        table.get(&key).await.map(|found| assert_eq!(found, None)),
        bucket.get(&key).await.map(|found| assert_eq!(found, None)),
    ]
}

/// Distinct targets of a proxy's requests.
fn places(proxy: &Stub) -> Vec<String> {
    let mut places: Vec<_> = proxy.seen().iter().map(|seen| seen.path.clone()).collect();
    places.sort();
    places.dedup();
    places
}

/// The services behind the proxy in one: a store without content, and an STS.
fn behind(number: usize, seen: &Seen) -> Answer {
    if seen.path.contains("sts") {
        session(seen, number, 3_600)
    } else if seen.path.contains("bucket") {
        Answer::of(404, "<Error><Code>NoSuchKey</Code></Error>")
    } else {
        Answer::of(200, "{}")
    }
}

/// Requests over plain HTTP reach the proxy with the full address and its password.
#[test]
fn every_service_is_called_by_the_proxy_of_the_options_and_metadata_by_none() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let token = folder.path().join("token").to_string_lossy().into_owned();
    std::fs::write(&token, "token").expect("written");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let elsewhere = runtime.block_on(closed_proxy());
    // An instance without a role.
    let imds = runtime.block_on(Stub::start(|_, seen| match seen.path.as_str() {
        "/latest/api/token" => Answer {
            headers: vec![("x-aws-ec2-metadata-token-ttl-seconds", "21600".to_owned())],
            ..Answer::of(200, "token")
        },
        _ => Answer::of(404, ""),
    }));
    let name = "every_service_is_called_by_the_proxy_of_the_options_and_metadata_by_none";
    let fixed = [
        ("ALL_PROXY", elsewhere.endpoint.as_str()),
        ("NO_PROXY", "*"),
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.endpoint.as_str()),
    ];
    // Without web identity, the chain reaches the instance's metadata.
    let web_identity = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/job"),
        ("AWS_ENDPOINT_URL_STS", "http://chain-sts.test"),
    ];
    for (variables, keys) in [(&web_identity[..], ""), (&[], "AKIDTEST")] {
        let variables = [&fixed[..], variables, &[("KEYS", keys)]].concat();
        let here = in_own_process(name, &variables, async {
            let proxy = Stub::start(behind).await;
            let options = proxy_options(&proxy);
            let keys = variable("KEYS");
            let keys = match keys.as_str() {
                "" => vec![],
                keys => vec![
                    ("kinesis.awsAccessKeyId", keys),
                    ("kinesis.awsSecretKey", "secret"),
                ],
            };
            let stores = [
                ("kinesis.dynamodb.endpointUrl", "http://table.test"),
                ("kinesis.s3.endpointUrl", "http://bucket.test"),
            ];
            let answers = ask_stores(&with(&options, &[&stores[..], &keys].concat())).await;
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");

            let role = [
                ("kinesis.stsRoleArn", "arn:aws:iam::123456789012:role/reader"),
                ("kinesis.stsEndpointUrl", "http://role-sts.test"),
                ONCE,
            ];
            let mut world = World::with_shards(1).await;
            world.endpoint = "http://stream.test".to_owned();
            // The stream's response does not matter.
            let _ = world
                .try_query(&with(&options, &[&role[..], &BY_CHAIN, &keys].concat()))
                .await;

            let mut expected = vec![
                "http://bucket.test/claims/",
                "http://bucket.test/claims/x/s/00000000000000000001/shardId-0?x-id=GetObject",
                "http://role-sts.test/",
                "http://stream.test/",
                "http://table.test/",
            ];
            if keys.is_empty() {
                expected.push("http://chain-sts.test/");
                expected.sort_unstable();
            }
            assert_eq!(places(&proxy), expected);
            for seen in proxy.seen() {
                assert_eq!(seen.header("proxy-authorization"), LOGIN, "{seen:?}");
            }
        });
        assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
        assert_eq!(here && imds.seen().is_empty(), here && keys.is_empty());
    }
}

/// The environment's proxy records the connector's targets, and forwards nothing.
#[test]
fn fips_and_dual_stack_are_switched_by_the_environment() {
    let name = "fips_and_dual_stack_are_switched_by_the_environment";
    let plain = [
        "claims.s3.us-east-1.amazonaws.com:443",
        "dynamodb.us-east-1.amazonaws.com:443",
        "kinesis.us-east-1.amazonaws.com:443",
        "sts.us-east-1.amazonaws.com:443",
    ];
    let fips = [
        "claims.s3-fips.us-east-1.amazonaws.com:443",
        "dynamodb-fips.us-east-1.amazonaws.com:443",
        "kinesis-fips.us-east-1.amazonaws.com:443",
        "sts-fips.us-east-1.amazonaws.com:443",
    ];
    let dual_stack = [
        "claims.s3.dualstack.us-east-1.amazonaws.com:443",
        "dynamodb.us-east-1.api.aws:443",
        "kinesis.us-east-1.api.aws:443",
        "sts.us-east-1.api.aws:443",
    ];
    let both = [
        "claims.s3-fips.dualstack.us-east-1.amazonaws.com:443",
        "dynamodb-fips.us-east-1.api.aws:443",
        "kinesis-fips.us-east-1.api.aws:443",
        "sts-fips.us-east-1.api.aws:443",
    ];
    let (fips_on, dual_on) = (
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
    );
    for (switches, expected) in [
        (vec![], plain),
        (vec![fips_on], fips),
        (vec![dual_on], dual_stack),
        (vec![fips_on, dual_on], both),
    ] {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let proxy = runtime.block_on(closed_proxy());
        let variables = [("HTTPS_PROXY", proxy.endpoint.as_str())];
        let here = in_own_process(name, &[&variables[..], &switches].concat(), async {
            let keys = [
                ("kinesis.awsAccessKeyId", "AKIDTEST"),
                ("kinesis.awsSecretKey", "secret"),
            ];
            for answer in ask_stores(&keys).await {
                let error = answer.expect_err("no way");
                assert_says(&error, &["the proxy", "HTTPS_PROXY", ":443"]);
            }
            let mut world = World::with_shards(1).await;
            world.endpoint = String::new();
            refused(&world, &[ONCE]).await;
            refused(
                &world,
                &[
                    ONCE,
                    ("kinesis.stsRoleArn", "arn:aws:iam::123456789012:role/reader"),
                ],
            )
            .await;
        });
        if here {
            assert_eq!(places(&proxy), expected);
        }
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_is_reported_with_its_options() {
    let world = World::with_shards(1).await;
    let proxy = closed_proxy().await;
    let options = proxy_options(&proxy);
    // By absolute address, and through a tunnel.
    for (endpoint, port) in [("http://stream.test", "80"), ("https://stream.test", "443")] {
        let error = refused(&world, &with(&options, &[("kinesis.endpointUrl", endpoint)])).await;
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Access, false),
            "{error}"
        );
        assert_says(
            &error,
            &[
                "the proxy",
                &proxy.endpoint,
                "Proxy Authentication Required",
                &format!("stream.test:{port}"),
                "kinesis.proxyUsername and kinesis.proxyPassword",
            ],
        );
        assert!(
            !error.to_string().contains("h@sh") && !error.to_string().contains("bWU6"),
            "{error}"
        );
    }
    assert_eq!(proxy.seen().len(), 2, "a refusal is no failure that passes");

    let mut of_sink: BTreeMap<_, _> = options
        .iter()
        .map(|(key, value)| (key.replace("kinesis.", "kinesis.sink."), value.clone()))
        .collect();
    of_sink.extend(
        [
            ("kinesis.streamName", STREAM),
            ("kinesis.region", "us-east-1"),
            ("kinesis.endpointUrl", "https://stream.test"),
            ("kinesis.awsAccessKeyId", "AKIDTEST"),
            ("kinesis.awsSecretKey", "secret"),
            // The sink's own option takes precedence.
            ("kinesis.proxyAddress", "http://127.0.0.1:1"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    let config = SinkConfig::parse(&json!({"version": 1, "options": of_sink}).to_string()).expect("options");
    let writer = Engine::new().open_writer(config).expect("a writer");
    let record = kinesis_connector::sink::SinkRecord {
        partition_key: Some("k".into()),
        data: "d".into(),
        explicit_hash_key: None,
    };
    let written = match writer.write(vec![record]).await {
        Ok(_) => writer.flush().await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert_says(
        &written.expect_err("refused"),
        &["Proxy Authentication Required", "kinesis.sink.proxyUsername"],
    );
}

/// The chain has no credentials, so that the stores use the options' keys.
#[test]
fn a_proxy_that_refuses_is_reported_by_the_stores_too() {
    in_own_process("a_proxy_that_refuses_is_reported_by_the_stores_too", &[], async {
        let proxy = closed_proxy().await;
        let options = proxy_options(&proxy);
        let stores = [
            ("kinesis.dynamodb.endpointUrl", "https://table.test"),
            ("kinesis.s3.endpointUrl", "http://bucket.test"),
            ("kinesis.awsAccessKeyId", "AKIDTEST"),
            ("kinesis.awsSecretKey", "secret"),
        ];
        for answer in ask_stores(&with(&options, &stores)).await {
            let error = answer.expect_err("refused");
            assert_eq!(
                (error.kind(), error.is_retryable()),
                (ErrorKind::Access, false),
                "{error}"
            );
            assert_says(
                &error,
                &["Proxy Authentication Required", "kinesis.proxyUsername"],
            );
        }
    });
}

#[tokio::test]
async fn a_proxy_out_of_reach_is_named() {
    let gone = closed_proxy().await.endpoint.clone();
    let world = World::with_shards(1).await;
    for endpoint in ["http://stream.test", "https://stream.test"] {
        let options = [
            ("kinesis.proxyAddress", gone.as_str()),
            ("kinesis.endpointUrl", endpoint),
            ONCE,
        ];
        let error = refused(&world, &options).await;
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Transport, true),
            "{error}"
        );
        assert_says(
            &error,
            &["by the proxy", &gone, "kinesis.proxyAddress", "refused"],
        );
    }
}
