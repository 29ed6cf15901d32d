//! The stream writer's native methods. Java collects rows in a direct buffer and passes it on when it is full.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use jni::Env;
use jni::objects::{JByteBuffer, JClass, JString};
use jni::sys::{jint, jlong};
use kinesis_connector::sink::{SinkRow, TaskWriter};
use kinesis_connector::{Result, SinkConfig};

use crate::errors::{self, invalid_argument};
use crate::guard::export;
use crate::handles::{Handled, TABLE};
use crate::layout::Status;
use crate::pending::{Pending, wait_of};
use crate::{credentials, frames, runtime, values};

/// A writer behind a handle: the engine's, or another one that [`insert`] gets.
#[async_trait]
pub trait Writes: Send + Sync {
    /// Takes the rows. Waits while the writer has no room.
    async fn write(&self, rows: Vec<SinkRow>) -> Result<()>;
    /// Waits until every record was accepted.
    async fn flush(&self) -> Result<()>;
    /// The metrics as a JSON object.
    fn metrics(&self) -> Result<String>;
    /// The metrics in the form that `sinkMetrics` takes.
    fn report(&self) -> Result<String>;
}

#[async_trait]
impl Writes for TaskWriter {
    async fn write(&self, rows: Vec<SinkRow>) -> Result<()> {
        TaskWriter::write(self, rows).await
    }
    async fn flush(&self) -> Result<()> {
        TaskWriter::flush(self).await
    }
    fn metrics(&self) -> Result<String> {
        TaskWriter::metrics(self).shown()
    }
    fn report(&self) -> Result<String> {
        TaskWriter::metrics(self).report()
    }
}

struct WriterHandle {
    writer: Arc<dyn Writes>,
    pending: Pending,
}

impl Handled for WriterHandle {
    const NAME: &'static str = "stream writer";
}

/// Creates a handle for the writer, for `NativeBridge.writerWrite` and the like. `writerClose` closes it.
pub fn insert(writer: Arc<dyn Writes>) -> jlong {
    TABLE.insert(WriterHandle {
        writer,
        pending: Pending::default(),
    })
}

fn open(env: &mut Env<'_>, config: &str) -> errors::Result<Arc<dyn Writes>> {
    let mut config = SinkConfig::parse(config)?;
    credentials::bind(env, config.provider())?;
    Ok(Arc::new(runtime::engine()?.open_task_writer(config)))
}

/// Copies the filled part of a direct buffer, because Java reuses the buffer while the records wait here.
fn copy_of(env: &Env<'_>, buffer: &JByteBuffer<'_>, length: jint) -> errors::Result<Bytes> {
    if buffer.is_null() {
        return Err(invalid_argument("the rows' buffer is null").into());
    }
    let direct = |_| invalid_argument("the rows' buffer is not a direct one");
    let capacity = env.get_direct_buffer_capacity(buffer).map_err(direct)?;
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= capacity)
        .ok_or_else(|| {
            invalid_argument(format!(
                "{length} bytes are said to be filled of a buffer of {capacity}"
            ))
        })?;
    let start = env.get_direct_buffer_address(buffer).map_err(direct)?;
    // SAFETY: a direct buffer has `capacity` readable bytes at its address, and `length` is at most `capacity`. The
    // caller's local reference keeps the buffer during this call, and the only writer to it waits for the call.
    let filled = unsafe { std::slice::from_raw_parts(start, length) };
    Ok(Bytes::copy_from_slice(filled))
}

export! {
    /// Opens a writer.
    fn Java_io_sparkkinesis_bridge_NativeBridge_writerOpen<'l>(
        env, _class: JClass<'l>, config: JString<'l>,
    ) -> jlong {
        let config = values::text(env, &config, "the writer's configuration")?;
        let _runtime = runtime::enter()?;
        Ok(insert(open(env, &config)?))
    }
}

export! {
    /// Takes `rows` rows from the first `length` bytes of the buffer, which Java may reuse after the first return;
    /// AGAIN while the writer has no room, or DONE.
    fn Java_io_sparkkinesis_bridge_NativeBridge_writerWrite<'l>(
        env, _class: JClass<'l>, handle: jlong, buffer: JByteBuffer<'l>, length: jint, rows: jint, wait: jint,
    ) -> Status {
        let handle = TABLE.get::<WriterHandle>(handle)?;
        let mut records = None;
        if handle.pending.is_idle() {
            let count = usize::try_from(rows)
                .map_err(|_| invalid_argument(format!("a buffer of {rows} rows was handed over")))?;
            records = Some(frames::parse(&copy_of(env, &buffer, length)?, count)?);
        }
        let answer = handle.pending.drive(runtime::get()?, "write", wait_of(wait), || {
            let records = records.ok_or_else(|| invalid_argument("write was called from two threads at a time"))?;
            let writer = Arc::clone(&handle.writer);
            Ok(async move { writer.write(records).await })
        })?;
        Ok(Status::of(&answer))
    }
}

export! {
    /// Waits until every record was accepted; AGAIN or DONE.
    fn Java_io_sparkkinesis_bridge_NativeBridge_writerFlush<'l>(
        _env, _class: JClass<'l>, handle: jlong, wait: jint,
    ) -> Status {
        let handle = TABLE.get::<WriterHandle>(handle)?;
        let answer = handle.pending.drive(runtime::get()?, "flush", wait_of(wait), || {
            let writer = Arc::clone(&handle.writer);
            Ok(async move { writer.flush().await })
        })?;
        Ok(Status::of(&answer))
    }
}

export! {
    /// The writer's metrics in the form that `sinkMetrics` takes.
    fn Java_io_sparkkinesis_bridge_NativeBridge_writerReport<'l>(
        env, _class: JClass<'l>, handle: jlong,
    ) -> JString<'l> {
        let report = TABLE.get::<WriterHandle>(handle)?.writer.report()?;
        Ok(env.new_string(report)?)
    }
}

export! {
    /// The writer's metrics as a JSON object.
    fn Java_io_sparkkinesis_bridge_NativeBridge_writerMetrics<'l>(
        env, _class: JClass<'l>, handle: jlong,
    ) -> JString<'l> {
        let metrics = TABLE.get::<WriterHandle>(handle)?.writer.metrics()?;
        Ok(env.new_string(metrics)?)
    }
}

export! {
    /// Drops the operation in flight, if there is one.
    fn Java_io_sparkkinesis_bridge_NativeBridge_writerCancel<'l>(_env, _class: JClass<'l>, handle: jlong) -> () {
        TABLE.get::<WriterHandle>(handle)?.pending.cancel();
        Ok(())
    }
}

export! {
    /// Closes the writer and drops records that are not put yet: a task that succeeds flushes first.
    fn Java_io_sparkkinesis_bridge_NativeBridge_writerClose<'l>(_env, _class: JClass<'l>, handle: jlong) -> () {
        let _runtime = runtime::enter()?;
        TABLE.remove::<WriterHandle>(handle)?.pending.cancel();
        Ok(())
    }
}
