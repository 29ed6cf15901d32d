//! The guard around every export, which turns errors and panics into a `KinesisConnectorException`.

use std::any::Any;

use jni::errors::ErrorPolicy;
use jni::objects::{JObject, JString};
use jni::strings::JNIStr;
use jni::sys::jsize;
use jni::{Env, EnvUnowned, JValue, jni_sig, jni_str};
use kinesis_connector::Error;

use crate::errors::{BoundaryError, Result};
use crate::{causes, classes, panics};

/// Declares an exported native method. Its body runs in the guard and returns a [`Result`](crate::errors::Result). The
/// invoking crate needs `jni` as a dependency.
#[macro_export]
macro_rules! export {
    (
        $(#[$meta:meta])*
        fn $name:ident<$l:lifetime>($env:ident, $($arg:ident: $type:ty),+ $(,)?) -> $answer:ty $body:block
    ) => {
        $(#[$meta])*
        // The JVM looks up this name. It includes the name of a class of the connector, so it can't clash with
        // another symbol.
        #[allow(non_snake_case)]
        #[unsafe(no_mangle)]
        pub extern "system" fn $name<$l>(env: jni::EnvUnowned<$l>, $($arg: $type),+) -> $answer {
            $crate::guard::run(env, |$env: &mut jni::Env<$l>| -> $crate::errors::Result<$answer> {
                $(let _ = &$arg;)+
                $body
            })
        }
    };
}
pub use export;

/// Runs an export's body. After an error or a panic, a Java exception is pending and the result is zero or null.
pub fn run<'l, T: Default>(mut env: EnvUnowned<'l>, body: impl FnOnce(&mut Env<'l>) -> Result<T>) -> T {
    env.with_env(body).resolve::<Throw>()
}

/// Throws the body's failure. jni's own policy would lose the text of formatted panics.
struct Throw;

impl<T: Default> ErrorPolicy<T, BoundaryError> for Throw {
    type Captures<'local: 'method, 'method> = ();

    fn on_error<'local: 'method, 'method>(
        env: &mut Env<'local>,
        _captures: &mut (),
        error: BoundaryError,
    ) -> jni::errors::Result<T> {
        throw(env, error);
        Ok(T::default())
    }

    fn on_panic<'local: 'method, 'method>(
        env: &mut Env<'local>,
        _captures: &mut (),
        payload: Box<dyn Any + Send + 'static>,
    ) -> jni::errors::Result<T> {
        throw(env, panics::caught(payload).into());
        Ok(T::default())
    }

    fn on_internal_jni_error<'local: 'method, 'method>(_: &mut (), error: jni::errors::Error) -> T {
        tracing::error!("an error could not be thrown: {error}");
        T::default()
    }

    fn on_internal_panic<'local: 'method, 'method>(_: &mut (), payload: Box<dyn Any + Send>) -> T {
        tracing::error!("an error could not be thrown: {}", panics::caught(payload));
        T::default()
    }
}

/// Leaves an exception pending in every case: a plain one if a `KinesisConnectorException` can't be made.
fn throw(env: &mut Env<'_>, error: BoundaryError) {
    let pending = env.exception_occurred();
    if pending.is_some() {
        env.exception_clear();
    }
    let error = error.into_connector();
    let none = JObject::null();
    let cause: &JObject<'_> = match (causes::of(&error), &pending) {
        (Some(thrown), _) => thrown.as_ref(),
        (None, Some(pending)) => pending.as_ref(),
        (None, None) => &none,
    };
    if new_exception(env, &error, cause).is_err() && !env.exception_check() {
        // Out of memory, or the library's start failed: throw the message at least.
        let _ = throw_plain(env, &error.to_string());
    }
}

/// Makes a `KinesisConnectorException` and throws it.
fn new_exception(env: &mut Env<'_>, error: &Error, cause: &JObject<'_>) -> Result<()> {
    let classes = classes::get()?;
    let context: Vec<&str> = error
        .context()
        .iter()
        .flat_map(|(key, value)| [*key, value])
        .collect();
    let kind_name = env.new_string(error.kind().name())?;
    let message = env.new_string(error.to_string())?;
    let pairs = env.new_object_type_array::<JString<'_>>(context.len(), JString::null())?;
    for (index, text) in (0..).zip(&context) {
        let text = env.new_string(text)?;
        pairs.set_element(env, index, &text)?;
        env.delete_local_ref(text);
    }
    let exception = env.new_object(
        &classes.exception,
        jni_sig!("(ILjava/lang/String;ZLjava/lang/String;[Ljava/lang/String;Ljava/lang/Throwable;)V"),
        &[
            JValue::Int(error.kind().code()),
            JValue::Object(&kind_name),
            JValue::Bool(error.is_retryable()),
            JValue::Object(&message),
            JValue::Object(&pairs),
            JValue::Object(cause),
        ],
    )?;
    let exception = env.cast_local::<jni::objects::JThrowable<'_>>(exception)?;
    match env.throw(&exception) {
        // jni reports a successful throw as this error.
        Err(jni::errors::Error::JavaException) => Ok(()),
        Err(other) => Err(other.into()),
        Ok(()) => Ok(()),
    }
}

fn throw_plain(env: &mut Env<'_>, message: &str) -> jni::errors::Result<()> {
    const CLASS: &JNIStr = jni_str!("java/lang/IllegalStateException");
    env.throw_new(CLASS, jni::strings::JNIString::from(message))
}

/// A length as JNI's type; an error if it is too long for Java.
pub(crate) fn jsize_of(length: usize) -> Result<jsize> {
    jsize::try_from(length).map_err(|_| crate::errors::internal("an array is too long for Java").into())
}
