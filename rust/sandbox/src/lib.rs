//! A Kinesis on one's own machine, for demo, tests and benchmarks.
//!
//! [`Sandbox::start`] serves the data plane (enhanced fan-out included) and the management of streams and consumers of
//! Amazon Kinesis Data Streams on loopback, in memory, over plain HTTP/1.1 and HTTP/2 (prior knowledge), in awsJson 1.1. Any AWS SDK talks to it when its
//! endpoint is overridden. The program `kinesis-sandbox` does the same from a command line.
//!
//! It follows the service's documentation in what a client can observe: operations, limits, error names, sequence
//! numbers, shard lineage, iterators and their age. It differs where a test wants to decide:
//!
//! - Streams and consumers are ACTIVE at once, unless `transition_ms` says otherwise.
//! - No clock expires records. Retention periods are kept and answered; a trim ([`Sandbox::trim`]) removes records,
//!   and [`Sandbox::forget_shard`] removes a closed shard from the lists, as the service does when all its records
//!   have expired.
//! - Throughput limits of a shard are off unless switched on.
//! - There is one name space of streams for all regions; the region of a request's signature only shows in
//!   ARNs. Signatures are not verified; an `Authorization` header must be there.
//! - CBOR, TLS, tags, encryption and enhanced monitoring are not served.
//! - A subscription pushes as fast as its client takes, in events of up to 1 MiB.
//!
//! Faults, delays, limits and ages are turned through the methods of [`Sandbox`], or over HTTP:
//!
//! | request | does |
//! |---|---|
//! | `POST /sandbox/knobs` | turns knobs; the body is a [`KnobUpdate`] in JSON; answers what `GET` answers |
//! | `GET /sandbox/knobs` | the settings as they stand |
//! | `GET /sandbox/stats` | [`Stats`]: calls by operation, and counters by stream and shard |
//! | `POST` or `DELETE /sandbox/reset` | no streams, no counts, the knobs as at the start |
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use kinesis_sandbox::{Sandbox, SandboxConfig};
//!
//! let sandbox = Sandbox::start(SandboxConfig::default()).await?;
//! println!("{}", sandbox.endpoint());
//! sandbox.stop().await;
//! # Ok(())
//! # }
//! ```

mod admin;
mod config;
mod core;
mod knobs;
mod ops;
mod protocol;
mod sandbox;
mod server;
mod stats;
mod store;
mod subscription;
mod tls;
mod wire;

pub use config::SandboxConfig;
pub use knobs::{
    EntryFaultUpdate, Fault, FaultUpdate, ForgetUpdate, KnobError, KnobUpdate, LimitsUpdate, Schedule,
    SubscriptionFault, SubscriptionFaultUpdate, SubscriptionUpdate, TrimUpdate,
};
pub use ops::Operation;
pub use protocol::{ErrorCode, ServiceError};
pub use sandbox::Sandbox;
pub use stats::{OperationStats, ShardStats, Stats};
pub use store::{ACCOUNT, ShardLimits, Trim};
