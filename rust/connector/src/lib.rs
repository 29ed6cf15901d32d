//! The engine of the Spark connector for Amazon Kinesis Data Streams.
//!
//! It plans micro-batches ([`plan`]), reads shards ([`read`]), puts records ([`sink`]) and keeps claims in a
//! store ([`claims`]). It knows nothing of a JVM or of Spark: `rust/jni` is its only caller.

pub mod batch;
pub mod claims;
mod config;
mod engine;
pub mod error;
pub mod options;
pub mod plan;
pub mod read;
mod recent;
pub mod service;
pub mod sink;
pub mod storage;
pub mod stream;

pub use config::{SinkConfig, SourceConfig};
pub use engine::Engine;
pub use error::{Error, ErrorKind, Result};
