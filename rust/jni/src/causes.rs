//! Java exceptions as causes of the connector's errors.
//!
//! The connector's layers don't depend on a JVM: to them, an exception is the source of an error. The guard makes it
//! the cause of the exception that it throws. It is freed with the error.

use std::error::Error as StdError;
use std::fmt;

use jni::objects::JThrowable;
use jni::refs::Global;
use kinesis_connector::Error;

/// An exception that an up-call threw.
#[derive(Debug)]
struct JavaException(Global<JThrowable<'static>>);

impl fmt::Display for JavaException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Java exception")
    }
}

impl StdError for JavaException {}

/// The error with this exception as its cause.
pub(crate) fn attach(error: Error, exception: Global<JThrowable<'static>>) -> Error {
    error.caused_by(JavaException(exception))
}

/// The Java exception that caused this error, if there is one.
pub(crate) fn of(error: &Error) -> Option<&Global<JThrowable<'static>>> {
    let source = error.source()?.downcast_ref::<JavaException>()?;
    Some(&source.0)
}

#[cfg(test)]
mod tests {
    use kinesis_connector::ErrorKind;

    use super::*;

    #[test]
    fn the_exception_goes_with_the_error_and_is_not_shown() {
        let error = attach(Error::new(ErrorKind::Store, "no"), Global::null());
        let error = error.with("path", "/a").with("shard", "b").clone();
        assert!(of(&error).is_some());
        assert_eq!(error.to_string(), "no [path=/a, shard=b]");
        assert!(of(&Error::new(ErrorKind::Store, "no")).is_none());
    }
}
