//! The native library that the tests of the boundary load into a real JVM: the connector's library, with the exports of
//! `io.sparkkinesis.bridge.BoundaryTests` besides its own. It is never shipped.
//!
//! These exports fail in every way that there is, and put stand-ins behind handles, for the connector's own exports to
//! use. The JSON with which a stand-in is made chooses what it does.

mod failures;
mod planner;
mod reader;
mod writer;

use jni::Env;
use jni::objects::{JClass, JString};
use jni::sys::jlong;
use kinesis_connector::{Error, ErrorKind};
use serde_json::Value;
use sparkkinesis::{errors, export, handles, values};

/// What a stand-in is to do.
fn configuration(env: &Env<'_>, json: &JString<'_>) -> errors::Result<Value> {
    let json = values::text(env, json, "the stand-in's configuration")?;
    let wanted = serde_json::from_str(&json)
        .map_err(|error| Error::new(ErrorKind::InvalidArgument, error.to_string()))?;
    Ok(wanted)
}

export! {
    /// Number of objects that Java holds handles to.
    fn Java_io_sparkkinesis_bridge_BoundaryTests_openHandles<'l>(_env, _class: JClass<'l>) -> jlong {
        Ok(handles::open_objects() as jlong)
    }
}
