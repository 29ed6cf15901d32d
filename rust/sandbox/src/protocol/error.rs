//! The service's errors, by the names it uses on the wire.

use std::fmt;

macro_rules! codes {
    ($($variant:ident $status:literal),* $(,)?) => {
        /// An error of the service, as named in `__type` and `x-amzn-errortype`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs)]
        pub enum ErrorCode { $($variant),* }

        impl ErrorCode {
            /// All codes, in the order of their declaration.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant),*];

            /// The name on the wire.
            pub fn name(self) -> &'static str {
                match self { $(ErrorCode::$variant => stringify!($variant)),* }
            }

            /// HTTP status of the response.
            pub fn status(self) -> u16 {
                match self { $(ErrorCode::$variant => $status),* }
            }
        }
    };
}

codes! {
    AccessDeniedException 400,
    DryRunOperationException 400,
    ExpiredIteratorException 400,
    ExpiredNextTokenException 400,
    ExpiredTokenException 400,
    IncompleteSignatureException 400,
    InternalFailure 500,
    InternalFailureException 500,
    InvalidArgumentException 400,
    InvalidSignatureException 400,
    KMSAccessDeniedException 400,
    KMSDisabledException 400,
    KMSInvalidStateException 400,
    KMSNotFoundException 400,
    KMSOptInRequired 400,
    KMSThrottlingException 400,
    LimitExceededException 400,
    MissingAuthenticationTokenException 400,
    ProvisionedThroughputExceededException 400,
    ResourceInUseException 400,
    ResourceNotFoundException 400,
    SerializationException 400,
    ServiceUnavailable 503,
    ThrottlingException 400,
    UnknownOperationException 400,
    UnrecognizedClientException 400,
    ValidationException 400,
}

impl ErrorCode {
    /// Parses a name on the wire, or one of the short forms `throttle` and `internal`.
    pub fn parse(name: &str) -> Option<ErrorCode> {
        match name {
            "throttle" => Some(ErrorCode::ProvisionedThroughputExceededException),
            "internal" => Some(ErrorCode::InternalFailure),
            _ => ErrorCode::ALL.iter().copied().find(|code| code.name() == name),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error response: its code and message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ServiceError {
    /// Name and HTTP status of the error.
    pub code: ErrorCode,
    /// Human-readable message.
    pub message: String,
}

impl ServiceError {
    /// Creates an error response with this code and message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> ServiceError {
        ServiceError {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn invalid_argument(message: impl Into<String>) -> ServiceError {
        ServiceError::new(ErrorCode::InvalidArgumentException, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> ServiceError {
        ServiceError::new(ErrorCode::ResourceNotFoundException, message)
    }

    pub(crate) fn in_use(message: impl Into<String>) -> ServiceError {
        ServiceError::new(ErrorCode::ResourceInUseException, message)
    }

    pub(crate) fn serialization(message: impl Into<String>) -> ServiceError {
        ServiceError::new(ErrorCode::SerializationException, message)
    }

    /// Error for a member that breaks a constraint of the API's model, in the service's own words.
    pub(crate) fn constraint(value: impl fmt::Display, member: &str, constraint: &str) -> ServiceError {
        ServiceError::new(
            ErrorCode::ValidationException,
            format!(
                "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: \
                 {constraint}"
            ),
        )
    }

    /// Error for a missing required member.
    pub(crate) fn missing(member: &str) -> ServiceError {
        ServiceError::new(
            ErrorCode::ValidationException,
            format!(
                "1 validation error detected: Value null at '{member}' failed to satisfy constraint: \
                 Member must not be null"
            ),
        )
    }

    pub(crate) fn shard_throttled(shard: &str, stream: &str) -> ServiceError {
        ServiceError::new(
            ErrorCode::ProvisionedThroughputExceededException,
            format!(
                "Rate exceeded for shard {shard} in stream {stream} under account {}.",
                super::ACCOUNT
            ),
        )
    }
}
