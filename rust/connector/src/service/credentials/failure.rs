//! Classified failures to load credentials.

use std::error::Error as StdError;
use std::fmt;

use aws_config::meta::ProviderChainError;
use aws_credential_types::provider::error::CredentialsError;

use crate::service::failure::chain;
use crate::service::network::NetworkFailure;

/// A failure to load credentials: a message, and whether a retry may succeed.
#[derive(Clone, Debug)]
pub(crate) struct LoadFailure {
    /// True for an outage, false if credentials are missing or refused.
    pub passes: bool,
    /// True if no source had credentials, which options can cure.
    pub nothing_found: bool,
    message: String,
}

/// The chain's providers by name, with the words for messages.
const PROVIDERS: [(&str, &str); 5] = [
    ("Environment", "environment variables"),
    ("Profile", "profile"),
    ("WebIdentityToken", "web identity"),
    ("EcsContainer", "container"),
    (METADATA, "instance metadata"),
];
const METADATA: &str = "Ec2InstanceMetadata";
/// Text of a connection's error if no answer arrives in time.
const SILENT: &str = "read timeout";

impl LoadFailure {
    /// A failure that a retry may cure.
    pub fn that_passes(message: impl Into<String>) -> Self {
        Self {
            passes: true,
            nothing_found: false,
            message: message.into(),
        }
    }

    /// A failure that retries don't cure.
    pub fn that_stays(message: impl Into<String>) -> Self {
        Self {
            passes: false,
            ..Self::that_passes(message)
        }
    }

    /// The failure among an error's causes; none if credentials weren't the cause.
    pub fn in_error(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        let mut found = None;
        while let Some(current) = cause {
            if let Some(failure) = current.downcast_ref::<Self>() {
                return Some(failure.clone());
            }
            if let (None, Some(failure)) = (&found, current.downcast_ref::<CredentialsError>()) {
                found = Some(failure);
            }
            cause = current.source();
        }
        found.map(Self::of)
    }

    /// Classifies a provider's error.
    fn of(error: &CredentialsError) -> Self {
        let attempts = error
            .source()
            .and_then(|source| source.downcast_ref::<ProviderChainError<CredentialsError>>());
        match (error, attempts) {
            (_, Some(attempts)) => Self::of_chain(attempts),
            (CredentialsError::CredentialsNotLoaded(_), None) => Self {
                nothing_found: true,
                ..Self::that_stays(chain(error))
            },
            (CredentialsError::InvalidConfiguration(_), None) => Self::that_stays(chain(error)),
            _ if NetworkFailure::in_error(error).is_some() => Self::that_stays(chain(error)),
            _ => Self::that_passes(chain(error)),
        }
    }

    /// Classifies a chain in which nothing was found. Unanswered instance metadata requests are an outage: on a
    /// machine without instance metadata not even the connection succeeds.
    fn of_chain(error: &ProviderChainError<CredentialsError>) -> Self {
        let mut silent = false;
        let tried: Vec<_> = error
            .attempts()
            .iter()
            .map(|attempt| {
                let known = PROVIDERS.iter().find(|(name, _)| *name == attempt.name());
                let name = known.map_or(attempt.name(), |(_, name)| name);
                let why = attempt.error().source().map_or_else(|| "none".to_owned(), chain);
                silent |= attempt.name() == METADATA && why.contains(SILENT);
                format!("{name} ({why})")
            })
            .collect();
        let mut message = format!("tried {}", tried.join(", "));
        if silent {
            message.push_str(
                ". Instance metadata that don't answer in a container may need a hop limit of 2 \
                 (HttpPutResponseHopLimit)",
            );
        }
        Self {
            passes: silent,
            nothing_found: !silent,
            message,
        }
    }
}

impl fmt::Display for LoadFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for LoadFailure {}

impl From<LoadFailure> for CredentialsError {
    fn from(failure: LoadFailure) -> Self {
        match (failure.passes, failure.nothing_found) {
            (true, _) => Self::provider_error(failure),
            (false, true) => Self::not_loaded(failure),
            (false, false) => Self::invalid_configuration(failure),
        }
    }
}
