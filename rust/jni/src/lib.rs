//! The JNI library of the connector: what `io.sparkkinesis.bridge.NativeBridge` declares, and nothing else.
//!
//! The crate turns calls of the JVM into calls of `kinesis_connector` and back. It is the only crate with
//! `unsafe`. Every export runs in [`guard`], so that neither an error nor a panic ever unwinds into the JVM;
//! Java sees one exception class. Objects live in a table of typed [`handles`]. A call that may take long
//! waits a bounded time and answers [`Again`](layout::Status::Again), so that a killed task can leave.

mod batch_read;
#[cfg(feature = "boundary-tests")]
mod boundary;
mod causes;
mod classes;
mod columns;
mod credentials;
mod errors;
mod frames;
mod guard;
mod handles;
mod layout;
mod log;
mod options;
mod panics;
mod pending;
mod planner;
mod reader;
mod runtime;
mod sink;
mod subscription_reports;
mod upcall;
mod values;
mod writer;

use std::ffi::c_void;

use jni::JavaVM;
use jni::objects::{JClass, JString};
use jni::sys::{JNI_ERR, JNI_VERSION_1_8, jint};
use kinesis_connector::service::SystemProperties;

use crate::guard::export;
use crate::layout::ABI_VERSION;

/// Called by the JVM when it loads the library, with the class loader of the class that loads it: the one
/// moment at which the connector's own classes can be found from here. A failure is kept, and reported by
/// `initialize`, after the Java side had the chance to compare the ABI version.
///
/// # Safety
///
/// For the JVM only: `vm` must be its interface.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn JNI_OnLoad(vm: *mut jni::sys::JavaVM, _reserved: *mut c_void) -> jint {
    let loaded = std::panic::catch_unwind(|| {
        panics::install_hook();
        // SAFETY: the JVM hands a valid pointer to its own interface, which stays valid until the JVM ends.
        let vm = unsafe { JavaVM::from_raw(vm) };
        // The JVM frees the local references of JNI_OnLoad's frame, but a frame of our own costs nothing.
        vm.with_local_frame(32, |env| {
            classes::look_up(env);
            Ok::<(), jni::errors::Error>(())
        })
    });
    match loaded {
        Ok(Ok(())) => JNI_VERSION_1_8,
        _ => JNI_ERR,
    }
}

/// Tells which interface version a file has without loading it, by its name, which is in the file's table of symbols.
#[unsafe(no_mangle)]
pub extern "C" fn sparkkinesis_abi_8() -> jint {
    ABI_VERSION
}

export! {
    /// The version of the interface between this library and the Java classes.
    fn Java_io_sparkkinesis_bridge_NativeBridge_abiVersion<'l>(_env, _class: JClass<'l>) -> jint {
        Ok(ABI_VERSION)
    }
}

export! {
    /// Reports a failed start, then connects the log. `level` as in `setLogLevel`.
    fn Java_io_sparkkinesis_bridge_NativeBridge_initialize<'l>(_env, _class: JClass<'l>, level: jint) -> () {
        classes::get()?;
        runtime::get()?;
        log::install(level)?;
        Ok(())
    }
}

export! {
    /// Sets the most detailed level that reaches the JVM's log: 0 off, 1 error … 5 trace.
    fn Java_io_sparkkinesis_bridge_NativeBridge_setLogLevel<'l>(_env, _class: JClass<'l>, level: jint) -> () {
        log::set_level(level);
        Ok(())
    }
}

export! {
    /// Hands over the JVM's system properties for AWS, in the order of `SYSTEM_PROPERTIES`; null for one that is
    /// not set.
    fn Java_io_sparkkinesis_bridge_NativeBridge_setSystemProperties<'l>(
        env, _class: JClass<'l>, region: JString<'l>, key: JString<'l>, secret: JString<'l>, token: JString<'l>,
    ) -> () {
        let mut values = [None, None, None, None];
        for (value, property) in values.iter_mut().zip([region, key, secret, token]) {
            *value = values::optional_text(env, &property)?;
        }
        runtime::engine()?.set_system_properties(SystemProperties::new(values));
        Ok(())
    }
}
