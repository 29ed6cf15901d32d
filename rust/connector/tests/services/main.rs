//! The engine against third-party services: moto, DynamoDBLocal, tinyproxy and Amazon's own aggregator.
//!
//! Built only with `--features store-services`, so that `cargo test` needs no Python. `scripts/test stores` starts
//! the services and runs these tests; `stores/mod.rs` describes how to do it by hand.

// Helpers fail as tests do.
#![allow(clippy::expect_used, clippy::panic)]

mod aggregator;
mod doubles;
mod proxies;
#[path = "../integration/store_suite/mod.rs"]
mod store_suite;
mod stores;
#[path = "../integration/support/mod.rs"]
mod support;
