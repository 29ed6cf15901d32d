//! The native methods that plan a batch read.

use std::sync::OnceLock;

use jni::objects::{JClass, JObjectArray, JString};
use jni::sys::{jint, jlong};
use kinesis_connector::SourceConfig;

use crate::errors::invalid_argument;
use crate::guard::export;
use crate::handles::{Handled, TABLE};
use crate::layout::Status;
use crate::pending::{Pending, wait_of};
use crate::{credentials, runtime, values};

struct BatchReadHandle {
    config: SourceConfig,
    tasks: OnceLock<Vec<String>>,
    pending: Pending,
}

impl Handled for BatchReadHandle {
    const NAME: &'static str = "plan of a batch read";
}

export! {
    /// Opens a handle for a plan, which `batchReadAwait` makes.
    fn Java_io_sparkkinesis_bridge_NativeBridge_batchReadOpen<'l>(
        env, _class: JClass<'l>, config: JString<'l>,
    ) -> jlong {
        let config = values::text(env, &config, "the batch read's configuration")?;
        let mut config = SourceConfig::parse(&config)?;
        credentials::bind(env, config.provider())?;
        let handle = BatchReadHandle {
            config,
            tasks: OnceLock::new(),
            pending: Pending::default(),
        };
        Ok(TABLE.insert(handle))
    }
}

export! {
    /// Makes the plan; AGAIN or DONE.
    fn Java_io_sparkkinesis_bridge_NativeBridge_batchReadAwait<'l>(
        _env, _class: JClass<'l>, handle: jlong, wait: jint,
    ) -> Status {
        let handle = TABLE.get::<BatchReadHandle>(handle)?;
        let planned = handle.pending.drive(runtime::get()?, "planning", wait_of(wait), || {
            let (engine, config) = (runtime::engine()?, handle.config.clone());
            Ok(async move { engine.batch_read_tasks(&config).await })
        })?;
        let Some(tasks) = planned else { return Ok(Status::Again) };
        handle.tasks.get_or_init(|| tasks);
        Ok(Status::Done)
    }
}

export! {
    /// The tasks of the finished plan; invalid before `batchReadAwait` returned DONE.
    fn Java_io_sparkkinesis_bridge_NativeBridge_batchReadTasks<'l>(
        env, _class: JClass<'l>, handle: jlong,
    ) -> JObjectArray<'l, JString<'l>> {
        let handle = TABLE.get::<BatchReadHandle>(handle)?;
        let tasks = handle.tasks.get().ok_or_else(|| invalid_argument("the batch read is not planned yet"))?;
        values::texts(env, tasks)
    }
}

export! {
    /// Drops the operation in flight, if there is one.
    fn Java_io_sparkkinesis_bridge_NativeBridge_batchReadCancel<'l>(_env, _class: JClass<'l>, handle: jlong) -> () {
        TABLE.get::<BatchReadHandle>(handle)?.pending.cancel();
        Ok(())
    }
}

export! {
    /// Closes the handle.
    fn Java_io_sparkkinesis_bridge_NativeBridge_batchReadClose<'l>(_env, _class: JClass<'l>, handle: jlong) -> () {
        let _runtime = runtime::enter()?;
        TABLE.remove::<BatchReadHandle>(handle)?.pending.cancel();
        Ok(())
    }
}
