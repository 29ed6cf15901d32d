//! Proxies of the options and of the environment.
use std::collections::BTreeMap;

use super::{
    BY_CHAIN, LOGIN, ONCE, ask_stores, assert_says, behind, closed_proxy, places, proxy_options, reads_ten,
    refused, with,
};
use crate::support::stub::{Answer, Stub, in_own_process, variable};
use crate::support::{STREAM, World};
use kinesis_connector::{Engine, ErrorKind, SinkConfig};
use serde_json::json;

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
