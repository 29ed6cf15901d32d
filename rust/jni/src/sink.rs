//! The native methods of a sink in the driver.

use std::sync::OnceLock;

use jni::objects::{JClass, JObjectArray, JString};
use jni::sys::{jint, jlong};
use kinesis_connector::SinkConfig;
use kinesis_connector::sink::metrics_together;

use crate::errors::{internal, invalid_argument};
use crate::guard::export;
use crate::handles::{Handled, TABLE};
use crate::layout::Status;
use crate::pending::{Pending, wait_of};
use crate::{runtime, values};

struct FactsHandle {
    config: SinkConfig,
    facts: OnceLock<String>,
    pending: Pending,
}

impl Handled for FactsHandle {
    const NAME: &'static str = "look at a sink's streams";
}

export! {
    /// Opens a handle for facts about a sink's streams, which `factsAwait` loads.
    fn Java_io_sparkkinesis_bridge_NativeBridge_factsOpen<'l>(
        env, _class: JClass<'l>, config: JString<'l>,
    ) -> jlong {
        let config = values::text(env, &config, "the sink's configuration")?;
        let handle = FactsHandle {
            config: SinkConfig::parse(&config)?,
            facts: OnceLock::new(),
            pending: Pending::default(),
        };
        Ok(TABLE.insert(handle))
    }
}

export! {
    /// Loads the facts from the service; AGAIN or DONE.
    fn Java_io_sparkkinesis_bridge_NativeBridge_factsAwait<'l>(
        _env, _class: JClass<'l>, handle: jlong, wait: jint,
    ) -> Status {
        let handle = TABLE.get::<FactsHandle>(handle)?;
        let facts = handle.pending.drive(runtime::get()?, "the look at the streams", wait_of(wait), || {
            let (engine, config) = (runtime::engine()?, handle.config.clone());
            Ok(async move { engine.sink_facts(&config).await })
        })?;
        let Some(facts) = facts else { return Ok(Status::Again) };
        let facts = serde_json::to_string(&facts).map_err(|error| internal(format!("facts: {error}")))?;
        handle.facts.get_or_init(|| facts);
        Ok(Status::Done)
    }
}

export! {
    /// The loaded facts, in the form that the sink's configuration takes.
    fn Java_io_sparkkinesis_bridge_NativeBridge_facts<'l>(
        env, _class: JClass<'l>, handle: jlong,
    ) -> JString<'l> {
        let handle = TABLE.get::<FactsHandle>(handle)?;
        let facts = handle.facts.get().ok_or_else(|| invalid_argument("the stream was not asked for yet"))?;
        Ok(env.new_string(facts)?)
    }
}

export! {
    /// Drops the operation in flight, if there is one.
    fn Java_io_sparkkinesis_bridge_NativeBridge_factsCancel<'l>(_env, _class: JClass<'l>, handle: jlong) -> () {
        TABLE.get::<FactsHandle>(handle)?.pending.cancel();
        Ok(())
    }
}

export! {
    /// Closes the handle.
    fn Java_io_sparkkinesis_bridge_NativeBridge_factsClose<'l>(_env, _class: JClass<'l>, handle: jlong) -> () {
        let _runtime = runtime::enter()?;
        TABLE.remove::<FactsHandle>(handle)?.pending.cancel();
        Ok(())
    }
}

export! {
    /// Metrics of several writers together, as a JSON object of numbers. Each element of `reports` is a result of
    /// `writerReport`.
    fn Java_io_sparkkinesis_bridge_NativeBridge_sinkMetrics<'l>(
        env, _class: JClass<'l>, reports: JObjectArray<'l, JString<'l>>,
    ) -> JString<'l> {
        let mut all = Vec::new();
        for place in 0..reports.len(env)? {
            let one = reports.get_element(env, place)?;
            all.push(values::text(env, &one, "a writer's metrics")?);
        }
        Ok(env.new_string(metrics_together(&all)?)?)
    }
}
