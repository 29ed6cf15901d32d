//! Detects a checkpoint location that another connector wrote: the query must not start in it.

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::error::{Error, ErrorKind, Result};
use crate::options::table;
use crate::storage::FileSystem;
use crate::stream::Offset;
use crate::stream::awslabs::AwslabsOffset;

/// First line of a file of Spark's offset log, for the format with one line per source after the batch's metadata.
const FORM: &str = "v1";
/// Number of files read at once.
const READS_AT_ONCE: usize = 16;

/// A query's checkpoint location in Spark's layout.
pub(in crate::plan) struct SparkCheckpoint<'a> {
    files: &'a dyn FileSystem,
    root: &'a str,
}

/// A batch in Spark's offset log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plan) struct LoggedBatch {
    /// Spark's number of the batch.
    pub number: u64,
    /// Path of the batch's file.
    pub path: String,
    /// Spark's metadata of the batch, as JSON.
    pub metadata: String,
    /// The sources' offsets, in the order of the sources.
    pub offsets: Vec<String>,
}

impl<'a> SparkCheckpoint<'a> {
    pub(in crate::plan) fn new(files: &'a dyn FileSystem, root: &'a str) -> Self {
        Self { files, root }
    }

    /// Splits the folder that Spark gives to a source into the query's folder and the source's number.
    pub(in crate::plan) fn of_source(files: &'a dyn FileSystem, folder: &'a str) -> Option<(Self, usize)> {
        let (sources, number) = folder.rsplit_once('/')?;
        let root = sources.strip_suffix("/sources")?;
        Some((Self::new(files, root), number.parse().ok()?))
    }

    /// The batches of the offset log, the newest last, without those in an unknown format.
    pub(in crate::plan) async fn batches(&self) -> Result<Vec<LoggedBatch>> {
        let numbers = self.numbers("offsets").await?;
        stream::iter(numbers)
            .map(|number| self.batch(number))
            .buffered(READS_AT_ONCE)
            .try_filter_map(|batch| async { Ok(batch) })
            .try_collect()
            .await
    }

    /// The newest batch of the offset log.
    async fn newest(&self) -> Result<Option<LoggedBatch>> {
        match self.numbers("offsets").await?.last() {
            Some(number) => self.batch(*number).await,
            None => Ok(None),
        }
    }

    /// The numbers of the committed batches.
    pub(in crate::plan) async fn committed(&self) -> Result<Vec<u64>> {
        self.numbers("commits").await
    }

    async fn numbers(&self, folder: &str) -> Result<Vec<u64>> {
        let names = self.files.list(&format!("{}/{folder}", self.root)).await?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    async fn batch(&self, number: u64) -> Result<Option<LoggedBatch>> {
        let path = format!("{}/offsets/{number}", self.root);
        // Spark removes the oldest ones while the query runs.
        let Some(content) = self.files.read(&path).await? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&content);
        let mut lines = text.lines().map(str::to_owned);
        let known = lines.next().as_deref() == Some(FORM);
        Ok(known.then(|| LoggedBatch {
            number,
            path,
            metadata: lines.next().unwrap_or_default(),
            offsets: lines.collect(),
        }))
    }
}

/// Refuses the folder of a source whose offsets are another connector's. For a query that has not started yet as far
/// as this connector's files show.
pub(in crate::plan) async fn refuse(files: &dyn FileSystem, folder: &str) -> Result<()> {
    let Some((checkpoint, source)) = SparkCheckpoint::of_source(files, folder) else {
        return Ok(());
    };
    let Some(newest) = checkpoint.newest().await? else {
        return Ok(());
    };
    let Some(offset) = newest.offsets.get(source) else {
        return Ok(());
    };
    // Spark writes a dash for a source that has no offset yet.
    if offset.trim() == "-" || Offset::from_json(offset).is_ok() {
        return Ok(());
    }
    let (root, import) = (checkpoint.root, table::IMPORT_CHECKPOINT.key);
    let message = match AwslabsOffset::parse(offset) {
        Ok(_) => format!(
            "the checkpointLocation {root} is a checkpoint of the AWS connector \
             (awslabs/spark-sql-kinesis-connector), which this connector can't continue in place: give the query a \
             new, empty checkpointLocation, and set {import} to {root}. It then continues where the old query stood \
             (docs/migrating.md)"
        ),
        // An offset of this connector in another version has an error of its own.
        Err(_) if Offset::is_own(offset) => return Ok(()),
        Err(_) => format!(
            "the checkpointLocation {root} is one of another source: give the query a new, empty \
             checkpointLocation, and kinesis.startingPosition or kinesis.startingPositions as wanted \
             (docs/migrating.md)"
        ),
    };
    Err(Error::new(ErrorKind::CorruptCheckpoint, message)
        .with("file", newest.path)
        .with("option", "checkpointLocation"))
}
