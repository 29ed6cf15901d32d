//! HTTP: connections, headers and the dispatch by path.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::admin;
use crate::core::Core;
use crate::knobs::{Fault, Target};
use crate::ops::{self, Answer};
use crate::protocol::{CBOR, EVENT_STREAM, ErrorCode, Operation, ServiceError, cbor_to_json, json_to_cbor};
use crate::subscription::{Push, Subscription};
use crate::wire::{Switch, Wire};

const JSON: &str = "application/x-amz-json-1.1";
const TARGET_PREFIX: &str = "Kinesis_20131202.";
/// Maximum size of a body: a request of 10 MiB in base64, plus its keys and JSON.
const MAX_BODY: usize = 32 * 1024 * 1024;
/// Maximum difference between a request's time and the service's.
const MOST_APART_SECS: i64 = 300;
const H2_WINDOW: u32 = 8 * 1024 * 1024;

/// Closes the connection without a response.
#[derive(Debug, thiserror::Error)]
#[error("the connection was dropped by a knob")]
struct Dropped;

/// Properties of the connection that a request came through.
#[derive(Clone, Debug)]
struct Channel {
    switch: Switch,
    tls: bool,
}

/// A response body: complete, or pushed frame by frame.
type Body = UnsyncBoxBody<Bytes, Dropped>;

/// Accepts connections until it is cancelled, which also ends its connections.
pub(crate) async fn serve(listener: TcpListener, core: Arc<Core>, tls: Option<TlsAcceptor>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(accept(stream, Arc::clone(&core), tls.clone()));
                }
                // Out of file handles, or the connection broke while being accepted: continue, as other connections
                // may have ended.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::task::yield_now().await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(stream: TcpStream, core: Arc<Core>, tls: Option<TlsAcceptor>) {
    let counted = Arc::clone(&core);
    let _open = counted.counters.connected();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let channel = Channel {
        switch: core.switches.add(),
        tls: tls.is_some(),
    };
    let wire = Wire::new(stream, channel.switch.clone());
    match tls {
        None => connection(wire, core, channel).await,
        Some(acceptor) => match acceptor.accept(wire).await {
            Ok(stream) => connection(stream, core, channel).await,
            Err(error) => tracing::debug!(%error, "no TLS"),
        },
    }
}

async fn connection<S>(stream: S, core: Arc<Core>, channel: Channel)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(1024 * 1024);
    builder
        .http2()
        .max_concurrent_streams(core.config.http2_streams)
        .initial_stream_window_size(H2_WINDOW)
        .initial_connection_window_size(2 * H2_WINDOW)
        .max_frame_size(256 * 1024)
        .max_send_buf_size(1024 * 1024);
    let service = service_fn(move |request| handle(Arc::clone(&core), channel.clone(), request));
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "connection ended");
    }
}

async fn handle(
    core: Arc<Core>,
    channel: Channel,
    request: Request<Incoming>,
) -> Result<Response<Body>, Dropped> {
    let (parts, body) = request.into_parts();
    let body = read(body).await;
    if parts.uri.path().starts_with("/sandbox") {
        let (status, text) = match body {
            Ok(body) => admin::answer(&core, &parts.method, parts.uri.path(), &body),
            Err(error) => (400, format!("{{\"error\":{:?}}}", error.message)),
        };
        return Ok(response(status, "application/json", text.into_bytes(), None));
    }
    let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok());
    let content_type = header(CONTENT_TYPE.as_str()).unwrap_or_default();
    let target = header("x-amz-target").unwrap_or_default();
    let operation = target.strip_prefix(TARGET_PREFIX).and_then(Operation::parse);
    let cbor = content_type.starts_with(CBOR) && operation == Some(Operation::GetRecords);
    let operation = match operation {
        Some(operation) if parts.method == Method::POST && (cbor || content_type.starts_with(JSON)) => {
            operation
        }
        _ => return Ok(failure(&unknown(target, content_type))),
    };

    let body = match cbor {
        true => body.and_then(|body| cbor_to_json(&body)),
        false => body,
    };
    core.counters.called(operation);
    if let Some(delay) = core.knobs.delay(operation) {
        tokio::time::sleep(delay).await;
    }
    let target = match &body {
        Ok(body) if core.knobs.aims_at(operation) => ops::target(&core, body),
        _ => Target::default(),
    };
    let answer = match core.knobs.fault(operation, &target) {
        Some(Fault::DropConnection) => {
            core.counters.failed(operation, None);
            return Err(Dropped);
        }
        Some(Fault::Error(code)) => Err(injected(code)),
        None => body.and_then(|body| {
            let region = authenticate(&core, header(AUTHORIZATION.as_str()), operation)?;
            check_time(&core, header("x-amz-date"))?;
            if operation == Operation::SubscribeToShard && channel.tls && parts.version < Version::HTTP_2 {
                return Err(needs_http2(parts.version));
            }
            ops::call(&core, operation, region, &body)
        }),
    };
    let mut answer = match answer {
        Ok(Answer::Body(content)) if cbor => match json_to_cbor(&content) {
            Ok(content) => response(200, CBOR, content, None),
            Err(error) => failure(&error),
        },
        Ok(Answer::Body(content)) => response(200, JSON, content, None),
        Ok(Answer::Events(subscription)) => {
            respond(200, EVENT_STREAM, events(*subscription, channel.switch), None)
        }
        Err(error) => {
            core.counters.failed(operation, Some(error.code));
            match json_to_cbor(failed(&error).as_bytes()) {
                Ok(body) if cbor => response(error.code.status(), CBOR, body, Some(error.code.name())),
                _ => failure(&error),
            }
        }
    };
    let offset = core.knobs.settings().clock_offset_ms;
    if offset != 0
        && let Ok(date) = now(offset).fmt(Format::HttpDate)
        && let Ok(date) = HeaderValue::from_str(&date)
    {
        answer.headers_mut().insert(DATE, date);
    }
    Ok(answer)
}

/// The service's time: this machine's time plus the offset.
fn now(offset_ms: i64) -> DateTime {
    let now = DateTime::from(SystemTime::now()).to_millis().unwrap_or_default();
    DateTime::from_millis(now + offset_ms)
}

/// Refuses a request that was signed at another time. The message quotes the signed time, as the service's does.
fn check_time(core: &Core, signed_at: Option<&str>) -> Result<(), ServiceError> {
    let Some(signed_at) = signed_at.filter(|text| text.len() == 16 && text.is_ascii()) else {
        return Ok(());
    };
    let digits = |range: Range<usize>| &signed_at[range];
    let iso = format!(
        "{}-{}-{}T{}:{}:{}Z",
        digits(0..4),
        digits(4..6),
        digits(6..8),
        digits(9..11),
        digits(11..13),
        digits(13..15)
    );
    let now = now(core.knobs.settings().clock_offset_ms);
    match DateTime::from_str(&iso, Format::DateTime) {
        Ok(time) if (time.secs() - now.secs()).abs() > MOST_APART_SECS => Err(ServiceError::new(
            ErrorCode::InvalidSignatureException,
            format!(
                "Signature not current: {signed_at} is not within 5 minutes of {now}. The Canonical String for \
                     this request should have been\n'POST\n/\n\nx-amz-date:{signed_at}\n'"
            ),
        )),
        _ => Ok(()),
    }
}

/// Reads a complete body. Most bodies come in several frames, which are copied once.
async fn read(mut body: Incoming) -> Result<Bytes, ServiceError> {
    use hyper::body::Body;
    let expected = body.size_hint().lower() as usize;
    let mut whole = Vec::with_capacity(expected.min(MAX_BODY));
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| ServiceError::serialization(format!("body not readable: {error}")))?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > MAX_BODY {
                return Err(ServiceError::serialization(format!(
                    "the body is larger than {MAX_BODY} bytes"
                )));
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(Bytes::from(whole))
}

/// Checks that the request is signed, and that its access key may call this operation; returns the region that it is
/// signed for.
fn authenticate<'a>(
    core: &Core,
    authorization: Option<&'a str>,
    operation: Operation,
) -> Result<&'a str, ServiceError> {
    let Some(authorization) = authorization else {
        return Err(ServiceError::new(
            ErrorCode::MissingAuthenticationTokenException,
            "Missing Authentication Token",
        ));
    };
    let scope = authorization
        .strip_prefix("AWS4-HMAC-SHA256")
        .and_then(|rest| {
            rest.split([',', ' '])
                .find_map(|part| part.strip_prefix("Credential="))
        })
        .unwrap_or_default();
    let mut parts = scope.split('/');
    let (Some(key), Some(_date), Some(region)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(ServiceError::new(
            ErrorCode::IncompleteSignatureException,
            "Authorization header requires 'Credential' parameter with key, date, region and service.",
        ));
    };
    let settings = core.knobs.settings();
    if settings.rejected_keys.contains(key) {
        return Err(ServiceError::new(
            ErrorCode::UnrecognizedClientException,
            "The security token included in the request is invalid.",
        ));
    }
    let name = operation.name();
    if settings
        .allowed
        .get(key)
        .is_some_and(|allowed| !allowed.contains(name))
    {
        return Err(ServiceError::new(
            ErrorCode::AccessDeniedException,
            format!(
                "User: {key} is not authorized to perform: kinesis:{name} because no identity-based policy allows the \
                 kinesis:{name} action"
            ),
        ));
    }
    Ok(region)
}

fn unknown(target: &str, content_type: &str) -> ServiceError {
    let message = if content_type.starts_with(JSON) {
        format!("The sandbox does not serve the operation {target:?}.")
    } else {
        format!("The sandbox serves POST with content type {JSON} only, not {content_type:?}.")
    };
    ServiceError::new(ErrorCode::UnknownOperationException, message)
}

/// Error for SubscribeToShard below HTTP/2, over which alone the service pushes. Without TLS the sandbox accepts
/// HTTP/1.1, which SDKs use there.
fn needs_http2(version: Version) -> ServiceError {
    ServiceError::invalid_argument(format!(
        "SubscribeToShard needs HTTP/2, and this request came over {version:?}."
    ))
}

/// Error for an injected fault, with a message that can be found in logs.
fn injected(code: ErrorCode) -> ServiceError {
    ServiceError::new(code, format!("{code} asked for by a knob of the sandbox."))
}

fn failed(error: &ServiceError) -> String {
    serde_json::json!({ "__type": error.code.name(), "message": error.message }).to_string()
}

fn failure(error: &ServiceError) -> Response<Body> {
    let body = failed(error).into_bytes();
    response(error.code.status(), JSON, body, Some(error.code.name()))
}

fn response(
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
    error: Option<&'static str>,
) -> Response<Body> {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
    respond(status, content_type, body.boxed_unsync(), error)
}

/// Body with a subscription's frames; the connection takes the next frame when it can send it.
fn events(subscription: Subscription, switch: Switch) -> Body {
    let frames =
        futures_util::stream::unfold((subscription, switch), |(mut subscription, switch)| async move {
            let frame = match subscription.push().await? {
                Push::Bytes(bytes) => Ok(Frame::data(bytes)),
                Push::Reset => Err(Dropped),
                Push::FallSilent => {
                    switch.off();
                    std::future::pending().await
                }
            };
            Some((frame, (subscription, switch)))
        });
    StreamBody::new(frames).boxed_unsync()
}

fn respond(
    status: u16,
    content_type: &'static str,
    body: Body,
    error: Option<&'static str>,
) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(id) = HeaderValue::from_str(&request_id()) {
        headers.insert("x-amzn-requestid", id);
    }
    if let Some(error) = error {
        headers.insert("x-amzn-errortype", HeaderValue::from_static(error));
    }
    response
}

/// A request id, unique in this process and in the usual format.
fn request_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let started = u64::from(std::process::id());
    format!("{started:08x}-0000-4000-8000-{count:012x}")
}
