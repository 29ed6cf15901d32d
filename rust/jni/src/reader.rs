//! The shard reader's native methods. Rows cross without a copy, as addresses of their columns.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use jni::Env;
use jni::objects::{JClass, JLongArray, JObject, JObjectArray, JString};
use jni::sys::{jboolean, jint, jlong};
use kinesis_connector::batch::{Column, RecordBatch};
use kinesis_connector::read::ShardReader;
use kinesis_connector::{Error, ErrorKind, Result, SourceConfig};
use parking_lot::{Mutex, MutexGuard};

use crate::columns::Columns;
use crate::errors::{self, internal};
use crate::guard::export;
use crate::handles::{Handled, TABLE};
use crate::layout::Status;
use crate::pending::{Pending, wait_of};
use crate::upcall::Files;
use crate::{credentials, runtime, values};

/// A reader behind a handle: the engine's, or another one that [`insert`] gets.
#[async_trait]
pub trait Reads: Send + Sync {
    /// The next rows; `None` at the end.
    async fn next(&self) -> Result<Option<RecordBatch>>;
    /// Ends the read, after the success or the failure of its task. The report for the planner, if there is one.
    async fn finish(&self, succeeded: bool) -> Result<Option<String>>;
    /// The metrics as a JSON object.
    fn metrics(&self) -> Result<String>;
}

#[async_trait]
impl Reads for ShardReader {
    async fn next(&self) -> Result<Option<RecordBatch>> {
        ShardReader::next(self).await
    }
    async fn finish(&self, succeeded: bool) -> Result<Option<String>> {
        ShardReader::finish(self, succeeded).await
    }
    fn metrics(&self) -> Result<String> {
        serde_json::to_string(&ShardReader::metrics(self))
            .map_err(|error| internal(format!("metrics: {error}")))
    }
}

/// Name of the operation in flight when a task that succeeded ends its reader.
const FINISH: &str = "finish";

/// The same of a task that failed. It replaces a [`FINISH`] that its killed task no longer waits for.
const GIVE_UP: &str = "finish after a failure";

/// Number of overwritten batches that stay allocated in poison mode, so that a late reader sees the poison and not
/// what the allocator put there next.
const QUARANTINE: usize = 8;

#[derive(Default)]
struct Batches {
    current: Option<Columns>,
    quarantine: VecDeque<Columns>,
}

impl Batches {
    /// Frees the current batch; in poison mode, overwrites it and moves it to the quarantine.
    fn free(&mut self) {
        if let Some(mut columns) = self.current.take()
            && columns.poison()
        {
            self.quarantine.push_back(columns);
            if self.quarantine.len() > QUARANTINE {
                self.quarantine.pop_front();
            }
        }
    }
}

struct ReaderHandle {
    reader: Arc<dyn Reads>,
    stream_name: String,
    columns: Vec<Column>,
    column_names: Vec<String>,
    poison: bool,
    finished: AtomicBool,
    batches: Mutex<Batches>,
    pending: Pending,
}

impl Handled for ReaderHandle {
    const NAME: &'static str = "shard reader";
}

impl ReaderHandle {
    fn check_unfinished(&self) -> Result<()> {
        if self.finished.load(Ordering::SeqCst) {
            return Err(Error::new(
                ErrorKind::Interrupted,
                "the reader was finished already",
            ));
        }
        Ok(())
    }

    fn batches(&self) -> MutexGuard<'_, Batches> {
        self.batches.lock()
    }
}

/// A reader and what all of its batches share.
pub struct Opened {
    /// The reader.
    pub reader: Arc<dyn Reads>,
    /// The stream's name, which is the same in every row.
    pub stream_name: String,
    /// The columns that Spark asks for.
    pub columns: Vec<Column>,
    /// Their names.
    pub column_names: Vec<String>,
}

impl Opened {
    /// A reader whose batches have these columns.
    pub fn new(reader: Arc<dyn Reads>, stream_name: String, columns: Vec<Column>) -> Self {
        let names = columns.iter().map(|column| column.name().to_owned());
        Self {
            reader,
            stream_name,
            column_names: names.collect(),
            columns,
        }
    }
}

/// Creates a handle for the reader, for `NativeBridge.readerNext` and the like. `readerClose` closes it. With `poison`,
/// the memory of a batch is overwritten when it is freed.
pub fn insert(opened: Opened, poison: bool) -> jlong {
    TABLE.insert(ReaderHandle {
        reader: opened.reader,
        stream_name: opened.stream_name,
        columns: opened.columns,
        column_names: opened.column_names,
        poison,
        finished: AtomicBool::new(false),
        batches: Mutex::default(),
        pending: Pending::default(),
    })
}

fn open(env: &mut Env<'_>, config: &str, task: &str, files: Files) -> errors::Result<Opened> {
    let mut config = SourceConfig::parse(config)?;
    credentials::bind(env, config.provider())?;
    let (stream_name, columns) = (config.options.stream.name.clone(), config.columns.clone());
    let reader = runtime::engine()?.open_reader(config, task, Arc::new(files))?;
    Ok(Opened::new(Arc::new(reader), stream_name, columns))
}

export! {
    /// Opens a reader, which starts to read. With `poison`, the memory of a batch is overwritten when it is freed.
    fn Java_io_sparkkinesis_bridge_NativeBridge_readerOpen<'l>(
        env, _class: JClass<'l>, config: JString<'l>, task: JString<'l>, files: JObject<'l>, poison: jboolean,
    ) -> jlong {
        let config = values::text(env, &config, "the reader's configuration")?;
        let task = values::text(env, &task, "the reader's task")?;
        let files = Files::new(env, &files)?;
        let _runtime = runtime::enter()?;
        Ok(insert(open(env, &config, &task, files)?, poison))
    }
}

export! {
    /// The stream's name, which is the same in every row.
    fn Java_io_sparkkinesis_bridge_NativeBridge_readerStreamName<'l>(
        env, _class: JClass<'l>, handle: jlong,
    ) -> JString<'l> {
        let handle = TABLE.get::<ReaderHandle>(handle)?;
        Ok(env.new_string(&handle.stream_name)?)
    }
}

export! {
    /// Names of the columns that Spark asks for, in the order in which a batch has them.
    fn Java_io_sparkkinesis_bridge_NativeBridge_readerColumns<'l>(
        env, _class: JClass<'l>, handle: jlong,
    ) -> JObjectArray<'l, JString<'l>> {
        let handle = TABLE.get::<ReaderHandle>(handle)?;
        values::texts(env, &handle.column_names)
    }
}

export! {
    /// Loads the next batch and fills `out` with its number of rows and its columns' addresses, which are valid until
    /// the next `readerNext` or `readerClose`; AGAIN, DONE, or NONE at the end.
    fn Java_io_sparkkinesis_bridge_NativeBridge_readerNext<'l>(
        env, _class: JClass<'l>, handle: jlong, wait: jint, out: JLongArray<'l>,
    ) -> Status {
        let handle = TABLE.get::<ReaderHandle>(handle)?;
        let next = handle.pending.drive(runtime::get()?, "next", wait_of(wait), || {
            handle.check_unfinished()?;
            handle.batches().free();
            let reader = Arc::clone(&handle.reader);
            Ok(async move { reader.next().await })
        });
        if next.is_err() {
            // Nobody needs the failure of a finished reader.
            handle.check_unfinished()?;
        }
        let answer = next?;
        let batch = match answer {
            None => return Ok(Status::Again),
            Some(None) => return Ok(Status::None),
            Some(Some(batch)) => batch,
        };
        let asked = &handle.columns;
        let columns = if handle.poison { Columns::copied(&batch, asked)? } else { Columns::shared(batch) };
        let addresses = columns.addresses(asked)?;
        handle.batches().current = Some(columns);
        out.set_region(env, 0, &addresses)?;
        Ok(Status::Done)
    }
}

export! {
    /// Ends the reading and writes the report to `out[0]`; AGAIN, DONE, or NONE without a report.
    fn Java_io_sparkkinesis_bridge_NativeBridge_readerFinish<'l>(
        env, _class: JClass<'l>, handle: jlong, succeeded: jboolean, wait: jint, out: JObjectArray<'l, JString<'l>>,
    ) -> Status {
        let handle = TABLE.get::<ReaderHandle>(handle)?;
        // A separate thread feeds Python functions and may still wait for rows that nobody needs.
        handle.finished.store(true, Ordering::SeqCst);
        let operation = if succeeded { FINISH } else { GIVE_UP };
        let answer = handle.pending.drive_instead(runtime::get()?, operation, wait_of(wait), || {
            let reader = Arc::clone(&handle.reader);
            Ok(async move { reader.finish(succeeded).await })
        })?;
        match answer {
            None => Ok(Status::Again),
            Some(None) => Ok(Status::None),
            Some(Some(report)) => {
                values::answer(env, &out, &report)?;
                Ok(Status::Done)
            }
        }
    }
}

export! {
    /// The reader's metrics as a JSON object.
    fn Java_io_sparkkinesis_bridge_NativeBridge_readerMetrics<'l>(
        env, _class: JClass<'l>, handle: jlong,
    ) -> JString<'l> {
        let metrics = TABLE.get::<ReaderHandle>(handle)?.reader.metrics()?;
        Ok(env.new_string(metrics)?)
    }
}

export! {
    /// Drops a `next` in flight. A `finish` stays: it may belong to another thread, and have ended this `next`.
    /// `readerClose` drops it.
    fn Java_io_sparkkinesis_bridge_NativeBridge_readerCancel<'l>(_env, _class: JClass<'l>, handle: jlong) -> () {
        TABLE.get::<ReaderHandle>(handle)?.pending.cancel_only("next");
        Ok(())
    }
}

export! {
    /// Closes the reader and frees its batch.
    fn Java_io_sparkkinesis_bridge_NativeBridge_readerClose<'l>(_env, _class: JClass<'l>, handle: jlong) -> () {
        let _runtime = runtime::enter()?;
        let handle = TABLE.remove::<ReaderHandle>(handle)?;
        handle.pending.cancel();
        handle.batches().free();
        Ok(())
    }
}
