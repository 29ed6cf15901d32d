//! The process's tokio runtime, whose threads are daemons of the JVM, and the engine that runs in it. Up-calls have
//! separate threads, because they block for as long as a file system takes.

use std::ffi::{CString, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use jni::JavaVM;
use jni::sys::{JNI_OK, JNI_VERSION_1_8, JavaVMAttachArgs};
use kinesis_connector::{Engine, Error, ErrorKind, Result};
use once_cell::sync::OnceCell;
use tokio::runtime::{Builder, EnterGuard, Runtime};
use tokio::task::JoinHandle;

/// Upper bound for concurrent up-calls; more wait for a thread.
const UP_CALL_THREADS: usize = 32;

/// Threads for other blocking work, such as the name resolution that every new connection needs.
const BLOCKING_THREADS: usize = 32;

struct Process {
    runtime: Runtime,
    up_calls: Runtime,
    engine: Engine,
}

static PROCESS: OnceCell<Process> = OnceCell::new();

/// The process's runtimes and engine, made by the first call. A failure (no room for a file or a thread) may pass, so
/// the next call tries again.
fn process() -> Result<&'static Process> {
    PROCESS.get_or_try_init(Process::make).map_err(|why| {
        Error::new(
            ErrorKind::Internal,
            format!("the threads of the native library could not be started: {why}"),
        )
    })
}

impl Process {
    fn make() -> std::result::Result<Self, String> {
        let workers = std::thread::available_parallelism().map_or(2, usize::from).min(4);
        // No task runs in it; it only provides blocking threads.
        let up_calls = build(
            Builder::new_current_thread().max_blocking_threads(UP_CALL_THREADS),
            "kinesis-files",
        )?;
        let runtime = build(
            Builder::new_multi_thread()
                .worker_threads(workers)
                .max_blocking_threads(BLOCKING_THREADS)
                .enable_all(),
            "kinesis",
        )?;
        Ok(Self {
            runtime,
            up_calls,
            engine: Engine::new(),
        })
    }
}

fn build(builder: &mut Builder, name: &'static str) -> std::result::Result<Runtime, String> {
    let number = AtomicUsize::new(0);
    builder
        .thread_name_fn(move || format!("{name}-{}", number.fetch_add(1, Ordering::Relaxed)))
        // Every thread, not only those that call Java: freeing a global reference needs an attached thread, and jni
        // would attach it as a non-daemon, for which the JVM waits at its end.
        .on_thread_start(attach_as_daemon)
        .on_thread_stop(detach)
        .build()
        .map_err(|error| error.to_string())
}

/// Starts an up-call on a thread that may block. There are [`UP_CALL_THREADS`] of them.
pub(crate) fn spawn_up_call<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    Ok(process()?.up_calls.spawn_blocking(run))
}

/// The runtime, made by the first call.
pub(crate) fn get() -> Result<&'static Runtime> {
    Ok(&process()?.runtime)
}

/// Lets code on this thread spawn tasks, and drop objects that do, until the guard is dropped.
pub(crate) fn enter() -> Result<EnterGuard<'static>> {
    Ok(get()?.enter())
}

/// The engine that all queries and tasks of the process share.
pub(crate) fn engine() -> Result<&'static Engine> {
    Ok(&process()?.engine)
}

/// Attaches this thread to the JVM as a daemon, for which the JVM doesn't wait at its end. Does nothing without a JVM
/// (unit tests). If it fails, up-calls on this thread return an error.
pub(crate) fn attach_as_daemon() {
    let Ok(vm) = JavaVM::singleton() else { return };
    let name = std::thread::current()
        .name()
        .and_then(|name| CString::new(name).ok());
    let mut arguments = JavaVMAttachArgs {
        version: JNI_VERSION_1_8,
        name: name
            .as_ref()
            .map_or(std::ptr::null_mut(), |name| name.as_ptr().cast_mut()),
        group: std::ptr::null_mut(),
    };
    let mut env: *mut c_void = std::ptr::null_mut();
    let raw = vm.get_raw();
    // SAFETY: `raw` is the JVM's own interface, valid while the process lives, and has this function since 1.4.
    // The arguments and the name live until the call returns; the JVM copies the name.
    let answer = unsafe {
        ((**raw).v1_4.AttachCurrentThreadAsDaemon)(raw, &raw mut env, (&raw mut arguments).cast::<c_void>())
    };
    if answer != JNI_OK {
        tracing::warn!("a native thread could not be attached to the JVM (error {answer})");
    }
}

/// Undoes [`attach_as_daemon`] before the thread ends.
pub(crate) fn detach() {
    let Ok(vm) = JavaVM::singleton() else { return };
    let raw = vm.get_raw();
    // SAFETY: `raw` is the JVM's own interface. The thread is one of this library's, about to end, with no Java frame
    // on its stack and no local reference left; on a thread that isn't attached the call does nothing.
    unsafe {
        ((**raw).v1_1.DetachCurrentThread)(raw);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Condvar, Mutex};
    use std::time::Duration;

    #[test]
    fn up_calls_that_hang_leave_names_to_be_resolved() {
        let runtime = get().unwrap();
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let hang = || {
            let gate = Arc::clone(&gate);
            spawn_up_call(move || {
                let (open, opened) = &*gate;
                let open = opened.wait_while(open.lock().unwrap(), |open| !*open);
                drop(open.unwrap());
            })
        };
        let calls: Vec<_> = (0..UP_CALL_THREADS).map(|_| hang().unwrap()).collect();
        // Name resolution runs in the same way.
        let other = runtime.spawn_blocking(|| 7);
        let answer = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), other).await });
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        for call in calls {
            runtime.block_on(call).unwrap();
        }
        assert_eq!(answer.expect("in time").unwrap(), 7);
    }

    /// Runs in a separate process, in which no runtime was made before and few files may be open.
    #[test]
    fn a_runtime_that_could_not_be_made_is_made_by_a_later_call() {
        const CHILD: &str = "SPARKKINESIS_TEST_FEW_FILES";
        const NAME: &str = "runtime::tests::a_runtime_that_could_not_be_made_is_made_by_a_later_call";
        if std::env::var_os(CHILD).is_none() {
            let output = std::process::Command::new("sh")
                .args(["-c", r#"ulimit -n 64; exec "$0" --exact "$1" --nocapture"#])
                .arg(std::env::current_exe().unwrap())
                .arg(NAME)
                .env(CHILD, "1")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(output.status.success(), "{said}");
            assert!(said.contains("1 passed"), "{said}");
            return;
        }
        let mut open = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            open.push(file);
        }
        let refused = get().map(|_| ()).unwrap_err();
        assert!(refused.message().contains("could not be started"), "{refused}");
        drop(open);
        assert!(get().is_ok(), "there is room for its files now");
    }
}
