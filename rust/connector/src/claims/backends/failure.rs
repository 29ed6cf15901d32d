//! Error classification for the stores that are AWS services.

use std::error::Error as StdError;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::error::{Error, ErrorKind, unstopped};
use crate::service::{LoadFailure, NetworkFailure, chain, code_and_message, no_credentials, no_way};

/// A store's service, as named in messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    /// Its name.
    pub name: &'static str,
    /// The option that sets the service's address.
    pub endpoint_key: &'static str,
    /// Permissions that the credentials need.
    pub permissions: &'static str,
}

impl Service {
    /// Classifies a failed call of `operation` on `place` (a table, a bucket).
    pub fn classify<E>(self, operation: &'static str, place: &str, error: SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + RequestId + StdError + Send + Sync + 'static,
    {
        let classified = match &error {
            SdkError::ServiceError(answer) => {
                let refused = answer.err();
                let status = answer.raw().status().as_u16();
                // The response to a HEAD has no body that could hold a code.
                let code = refused
                    .code()
                    .map_or_else(|| format!("status {status}"), str::to_owned);
                let request_id = refused.request_id().unwrap_or("unknown").to_owned();
                self.refusal(operation, &code, refused.message().unwrap_or(""), status)
                    .with("requestId", request_id)
            }
            _ if let Some(failure) = LoadFailure::in_error(&error) => no_credentials(
                &format!("{operation} of the checkpoint store"),
                &failure,
                &format!(
                    "{} is called with the AWS default chain, where that has nothing with kinesis.awsAccessKeyId and \
                     kinesis.awsSecretKey, and never with kinesis.stsRoleArn: give the process a profile, a role or \
                     environment variables",
                    self.name
                ),
            ),
            _ if let Some(failure) = NetworkFailure::in_error(&error) => {
                no_way(&format!("{operation} of the checkpoint store"), failure)
            }
            SdkError::ConstructionFailure(_) => Error::new(
                ErrorKind::Internal,
                format!("{operation} could not be made: {}", chain(&error)),
            ),
            SdkError::TimeoutError(_) => self.unreachable(operation, "no answer in time"),
            _ => self.unreachable(operation, &chain(&error)),
        };
        classified.with("operation", operation).with("store", place)
    }

    /// The error of a service that sent no response, or an incomplete one.
    pub fn unreachable(self, operation: &str, why: &str) -> Error {
        let why = unstopped(why);
        Error::new(
            ErrorKind::Store,
            format!(
                "{} could not be reached for {operation} of the checkpoint store: {why}. Check {}, kinesis.region and \
                 the network route to them",
                self.name, self.endpoint_key
            ),
        )
        .retryable(true)
    }

    /// Classifies an error code.
    pub fn refusal(self, operation: &str, code: &str, message: &str, status: u16) -> Error {
        let reason = code_and_message(code, message);
        let make = |kind, advice: &str| {
            let message = format!("{operation} of the checkpoint store failed with {reason}. {advice}");
            Error::new(kind, message)
        };
        match code {
            "ProvisionedThroughputExceededException"
            | "RequestLimitExceeded"
            | "ThrottlingException"
            | "Throttling"
            | "LimitExceededException"
            | "SlowDown"
            | "TooManyRequestsException"
            | "KMS.ThrottlingException" => make(
                ErrorKind::Throttled,
                "The limit of the table, the bucket or the account was exceeded",
            )
            .retryable(true),
            // Two writers of one key at the same time, in S3 and in DynamoDB, and a request that arrived too slowly.
            "ConditionalRequestConflict"
            | "OperationAborted"
            | "RequestTimeout"
            | "ReplicatedWriteConflictException"
            | "TransactionConflictException"
            | "ResourceInUseException" => {
                make(ErrorKind::Store, "Another request was in its way").retryable(true)
            }
            "AccessDenied"
            | "AccessDeniedException"
            | "AllAccessDisabled"
            | "InvalidAccessKeyId"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "IncompleteSignatureException"
            | "SignatureDoesNotMatch"
            | "MissingAuthenticationTokenException"
            | "MissingAuthenticationToken"
            | "RequestTimeTooSkewed"
            | "OptInRequired" => make(
                ErrorKind::Access,
                &format!(
                    "The job's own credentials (not those of kinesis.stsRoleArn) need {}",
                    self.permissions
                ),
            ),
            "ExpiredTokenException" | "ExpiredToken" | "TokenRefreshRequired" => {
                make(ErrorKind::Access, "The session token expired and was not renewed").retryable(true)
            }
            code if code.starts_with("KMS.") => make(
                ErrorKind::Kms,
                "Check the KMS key (kinesis.s3.kmsKeyId, else the bucket's) and the right to use it",
            ),
            "NoSuchBucket" => make(
                ErrorKind::NotFound,
                "The bucket is not made by the connector: make it, or correct the path",
            ),
            "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
                make(
                    ErrorKind::InvalidRequest,
                    "The bucket is in another region: set kinesis.region to it (and kinesis.kinesisRegion to the \
                     stream's)",
                )
            }
            _ if status == 429 => {
                make(ErrorKind::Throttled, "The store takes fewer requests").retryable(true)
            }
            _ if status >= 500 || status == 408 => {
                make(ErrorKind::Store, "The service failed").retryable(true)
            }
            // No refusal, but no answer of the service either: a proxy's page, for one.
            _ if status < 300 => make(
                ErrorKind::Store,
                "The answer doesn't come from the service: look for a proxy on the way",
            )
            .retryable(true),
            _ => make(ErrorKind::InvalidRequest, "The service refused the request"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_one_meaning() {
        let service = Service {
            name: "S3",
            endpoint_key: "kinesis.s3.endpointUrl",
            permissions: "s3:GetObject",
        };
        let cases = [
            (
                "ProvisionedThroughputExceededException",
                400,
                ErrorKind::Throttled,
                true,
            ),
            ("SlowDown", 503, ErrorKind::Throttled, true),
            ("ConditionalRequestConflict", 409, ErrorKind::Store, true),
            ("AccessDenied", 403, ErrorKind::Access, false),
            ("ExpiredToken", 400, ErrorKind::Access, true),
            ("NoSuchBucket", 404, ErrorKind::NotFound, false),
            ("KMS.NotFoundException", 400, ErrorKind::Kms, false),
            ("PermanentRedirect", 301, ErrorKind::InvalidRequest, false),
            ("InternalError", 500, ErrorKind::Store, true),
            ("TooManyRequests", 429, ErrorKind::Throttled, true),
            ("TransactionConflictException", 400, ErrorKind::Store, true),
            ("status 200", 200, ErrorKind::Store, true),
            ("ValidationException", 400, ErrorKind::InvalidRequest, false),
        ];
        for (code, status, kind, retryable) in cases {
            let error = service.refusal("PutObject", code, "told", status);
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{code}");
            assert!(
                error.message().contains(code) && error.message().contains("told"),
                "{error}"
            );
        }
        let stopped = service.refusal("PutObject", "SlowDown", "Please reduce your request rate.", 503);
        assert!(stopped.message().contains("request rate. The limit"), "{stopped}");
        let denied = service.refusal("PutObject", "AccessDenied", "", 403);
        assert!(denied.message().contains("need s3:GetObject"), "{denied}");
    }
}
