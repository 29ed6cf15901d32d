//! Clients and options for the services that the stores are tested against, and a proxy that makes their requests
//! fail.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use kinesis_connector::options::{self, SourceOptions};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Endpoint from an environment variable.
pub fn endpoint(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set, so nothing was tested. scripts/test starts the service and sets it.")
    })
}

/// A name that no other test uses.
pub fn unique(what: &str) -> String {
    format!("{what}-{}", Uuid::new_v4().simple())
}

/// Options of a read from a stream that is never called, with these options of the store.
pub fn options(store: &[(&str, &str)]) -> SourceOptions {
    let fixed = [
        ("kinesis.streamName", "events"),
        ("kinesis.region", "eu-west-1"),
        ("kinesis.awsAccessKeyId", "test"),
        ("kinesis.awsSecretKey", "test"),
        // Enough retries even if one of many tasks gets all failures.
        ("kinesis.metadataNumRetries", "20"),
        ("kinesis.metadataRetryIntervalsMs", "1"),
        ("kinesis.metadataMaxRetryIntervalMs", "20"),
    ];
    let all: BTreeMap<String, String> = fixed
        .iter()
        .chain(store)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    options::source(&all).expect("good options").options
}

/// Options for claims in a table.
pub fn dynamodb_options(endpoint: &str, table: &str) -> SourceOptions {
    options(&[
        ("kinesis.metadataCommitterType", "DYNAMODB"),
        ("kinesis.dynamodb.tableName", table),
        ("kinesis.dynamodb.endpointUrl", endpoint),
    ])
}

pub fn dynamodb(endpoint: &str) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(endpoint)
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

pub fn s3(endpoint: &str) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

/// A request received by the proxy.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    /// DynamoDB's operation, such as `DynamoDB_20120810.PutItem`.
    pub target: String,
    pub headers: HeaderMap,
}

/// Treatment of a request.
#[derive(Clone, Debug)]
pub enum Fate {
    Forwarded,
    /// Forwards it without this header.
    Without(&'static str),
    /// Does not forward it; responds with this error of S3 or DynamoDB.
    Refused(u16, &'static str),
    /// Forwards it, but responds with this error.
    AnswerLost(u16, &'static str),
    /// Does not forward it; responds without content and with this header.
    WithHeader(u16, &'static str, &'static str),
    /// Does not forward it; responds with success and this content.
    Answered(&'static str),
    /// Does not forward it; responds to a BatchWriteItem that all of its items are unprocessed.
    Unprocessed,
}

/// A proxy in front of a service, which ends when dropped.
pub struct Proxy {
    pub endpoint: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy. `fate` gets each request with its number, from 0.
    pub async fn before(service: &str, fate: impl Fn(usize, &Seen) -> Fate + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (service, fate, log) = (service.to_owned(), Arc::new(fate), seen.clone());
        let serving = tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.expect("a connection");
                let (service, fate, log) = (service.clone(), fate.clone(), log.clone());
                let answer = service_fn(move |request| {
                    let (service, fate, log) = (service.clone(), fate.clone(), log.clone());
                    async move { Ok::<_, Infallible>(answer(&service, &*fate, &log, request).await) }
                });
                tokio::spawn(async move {
                    // An error only means that the client closed the connection.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(connection), answer)
                        .await;
                });
            }
        });
        Self {
            endpoint,
            seen,
            serving,
        }
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("not poisoned").clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    service: &str,
    fate: &(dyn Fn(usize, &Seen) -> Fate + Send + Sync),
    log: &Mutex<Vec<Seen>>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let target = parts
        .headers
        .get("x-amz-target")
        .and_then(|value| value.to_str().ok());
    let seen = Seen {
        method: parts.method.clone(),
        path: parts.uri.to_string(),
        target: target.unwrap_or_default().to_owned(),
        headers: parts.headers.clone(),
    };
    let fate = {
        let mut log = log.lock().expect("not poisoned");
        log.push(seen.clone());
        fate(log.len() - 1, &seen)
    };
    let mut headers = parts.headers;
    match fate {
        Fate::Refused(status, code) => return refusal(&seen, status, code),
        Fate::WithHeader(status, name, value) => {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
            return response;
        }
        Fate::Answered(content) => return Response::new(Full::from(content)),
        Fate::Unprocessed => {
            let asked: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            let left = serde_json::json!({ "UnprocessedItems": asked["RequestItems"] });
            return Response::new(Full::from(left.to_string()));
        }
        Fate::Without(header) => {
            headers.remove(header);
        }
        Fate::Forwarded | Fate::AnswerLost(..) => {}
    }
    headers.remove(HOST);
    let uri: Uri = format!("{service}{}", seen.path).parse().expect("an address");
    let mut forwarded = Request::builder().method(parts.method).uri(uri);
    *forwarded.headers_mut().expect("headers") = headers;
    let forwarded = forwarded.body(Full::new(body)).expect("a request");
    let client = Client::builder(TokioExecutor::new()).build_http();
    let (parts, body) = client.request(forwarded).await.expect("an answer").into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    if let Fate::AnswerLost(status, code) = fate {
        return refusal(&seen, status, code);
    }
    Response::from_parts(parts, Full::new(body))
}

fn refusal(seen: &Seen, status: u16, code: &str) -> Response<Full<Bytes>> {
    let body = if seen.target.is_empty() {
        format!("<Error><Code>{code}</Code><Message>made up by a test</Message></Error>")
    } else {
        format!(
            "{{\"__type\":\"com.amazonaws.dynamodb.v20120810#{code}\",\"message\":\"made up by a test\"}}"
        )
    };
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    answer
}
