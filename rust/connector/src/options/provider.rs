//! The interface of a job's credentials class (`kinesis.credentialProviderClass`) to the engine.

use std::fmt;

use async_trait::async_trait;

use super::StaticKeys;
use crate::error::Result;

/// A source of credentials, such as a class that the JVM has loaded.
#[async_trait]
pub trait GivesCredentials: fmt::Debug + Send + Sync {
    /// ID of the object: clients are shared by users of the same object.
    fn id(&self) -> u64;

    /// The current credentials. A retryable error may pass.
    async fn give(&self) -> Result<GivenCredentials>;
}

/// Credentials with their expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenCredentials {
    /// The keys.
    pub keys: StaticKeys,
    /// Time of their expiry, in milliseconds since the epoch; none if unknown.
    pub expires_millis: Option<i64>,
}
