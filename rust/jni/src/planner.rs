//! The planner's native methods.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use jni::Env;
use jni::objects::{JClass, JObject, JObjectArray, JString};
use jni::sys::{jint, jlong};
use kinesis_connector::plan::Planner;
use kinesis_connector::{Result, SourceConfig};

use crate::errors::{self, internal, invalid_argument};
use crate::guard::export;
use crate::handles::{Handled, TABLE};
use crate::layout::Status;
use crate::pending::{Pending, wait_of};
use crate::upcall::Files;
use crate::{credentials, runtime, values};

/// A planner behind a handle: the engine's, or another one that [`insert`] gets. Offsets, tasks and reports are JSON.
#[async_trait]
pub trait Plans: Send + Sync {
    /// The offset from which a new query starts.
    async fn initial_offset(&self) -> Result<String>;
    /// The offset of the batch after `start`; `None` if nothing is new.
    async fn latest_offset(&self, start: &str) -> Result<Option<String>>;
    /// The tasks of the batch that ends with `offset`.
    fn partitions(&self, offset: &str) -> Result<Vec<String>>;
    /// Takes the report of a task's reader.
    fn report(&self, report: &str) -> Result<()>;
    /// Commits the finished batch that ends with `offset`.
    async fn commit(&self, offset: &str) -> Result<()>;
    /// Fixes the end for `Trigger.AvailableNow`.
    async fn prepare_for_available_now(&self) -> Result<()>;
    /// Called when the query stops, for good or not.
    fn stop(&self) -> Result<()>;
    /// Called when the query ends for good: releases what it registered.
    async fn release(&self) -> Result<()>;
    /// The source's metrics as a JSON object.
    fn metrics(&self) -> Result<String>;
}

#[async_trait]
impl Plans for Planner {
    async fn initial_offset(&self) -> Result<String> {
        Planner::initial_offset(self).await
    }
    async fn latest_offset(&self, start: &str) -> Result<Option<String>> {
        Planner::latest_offset(self, start).await
    }
    fn partitions(&self, offset: &str) -> Result<Vec<String>> {
        Planner::partitions(self, offset)
    }
    fn report(&self, report: &str) -> Result<()> {
        Planner::report(self, report)
    }
    async fn commit(&self, offset: &str) -> Result<()> {
        Planner::commit(self, offset).await
    }
    async fn prepare_for_available_now(&self) -> Result<()> {
        Planner::prepare_for_available_now(self);
        Ok(())
    }
    fn stop(&self) -> Result<()> {
        Planner::stop(self);
        Ok(())
    }
    async fn release(&self) -> Result<()> {
        Planner::release(self).await
    }
    fn metrics(&self) -> Result<String> {
        serde_json::to_string(&Planner::metrics(self)).map_err(|error| internal(format!("metrics: {error}")))
    }
}

type Shared = Arc<dyn Plans>;

/// The operation of a query that ends for good.
const RELEASE: &str = "release";

/// The opening of a planner, in flight.
type Opening = Pin<Box<dyn Future<Output = Result<Shared>> + Send>>;

struct PlannerHandle {
    /// Starts to open the planner.
    open: Box<dyn Fn() -> Opening + Send + Sync>,
    planner: OnceLock<Shared>,
    pending: Pending,
}

impl Handled for PlannerHandle {
    const NAME: &'static str = "planner";
}

impl PlannerHandle {
    fn planner(&self) -> Result<&Shared> {
        self.planner
            .get()
            .ok_or_else(|| invalid_argument("the planner is not open yet"))
    }

    /// Runs one of the planner's operations, waiting at most `wait` for it in this call.
    fn drive<T, F>(
        &self,
        name: &'static str,
        wait: Duration,
        run: impl FnOnce(Shared) -> F,
    ) -> Result<Option<T>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let planner = self.planner()?;
        self.pending
            .drive(runtime::get()?, name, wait, || Ok(run(Arc::clone(planner))))
    }
}

/// Creates a handle for a planner, for `NativeBridge.plannerLatestOffset` and the like. `plannerAwaitOpen` opens it by
/// `open`, which is called again after a failure or a cancellation; `plannerClose` closes it.
pub fn insert<F>(open: impl Fn() -> F + Send + Sync + 'static) -> jlong
where
    F: Future<Output = Result<Arc<dyn Plans>>> + Send + 'static,
{
    TABLE.insert(PlannerHandle {
        open: Box::new(move || -> Opening { Box::pin(open()) }),
        planner: OnceLock::new(),
        pending: Pending::default(),
    })
}

async fn open(config: Result<SourceConfig>, files: Files) -> Result<Shared> {
    let planner = runtime::engine()?.open_planner(config?, Arc::new(files)).await?;
    Ok(Arc::new(planner))
}

fn deliver<'l>(
    env: &mut Env<'l>,
    out: &JObjectArray<'l, JString<'l>>,
    answer: Option<Option<String>>,
) -> errors::Result<Status> {
    match answer {
        None => Ok(Status::Again),
        Some(None) => Ok(Status::None),
        Some(Some(text)) => {
            values::answer(env, out, &text)?;
            Ok(Status::Done)
        }
    }
}

export! {
    /// Creates a handle for a planner, which `plannerAwaitOpen` opens.
    fn Java_io_sparkkinesis_bridge_NativeBridge_plannerOpen<'l>(
        env, _class: JClass<'l>, config: JString<'l>, files: JObject<'l>,
    ) -> jlong {
        let text = values::text(env, &config, "the planner's configuration")?;
        let mut config = SourceConfig::parse(&text);
        if let Ok(config) = &mut config {
            credentials::bind(env, config.provider())?;
        }
        let files = Files::new(env, &files)?;
        Ok(insert(move || open(config.clone(), files.clone())))
    }
}

export! {
    /// Opens the planner; AGAIN or DONE.
    fn Java_io_sparkkinesis_bridge_NativeBridge_plannerAwaitOpen<'l>(
        _env, _class: JClass<'l>, handle: jlong, wait: jint,
    ) -> Status {
        let handle = TABLE.get::<PlannerHandle>(handle)?;
        if handle.planner.get().is_some() {
            return Ok(Status::Done);
        }
        let opened = handle.pending.drive(runtime::get()?, "opening the planner", wait_of(wait), || {
            Ok((handle.open)())
        })?;
        let answer = Status::of(&opened);
        if let Some(planner) = opened {
            handle.planner.get_or_init(|| planner);
        }
        Ok(answer)
    }
}

export! {
    /// Writes the initial offset to `out[0]`; AGAIN or DONE.
    fn Java_io_sparkkinesis_bridge_NativeBridge_plannerInitialOffset<'l>(
        env, _class: JClass<'l>, handle: jlong, wait: jint, out: JObjectArray<'l, JString<'l>>,
    ) -> Status {
        let handle = TABLE.get::<PlannerHandle>(handle)?;
        let answer = handle.drive("initialOffset", wait_of(wait), |planner| async move {
            planner.initial_offset().await
        })?;
        deliver(env, &out, answer.map(Some))
    }
}

export! {
    /// Writes the next offset to `out[0]`; AGAIN, DONE, or NONE if nothing is new.
    fn Java_io_sparkkinesis_bridge_NativeBridge_plannerLatestOffset<'l>(
        env, _class: JClass<'l>, handle: jlong, start: JString<'l>, wait: jint, out: JObjectArray<'l, JString<'l>>,
    ) -> Status {
        let start = values::text(env, &start, "the start offset")?;
        let handle = TABLE.get::<PlannerHandle>(handle)?;
        let answer = handle.drive("latestOffset", wait_of(wait), |planner| async move {
            planner.latest_offset(&start).await
        })?;
        deliver(env, &out, answer)
    }
}

export! {
    /// The tasks of a batch.
    fn Java_io_sparkkinesis_bridge_NativeBridge_plannerPartitions<'l>(
        env, _class: JClass<'l>, handle: jlong, offset: JString<'l>,
    ) -> JObjectArray<'l, JString<'l>> {
        let offset = values::text(env, &offset, "the offset")?;
        let handle = TABLE.get::<PlannerHandle>(handle)?;
        let partitions = {
            let _runtime = runtime::enter()?;
            handle.planner()?.partitions(&offset)?
        };
        values::texts(env, &partitions)
    }
}

export! {
    /// Passes a reader's report to the planner.
    fn Java_io_sparkkinesis_bridge_NativeBridge_plannerReport<'l>(
        env, _class: JClass<'l>, handle: jlong, report: JString<'l>,
    ) -> () {
        let report = values::text(env, &report, "the report")?;
        let handle = TABLE.get::<PlannerHandle>(handle)?;
        let _runtime = runtime::enter()?;
        Ok(handle.planner()?.report(&report)?)
    }
}

export! {
    /// Commits a finished batch; AGAIN or DONE.
    fn Java_io_sparkkinesis_bridge_NativeBridge_plannerCommit<'l>(
        env, _class: JClass<'l>, handle: jlong, offset: JString<'l>, wait: jint,
    ) -> Status {
        let offset = values::text(env, &offset, "the offset")?;
        let handle = TABLE.get::<PlannerHandle>(handle)?;
        let answer = handle.drive("commit", wait_of(wait), |planner| async move {
            planner.commit(&offset).await
        })?;
        Ok(Status::of(&answer))
    }
}

export! {
    /// Fixes the end for `Trigger.AvailableNow`; AGAIN or DONE.
    fn Java_io_sparkkinesis_bridge_NativeBridge_plannerPrepareForAvailableNow<'l>(
        _env, _class: JClass<'l>, handle: jlong, wait: jint,
    ) -> Status {
        let handle = TABLE.get::<PlannerHandle>(handle)?;
        let answer = handle.drive("prepareForAvailableNow", wait_of(wait), |planner| async move {
            planner.prepare_for_available_now().await
        })?;
        Ok(Status::of(&answer))
    }
}

export! {
    /// Called when the query stops: ends what its readers left in this process, and frees its consumer for others.
    fn Java_io_sparkkinesis_bridge_NativeBridge_plannerStop<'l>(_env, _class: JClass<'l>, handle: jlong) -> () {
        let handle = TABLE.get::<PlannerHandle>(handle)?;
        // An operation that the stop interrupted must not continue.
        handle.pending.cancel_all_but(RELEASE);
        let _runtime = runtime::enter()?;
        Ok(handle.planner()?.stop()?)
    }
}

export! {
    /// Called when the query ends for good: releases what it registered; AGAIN or DONE.
    fn Java_io_sparkkinesis_bridge_NativeBridge_plannerRelease<'l>(
        _env, _class: JClass<'l>, handle: jlong, wait: jint,
    ) -> Status {
        let handle = TABLE.get::<PlannerHandle>(handle)?;
        let planner = Arc::clone(handle.planner()?);
        // An operation that the stop interrupted may still be in flight.
        let answer = handle.pending.drive_instead(runtime::get()?, RELEASE, wait_of(wait), || {
            Ok(async move { planner.release().await })
        })?;
        Ok(Status::of(&answer))
    }
}

export! {
    /// The source's metrics as a JSON object.
    fn Java_io_sparkkinesis_bridge_NativeBridge_plannerMetrics<'l>(
        env, _class: JClass<'l>, handle: jlong,
    ) -> JString<'l> {
        let handle = TABLE.get::<PlannerHandle>(handle)?;
        let metrics = handle.planner()?.metrics()?;
        Ok(env.new_string(metrics)?)
    }
}

export! {
    /// Drops the operation in flight, if there is one. A release stays: it may belong to another thread, and have ended
    /// the caller's operation. `plannerClose` drops it.
    fn Java_io_sparkkinesis_bridge_NativeBridge_plannerCancel<'l>(_env, _class: JClass<'l>, handle: jlong) -> () {
        TABLE.get::<PlannerHandle>(handle)?.pending.cancel_all_but(RELEASE);
        Ok(())
    }
}

export! {
    /// Closes the planner.
    fn Java_io_sparkkinesis_bridge_NativeBridge_plannerClose<'l>(_env, _class: JClass<'l>, handle: jlong) -> () {
        let _runtime = runtime::enter()?;
        TABLE.remove::<PlannerHandle>(handle)?.pending.cancel();
        Ok(())
    }
}
