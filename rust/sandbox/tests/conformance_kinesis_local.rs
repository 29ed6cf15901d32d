//! The conformance suite against kinesis-local 0.6.2, as a check independent of the sandbox.
//!
//! Built only with `--features kinesis-local`, so that `cargo test` needs no Node. `scripts/test` starts the service
//! and runs these tests. By hand:
//!
//! ```text
//! npm i kinesis-local@0.6.2
//! (cd node_modules/kinesis-local && KINESIS_MOCK_PLAIN_PORT=4568 node main.js) &
//! KINESIS_LOCAL_ENDPOINT=http://127.0.0.1:4568 \
//!     cargo test -p kinesis-sandbox --features kinesis-local --test conformance_kinesis_local
//! ```
//!
//! Enhanced fan-out is tested against ministack instead: kinesis-local loses consumers now and then, and does not let
//! one subscription take over another. kinesis-local binds all addresses, so run it where only loopback is reachable.
//! Known differences from Kinesis's documentation are marked in the cases with `Service::documented_or`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "only a part of the suite runs here"
)]

#[path = "conformance/mod.rs"]
mod suite;

async fn service() -> suite::Service {
    match std::env::var("KINESIS_LOCAL_ENDPOINT") {
        Ok(endpoint) => suite::Service::elsewhere(&endpoint),
        Err(_) => panic!(
            "KINESIS_LOCAL_ENDPOINT is not set, so nothing was tested against kinesis-local. Start kinesis-local 0.6.2 \
             and set it to its plain endpoint, e.g. http://127.0.0.1:4568, or run scripts/test, which does both."
        ),
    }
}

suite::cases!();
