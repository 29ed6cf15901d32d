//! Java exceptions caught in up-calls, kept until the error they caused goes back to Java.
//!
//! The connector's error is plain data and crosses its layers without knowing of a JVM. So the exception waits
//! here, and the error carries its number in its context; the guard joins them again. Errors that the
//! connector deals with itself never ask for theirs: the oldest ones are forgotten.

use std::collections::VecDeque;

use jni::objects::JThrowable;
use jni::refs::Global;
use kinesis_connector::Error;
use parking_lot::Mutex;

/// The context key under which an error names the exception kept for it.
const KEY: &str = "javaException";

/// More exceptions than this are not kept; each holds a stack trace.
const LIMIT: usize = 64;

struct Kept {
    next: u64,
    entries: VecDeque<(u64, Global<JThrowable<'static>>)>,
}

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    next: 0,
    entries: VecDeque::new(),
});

/// Keeps the exception and notes its number in the error.
pub(crate) fn attach(error: Error, exception: Global<JThrowable<'static>>) -> Error {
    let (number, forgotten) = {
        let mut kept = KEPT.lock();
        kept.next += 1;
        let number = kept.next;
        kept.entries.push_back((number, exception));
        (
            number,
            if kept.entries.len() > LIMIT {
                kept.entries.pop_front()
            } else {
                None
            },
        )
    };
    // Freed outside the lock: it calls into the JVM.
    drop(forgotten);
    error.with(KEY, number.to_string())
}

/// The exception kept for this error, if it is still there.
pub(crate) fn take(error: &Error) -> Option<Global<JThrowable<'static>>> {
    let (_, number) = error.context().iter().find(|(key, _)| *key == KEY)?;
    let number: u64 = number.parse().ok()?;
    let mut kept = KEPT.lock();
    let index = kept.entries.iter().position(|(known, _)| *known == number)?;
    kept.entries.remove(index).map(|(_, exception)| exception)
}

/// How many exceptions are kept.
#[cfg(feature = "boundary-tests")]
pub(crate) fn kept() -> usize {
    KEPT.lock().entries.len()
}

/// The error's context as users see it.
pub(crate) fn shown_context(error: &Error) -> impl Iterator<Item = (&str, &str)> {
    error
        .context()
        .iter()
        .filter(|(key, _)| *key != KEY)
        .map(|(key, value)| (*key, value.as_str()))
}
