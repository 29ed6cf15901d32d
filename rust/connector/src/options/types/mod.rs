//! The types of parsed options.

mod access;
mod sink;
mod source;

pub(super) use access::HIDDEN;
pub use access::{
    AccessOptions, ProviderClass, ProxyKeys, ProxyLogin, ProxyOptions, RetryOptions, Secret, StaticKeys,
    StoreAccess,
};
pub use sink::{RowStreams, SinkOptions, SinkOrdering};
pub use source::{
    AggregationOptions, BrokenAggregate, Committer, ConsumerChoice, ConsumerType, EndingPosition,
    ExtraColumn, MetadataOptions, OutsideShard, S3Puts, SourceOptions, StartingPosition, WireProtocol,
};

/// Parsed options, and warnings for their user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed<T> {
    /// The options.
    pub options: T,
    /// Sentences for the log: keys without effect, and combinations that are probably a mistake.
    pub warnings: Vec<String>,
}

/// The stream's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamId {
    /// The stream's name; if only the ARN was given, the name in it.
    pub name: String,
    /// The stream's ARN if it was given: requests then name the stream by its ARN.
    pub arn: Option<String>,
}
