//! The enhanced fan-out cases of the conformance suite against ministack 1.5.33, which implements them well.
//!
//! Built only with `--features ministack`, so that `cargo test` needs no Python. `scripts/test` starts the service
//! and runs these tests. By hand:
//!
//! ```text
//! pip install ministack==1.5.33
//! GATEWAY_PORT=4504 BIND_HOST=127.0.0.1 ministack &
//! MINISTACK_ENDPOINT=http://127.0.0.1:4504 \
//!     cargo test -p kinesis-sandbox --features ministack --test conformance_ministack
//! ```
//!
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
    match std::env::var("MINISTACK_ENDPOINT") {
        Ok(endpoint) => suite::Service::elsewhere(&endpoint),
        Err(_) => panic!(
            "MINISTACK_ENDPOINT is not set, so nothing was tested against ministack. Start ministack 1.5.33 and set it \
             to its endpoint, e.g. http://127.0.0.1:4504, or run scripts/test, which does both."
        ),
    }
}

suite::fanout_cases!();
