//! Credentials of an assumed role, loaded from STS.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, Result, future};
use aws_sdk_sts::Client;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use parking_lot::Mutex;

use super::LoadFailure;
use crate::service::failure::{chain, code_and_message};
use crate::service::network::NetworkFailure;

/// Loads sessions of a role.
#[derive(Clone)]
pub(in crate::service) struct RoleCredentials {
    pub client: Client,
    pub role: String,
    pub session: String,
    pub external_id: Option<String>,
}

impl RoleCredentials {
    async fn assume(&self) -> Result {
        let address = Address::default();
        let answer = self
            .client
            .assume_role()
            .role_arn(&self.role)
            .role_session_name(&self.session)
            .set_external_id(self.external_id.clone())
            .customize()
            .interceptor(address.clone())
            .send()
            .await
            .map_err(|error| self.failure(&address, &error))?;
        let session = answer.credentials().ok_or_else(|| {
            LoadFailure::that_passes(format!("{address} gave no credentials for {}", self.role))
        })?;
        Ok(Credentials::new(
            session.access_key_id(),
            session.secret_access_key(),
            Some(session.session_token().to_owned()),
            SystemTime::try_from(*session.expiration()).ok(),
            "assumed role",
        ))
    }

    fn failure(&self, address: &Address, error: &SdkError<AssumeRoleError, HttpResponse>) -> LoadFailure {
        let role = &self.role;
        match error {
            SdkError::ServiceError(answer) => {
                let refused = answer.err();
                let code = refused.code().unwrap_or("unknown");
                let words = format!(
                    "{address} did not let the role {role} (kinesis.stsRoleArn) be assumed: {}",
                    code_and_message(code, refused.message().unwrap_or_default())
                );
                let passes = answer.raw().status().as_u16() >= 500
                    || matches!(
                        code,
                        "Throttling"
                            | "ThrottlingException"
                            | "RequestLimitExceeded"
                            | "ExpiredToken"
                            | "ExpiredTokenException"
                            | "IDPCommunicationError"
                    );
                match passes {
                    true => LoadFailure::that_passes(words),
                    false => LoadFailure::that_stays(words),
                }
            }
            _ => match LoadFailure::in_error(error) {
                // The failure to load the job's own credentials already has its message.
                Some(failure) => failure,
                None => {
                    let words = format!(
                        "{address} could not be reached for the role {role} (kinesis.stsRoleArn, \
                         kinesis.stsEndpointUrl): {}",
                        chain(error)
                    );
                    match NetworkFailure::in_error(error) {
                        Some(_) => LoadFailure::that_stays(words),
                        None => LoadFailure::that_passes(words),
                    }
                }
            },
        }
    }
}

impl ProvideCredentials for RoleCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.assume())
    }
}

impl fmt::Debug for RoleCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoleCredentials")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// Captures a request's address for messages.
#[derive(Clone, Debug, Default)]
struct Address(Arc<Mutex<Option<String>>>);

impl Intercept for Address {
    fn name(&self) -> &'static str {
        "Address"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> std::result::Result<(), BoxError> {
        let address = context.request().uri().trim_end_matches('/').to_owned();
        *self.0.lock() = Some(address);
        Ok(())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0.lock() {
            Some(address) => write!(f, "STS at {address}"),
            None => f.write_str("STS"),
        }
    }
}
