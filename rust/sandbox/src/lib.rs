//! A local Kinesis for demos, tests and benchmarks.
//!
//! [`Sandbox::start`] serves these operations on loopback, from memory and in awsJson 1.1:
//!
//! | part | operations |
//! |---|---|
//! | data | PutRecord, PutRecords, GetShardIterator, GetRecords, SubscribeToShard |
//! | streams | CreateStream, DeleteStream, DescribeStream, DescribeStreamSummary, ListStreams, IncreaseStreamRetentionPeriod, DecreaseStreamRetentionPeriod, UpdateMaxRecordSize |
//! | shards | ListShards, SplitShard, MergeShards, UpdateShardCount |
//! | consumers | RegisterStreamConsumer, DescribeStreamConsumer, ListStreamConsumers, DeregisterStreamConsumer |
//!
//! The protocols are plain HTTP/1.1 and HTTP/2 (prior knowledge), and also HTTPS (HTTP/2 or HTTP/1.1 by ALPN) if
//! [`SandboxConfig::tls_port`] is set. The certificate is made at the start; clients must trust
//! [`Sandbox::tls_certificate`]. Any AWS SDK works with an endpoint override. The program `kinesis-sandbox` starts a
//! sandbox from the command line.
//!
//! The sandbox follows the service's documentation in all that a client can observe: operations, limits, error names,
//! sequence numbers, shard lineage, iterators and their age, subscriptions and their end. It differs where a test needs
//! control:
//!
//! - Streams and consumers are ACTIVE at once, unless `transition_ms` is set.
//! - No clock expires records. Retention periods are stored and returned; [`Sandbox::trim`] removes records, and
//!   [`Sandbox::forget_shard`] removes a closed shard from the lists, as the service does when all its records have
//!   expired.
//! - Throughput limits of a shard are off by default, and never slow a subscription, which pushes as fast as its client
//!   reads, in events of up to 1 MiB.
//! - SubscribeToShard needs HTTP/2 only over HTTPS, as SDKs speak HTTP/1.1 to a plain endpoint.
//! - All regions share one name space of streams; the region of a request's signature shows only in ARNs. Signatures
//!   are not verified, but an `Authorization` header is required.
//! - CBOR is supported for GetRecords only; tags, encryption and enhanced monitoring are not supported.
//!
//! Faults, delays, limits and ages are set through the methods of [`Sandbox`], or over HTTP:
//!
//! | request | effect |
//! |---|---|
//! | `POST /sandbox/knobs` | applies a [`KnobUpdate`] in JSON; the response is that of `GET` |
//! | `GET /sandbox/knobs` | returns the current settings |
//! | `GET /sandbox/stats` | returns [`Stats`]: connections, calls by operation, counters by stream and shard |
//! | `POST` or `DELETE /sandbox/reset` | restores the initial state: no streams or counts, the configured knobs |
//!
//! A [`SubscriptionUpdate`] sets how subscriptions behave, and a [`SubscriptionFaultUpdate`] makes them fail.
//! A [`FaultUpdate`] makes calls fail, including calls of SubscribeToShard. For example:
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
//! Some responses of the service are valid but unusual. A [`FaultUpdate`] for one stream or shard makes a live shard be
//! not found once, or a position be refused once. A [`ListingUpdate`] makes the list of shards lag or go back. A
//! [`StretchUpdate`] adds a time without records, which readers pass through response by response. To simulate another
//! application that polls the same shards, use a second client, with `shard_limits` on.
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
