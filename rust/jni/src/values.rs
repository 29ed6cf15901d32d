//! Conversion between Java's strings and Rust's.

use jni::Env;
use jni::objects::{JObjectArray, JString};

use crate::errors::{Result, invalid_argument};
use crate::guard::jsize_of;

/// The text of a Java string; null is an error that names the argument.
pub fn text(env: &Env<'_>, value: &JString<'_>, name: &str) -> Result<String> {
    if value.is_null() {
        return Err(invalid_argument(format!("{name} is null")).into());
    }
    Ok(value.try_to_string(env)?)
}

/// The text of a Java string; `None` for null.
pub(crate) fn optional_text(env: &Env<'_>, value: &JString<'_>) -> Result<Option<String>> {
    if value.is_null() {
        return Ok(None);
    }
    Ok(Some(value.try_to_string(env)?))
}

/// Writes the result of an operation to the first element of the caller's array.
pub(crate) fn answer<'l>(env: &mut Env<'l>, out: &JObjectArray<'l, JString<'l>>, value: &str) -> Result<()> {
    let value = env.new_string(value)?;
    out.set_element(env, 0, &value)?;
    Ok(())
}

/// A Java array of these strings.
pub(crate) fn texts<'l>(env: &mut Env<'l>, values: &[String]) -> Result<JObjectArray<'l, JString<'l>>> {
    let array = env.new_object_type_array::<JString<'_>>(values.len(), JString::null())?;
    for (index, value) in values.iter().enumerate() {
        let value = env.new_string(value)?;
        array.set_element(env, index, &value)?;
        // Thousands of shards would otherwise fill the frame with local references.
        env.delete_local_ref(value);
    }
    jsize_of(values.len())?;
    Ok(array)
}
