//! Credentials from a class of the job: the Java `ClassCredentials` as the connector's trait.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use jni::objects::{JObject, JObjectArray, JString};
use jni::refs::Global;
use jni::signature::{Primitive, ReturnType};
use jni::{Env, JValue};
use kinesis_connector::options::{GivenCredentials, GivesCredentials};
use kinesis_connector::options::{ProviderClass, Secret, StaticKeys};
use kinesis_connector::{Error, ErrorKind, Result};

use crate::errors::{self, internal};
use crate::{classes, upcall, values};

/// Binds the credentials class, if there is one, to the class loader of this thread, which is that of the query or
/// task.
pub(crate) fn bind(env: &mut Env<'_>, class: Option<&mut ProviderClass>) -> errors::Result<()> {
    let Some(class) = class else { return Ok(()) };
    let classes = classes::get()?;
    let name = env.new_string(&class.name)?;
    let param = match &class.param {
        Some(param) => env.new_string(param.expose())?,
        None => JString::null(),
    };
    let arguments = [JValue::Object(&name).as_jni(), JValue::Object(&param).as_jni()];
    // SAFETY: the id was found for exactly this static method, which takes two Strings and returns a ClassCredentials.
    let object = unsafe {
        env.call_static_method_unchecked(
            &classes.credentials,
            classes.credentials_of,
            ReturnType::Object,
            &arguments,
        )
    }?
    .into_object()?;
    let long = ReturnType::Primitive(Primitive::Long);
    // SAFETY: the object is what `of` returned, a ClassCredentials, and the id is of its method that returns a long.
    let id = unsafe { env.call_method_unchecked(&object, classes.credentials_id, long, &[]) }?.into_long()?;
    class.bind(Arc::new(JavaCredentials {
        object: Arc::new(Held(env.new_global_ref(&object)?)),
        id: id.cast_unsigned(),
        loading: Arc::default(),
    }));
    Ok(())
}

/// A reference that can move to another thread.
struct Held(Global<JObject<'static>>);

struct JavaCredentials {
    object: Arc<Held>,
    id: u64,
    /// Locked during a call of the class, so that a call that never returns blocks only one thread.
    loading: Arc<tokio::sync::Mutex<()>>,
}

impl fmt::Debug for JavaCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JavaCredentials({})", self.id)
    }
}

#[async_trait]
impl GivesCredentials for JavaCredentials {
    fn id(&self) -> u64 {
        self.id
    }

    async fn give(&self) -> Result<GivenCredentials> {
        let loading = Arc::clone(&self.loading).lock_owned().await;
        let object = Arc::clone(&self.object);
        let texts = upcall::blocking(move || {
            let _loading = loading;
            upcall::call(ErrorKind::Access, "asking the class", |env| load(env, &object.0))
        });
        read(texts.await?)
    }
}

/// The texts that the class's `load` returns; `None` for null.
fn load(env: &mut Env<'_>, object: &JObject<'_>) -> errors::Result<Vec<Option<String>>> {
    let id = classes::get()?.credentials_load;
    // SAFETY: the object is a ClassCredentials (`bind` made it), and the id is of its method that returns a String[].
    let array = unsafe { env.call_method_unchecked(object, id, ReturnType::Array, &[]) }?.into_object()?;
    let array = env.cast_local::<JObjectArray<'_, JString<'_>>>(array)?;
    let mut texts = Vec::new();
    for index in 0..array.len(env)? {
        let text = array.get_element(env, index)?;
        texts.push(values::optional_text(env, &text)?);
    }
    Ok(texts)
}

fn read(texts: Vec<Option<String>>) -> Result<GivenCredentials> {
    match <[Option<String>; 4]>::try_from(texts) {
        Ok([Some(key), Some(secret), token, end]) => Ok(GivenCredentials {
            keys: StaticKeys {
                access_key_id: key,
                secret: Secret::new(secret),
                session_token: token.map(Secret::new),
            },
            expires_millis: end.and_then(|millis| millis.parse().ok()),
        }),
        Ok(_) => Err(internal("credentials without a key or its secret")),
        Err(other) => match <[Option<String>; 2]>::try_from(other) {
            Ok([Some(why), passes]) => {
                Err(Error::new(ErrorKind::Access, why).retryable(passes.as_deref() == Some("true")))
            }
            _ => Err(internal(
                "the answer of a class that gives credentials is malformed",
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<Option<String>> {
        texts
            .iter()
            .map(|text| (!text.is_empty()).then(|| (*text).to_owned()))
            .collect()
    }

    #[test]
    fn an_answer_is_credentials_or_why_there_are_none() {
        let session = read(texts(&["AKIA", "hush", "token", "1500"])).unwrap();
        assert_eq!(session.keys.session_token, Some(Secret::new("token")));
        assert_eq!(session.expires_millis, Some(1_500));
        let keys = read(texts(&["AKIA", "hush", "", ""])).unwrap();
        assert_eq!((keys.keys.session_token, keys.expires_millis), (None, None));
        for passes in ["true", "false"] {
            let error = read(texts(&["out of order", passes])).unwrap_err();
            assert_eq!(error.message(), "out of order");
            assert_eq!(
                (error.kind(), error.is_retryable()),
                (ErrorKind::Access, passes == "true")
            );
        }
        for odd in [&["", "true"][..], &["AKIA", "", "", ""], &[]] {
            assert_eq!(read(texts(odd)).unwrap_err().kind(), ErrorKind::Internal);
        }
    }
}
