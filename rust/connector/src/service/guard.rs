//! Handling of failed attempts, common to all AWS clients. The SDK's own retries, which are off, would lack it.

use std::error::Error as StdError;
use std::time::Duration;

use aws_sdk_sts::types::error::ExpiredTokenException;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connection::CaptureSmithyConnection;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, Error, FinalizerInterceptorContextRef, InterceptorContext,
};
use aws_smithy_runtime_api::client::orchestrator::OrchestratorError;
use aws_smithy_runtime_api::client::retries::classifiers::{
    ClassifyRetry, RetryAction, RetryClassifierPriority,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::retry::{ErrorKind, RetryConfig};

use super::clock::{ServiceClock, date_of};
use super::credentials::KeptCredentials;
use super::failure::refuses_signer;

/// Monitors a client's attempts:
///
/// - An attempt that timed out or was cut off poisons its connection: when a peer vanishes silently, all requests on
///   the same connection wait in vain until the kernel gives up, about a quarter of an hour later.
/// - After a refused signature the attempt is repeated once: with reloaded credentials if they were loaded, and by the
///   service's clock if this machine's is off.
///
/// No other failure is retried here unless enabled: callers count their tries and follow the options.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    clock: ServiceClock,
    credentials: Option<KeptCredentials>,
    retries_others: bool,
}

/// Retry configuration of a guarded client: one additional attempt.
pub(super) fn once_more() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(2)
        .with_initial_backoff(Duration::from_millis(1))
}

impl Guard {
    /// Guard of clients that sign by this clock. `credentials` is none for the user's fixed keys.
    pub(super) fn new(clock: ServiceClock, credentials: Option<KeptCredentials>) -> Self {
        Self {
            clock,
            credentials,
            retries_others: false,
        }
    }

    /// Lets the SDK retry other failures by its own rules, too.
    pub(super) fn with_retries(self) -> Self {
        Self {
            retries_others: true,
            ..self
        }
    }
}

impl Intercept for Guard {
    fn name(&self) -> &'static str {
        "Guard"
    }

    fn read_after_signing(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let signature = context.request().headers().get("authorization");
        if let Some(key) = signature.and_then(signing_key) {
            cfg.interceptor_state().store_put(SigningKey(key.to_owned()));
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(Err(error)) = context.output_or_error() else {
            return Ok(());
        };
        if error.is_timeout_error() || error.is_connector_error() {
            let connection = cfg.load::<CaptureSmithyConnection>();
            if let Some(connection) = connection.and_then(CaptureSmithyConnection::get) {
                connection.poison();
            }
            return Ok(());
        }
        if !refused(error) {
            return Ok(());
        }
        let date = context
            .response()
            .and_then(|response| date_of(response.headers()));
        if date.is_some_and(|date| self.clock.learn(date)) {
            return Ok(());
        }
        if let (Some(credentials), Some(SigningKey(key))) = (&self.credentials, cfg.load::<SigningKey>()) {
            credentials.refused(key);
        }
        Ok(())
    }
}

impl ClassifyRetry for Guard {
    fn name(&self) -> &'static str {
        "Guard"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }

    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context.output_or_error() {
            Some(Err(error)) if refused(error) => {
                RetryAction::retryable_error_with_explicit_delay(ErrorKind::ClientError, Duration::ZERO)
            }
            _ if self.retries_others => RetryAction::NoActionIndicated,
            _ => RetryAction::RetryForbidden,
        }
    }
}

/// Id of the key that signed an attempt.
#[derive(Debug)]
struct SigningKey(String);

impl Storable for SigningKey {
    type Storer = StoreReplace<Self>;
}

/// True if the service refused the signature rather than the request.
fn refused(error: &OrchestratorError<Error>) -> bool {
    let mut cause = error.as_operation_error().and_then(StdError::source);
    while let Some(current) = cause {
        if current.is::<ExpiredTokenException>() {
            return true;
        }
        if let Some(code) = current
            .downcast_ref::<ErrorMetadata>()
            .and_then(ErrorMetadata::code)
        {
            return refuses_signer(code);
        }
        cause = current.source();
    }
    false
}

/// The key id in an `Authorization` header `AWS4-HMAC-SHA256 Credential=<key>/…`.
fn signing_key(authorization: &str) -> Option<&str> {
    let (_, scope) = authorization.split_once("Credential=")?;
    scope.split('/').next()
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::Client;
    use aws_sdk_kinesis::config::Builder;

    use super::super::access::{guarded, stream_access};
    use crate::service::dark::{Dark, options};

    #[tokio::test]
    async fn a_connection_that_went_dark_costs_one_attempt() {
        let service = Dark::start().await;
        let access = stream_access(&options(None)).await.expect("an access");
        let config = guarded!(Builder::from(&access.config), access, Some(service.endpoint()));
        let config = config
            .http_client(service.trusting())
            .timeout_config(Dark::timeouts());
        let client = Client::from_conf(config.build());
        service
            .costs_one_attempt(async || client.list_streams().send().await)
            .await;
    }
}
