//! Classification of the service's failures, in one place.

use std::error::Error as StdError;

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::RequestId;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::event_stream::RawMessage;

use super::credentials::LoadFailure;
use super::network::NetworkFailure;
use crate::error::{Error, ErrorKind, quotes_request, unstopped};

/// Classifies a failed call of `operation` on `stream`.
pub fn classify<E>(operation: &'static str, stream: &str, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + RequestId + StdError + Send + Sync + 'static,
{
    let classified = match &error {
        SdkError::ServiceError(answer) => {
            let refused = answer.err();
            let (code, message) = (
                refused.code().unwrap_or("unknown"),
                refused.message().unwrap_or(""),
            );
            let status = answer.raw().status().as_u16();
            let request_id = refused.request_id().unwrap_or("unknown").to_owned();
            refusal(operation, code, message, status).with("requestId", request_id)
        }
        _ if let Some(failure) = LoadFailure::in_error(&error) => no_credentials(
            operation,
            &failure,
            "Set kinesis.awsAccessKeyId and kinesis.awsSecretKey, or kinesis.stsRoleArn, or give the process a \
             profile, a role or environment variables",
        ),
        _ if let Some(failure) = NetworkFailure::in_error(&error) => no_way(operation, failure),
        SdkError::TimeoutError(_) => unreachable(operation, "no answer in time"),
        SdkError::ConstructionFailure(_) => Error::new(
            ErrorKind::Internal,
            format!("{operation} could not be made: {}", chain(&error)),
        ),
        _ => unreachable(operation, &chain(&error)),
    };
    classified.with("operation", operation).with("stream", stream)
}

/// Classifies an error inside an event stream.
pub fn classify_event(error: SdkError<SubscribeToShardEventStreamError, RawMessage>) -> Error {
    match &error {
        SdkError::ServiceError(answer) => {
            let refused = answer.err();
            refusal(
                "SubscribeToShard",
                event_code(refused),
                refused.message().unwrap_or(""),
                // Events have no status. Without an error code that blames the client, the fault is the service's.
                500,
            )
        }
        _ => Error::new(
            ErrorKind::Transport,
            format!("the subscription was cut off: {}", chain(&error)),
        )
        .retryable(true),
    }
}

/// The error's code. In an event it is a separate header, and the SDK keeps only the variant.
fn event_code(error: &SubscribeToShardEventStreamError) -> &str {
    use SubscribeToShardEventStreamError as Event;
    match error {
        Event::ResourceNotFoundException(_) => "ResourceNotFoundException",
        Event::ResourceInUseException(_) => "ResourceInUseException",
        Event::KmsDisabledException(_) => "KMSDisabledException",
        Event::KmsInvalidStateException(_) => "KMSInvalidStateException",
        Event::KmsAccessDeniedException(_) => "KMSAccessDeniedException",
        Event::KmsNotFoundException(_) => "KMSNotFoundException",
        Event::KmsOptInRequired(_) => "KMSOptInRequired",
        Event::KmsThrottlingException(_) => "KMSThrottlingException",
        Event::InternalFailureException(_) => "InternalFailureException",
        other => other.code().unwrap_or("unknown"),
    }
}

fn unreachable(operation: &str, why: &str) -> Error {
    let why = unstopped(why);
    Error::new(
        ErrorKind::Transport,
        format!(
            "Kinesis could not be reached for {operation}: {why}. Check kinesis.endpointUrl, kinesis.region and \
             the network route to them"
        ),
    )
    .retryable(true)
}

/// Error for a request that can't reach its service, whatever the number of tries.
pub(crate) fn no_way(operation: &str, failure: &NetworkFailure) -> Error {
    Error::new(failure.kind, format!("{operation} could not be sent: {failure}"))
}

/// An error's message followed by those of its causes.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let words_of = |error: &(dyn StdError + 'static)| match error.downcast_ref::<ErrorMetadata>() {
        Some(refused) => code_and_message(
            refused.code().unwrap_or("unknown"),
            refused.message().unwrap_or_default(),
        ),
        None => error.to_string(),
    };
    let mut text = words_of(error);
    let mut cause = error.source();
    while let Some(current) = cause {
        let words = words_of(current);
        // Some errors repeat their cause's message.
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        cause = current.source();
    }
    text
}

/// Error for a request that could not be signed. `advice` is added if there are no credentials at all: options don't
/// cure an outage.
pub(crate) fn no_credentials(operation: &str, failure: &LoadFailure, advice: &str) -> Error {
    let message = match (failure.passes, failure.nothing_found) {
        (true, _) => format!(
            "no AWS credentials for {operation} at the moment: {failure}. It was tried again, and may pass: look at \
             what gives the credentials, and at the way there"
        ),
        (false, true) => format!("no AWS credentials for {operation}: {failure}. {advice}"),
        (false, false) => format!("no AWS credentials for {operation}: {failure}"),
    };
    Error::new(ErrorKind::Access, message).retryable(failure.passes)
}

/// A service error as text. The service's message is left out if it refused the signature, since it may quote the
/// signed request with its session token.
pub(crate) fn code_and_message(code: &str, message: &str) -> String {
    if message.is_empty() || is_of_signature(code) || quotes_request(message) {
        code.to_owned()
    } else {
        format!("{code}: {}", unstopped(message))
    }
}

/// True for an error code about an invalid or outdated signature.
fn is_of_signature(code: &str) -> bool {
    matches!(
        code,
        "InvalidSignatureException"
            | "InvalidSignature"
            | "SignatureDoesNotMatch"
            | "SignatureDoesNotMatchException"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "AuthFailure"
            | "RequestExpired"
            | "RequestTimeTooSkewed"
    )
}

/// True for an error code that other credentials or another clock may cure.
pub(super) fn refuses_signer(code: &str) -> bool {
    is_of_signature(code)
        || matches!(
            code,
            "ExpiredToken"
                | "ExpiredTokenException"
                | "InvalidAccessKeyId"
                | "InvalidClientTokenId"
                | "InvalidToken"
                | "UnrecognizedClientException"
        )
}

/// Classifies an error code of the service.
fn refusal(operation: &str, code: &str, message: &str, status: u16) -> Error {
    let reason = code_and_message(code, message);
    let make = |kind, advice: &str| Error::new(kind, format!("{operation} failed with {reason}. {advice}"));
    match code {
        "ProvisionedThroughputExceededException"
        | "LimitExceededException"
        | "KMSThrottlingException"
        | "ThrottlingException"
        | "Throttling"
        | "TooManyRequestsException"
        | "RequestLimitExceeded" => make(
            ErrorKind::Throttled,
            "The stream's or the account's limit was exceeded",
        )
        .retryable(true),
        "ExpiredIteratorException" => make(
            ErrorKind::ExpiredIterator,
            "The iterator was older than five minutes",
        ),
        "InvalidArgumentException" if matches!(operation, "GetShardIterator" | "SubscribeToShard") => make(
            ErrorKind::RefusedPosition,
            "The service doesn't take this position in the shard",
        ),
        "ExpiredNextTokenException" => make(
            ErrorKind::Transport,
            "The listing took too long between two pages",
        )
        .retryable(true),
        "ResourceNotFoundException" => make(
            ErrorKind::NotFound,
            "Check the stream's name, kinesis.region, kinesis.endpointUrl, and the account of the credentials",
        ),
        "ResourceInUseException" => make(
            ErrorKind::InUse,
            "The stream is being changed, or something else uses the same consumer",
        )
        .retryable(true),
        code if is_of_signature(code) => make(
            ErrorKind::Access,
            "Check the secret key, kinesis.region, and this machine's clock: requests more than five minutes off are \
             refused",
        ),
        "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "MissingAuthenticationTokenException"
        | "MissingAuthenticationToken"
        | "OptInRequired" => make(
            ErrorKind::Access,
            "Check the credentials and what they are allowed to do on this stream",
        ),
        "ExpiredTokenException" | "ExpiredToken" => {
            make(ErrorKind::Access, "The session token expired and was not renewed").retryable(true)
        }
        code if code.starts_with("KMS") => make(
            ErrorKind::Kms,
            "Check the stream's KMS key and the right to use it",
        ),
        "InvalidArgumentException" | "ValidationException" => {
            make(ErrorKind::InvalidRequest, "The service refused the request")
        }
        // 408, 425 and 429 (request timeout, too early, too many requests) come from a gateway, without a service's
        // error code.
        _ if status >= 500 || matches!(status, 408 | 425 | 429) => {
            make(ErrorKind::Transport, "The service failed").retryable(true)
        }
        _ => make(ErrorKind::InvalidRequest, "The service refused the request"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_one_meaning() {
        let cases = [
            (
                "ProvisionedThroughputExceededException",
                400,
                ErrorKind::Throttled,
                true,
            ),
            ("KMSThrottlingException", 400, ErrorKind::Throttled, true),
            ("KMSAccessDeniedException", 400, ErrorKind::Kms, false),
            ("ExpiredIteratorException", 400, ErrorKind::ExpiredIterator, false),
            ("ResourceNotFoundException", 400, ErrorKind::NotFound, false),
            ("UnrecognizedClientException", 400, ErrorKind::Access, false),
            ("InvalidSignatureException", 400, ErrorKind::Access, false),
            ("RequestTimeTooSkewed", 403, ErrorKind::Access, false),
            ("InternalFailure", 500, ErrorKind::Transport, true),
            ("ServiceUnavailable", 503, ErrorKind::Transport, true),
            ("unknown", 429, ErrorKind::Transport, true),
            ("unknown", 403, ErrorKind::InvalidRequest, false),
            ("InvalidArgumentException", 400, ErrorKind::InvalidRequest, false),
            ("ResourceInUseException", 400, ErrorKind::InUse, true),
        ];
        for (code, status, kind, retryable) in cases {
            let error = refusal("GetRecords", code, "told", status);
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{code}");
            assert!(error.message().contains(code), "{error}");
            assert_eq!(
                error.message().contains("told"),
                !is_of_signature(code),
                "{error}"
            );
        }
        let stopped = refusal(
            "GetRecords",
            "ResourceNotFoundException",
            "Stream s not found.",
            400,
        );
        assert!(
            stopped.message().contains("Stream s not found. Check"),
            "{stopped}"
        );
        let refused = refusal("GetShardIterator", "InvalidArgumentException", "told", 400);
        assert_eq!(
            (refused.kind(), refused.is_retryable()),
            (ErrorKind::RefusedPosition, false)
        );
    }
}
