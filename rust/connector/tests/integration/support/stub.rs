//! Services simulated by a test: STS, instance metadata, stores. Also runs a test in its own process with another
//! environment.

use std::convert::Infallible;
use std::panic::Location;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Set in the processes that [`in_own_process`] starts.
const OWN_PROCESS: &str = "CONNECTOR_TEST_OWN_PROCESS";

/// Runs a test in its own process, with no AWS, proxy or certificate variables in its environment but these. Returns
/// false in that process.
#[track_caller]
pub fn in_own_process(test: &str, variables: &[(&str, &str)], body: impl Future<Output = ()>) -> bool {
    if std::env::var_os(OWN_PROCESS).is_some() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            tokio::time::timeout(super::PATIENCE, body)
                .await
                .expect("the test ends in time")
        });
        return false;
    }
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    // A module's path is that of its file below the program's main.rs.
    let file = Location::caller().file();
    let below_tests = file.rsplit_once("tests/").map_or(file, |(_, path)| path);
    let module = below_tests.split_once('/').map_or(file, |(_, path)| path);
    let module = module.trim_end_matches(".rs").trim_end_matches("/mod");
    let test = format!("{}::{test}", module.replace('/', "::"));
    command.args([&test, "--exact", "--nocapture"]);
    for (name, _) in std::env::vars_os() {
        let upper = name.to_string_lossy().to_uppercase();
        if upper.starts_with("AWS_") || upper.starts_with("SSL_CERT_") || upper.ends_with("_PROXY") {
            command.env_remove(name);
        }
    }
    let nothing = [
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        (OWN_PROCESS, "1"),
    ];
    let run = command
        .envs(nothing)
        .envs(variables.iter().copied())
        .output()
        .expect("run");
    let output = [run.stdout, run.stderr].map(|output| String::from_utf8_lossy(&output).into_owned());
    assert!(
        run.status.success() && output[0].contains("1 passed"),
        "{}",
        output.concat()
    );
    true
}

/// Value of a variable set by [`in_own_process`].
pub fn variable(name: &str) -> String {
    std::env::var(name).expect("set for this process")
}

/// A request received by a stub.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }

    /// The authorization header, with the region and the access key id of the signature.
    pub fn signed(&self) -> &str {
        self.header("authorization")
    }
}

/// Response of a stub.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    /// Delay of the response.
    pub after: Duration,
}

impl Answer {
    pub fn of(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            body: body.into(),
            ..Self::default()
        }
    }

    pub fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }
}

/// A simulated service, which ends when dropped.
pub struct Stub {
    pub endpoint: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    serving: JoinHandle<()>,
}

impl Stub {
    /// Starts a service. `answer` gets each request with its number, from 0.
    pub async fn start(answer: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (log, answer) = (seen.clone(), Arc::new(answer));
        let serving = tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.expect("a connection");
                let (log, answer) = (log.clone(), answer.clone());
                let service = service_fn(move |request| {
                    let (log, answer) = (log.clone(), answer.clone());
                    async move { Ok::<_, Infallible>(respond(&log, &*answer, request).await) }
                });
                tokio::spawn(async move {
                    // An error only means that the client closed the connection.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(connection), service)
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

    /// An STS that allows every role to everyone: the first session's key is `ASIASESSION0`.
    pub async fn sts() -> Self {
        Self::start(|number, seen| session(seen, number, 3_600)).await
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("not poisoned").clone()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn respond(
    log: &Mutex<Vec<Seen>>,
    answer: &(dyn Fn(usize, &Seen) -> Answer + Send + Sync),
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let seen = Seen {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let answer = {
        let mut log = log.lock().expect("not poisoned");
        log.push(seen.clone());
        answer(log.len() - 1, &seen)
    };
    tokio::time::sleep(answer.after).await;
    let mut response = Response::new(Full::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).expect("a status");
    for (name, value) in answer.headers {
        response
            .headers_mut()
            .insert(name, value.parse().expect("a header's value"));
    }
    response
}

/// STS's response to AssumeRole and AssumeRoleWithWebIdentity.
pub fn session(asked: &Seen, number: usize, seconds: i64) -> Answer {
    let end = (chrono::Utc::now() + chrono::Duration::seconds(seconds)).format("%Y-%m-%dT%H:%M:%SZ");
    let action = match asked.body.contains("WebIdentity") {
        true => "AssumeRoleWithWebIdentity",
        false => "AssumeRole",
    };
    Answer::of(
        200,
        format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
             <AccessKeyId>ASIASESSION{number}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
             <SessionToken>token</SessionToken><Expiration>{end}</Expiration>\
             </Credentials></{action}Result></{action}Response>"
        ),
    )
}

/// STS's error response.
pub fn sts_refusal(status: u16, code: &str, message: &str) -> Answer {
    Answer::of(
        status,
        format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
             <Code>{code}</Code><Message>{message}</Message></Error><RequestId>r-1</RequestId></ErrorResponse>"
        ),
    )
}
