//! What a native method that waits can answer. `NativeBridge` has the same numbers.

use jni::sys::jint;

/// Not done yet: call again with the same arguments.
pub(crate) const AGAIN: jint = 0;
/// Done, with a result where the operation has one.
pub(crate) const DONE: jint = 1;
/// Done, and there is no result: the batch's end, no news, no report.
pub(crate) const NONE: jint = 2;
