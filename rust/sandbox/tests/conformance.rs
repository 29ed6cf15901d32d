//! The conformance suite against the sandbox, with a new one in this process for each case.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "conformance/mod.rs"]
mod suite;

async fn service() -> suite::Service {
    suite::Service::sandbox().await
}

suite::cases!();
suite::fanout_cases!();
