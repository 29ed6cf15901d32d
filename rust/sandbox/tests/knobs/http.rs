//! Plain requests that an SDK would not send. They use HTTP/2, as the SDK's requests use HTTP/1.1.

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use kinesis_sandbox::Sandbox;
use serde_json::Value;

/// Sends a request; returns the status and the JSON of the response (null if it is empty).
pub async fn request(
    sandbox: &Sandbox,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, Value) {
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", sandbox.endpoint()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .unwrap();
    let answer = client.request(request).await.unwrap();
    assert!(answer.headers().contains_key("x-amzn-requestid"));
    let error = answer
        .headers()
        .get("x-amzn-errortype")
        .map(|v| v.to_str().unwrap().to_owned());
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&body).unwrap()
    };
    assert_eq!(
        error.as_deref(),
        body["__type"].as_str(),
        "header and body name the same error"
    );
    (status, body)
}

/// Calls an operation of the service.
pub async fn api(sandbox: &Sandbox, operation: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let target = format!("Kinesis_20131202.{operation}");
    let mut all = vec![
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", target.as_str()),
    ];
    all.extend(headers);
    request(sandbox, "POST", "/", &all, body).await
}
