//! The connector's JNI library: the native methods of `io.sparkkinesis.bridge.NativeBridge`, and nothing else.
//!
//! The crate translates calls of the JVM into calls of `kinesis_connector` and back. It is the only crate with
//! `unsafe`. Every export runs in [`guard`]: no panic unwinds into the JVM, and Java sees one exception class.
//! Objects live in a table of typed [`handles`]. A call that may take long waits for a bounded time and then returns
//! [`Again`](layout::Status::Again), so that a killed task can end.
//!
//! Another library can link this crate: it has the same exports and may add its own ([`export!`]), and can put its own
//! [planners](planner::insert), [readers](reader::insert) and [writers](writer::insert) behind handles. The tests'
//! library, `rust/jni-testing`, does.

mod batch_read;
mod causes;
mod classes;
mod columns;
mod credentials;
pub mod errors;
mod frames;
pub mod guard;
pub mod handles;
mod layout;
mod log;
mod options;
mod panics;
mod pending;
pub mod planner;
pub mod reader;
mod runtime;
mod sink;
mod subscription_reports;
pub mod upcall;
pub mod values;
pub mod writer;

use std::ffi::c_void;

use jni::JavaVM;
use jni::objects::{JClass, JString};
use jni::sys::{JNI_ERR, JNI_VERSION_1_8, jint};
use kinesis_connector::service::SystemProperties;

use crate::layout::ABI_VERSION;

/// Called by the JVM when it loads the library, with the class loader of the loading class. Native code can find the
/// connector's classes only at this moment. `initialize` reports a failed look-up, after Java has compared the ABI
/// version.
///
/// # Safety
///
/// Only the JVM may call it; `vm` must be the JVM's interface.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn JNI_OnLoad(vm: *mut jni::sys::JavaVM, _reserved: *mut c_void) -> jint {
    let loaded = std::panic::catch_unwind(|| {
        panics::install_hook();
        // SAFETY: the JVM passes a valid pointer to its own interface, which stays valid until the JVM ends.
        let vm = unsafe { JavaVM::from_raw(vm) };
        // The JVM frees the local references of JNI_OnLoad's frame, but a separate frame costs nothing.
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

/// Marks the file with its ABI version: the symbol's name can be read without loading the library.
#[unsafe(no_mangle)]
pub extern "C" fn sparkkinesis_abi_10() -> jint {
    ABI_VERSION
}

export! {
    /// The version of the interface between this library and the Java classes.
    fn Java_io_sparkkinesis_bridge_NativeBridge_abiVersion<'l>(_env, _class: JClass<'l>) -> jint {
        Ok(ABI_VERSION)
    }
}

export! {
    /// Fails if the library's start failed, else connects the log. `level` is as in `setLogLevel`.
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
    /// Sets the JVM's system properties for AWS, in the order of `SYSTEM_PROPERTIES`; null for one that is not set.
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
