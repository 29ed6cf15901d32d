//! Errors at the boundary between the JVM and the connector.

use kinesis_connector::{Error, ErrorKind};

/// A failure inside an export, before it becomes an exception.
#[derive(Debug, thiserror::Error)]
pub enum BoundaryError {
    /// The connector's own error, or one of this crate in the same form.
    #[error("{0}")]
    Connector(#[from] Error),
    /// A JNI call failed; a Java exception may be pending.
    #[error("{0}")]
    Jni(#[from] jni::errors::Error),
}

/// The result of an export's body.
pub type Result<T, E = BoundaryError> = std::result::Result<T, E>;

/// A defect on the native side of the boundary.
pub(crate) fn internal(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Internal, message)
}

/// A malformed argument from the caller.
pub(crate) fn invalid_argument(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

impl BoundaryError {
    /// The failure as the connector's error. A JNI failure counts as a defect, except for a null argument.
    pub(crate) fn into_connector(self) -> Error {
        match self {
            Self::Connector(error) => error,
            Self::Jni(jni::errors::Error::NullPtr(what)) => {
                invalid_argument(format!("null was handed over: {what}"))
            }
            Self::Jni(error) => internal(format!("a call of the JVM failed: {error}")),
        }
    }
}
