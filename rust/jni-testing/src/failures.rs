//! Panics and errors of all kinds.

use jni::objects::{JClass, JString};
use jni::sys::jint;
use kinesis_connector::{Error, ErrorKind};
use sparkkinesis::{export, values};

/// Panics with a formatted text.
pub(crate) fn panic_with(text: &str) -> ! {
    // Formatted on purpose: the payload is then a String, which is easily lost on the way to Java.
    #[allow(clippy::panic)]
    {
        panic!("formatted: {text}")
    }
}

const KINDS: [ErrorKind; 23] = [
    ErrorKind::Internal,
    ErrorKind::InvalidOption,
    ErrorKind::NotSupported,
    ErrorKind::NotFound,
    ErrorKind::Access,
    ErrorKind::Throttled,
    ErrorKind::Transport,
    ErrorKind::InvalidRequest,
    ErrorKind::Kms,
    ErrorKind::DataLoss,
    ErrorKind::ClaimConflict,
    ErrorKind::Store,
    ErrorKind::CorruptCheckpoint,
    ErrorKind::StreamChanged,
    ErrorKind::InvalidRow,
    ErrorKind::PutFailed,
    ErrorKind::InvalidHandle,
    ErrorKind::Interrupted,
    ErrorKind::ExpiredIterator,
    ErrorKind::InvalidArgument,
    ErrorKind::MalformedRecord,
    ErrorKind::RefusedPosition,
    ErrorKind::InUse,
];

export! {
    /// Panics with a formatted text, on the calling thread.
    fn Java_io_sparkkinesis_bridge_BoundaryTests_panic<'l>(env, _class: JClass<'l>, text: JString<'l>) -> () {
        let text = values::text(env, &text, "the text")?;
        panic_with(&text)
    }
}

export! {
    /// Panics with a payload that isn't text.
    fn Java_io_sparkkinesis_bridge_BoundaryTests_panicWithoutText<'l>(_env, _class: JClass<'l>) -> () {
        #[allow(clippy::panic)]
        std::panic::panic_any(42_u8)
    }
}

export! {
    /// Fails with the error kind of this number, or returns if there is none.
    fn Java_io_sparkkinesis_bridge_BoundaryTests_fail<'l>(_env, _class: JClass<'l>, code: jint) -> () {
        match KINDS.iter().find(|kind| kind.code() == code) {
            Some(kind) => Err(Error::new(*kind, "what was asked for").with("stream", "s").with("shard", "ü").into()),
            None => Ok(()),
        }
    }
}
