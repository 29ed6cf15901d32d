//! The Java classes and methods that this library calls, looked up once in `JNI_OnLoad`, where the connector's class
//! loader is available.

use std::sync::OnceLock;

use jni::objects::{JClass, JMethodID, JStaticMethodID};
use jni::refs::Global;
use jni::strings::JNIStr;
use jni::{Env, jni_sig, jni_str};
use kinesis_connector::{Error, ErrorKind};

/// Classes, with the ids of their methods. The references keep the classes, and so the ids, valid while the process
/// lives.
pub(crate) struct Classes {
    /// `io.sparkkinesis.KinesisConnectorException`
    pub(crate) exception: Global<JClass<'static>>,
    /// `io.sparkkinesis.bridge.UpCalls`
    pub(crate) up_calls: Global<JClass<'static>>,
    /// `String describe(Throwable)`
    pub(crate) describe: JStaticMethodID,
    /// `boolean isRetryable(Throwable)`
    pub(crate) is_retryable: JStaticMethodID,
    /// `void log(int level, String logger, String message)`
    pub(crate) log: JStaticMethodID,
    /// `io.sparkkinesis.bridge.HadoopFileSystem`, the class of the next four ids.
    pub(crate) file_system: Global<JClass<'static>>,
    /// `boolean putIfAbsent(String, byte[])`
    pub(crate) put_if_absent: JMethodID,
    /// `byte[] read(String)`
    pub(crate) read: JMethodID,
    /// `String[] list(String)`
    pub(crate) list: JMethodID,
    /// `void delete(String)`
    pub(crate) delete: JMethodID,
    /// `io.sparkkinesis.bridge.ClassCredentials`
    pub(crate) credentials: Global<JClass<'static>>,
    /// `ClassCredentials of(String className, String param)`
    pub(crate) credentials_of: JStaticMethodID,
    /// `long id()`
    pub(crate) credentials_id: JMethodID,
    /// `String[] load()`
    pub(crate) credentials_load: JMethodID,
}

static CLASSES: OnceLock<Result<Classes, String>> = OnceLock::new();

/// Looks up all classes and methods. A failure is kept for [`get`].
pub(crate) fn look_up(env: &mut Env<'_>) {
    CLASSES.get_or_init(|| {
        let found = find_all(env);
        if env.exception_check() {
            env.exception_clear();
        }
        found.map_err(|error| error.to_string())
    });
}

/// The classes, or an error with the reason why the library can't be used.
pub(crate) fn get() -> Result<&'static Classes, Error> {
    match CLASSES.get() {
        Some(Ok(classes)) => Ok(classes),
        Some(Err(why)) => Err(unfit(why)),
        None => Err(unfit("the JVM did not run JNI_OnLoad")),
    }
}

fn unfit(why: &str) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!(
            "the native library does not fit the Java classes of the connector ({why}); use both from one JAR"
        ),
    )
}

fn find_all(env: &mut Env<'_>) -> jni::errors::Result<Classes> {
    let exception = find(env, jni_str!("io/sparkkinesis/KinesisConnectorException"))?;
    // Checks that the constructor exists; throwing is rare enough to look it up again.
    env.get_method_id(
        &exception,
        jni_str!("<init>"),
        jni_sig!("(ILjava/lang/String;ZLjava/lang/String;[Ljava/lang/String;Ljava/lang/Throwable;)V"),
    )?;
    let up_calls = find(env, jni_str!("io/sparkkinesis/bridge/UpCalls"))?;
    let throwable_to_string = jni_sig!("(Ljava/lang/Throwable;)Ljava/lang/String;");
    let describe = env.get_static_method_id(&up_calls, jni_str!("describe"), throwable_to_string)?;
    let throwable_to_boolean = jni_sig!("(Ljava/lang/Throwable;)Z");
    let is_retryable = env.get_static_method_id(&up_calls, jni_str!("isRetryable"), throwable_to_boolean)?;
    let log_signature = jni_sig!("(ILjava/lang/String;Ljava/lang/String;)V");
    let log = env.get_static_method_id(&up_calls, jni_str!("log"), log_signature)?;
    let files = find(env, jni_str!("io/sparkkinesis/bridge/HadoopFileSystem"))?;
    let put_if_absent = env.get_method_id(
        &files,
        jni_str!("putIfAbsent"),
        jni_sig!("(Ljava/lang/String;[B)Z"),
    )?;
    let read = env.get_method_id(&files, jni_str!("read"), jni_sig!("(Ljava/lang/String;)[B"))?;
    let list = env.get_method_id(
        &files,
        jni_str!("list"),
        jni_sig!("(Ljava/lang/String;)[Ljava/lang/String;"),
    )?;
    let delete = env.get_method_id(&files, jni_str!("delete"), jni_sig!("(Ljava/lang/String;)V"))?;
    let credentials = find(env, jni_str!("io/sparkkinesis/bridge/ClassCredentials"))?;
    let credentials_of = env.get_static_method_id(
        &credentials,
        jni_str!("of"),
        jni_sig!("(Ljava/lang/String;Ljava/lang/String;)Lio/sparkkinesis/bridge/ClassCredentials;"),
    )?;
    let credentials_id = env.get_method_id(&credentials, jni_str!("id"), jni_sig!("()J"))?;
    let credentials_load =
        env.get_method_id(&credentials, jni_str!("load"), jni_sig!("()[Ljava/lang/String;"))?;
    Ok(Classes {
        exception,
        up_calls,
        describe,
        is_retryable,
        log,
        file_system: files,
        put_if_absent,
        read,
        list,
        delete,
        credentials,
        credentials_of,
        credentials_id,
        credentials_load,
    })
}

fn find(env: &mut Env<'_>, name: &JNIStr) -> jni::errors::Result<Global<JClass<'static>>> {
    let class = env.find_class(name)?;
    env.new_global_ref(class)
}
