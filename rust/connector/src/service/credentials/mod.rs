//! Credentials: loads them from their sources, caches them while they are valid, and renews them before they expire.

mod chain;
mod class;
mod failure;
mod kept;
mod role;

pub(super) use chain::{JobChain, metadata_client, timeouts};
pub(super) use class::ClassCredentials;
pub(crate) use failure::LoadFailure;
pub(super) use kept::KeptCredentials;
pub(super) use role::RoleCredentials;

use aws_credential_types::Credentials;

use crate::options::StaticKeys;

/// Keys from the user's options.
pub(super) fn static_credentials(keys: &StaticKeys) -> Credentials {
    Credentials::new(
        keys.access_key_id.clone(),
        keys.secret.expose().to_owned(),
        keys.session_token.as_ref().map(|token| token.expose().to_owned()),
        None,
        "connector options",
    )
}
