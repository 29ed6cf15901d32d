//! A Kinesis on one's own machine, for demo, tests and benchmarks.
//!
//! [`Sandbox::start`] serves on loopback, in memory and in awsJson 1.1:
//!
//! | part | operations |
//! |---|---|
//! | data | PutRecord, PutRecords, GetShardIterator, GetRecords, SubscribeToShard |
//! | streams | CreateStream, DeleteStream, DescribeStream, DescribeStreamSummary, ListStreams, IncreaseStreamRetentionPeriod, DecreaseStreamRetentionPeriod, UpdateMaxRecordSize |
//! | shards | ListShards, SplitShard, MergeShards, UpdateShardCount |
//! | consumers | RegisterStreamConsumer, DescribeStreamConsumer, ListStreamConsumers, DeregisterStreamConsumer |
//!
//! over plain HTTP/1.1 and HTTP/2 (prior knowledge), and over HTTPS beside it (HTTP/2 or HTTP/1.1 by ALPN) when
//! [`SandboxConfig::tls_port`] is set. The certificate is made at the start; clients trust [`Sandbox::tls_certificate`].
//! Any AWS SDK talks to it when its endpoint is overridden. The program `kinesis-sandbox` does the same from a command
//! line.
//!
//! It follows the service's documentation in what a client can observe: operations, limits, error names, sequence
//! numbers, shard lineage, iterators and their age, subscriptions and their end. It differs where a test wants to decide:
//!
//! - Streams and consumers are ACTIVE at once, unless `transition_ms` says otherwise.
//! - No clock expires records. Retention periods are kept and answered; a trim ([`Sandbox::trim`]) removes records,
//!   and [`Sandbox::forget_shard`] removes a closed shard from the lists, as the service does when all its records
//!   have expired.
//! - Throughput limits of a shard are off unless switched on, and never slow a subscription: it pushes as fast as its
//!   client takes, in events of up to 1 MiB.
//! - SubscribeToShard needs HTTP/2 only over HTTPS, as SDKs speak HTTP/1.1 to a plain endpoint.
//! - There is one name space of streams for all regions; the region of a request's signature only shows in
//!   ARNs. Signatures are not verified; an `Authorization` header must be there.
//! - CBOR is served for GetRecords alone; tags, encryption and enhanced monitoring are not served.
//!
//! Faults, delays, limits and ages are turned through the methods of [`Sandbox`], or over HTTP:
//!
//! | request | does |
//! |---|---|
//! | `POST /sandbox/knobs` | turns knobs; the body is a [`KnobUpdate`] in JSON; answers what `GET` answers |
//! | `GET /sandbox/knobs` | the settings as they stand |
//! | `GET /sandbox/stats` | [`Stats`]: connections, calls by operation, and counters by stream and shard |
//! | `POST` or `DELETE /sandbox/reset` | no streams, no counts, the knobs as at the start |
//!
//! How subscriptions go is a [`SubscriptionUpdate`], what befalls them a [`SubscriptionFaultUpdate`]; a call of
//! SubscribeToShard itself fails by a [`FaultUpdate`], as any call does. For example
//!
//! ```json
//! {
//!   "subscriptions": {"lifetime_ms": 60000, "idle_event_ms": 200},
//!   "subscription_faults": [
//!     {"fault": "reset", "after_events": 3, "fraction": 0.2},
//!     {"fault": {"exception": "InternalFailureException"}, "shard": "shardId-000000000000", "count": 1},
//!     {"fault": "stall", "open": true, "count": 1}
//!   ]
//! }
//! ```
//!
//! Some answers of the service are right and odd. A [`FaultUpdate`] may be for the calls of one stream or shard, so that a
//! live shard is once not found, or a position once refused; a [`ListingUpdate`] makes a list of shards lag or go back; a
//! [`StretchUpdate`] is a time without records that readers go through answer by answer. A neighbour that polls the same
//! shards is another client, with `shard_limits` on.
//!
//! ```json
//! {
//!   "faults": [{"operation": "GetRecords", "error": "ResourceNotFoundException", "count": 1,
//!               "stream": "s", "shard": "shardId-000000000000"}],
//!   "listings": [{"stream": "s", "show": "before_reshard", "count": 3}],
//!   "stretches": [{"stream": "s", "shard": "shardId-000000000001", "answers": 20}]
//! }
//! ```
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
mod page;
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
    EntryFaultUpdate, Fault, FaultUpdate, ForgetUpdate, KnobError, KnobUpdate, LimitsUpdate, Listing,
    ListingUpdate, Schedule, ShardLimits, StretchUpdate, SubscriptionFault, SubscriptionFaultUpdate,
    SubscriptionUpdate, Trim, TrimUpdate,
};
pub use protocol::{ACCOUNT, ErrorCode, Operation, ServiceError};
pub use sandbox::Sandbox;
pub use stats::{OperationStats, ShardStats, Stats};
