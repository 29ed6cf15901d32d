//! Panics as errors: the hook keeps text and location of a panic on its thread until the guard fetches them.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::pin;

use kinesis_connector::{Error, Result};

use crate::errors::internal;

thread_local! {
    // One slot per thread is enough: the guard catches a panic on the thread that panicked.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
    static LOGGING: Cell<bool> = const { Cell::new(false) };
}

/// Installs a panic hook that keeps the text here and logs it, instead of printing it to the process's stderr.
pub(crate) fn install_hook() {
    std::panic::set_hook(Box::new(|info| {
        let text = describe(info);
        // A panic during this logging must not be logged, too.
        if !LOGGING.replace(true) {
            let _ = catch_unwind(AssertUnwindSafe(|| tracing::error!("panic: {text}")));
            LOGGING.set(false);
        }
        LAST.with(|last| {
            if let Ok(mut last) = last.try_borrow_mut() {
                *last = Some(text);
            }
        });
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let text = info.payload_as_str().unwrap_or("a panic without a text");
    match info.location() {
        Some(at) => format!("{text} (at {}:{}:{})", at.file(), at.line(), at.column()),
        None => text.to_owned(),
    }
}

/// The error for a panic caught on this thread. Consumes the payload, whose drop may panic, too.
pub(crate) fn caught(payload: Box<dyn Any + Send>) -> Error {
    let text = LAST.with(|last| last.try_borrow_mut().ok().and_then(|mut last| last.take()));
    let text = text.unwrap_or_else(|| payload_text(payload.as_ref()));
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    internal(format!("a defect in the connector's native library: {text}"))
}

fn payload_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}

/// Runs the function and turns a panic into an error.
pub(crate) fn guarded<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| Err(caught(payload)))
}

/// Runs the future and turns a panic in it into an error. The panic is caught within the poll in which it happens, so
/// on the thread that keeps its text.
pub(crate) async fn guarded_async<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let mut future = pin!(future);
    poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(payload) => std::task::Poll::Ready(Err(caught(payload))),
        },
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formatted_text_and_its_place_are_kept() {
        install_hook();
        let answer = 42;
        let error = guarded::<()>(|| panic!("the answer is {answer}")).unwrap_err();
        assert!(error.message().contains("the answer is 42 (at "), "{error}");
        assert!(error.message().contains("panics.rs:"), "{error}");
        assert_eq!(error.kind(), kinesis_connector::ErrorKind::Internal);
    }

    #[test]
    fn threads_do_not_see_each_others_panics() {
        install_hook();
        let threads: Vec<_> = (0..8)
            .map(|n| {
                std::thread::spawn(move || {
                    for _ in 0..50 {
                        let error = guarded::<()>(|| panic!("thread {n}")).unwrap_err();
                        assert!(error.message().contains(&format!("thread {n} ")), "{error}");
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
