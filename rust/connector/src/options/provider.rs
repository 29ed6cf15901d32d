//! What a class of the job (`kinesis.credentialProviderClass`) does for the engine.

use std::fmt;

use async_trait::async_trait;

use super::StaticKeys;
use crate::error::Result;

/// Gives credentials, as a class that the JVM has loaded does.
#[async_trait]
pub trait GivesCredentials: fmt::Debug + Send + Sync {
    /// The same number means the same object: clients are shared by those who ask it.
    fn id(&self) -> u64;

    /// The credentials of now. An error that is retryable may pass.
    async fn give(&self) -> Result<GivenCredentials>;
}

/// What was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenCredentials {
    /// The keys.
    pub keys: StaticKeys,
    /// When they expire, milliseconds since the epoch; none where that wasn't told.
    pub expires_millis: Option<i64>,
}
