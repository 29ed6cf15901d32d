//! Credentials from a provider class of the job.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, Result, future};

use super::LoadFailure;
use crate::error::{quotes_request, unstopped};
use crate::options::{GivenCredentials, ProviderClass};

/// Credentials of a provider class, which is called at each load.
#[derive(Clone, Debug)]
pub(in crate::service) struct ClassCredentials {
    pub class: ProviderClass,
}

impl ClassCredentials {
    async fn load(&self) -> Result {
        let name = &self.class.name;
        let message = |words: &str| format!("kinesis.credentialProviderClass {name}: {}", unstopped(words));
        let Some(given_by) = &self.class.given_by else {
            return Err(LoadFailure::that_stays(message("there is nobody to call it")).into());
        };
        match given_by.give().await {
            Ok(given) => Ok(credentials(given)),
            Err(error) => {
                let words = match quotes_request(error.message()) {
                    true => message("its exception isn't shown, since it may quote a signed request"),
                    false => message(error.message()),
                };
                Err(match error.is_retryable() {
                    true => LoadFailure::that_passes(words).into(),
                    false => LoadFailure::that_stays(words).into(),
                })
            }
        }
    }
}

fn credentials(given: GivenCredentials) -> Credentials {
    let keys = given.keys;
    let end = given
        .expires_millis
        .map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0)));
    Credentials::new(
        keys.access_key_id,
        keys.secret.expose().to_owned(),
        keys.session_token.map(|token| token.expose().to_owned()),
        end,
        "credentials provider class",
    )
}

impl ProvideCredentials for ClassCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}
