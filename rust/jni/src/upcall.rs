//! Calls of Java from native code: the checkpoint's file system, the log, and the description of exceptions.

use jni::objects::{JByteArray, JObject, JObjectArray, JString};
use jni::refs::Global;
use jni::signature::{Primitive, ReturnType};
use jni::{Env, JValue, JavaVM};
use kinesis_connector::storage::FileSystem;
use kinesis_connector::{Error, ErrorKind, Result};
use std::sync::Arc;

use crate::errors::{BoundaryError, internal, invalid_argument};
use crate::{causes, classes, panics, runtime};

/// Local references that one up-call may need before the JVM has to grow the frame.
const FRAME: usize = 16;

/// Runs `body` on this thread, which must be attached. It has a local frame of its own, so that a native thread that
/// never returns to Java leaks no references. A Java exception becomes an error of this kind and is kept as its
/// cause.
pub(crate) fn call<T>(
    kind: ErrorKind,
    what: &str,
    body: impl FnOnce(&mut Env<'_>) -> std::result::Result<T, BoundaryError>,
) -> Result<T> {
    let vm = JavaVM::singleton().map_err(|error| internal(format!("{what}: {error}")))?;
    vm.with_local_frame(FRAME, |env| {
        let outcome = body(env);
        match take_exception(env, kind, what) {
            Some(error) => Err(error.into()),
            None => outcome,
        }
    })
    .map_err(BoundaryError::into_connector)
}

/// Clears a pending exception and returns it as an error.
fn take_exception(env: &mut Env<'_>, kind: ErrorKind, what: &str) -> Option<Error> {
    let exception = env.exception_occurred()?;
    env.exception_clear();
    let described = describe(env, &exception).unwrap_or_else(|_| {
        env.exception_clear();
        ("a Java exception that can't be described".to_owned(), false)
    });
    let error = Error::new(kind, format!("{what}: {}", described.0)).retryable(described.1);
    match env.new_global_ref(&exception) {
        Ok(kept) => Some(causes::attach(error, kept)),
        Err(_) => Some(error),
    }
}

/// Class and message of an exception, and whether the same call may succeed later.
fn describe(
    env: &mut Env<'_>,
    exception: &JObject<'_>,
) -> std::result::Result<(String, bool), BoundaryError> {
    let classes = classes::get()?;
    let arguments = [JValue::Object(exception).as_jni()];
    // SAFETY: the id was found for exactly this static method, which takes one Throwable and returns a String.
    let text = unsafe {
        env.call_static_method_unchecked(
            &classes.up_calls,
            classes.describe,
            ReturnType::Object,
            &arguments,
        )
    }?
    .into_object()?;
    let text = env.cast_local::<JString<'_>>(text)?.try_to_string(env)?;
    let boolean = ReturnType::Primitive(Primitive::Boolean);
    // SAFETY: the id was found for exactly this static method, which takes one Throwable and returns a boolean.
    let retryable = unsafe {
        env.call_static_method_unchecked(&classes.up_calls, classes.is_retryable, boolean, &arguments)
    }?
    .into_bool()?;
    Ok((text, retryable))
}

/// Passes one event to the JVM's log. The thread must be attached. A failure is ignored, because logging it would
/// call this function again.
pub(crate) fn log(level: i32, logger: &str, message: &str) {
    let logged = call(ErrorKind::Internal, "the log", |env| {
        let classes = classes::get()?;
        let logger = env.new_string(logger)?;
        let message = env.new_string(message)?;
        let arguments = [
            JValue::Int(level).as_jni(),
            JValue::Object(&logger).as_jni(),
            JValue::Object(&message).as_jni(),
        ];
        let void = ReturnType::Primitive(Primitive::Void);
        // SAFETY: the id was found for exactly this static method, which takes an int and two Strings.
        unsafe { env.call_static_method_unchecked(&classes.up_calls, classes.log, void, &arguments) }?;
        Ok(())
    });
    drop(logged);
}

struct JavaFiles {
    object: Global<JObject<'static>>,
}

/// The Java `HadoopFileSystem` as the connector's trait: a shared reference, which keeps the object and can move to
/// another thread.
#[derive(Clone)]
pub struct Files(Arc<JavaFiles>);

impl Files {
    /// Keeps a reference to the Java object. Null, or an object of another class, is an `InvalidArgument` error.
    pub fn new(env: &mut Env<'_>, object: &JObject<'_>) -> std::result::Result<Self, BoundaryError> {
        if object.is_null() {
            return Err(invalid_argument("the file system for checkpoints is null").into());
        }
        if !env.is_instance_of(object, &classes::get()?.file_system)? {
            return Err(invalid_argument("the file system for checkpoints is no HadoopFileSystem").into());
        }
        let object = env.new_global_ref(object)?;
        Ok(Self(Arc::new(JavaFiles { object })))
    }
}

/// Runs an up-call on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match runtime::spawn_up_call(move || panics::guarded(run))?.await {
        Ok(result) => result,
        Err(error) => Err(internal(format!("an up-call did not run: {error}"))),
    }
}

#[async_trait::async_trait]
impl FileSystem for Files {
    async fn put_if_absent(&self, path: &str, content: Vec<u8>) -> Result<bool> {
        let (files, path) = (self.clone(), path.to_owned());
        blocking(move || {
            call(ErrorKind::Store, &format!("storing {path}"), |env| {
                let path = env.new_string(&path)?;
                let content = env.byte_array_from_slice(&content)?;
                let arguments = [JValue::Object(&path).as_jni(), JValue::Object(&content).as_jni()];
                let id = classes::get()?.put_if_absent;
                let boolean = ReturnType::Primitive(Primitive::Boolean);
                // SAFETY: the object is a HadoopFileSystem (`Files::new` checks it), and the id is that
                // interface's putIfAbsent, which takes a String and a byte[] and returns a boolean.
                Ok(
                    unsafe { env.call_method_unchecked(&files.0.object, id, boolean, &arguments) }?
                        .into_bool()?,
                )
            })
        })
        .await
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let (files, path) = (self.clone(), path.to_owned());
        blocking(move || {
            call(ErrorKind::Store, &format!("reading {path}"), |env| {
                let path = env.new_string(&path)?;
                let arguments = [JValue::Object(&path).as_jni()];
                let id = classes::get()?.read;
                // SAFETY: as above; read takes a String and returns a byte[].
                let content =
                    unsafe { env.call_method_unchecked(&files.0.object, id, ReturnType::Array, &arguments) }?
                        .into_object()?;
                if content.is_null() {
                    return Ok(None);
                }
                let content = env.cast_local::<JByteArray<'_>>(content)?;
                Ok(Some(env.convert_byte_array(&content)?))
            })
        })
        .await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let (files, folder) = (self.clone(), folder.to_owned());
        blocking(move || {
            call(ErrorKind::Store, &format!("listing {folder}"), |env| {
                let folder = env.new_string(&folder)?;
                let arguments = [JValue::Object(&folder).as_jni()];
                let id = classes::get()?.list;
                // SAFETY: as above; list takes a String and returns a String[].
                let names =
                    unsafe { env.call_method_unchecked(&files.0.object, id, ReturnType::Array, &arguments) }?
                        .into_object()?;
                let names = env.cast_local::<JObjectArray<'_, JString<'_>>>(names)?;
                let mut all = Vec::new();
                for index in 0..names.len(env)? {
                    let name = names.get_element(env, index)?;
                    all.push(name.try_to_string(env)?);
                    // A folder may hold more names than a frame has room for.
                    env.delete_local_ref(name);
                }
                Ok(all)
            })
        })
        .await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let (files, path) = (self.clone(), path.to_owned());
        blocking(move || {
            call(ErrorKind::Store, &format!("deleting {path}"), |env| {
                let path = env.new_string(&path)?;
                let arguments = [JValue::Object(&path).as_jni()];
                let id = classes::get()?.delete;
                let void = ReturnType::Primitive(Primitive::Void);
                // SAFETY: as above; delete takes a String and returns nothing.
                unsafe { env.call_method_unchecked(&files.0.object, id, void, &arguments) }?;
                Ok(())
            })
        })
        .await
    }
}
