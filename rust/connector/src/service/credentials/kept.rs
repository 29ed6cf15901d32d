//! Cache of loaded credentials.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, Result, SharedCredentialsProvider, future};
use aws_smithy_async::time::TimeSource;
use parking_lot::{Mutex, MutexGuard};

use super::LoadFailure;
use crate::service::clock::ServiceClock;

/// Timeout of a load: below the 30 s of a request, so that its failure can report what was missing, and long enough
/// for three attempts at a silent STS, whose failure contains its address.
const LOAD_TIMEOUT: Duration = Duration::from_secs(28);
/// Time before their expiry at which credentials are renewed, limited to a third of their lifetime.
const RENEW_AHEAD: Duration = Duration::from_secs(300);
/// Age at which credentials without an expiry are loaded again, since files change.
const RELOAD_AFTER: Duration = Duration::from_secs(900);
/// Minimum time between two early renewals, and between two reloads after refusals of the same key.
const PAUSE: Duration = Duration::from_secs(10);

/// Loads credentials from a provider and caches them until they expire. Renewals begin early, in parallel with
/// requests, and are repeated if they fail. Credentials that the service refuses are reloaded once.
#[derive(Clone)]
pub(in crate::service) struct KeptCredentials {
    inner: Arc<Inner>,
}

struct Inner {
    provider: SharedCredentialsProvider,
    clock: ServiceClock,
    state: Mutex<State>,
    /// Held by a load while no credentials are usable: all requests wait for it and share its outcome.
    loading: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    /// True during a renewal in parallel with requests.
    renewing: bool,
    /// Earliest time of the next early renewal.
    rest_until: Option<SystemTime>,
    /// Number of loads so far; `failure` is the last one's.
    loads: u64,
    failure: Option<LoadFailure>,
}

struct Current {
    credentials: Credentials,
    loaded: SystemTime,
    /// True if the service refused them.
    refused: bool,
    /// Set after a reload that produced no other credentials: further refusals are ignored until then.
    known_until: Option<SystemTime>,
}

/// State of the cache at a given time.
enum Now {
    Good(Credentials),
    /// Usable; whoever receives this must renew them.
    Due(Credentials),
    Nothing,
}

impl KeptCredentials {
    /// Caches this provider's credentials, loaded on first use. `clock` determines their expiry.
    pub fn of(provider: impl ProvideCredentials + 'static, clock: ServiceClock) -> Self {
        Self {
            inner: Arc::new(Inner {
                provider: SharedCredentialsProvider::new(provider),
                clock,
                state: Mutex::default(),
                loading: Arc::default(),
            }),
        }
    }

    /// Handles a refusal by the service of a request signed with this key.
    pub fn refused(&self, access_key_id: &str) {
        let now = self.inner.clock.now();
        if let Some(current) = &mut self.inner.state().current
            && current.credentials.access_key_id() == access_key_id
            && current.known_until.is_none_or(|until| until <= now)
        {
            current.refused = true;
        }
    }

    async fn get(&self) -> Result {
        let seen = match self.inner.state().check(self.inner.clock.now()) {
            (Now::Good(credentials), _) => return Ok(credentials),
            (Now::Due(credentials), _) => {
                let inner = self.inner.clone();
                tokio::spawn(async move { inner.renew().await });
                return Ok(credentials);
            }
            (Now::Nothing, loads) => loads,
        };
        let loading = self.inner.loading.clone().lock_owned().await;
        {
            let mut state = self.inner.state();
            match state.check(self.inner.clock.now()) {
                (Now::Good(credentials) | Now::Due(credentials), _) => {
                    // Another request has just loaded them; the next one renews them if due.
                    state.renewing = false;
                    return Ok(credentials);
                }
                (Now::Nothing, loads) => {
                    // Requests that waited during a failed load share its failure: their own load would fail the same
                    // way, only later.
                    if let (true, Some(failure)) = (loads > seen, &state.failure) {
                        return Err(failure.clone().into());
                    }
                }
            }
        }
        // A load outlives the request that began it: the next request finds its outcome.
        let inner = self.inner.clone();
        let load = tokio::spawn(async move {
            let _loading = loading;
            inner.load().await
        });
        let failure = match load.await {
            Ok(Ok(credentials)) => return Ok(credentials),
            Ok(Err(failure)) => failure,
            Err(_) => LoadFailure::that_passes("loading them was broken off"),
        };
        // Refused, but there are no others: the request's own failure will say so.
        let now = self.inner.clock.now();
        match &mut self.inner.state().current {
            Some(current) if !current.has_expired(now) => {
                tracing::warn!("credentials that the service refused could not be loaded anew: {failure}");
                current.refused = false;
                current.known_until = Some(now + PAUSE);
                Ok(current.credentials.clone())
            }
            _ => Err(failure.into()),
        }
    }
}

impl ProvideCredentials for KeptCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.get())
    }
}

impl fmt::Debug for KeptCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptCredentials(…)")
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    async fn load(&self) -> std::result::Result<Credentials, LoadFailure> {
        let loaded = tokio::time::timeout(LOAD_TIMEOUT, self.provider.provide_credentials()).await;
        let loaded = loaded.unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(LOAD_TIMEOUT)));
        let now = self.clock.now();
        let mut state = self.state();
        state.loads += 1;
        let loaded =
            match loaded {
                Ok(credentials) if credentials.expiry().is_some_and(|end| end <= now) => Err(
                    LoadFailure::that_passes("the credentials that were given have expired"),
                ),
                Ok(credentials) => Ok(credentials),
                Err(error) => Err(LoadFailure::in_error(&error)
                    .unwrap_or_else(|| LoadFailure::that_passes(error.to_string()))),
            };
        match loaded {
            Ok(credentials) => {
                let came_again = state
                    .current
                    .as_ref()
                    .is_some_and(|current| current.refused && current.credentials == credentials);
                state.failure = None;
                state.current = Some(Current {
                    credentials: credentials.clone(),
                    loaded: now,
                    refused: false,
                    known_until: came_again.then(|| now + PAUSE),
                });
                Ok(credentials)
            }
            Err(failure) => {
                state.failure = Some(failure.clone());
                Err(failure)
            }
        }
    }

    async fn renew(&self) {
        if let Err(failure) = self.load().await {
            tracing::warn!("credentials could not be renewed, and are used on until they expire: {failure}");
        }
        let now = self.clock.now();
        let mut state = self.state();
        state.renewing = false;
        state.rest_until = Some(now + PAUSE);
    }
}

impl State {
    /// State of the cache, and the number of loads so far.
    fn check(&mut self, now: SystemTime) -> (Now, u64) {
        let Some(current) = &self.current else {
            return (Now::Nothing, self.loads);
        };
        if current.refused || current.has_expired(now) {
            return (Now::Nothing, self.loads);
        }
        let credentials = current.credentials.clone();
        let resting = self.renewing || self.rest_until.is_some_and(|until| now < until);
        if resting || now < current.due() {
            return (Now::Good(credentials), self.loads);
        }
        self.renewing = true;
        (Now::Due(credentials), self.loads)
    }
}

impl Current {
    fn has_expired(&self, now: SystemTime) -> bool {
        self.credentials.expiry().is_some_and(|end| end <= now)
    }

    fn due(&self) -> SystemTime {
        match self.credentials.expiry() {
            Some(end) => {
                let good_for = end.duration_since(self.loaded).unwrap_or_default();
                end - RENEW_AHEAD.min(good_for / 3)
            }
            None => self.loaded + RELOAD_AFTER,
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
