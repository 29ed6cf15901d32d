//! The writer of a task whose rows may name their streams.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;

use super::batch::MAX_REQUEST_BYTES;
use super::connect::Connection;
use super::shared_waits::SharedWaits;
use super::writer::Writer;
use super::{SinkConfig, SinkHost, SinkRecord, WriterMetrics, WriterSettings};
use crate::error::{Error, ErrorKind, Result};

/// A row to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkRow {
    /// Stream to put it in; `None` for the options' own.
    pub stream: Option<String>,
    /// The record to put.
    pub record: SinkRecord,
}

/// Writes the rows of one task, each to the stream that it names, at least once and without silent drops.
///
/// From its first row on, a stream has a [`StreamWriter`](super::StreamWriter) with its own requests and guarantees.
/// Together, the writers hold at most what a single one may, plus the rows of one call: the task waits while they
/// hold more.
///
/// The first failure, in any stream, ends the writing to all of them. Dropping the writer ends everything at once.
pub struct TaskWriter {
    host: Arc<dyn SinkHost>,
    config: SinkConfig,
    writers: Mutex<BTreeMap<String, Arc<Writer>>>,
    waits: Arc<SharedWaits>,
    most_bytes: AtomicUsize,
    /// Error of the first row that was refused before it was taken.
    refusal: Mutex<Option<Error>>,
}

impl TaskWriter {
    /// Opens a writer without I/O. The first row of a stream makes its client, and fails the writer if that fails.
    pub(crate) fn open(host: Arc<dyn SinkHost>, config: SinkConfig) -> Self {
        Self {
            host,
            config,
            writers: Mutex::default(),
            waits: Arc::default(),
            most_bytes: AtomicUsize::new(0),
            refusal: Mutex::default(),
        }
    }

    /// Takes rows, and waits while their streams' writers have no room. Must run in the runtime. If the future is
    /// dropped before it is ready, any of the rows may have been taken.
    ///
    /// All rows are checked before the first is taken. If one can't be put, this call and all later ones fail with
    /// [`InvalidRow`](crate::ErrorKind::InvalidRow), and none of their rows are sent. Rows taken before are still
    /// sent, and [`flush`](Self::flush) waits for them.
    ///
    /// After a put has failed for good, during any call, this and every later call returns its error.
    pub async fn write(&self, rows: Vec<SinkRow>) -> Result<()> {
        self.failure()?;
        let refusal = self.refusal.lock().clone();
        refusal.map_or(Ok(()), Err)?;
        let by_stream = self.checked(rows).inspect_err(|error| {
            self.refusal.lock().get_or_insert_with(|| error.clone());
        })?;
        self.room().await?;
        let taking = by_stream
            .into_iter()
            .map(|(writer, records)| async move { writer.take_over(records).await });
        tokio::select! {
            biased;
            taken = try_join_all(taking) => drop(taken?),
            // The failure of a stream whose writer doesn't wait, or that has none of these rows.
            error = self.failed() => return Err(error),
        }
        let held = self.writers().iter().map(|writer| writer.bytes()).sum();
        self.most_bytes.fetch_max(held, Ordering::Relaxed);
        Ok(())
    }

    /// Sends all waiting rows and returns when every row taken is accepted. A row that [`write`](Self::write) refused
    /// was not taken.
    ///
    /// After a put that failed for good, waits until the requests under way to all streams end, without further
    /// retries. Then returns the first failure.
    pub async fn flush(&self) -> Result<()> {
        let writers = self.writers();
        let mut flushing: FuturesUnordered<_> = writers.iter().map(Writer::flush).collect();
        let mut outcome = Ok(());
        while let Some(flushed) = flushing.next().await {
            if let Err(error) = flushed
                && outcome.is_ok()
            {
                writers.iter().for_each(|writer| writer.fail(&error));
                outcome = Err(error);
            }
        }
        outcome
    }

    /// The writer's metrics so far, over all streams.
    pub fn metrics(&self) -> WriterMetrics {
        let mut all = WriterMetrics::default();
        for writer in self.writers() {
            all.add(&writer.metrics());
        }
        let together = self.most_bytes.load(Ordering::Relaxed) as u64;
        WriterMetrics {
            // The streams' writers wait at the same time, so their times don't add up.
            wait_millis: self.waits.millis(),
            max_buffered_bytes: all.max_buffered_bytes.max(together),
            ..all
        }
    }

    /// The rows of each stream, in their order; an error if one can't be put.
    fn checked(&self, rows: Vec<SinkRow>) -> Result<Vec<(Arc<Writer>, Vec<SinkRecord>)>> {
        let mut by_stream = BTreeMap::<String, Vec<SinkRecord>>::new();
        for SinkRow { stream, record } in rows {
            let name = self.stream_of(stream.as_deref())?;
            match by_stream.get_mut(name) {
                Some(records) => records.push(record),
                None => drop(by_stream.insert(name.to_owned(), vec![record])),
            }
        }
        let mut checked = Vec::with_capacity(by_stream.len());
        for (name, records) in by_stream {
            let writer = self.writer(&name)?;
            writer.check(&records)?;
            checked.push((writer, records));
        }
        Ok(checked)
    }

    /// The stream of a row with this `streamName`; an error if the options don't allow it.
    fn stream_of<'n>(&'n self, named: Option<&'n str>) -> Result<&'n str> {
        let options = &self.config.options;
        let own = options.stream.name.as_str();
        let refused = |why: &str| {
            Error::new(ErrorKind::InvalidRow, why.to_owned())
                .with("column", "streamName")
                .with("option", "kinesis.sink.allowedStreams")
        };
        match (named, &options.row_streams) {
            (None, None) => Ok(own),
            (None, Some(streams)) if streams.optional => Ok(own),
            (None, Some(_)) => Err(refused(
                "A row's streamName is null, and no option says where such rows go: give them a stream, filter them \
                 out, or set kinesis.streamName, which takes them.",
            )),
            (Some(name), Some(streams))
                if name == own || streams.names.iter().any(|allowed| allowed == name) =>
            {
                Ok(name)
            }
            // The message leaves out the name, which may be anything.
            (Some(_), Some(streams)) => Err(refused(&format!(
                "A row's streamName names a stream that it may not. kinesis.sink.allowedStreams is {}: add the stream \
                 there, correct the column, or set it to null for the stream of kinesis.streamName.",
                streams.names.join(",")
            ))),
            (Some(_), None) => Err(refused(
                "A row names its stream, and kinesis.sink.allowedStreams does not say which streams rows may name.",
            )),
        }
    }

    fn writer(&self, stream: &str) -> Result<Arc<Writer>> {
        Ok(match self.writers.lock().entry(stream.to_owned()) {
            Entry::Occupied(known) => Arc::clone(known.get()),
            Entry::Vacant(place) => {
                let config = self.config.of_stream(stream);
                let settings = WriterSettings::of(&config);
                let shared = self.host.sink_stream(&config);
                let connection = Connection::on_demand(self.host.clone(), config);
                let writer = Writer::start(connection, settings, shared, Arc::clone(&self.waits))?;
                Arc::clone(place.insert(writer))
            }
        })
    }

    /// Waits while the writers of several streams together hold more than one may, and makes each send what it holds.
    async fn room(&self) -> Result<()> {
        let most = (self.config.options.max_connections + 1) * MAX_REQUEST_BYTES;
        loop {
            let changed = self.waits.changed();
            self.failure()?;
            let writers = self.writers();
            let held: usize = writers.iter().map(|writer| writer.bytes()).sum();
            if writers.len() < 2 || held <= most {
                return Ok(());
            }
            writers.iter().for_each(Writer::send);
            changed.await;
        }
    }

    /// Waits for the first failure.
    async fn failed(&self) -> Error {
        loop {
            let changed = self.waits.changed();
            if let Err(error) = self.failure() {
                return error;
            }
            changed.await;
        }
    }

    /// Returns the first failure of a put as an error, after ending the writing to all streams.
    fn failure(&self) -> Result<()> {
        let writers = self.writers();
        let Some(error) = writers.iter().find_map(|writer| writer.failure()) else {
            return Ok(());
        };
        writers.iter().for_each(|writer| writer.fail(&error));
        Err(error)
    }

    fn writers(&self) -> Vec<Arc<Writer>> {
        self.writers.lock().values().cloned().collect()
    }
}

impl Drop for TaskWriter {
    fn drop(&mut self) {
        for writer in self.writers() {
            writer.close();
        }
    }
}

impl fmt::Debug for TaskWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskWriter")
            .field("metrics", &self.metrics())
            .finish_non_exhaustive()
    }
}
