//! Options: every key a user may give, parsed and checked in one place, before anything is opened.
//!
//! [`table()`] has a row for each key with its default and its allowed values; [`source`], [`batch_read`] and
//! [`sink`] convert a user's options into types. They do no I/O. A mistake is an
//! [`crate::error::ErrorKind::InvalidOption`] that names the key, the value and the allowed values; a feature of the
//! design that this version lacks is a [`crate::error::ErrorKind::NotSupported`] that names an alternative. No value
//! of a secret key is ever shown.

mod access;
mod parse;
mod provider;
mod proxy;
mod raw;
mod s3_location;
mod sink;
mod source;
mod spec;
pub mod table;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeMap;

pub use provider::{GivenCredentials, GivesCredentials};
pub use raw::RawOptions;
pub use s3_location::S3Location;
pub use spec::{Group, Kind, OptionSpec, Support, User, Users};
pub use table::{markdown, table};
pub use types::{
    AccessOptions, AggregationOptions, BrokenAggregate, Committer, ConsumerChoice, ConsumerType,
    EndingPosition, ExtraColumn, MetadataOptions, OutsideShard, Parsed, ProviderClass, ProxyKeys, ProxyLogin,
    ProxyOptions, RetryOptions, RowStreams, S3Puts, Secret, SinkOptions, SinkOrdering, SourceOptions,
    StartingPosition, StaticKeys, StoreAccess, StreamId, WireProtocol,
};

use crate::error::Result;

/// The options of a streaming read.
pub fn source(raw: &BTreeMap<String, String>) -> Result<Parsed<SourceOptions>> {
    RawOptions::new(raw)?.source()
}

/// The options of a batch read.
pub fn batch_read(raw: &BTreeMap<String, String>) -> Result<Parsed<SourceOptions>> {
    RawOptions::new(raw)?.batch_read()
}

/// The options of a write, streaming or batch.
pub fn sink(raw: &BTreeMap<String, String>) -> Result<Parsed<SinkOptions>> {
    RawOptions::new(raw)?.sink()
}

impl RawOptions {
    /// The options of a streaming read.
    pub fn source(&self) -> Result<Parsed<SourceOptions>> {
        source::parse(self, User::Source)
    }

    /// The options of a batch read.
    pub fn batch_read(&self) -> Result<Parsed<SourceOptions>> {
        source::parse(self, User::BatchRead)
    }

    /// The options of a write, streaming or batch.
    pub fn sink(&self) -> Result<Parsed<SinkOptions>> {
        sink::parse(self)
    }
}
