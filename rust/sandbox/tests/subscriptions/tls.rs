//! HTTPS: HTTP/2 by ALPN, which SubscribeToShard requires.

use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use kinesis_sandbox::Sandbox;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::events::{PATIENCE, horizon};
use crate::harness::{Fixture, SHARD};

/// Calls an operation over HTTPS and HTTP/1.1; returns the status and the response's JSON.
async fn call_http1(sandbox: &Sandbox, operation: &str, body: &Value) -> (u16, Value) {
    let mut roots = RootCertStore::empty();
    let certificate = sandbox.tls_certificate().unwrap();
    roots
        .add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let endpoint = sandbox.tls_endpoint().unwrap();
    let address = endpoint.strip_prefix("https://").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let scope = "AWS4-HMAC-SHA256 Credential=A/20260101/eu-west-1/kinesis/aws4_request, Signature=0";
    let request = Request::post("/")
        .header("host", address)
        .header("authorization", scope)
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = timeout(PATIENCE, answer.into_body().collect()).await;
    let body = body.expect("an answer that ends").unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn the_sdk_subscribes_over_http2() {
    let fixture = Fixture::start_tls().await;
    let request = json!({
        "ConsumerARN": fixture.consumer, "ShardId": SHARD, "StartingPosition": {"Type": "TRIM_HORIZON"},
    });
    let (status, answer) = call_http1(&fixture.sandbox, "SubscribeToShard", &request).await;
    assert_eq!(
        (status, &answer["__type"]),
        (400, &"InvalidArgumentException".into())
    );
    assert!(answer["message"].as_str().unwrap().contains("HTTP/2"), "{answer}");
    let (status, _) = call_http1(&fixture.sandbox, "ListStreams", &json!({})).await;
    assert_eq!(status, 200, "other operations take HTTP/1.1");
    fixture.put(&["a"]).await;
    let mut events = fixture.subscribe(horizon()).await.unwrap();
    assert_eq!(
        events.keys(1).await,
        ["a"],
        "so the SDK's client negotiated HTTP/2"
    );
}

#[tokio::test]
async fn a_connection_takes_so_many_subscriptions() {
    let fixture = Fixture::start_tls().await;
    fixture.knobs(json!({"subscriptions": {"exclusive_ms": 0}}));
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(fixture.subscribe(horizon()).await.unwrap());
    }
    let mut last = open.pop().unwrap();
    last.event().await;
    fixture.put(&["a"]).await;
    assert_eq!(last.keys(1).await, ["a"]);
    fixture.until(|s| s.subscriptions_active() == 1).await;
    let stats = fixture.sandbox.stats();
    assert_eq!((stats.connections, stats.connections_open), (1, 1));
}
