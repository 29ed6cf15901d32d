//! Operations that may outlast the native call that waits for them.
//!
//! A native call waits for a bounded time, so that Java can notice that its task was killed. The operation continues
//! in the runtime; the handle keeps it, and the next call waits for it again.

use std::any::Any;
use std::future::Future;
use std::time::Duration;

use kinesis_connector::{Error, ErrorKind, Result};
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Runtime;
use tokio::task::{AbortHandle, JoinHandle};

use crate::errors::{internal, invalid_argument};
use crate::panics;

/// Upper bound for the wait of a native call, whatever the caller requests.
const LONGEST_WAIT_MS: i32 = 1_000;

type Answer = Box<dyn Any + Send>;
type Task = JoinHandle<Result<Answer>>;

struct Running {
    /// Distinguishes this operation from one that replaced it after a cancellation.
    number: u64,
    operation: &'static str,
    abort: AbortHandle,
    /// `None` while a call waits for the operation.
    task: Option<Task>,
}

/// A handle's operation in flight. There is at most one, since calls of a handle come one at a time.
#[derive(Default)]
pub(crate) struct Pending {
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    started: u64,
    running: Option<Running>,
}

/// The requested wait in milliseconds, limited to 0 to [`LONGEST_WAIT_MS`].
pub(crate) fn wait_of(wait_ms: i32) -> Duration {
    Duration::from_millis(wait_ms.clamp(0, LONGEST_WAIT_MS).unsigned_abs().into())
}

impl Pending {
    /// No operation in flight.
    pub(crate) const fn new() -> Self {
        Self {
            slot: Mutex::new(Slot {
                started: 0,
                running: None,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock()
    }

    /// Starts the operation, or waits again for it if it is in flight. Returns `None` if it isn't done after `wait`.
    /// Fails with `InvalidArgument` if another operation is in flight.
    pub(crate) fn drive<T, F>(
        &self,
        runtime: &Runtime,
        operation: &'static str,
        wait: Duration,
        start: impl FnOnce() -> Result<F>,
    ) -> Result<Option<T>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let (number, task) = self.lock().start_or_take(runtime, operation, start)?;
        self.wait_for(runtime, operation, wait, number, task)
    }

    /// As [`drive`](Self::drive), but cancels another operation in flight instead of failing.
    pub(crate) fn drive_instead<T, F>(
        &self,
        runtime: &Runtime,
        operation: &'static str,
        wait: Duration,
        start: impl FnOnce() -> Result<F>,
    ) -> Result<Option<T>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let mut slot = self.lock();
        if let Some(other) = slot.running.take_if(|running| running.operation != operation) {
            other.abort.abort();
        }
        let (number, task) = slot.start_or_take(runtime, operation, start)?;
        drop(slot);
        self.wait_for(runtime, operation, wait, number, task)
    }

    fn wait_for<T: Send + 'static>(
        &self,
        runtime: &Runtime,
        operation: &'static str,
        wait: Duration,
        number: u64,
        mut task: Task,
    ) -> Result<Option<T>> {
        let finished = runtime.block_on(async { tokio::time::timeout(wait, &mut task).await });
        let mut slot = self.lock();
        // `None` if another thread cancelled the operation meanwhile; another one may be running.
        let ours = slot.running.as_mut().filter(|running| running.number == number);
        let Ok(joined) = finished else {
            let ours = ours.ok_or_else(|| cancelled(operation))?;
            ours.task = Some(task);
            return Ok(None);
        };
        if ours.is_some() {
            slot.running = None;
        }
        drop(slot);
        let answer = joined.map_err(|error| {
            if error.is_cancelled() {
                cancelled(operation)
            } else {
                internal(format!("{operation}: {error}"))
            }
        })??;
        match answer.downcast::<T>() {
            Ok(answer) => Ok(Some(*answer)),
            Err(_) => Err(internal(format!("{operation} answered something else"))),
        }
    }

    /// Drops the operation in flight, if there is one.
    pub(crate) fn cancel(&self) {
        if let Some(running) = self.lock().running.take() {
            running.abort.abort();
        }
    }

    /// Drops the operation in flight if it has this name.
    pub(crate) fn cancel_only(&self, operation: &str) {
        self.cancel_if(|running| running == operation);
    }

    /// Drops the operation in flight if it has another name.
    pub(crate) fn cancel_all_but(&self, operation: &str) {
        self.cancel_if(|running| running != operation);
    }

    fn cancel_if(&self, is_it: impl Fn(&str) -> bool) {
        let mut slot = self.lock();
        if let Some(running) = slot.running.take_if(|running| is_it(running.operation)) {
            running.abort.abort();
        }
    }

    /// True while no operation is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.lock().running.is_none()
    }
}

impl Slot {
    fn start_or_take<T, F>(
        &mut self,
        runtime: &Runtime,
        operation: &'static str,
        start: impl FnOnce() -> Result<F>,
    ) -> Result<(u64, Task)>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        match self.running.as_mut() {
            Some(Running { operation: known, .. }) if *known != operation => Err(invalid_argument(format!(
                "{operation} was called while {known} is still running; finish or cancel that first"
            ))),
            Some(Running { number, task, .. }) => match task.take() {
                Some(task) => Ok((*number, task)),
                None => Err(invalid_argument(format!(
                    "{operation} was called from two threads at a time"
                ))),
            },
            None => {
                let future = start()?;
                let task = runtime.spawn(async move {
                    let answer = panics::guarded_async(future).await?;
                    Ok(Box::new(answer) as Answer)
                });
                self.started += 1;
                let number = self.started;
                self.running = Some(Running {
                    number,
                    operation,
                    abort: task.abort_handle(),
                    task: None,
                });
                Ok((number, task))
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.cancel();
    }
}

fn cancelled(operation: &str) -> Error {
    Error::new(
        ErrorKind::Interrupted,
        format!("{operation} was cancelled before it was done"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::sync::Arc;
    use tokio::sync::{Notify, oneshot};

    const SHORT: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(30);

    fn runtime() -> Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn an_operation_is_started_once_and_waited_for_again() {
        let (runtime, slot, go) = (runtime(), Pending::default(), Arc::new(Notify::new()));
        let waiter = Arc::clone(&go);
        let mut start = Some(move || async move {
            waiter.notified().await;
            Ok::<_, Error>(7)
        });
        let mut drive = |wait| slot.drive(&runtime, "op", wait, || Ok(start.take().unwrap()()));
        assert_eq!(drive(SHORT).unwrap(), None);
        assert_eq!(drive(SHORT).unwrap(), None);
        go.notify_one();
        assert_eq!(drive(LONG).unwrap(), Some(7));
        assert!(slot.is_idle());
    }

    #[test]
    fn another_operation_must_wait_until_the_first_is_cancelled() {
        let (runtime, slot) = (runtime(), Pending::default());
        let first = slot.drive(&runtime, "first", SHORT, || Ok(pending::<Result<u8>>()));
        assert_eq!(first.unwrap(), None);
        let second = slot.drive(&runtime, "second", LONG, || Ok(async { Ok(2) }));
        assert_eq!(second.unwrap_err().kind(), ErrorKind::InvalidArgument);
        slot.cancel();
        assert_eq!(
            slot.drive(&runtime, "second", LONG, || Ok(async { Ok(2) }))
                .unwrap(),
            Some(2)
        );
    }

    #[test]
    fn what_replaces_a_cancelled_operation_is_not_mixed_up_with_it() {
        let (runtime, slot) = (runtime(), Pending::default());
        std::thread::scope(|scope| {
            let (inside, wait) = std::sync::mpsc::channel();
            let (runtime, slot) = (&runtime, &slot);
            let first = scope.spawn(move || {
                slot.drive(runtime, "first", LONG, || {
                    inside.send(()).unwrap();
                    Ok(pending::<Result<u8>>())
                })
            });
            wait.recv().unwrap();
            let second = |future| slot.drive_instead(runtime, "second", SHORT, || Ok(future));
            assert_eq!(second(pending::<Result<u8>>()).unwrap(), None);
            assert_eq!(first.join().unwrap().unwrap_err().kind(), ErrorKind::Interrupted);
            assert!(!slot.is_idle());
            assert_eq!(second(pending()).unwrap(), None);
        });
    }

    #[test]
    fn cancelling_one_operation_leaves_another() {
        let (runtime, slot) = (runtime(), Pending::default());
        let waits = || Ok(pending::<Result<u8>>());
        assert_eq!(slot.drive(&runtime, "finish", SHORT, waits).unwrap(), None);
        slot.cancel_only("next");
        assert!(!slot.is_idle());
        slot.cancel_all_but("finish");
        assert!(!slot.is_idle());
        slot.cancel_only("finish");
        assert!(slot.is_idle());
        assert_eq!(slot.drive(&runtime, "next", SHORT, waits).unwrap(), None);
        slot.cancel_all_but("finish");
        assert!(slot.is_idle());
    }

    #[test]
    fn cancelling_drops_the_future() {
        struct NotifyOnDrop(Option<oneshot::Sender<()>>);
        impl Drop for NotifyOnDrop {
            fn drop(&mut self) {
                let _ = self.0.take().unwrap().send(());
            }
        }
        let (runtime, slot) = (runtime(), Pending::default());
        let (sender, dropped) = oneshot::channel();
        let notifier = NotifyOnDrop(Some(sender));
        let answer = slot.drive(&runtime, "op", SHORT, || {
            Ok(async move {
                let _notifier = notifier;
                pending::<Result<u8>>().await
            })
        });
        assert_eq!(answer.unwrap(), None);
        drop(slot);
        runtime.block_on(dropped).unwrap();
    }

    #[test]
    fn a_panic_on_a_worker_is_an_error_with_its_text() {
        crate::panics::install_hook();
        let (runtime, slot) = (runtime(), Pending::default());
        let number = 5;
        let answer: Result<Option<u8>> = slot.drive(&runtime, "op", LONG, || {
            Ok(async move { panic!("worker {number}") })
        });
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.message().contains("worker 5 (at "), "{error}");
        assert!(slot.is_idle());
    }

    #[test]
    fn waits_are_bounded() {
        assert_eq!(wait_of(-5), Duration::ZERO);
        assert_eq!(wait_of(200), Duration::from_millis(200));
        assert_eq!(wait_of(i32::MAX), Duration::from_secs(1));
    }
}
