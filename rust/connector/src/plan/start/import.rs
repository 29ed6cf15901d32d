//! Continues from a checkpoint of awslabs/spark-sql-kinesis-connector.
//!
//! That connector's offset in Spark's log has the start of each shard in a batch. The end of the shard's part of the
//! batch is kept beside it, under the batch's number in that offset: in a file of `shard-source`, or in an item of
//! its DynamoDB table. A committed batch counts with its ends, an uncommitted one with its starts, so it is delivered
//! again.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::foreign::{LoggedBatch, SparkCheckpoint};
use super::given::Givens;
use crate::claims::ClaimStore;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{Committer, MetadataOptions, SourceOptions, table};
use crate::plan::shards::Shards;
use crate::storage::FileSystem;
use crate::stream::awslabs::{self, AwslabsOffset};
use crate::stream::{GivenPosition, Lineage, Offset, Position, ShardId};

/// Folder of the ends, with one subfolder per batch.
const ENDS: &str = "shard-source";
/// Number of files read at once.
const READS_AT_ONCE: usize = 16;

/// Another connector's checkpoint, and access to its parts.
pub(in crate::plan) struct Import<'a> {
    /// The old query's checkpoint location.
    pub path: &'a str,
    pub files: &'a dyn FileSystem,
    pub store: &'a dyn ClaimStore,
    pub options: &'a SourceOptions,
    /// Number of the new query's source. If the old query read the stream more than once, its source with the same
    /// number is imported.
    pub source: usize,
}

/// Positions at which the old query stopped.
#[derive(Debug, PartialEq, Eq)]
struct Stood {
    shards: BTreeMap<ShardId, GivenPosition>,
    /// Split or merged shards, and where the old query left them: at their ends, or before.
    left: BTreeMap<ShardId, GivenPosition>,
    /// Spark's number of the last batch.
    batch: u64,
    /// True if the last batch was not committed: it is delivered again.
    in_flight: bool,
}

/// A batch of the old query.
struct OldBatch {
    logged: LoggedBatch,
    offset: AwslabsOffset,
}

impl Import<'_> {
    /// Start positions of the new query.
    pub(in crate::plan) async fn starts(
        &self,
        givens: &Givens<'_>,
        shards: &mut Shards,
    ) -> Result<BTreeMap<ShardId, Position>> {
        let stood = self.stood().await?;
        let lineage = givens.lineage_of(&stood.shards, shards).await?;
        let (given, left) = going_on(&lineage, stood.shards, stood.left);
        // Shards that were deleted are handled like those of any query, by kinesis.failOnDataLoss.
        let (given, gone): (BTreeMap<_, _>, BTreeMap<_, _>) =
            given.into_iter().partition(|(shard, _)| lineage.lists(shard));
        let mut starts = lineage.advance(&givens.positions(&given).await?);
        starts.extend(gone.into_iter().map(|(shard, at)| (shard, as_it_stands(at))));
        let (path, batch) = (self.path, stood.batch);
        if stood.in_flight {
            tracing::warn!(
                stream = %self.options.stream.name,
                "the query goes on from the checkpoint {path} of the AWS connector, whose last batch, {batch}, was not \
                 committed: its records are delivered again where the old query's sink has them already"
            );
        } else {
            tracing::warn!(
                stream = %self.options.stream.name,
                "the query goes on from the checkpoint {path} of the AWS connector, after its last batch, {batch}"
            );
        }
        if !left.is_empty() {
            let shards: Vec<&str> = left.iter().map(ShardId::as_str).collect();
            tracing::warn!(
                stream = %self.options.stream.name,
                "what the old query may have left unread in shards that were split or merged is read, too: {}",
                shards.join(", ")
            );
        }
        Ok(starts)
    }

    /// Reads the checkpoint.
    async fn stood(&self) -> Result<Stood> {
        let checkpoint = SparkCheckpoint::new(self.files, self.path);
        let batches = checkpoint.batches().await?;
        let Some(last) = batches.last() else {
            return Err(self.refuse(
                "there is no query's offset log in it (offsets/0 …): give the checkpointLocation of the old query \
                 itself, not a folder in it or above it",
            ));
        };
        let index = self.index(last)?;
        let committed: BTreeSet<u64> = checkpoint.committed().await?.into_iter().collect();
        let batches: Vec<OldBatch> = batches
            .into_iter()
            .filter_map(|logged| {
                let offset = AwslabsOffset::parse(logged.offsets.get(index)?).ok()?;
                Some(OldBatch { logged, offset })
            })
            .collect();
        let Some((last, before)) = batches.split_last() else {
            return Err(Error::new(ErrorKind::Internal, "an offset was read once only"));
        };
        // A batch with records of another source only leaves this source's offset unchanged.
        let repeated = before.iter().any(|batch| batch.offset.batch == last.offset.batch);
        let in_flight = !committed.contains(&last.logged.number) && !repeated;
        let mut shards = last.offset.shards.clone();
        if !in_flight && !shards.is_empty() {
            let ends = self.ends(index, last).await?;
            if ends.is_empty() {
                return Err(self.without_ends(index, last));
            }
            shards.extend(
                ends.into_iter()
                    .filter(|(shard, _)| last.offset.shards.contains_key(shard)),
            );
        }
        let mut left = BTreeMap::new();
        for (place, batch) in before.iter().enumerate().rev() {
            let starts = batch.offset.shards.iter();
            let mut dropped: BTreeMap<ShardId, GivenPosition> = starts
                .filter(|(shard, _)| !shards.contains_key(*shard) && !left.contains_key(*shard))
                .map(|(shard, start)| (shard.clone(), start.clone()))
                .collect();
            if dropped.is_empty() {
                continue;
            }
            // If a shard's end is missing, its part of the batch may not have been delivered.
            let ends = self.ends(index, batch).await?.into_iter();
            dropped.extend(
                ends.filter(|(shard, _)| {
                    batch.offset.shards.contains_key(shard) && !shards.contains_key(shard)
                })
                .filter(|(shard, _)| !left.contains_key(shard)),
            );
            for (shard, at) in dropped.iter_mut().filter(|(_, at)| **at == GivenPosition::Latest) {
                *at = latest_since(shard, &batches[..=place]);
            }
            left.append(&mut dropped);
        }
        for (shard, at) in shards.iter_mut().filter(|(_, at)| **at == GivenPosition::Latest) {
            *at = latest_since(shard, &batches);
        }
        if shards.is_empty() && left.is_empty() {
            return Err(self.refuse(
                "the old query had not read a shard yet: leave the option out, and set kinesis.startingPosition",
            ));
        }
        Ok(Stood {
            shards,
            left,
            batch: last.logged.number,
            in_flight,
        })
    }

    /// Number of the old query's source that reads this stream.
    fn index(&self, last: &LoggedBatch) -> Result<usize> {
        let stream = &self.options.stream.name;
        let parsed: Vec<_> = last
            .offsets
            .iter()
            .map(|line| AwslabsOffset::parse(line))
            .collect();
        let of_stream = |offset: &Result<AwslabsOffset, String>| {
            offset.as_ref().is_ok_and(|offset| offset.stream == *stream)
        };
        let places: Vec<usize> = (0..parsed.len())
            .filter(|place| of_stream(&parsed[*place]))
            .collect();
        if places.contains(&self.source) {
            return Ok(self.source);
        }
        if let [only] = places[..] {
            return Ok(only);
        }
        let others: BTreeSet<&str> = parsed
            .iter()
            .flatten()
            .map(|offset| offset.stream.as_str())
            .collect();
        let why = if !places.is_empty() {
            format!(
                "it has {} sources that read the stream {stream}: put this one into the place that the one to go \
                 on from had in the old query",
                places.len()
            )
        } else if !others.is_empty() {
            let others: Vec<&str> = others.into_iter().collect();
            format!("it is one of the stream {}, not of {stream}", others.join(", "))
        } else if last.offsets.iter().any(|line| Offset::is_own(line)) {
            "it is one of this connector: set checkpointLocation itself to it, and leave the option out"
                .to_owned()
        } else {
            "it is none of the AWS connector (awslabs/spark-sql-kinesis-connector): set kinesis.startingPosition or \
             kinesis.startingPositions instead"
                .to_owned()
        };
        Err(self.refuse(&why).with("file", last.path.clone()))
    }

    /// Ends of the shards' parts of a batch, as far as they were kept.
    async fn ends(&self, index: usize, batch: &OldBatch) -> Result<BTreeMap<ShardId, GivenPosition>> {
        let Some(number) = batch.offset.batch else {
            return Ok(BTreeMap::new());
        };
        for folder in self.folders(index) {
            let ends = self.parsed(number, self.texts(&format!("{folder}/{number}")).await?);
            if !ends.is_empty() && self.are_of(batch, &ends, &folder) {
                return Ok(ends);
            }
        }
        let ends = self.parsed(number, self.store.foreign_ends(number).await?);
        match self.are_of(batch, &ends, "the table") {
            true => Ok(ends),
            false => Ok(BTreeMap::new()),
        }
    }

    /// The ends that can be parsed.
    fn parsed(&self, batch: u64, kept: BTreeMap<ShardId, String>) -> BTreeMap<ShardId, GivenPosition> {
        let mut ends = BTreeMap::new();
        for (shard, text) in kept {
            match awslabs::end(&text) {
                Ok(end) => {
                    ends.insert(shard, end);
                }
                Err(why) => tracing::warn!(
                    stream = %self.options.stream.name,
                    %shard,
                    batch,
                    "what the old query kept of the shard's end of the batch can't be read: {why}. Its part of the \
                     batch is delivered again"
                ),
            }
        }
        ends
    }

    /// False if an end is before its shard's start: then it belongs to another query, which kept it in the same place
    /// under the same number.
    fn are_of(&self, batch: &OldBatch, ends: &BTreeMap<ShardId, GivenPosition>, place: &str) -> bool {
        let before = |(shard, end): &(&ShardId, &GivenPosition)| {
            let start = batch.offset.shards.get(*shard).and_then(GivenPosition::number);
            start.zip(end.number()).is_some_and(|(start, end)| end < start)
        };
        let Some((shard, _)) = ends.iter().find(before) else {
            return true;
        };
        tracing::warn!(
            stream = %self.options.stream.name,
            %shard,
            batch = batch.offset.batch,
            "what {place} has of the batch's ends is another query's: the shard's is before its start"
        );
        false
    }

    /// Folders that may hold ends, starting with the one that no other query shares.
    fn folders(&self, index: usize) -> Vec<String> {
        let MetadataOptions { committer, path, .. } = &self.options.metadata;
        let of_options = path.as_ref().filter(|_| *committer == Committer::Hdfs);
        std::iter::once(format!("{}/sources/{index}/{ENDS}", self.path))
            .chain(of_options.map(|path| format!("{}/{ENDS}", path.trim_end_matches('/'))))
            .collect()
    }

    async fn texts(&self, folder: &str) -> Result<BTreeMap<ShardId, String>> {
        let names = self.files.list(folder).await?;
        stream::iter(names)
            .map(|name| async move {
                let content = self.files.read(&format!("{folder}/{name}")).await?;
                let text = content.map(|content| String::from_utf8_lossy(&content).into_owned());
                Ok((ShardId::from(name.as_str()), text.unwrap_or_default()))
            })
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await
    }

    fn without_ends(&self, index: usize, last: &OldBatch) -> Error {
        let metadata = &self.options.metadata;
        let mut places = self.folders(index);
        if let (Committer::DynamoDb, Some(table)) = (metadata.committer, &metadata.dynamodb_table) {
            places.push(format!("DynamoDB table {table}"));
        }
        let kept = match places.len() {
            1 => "not kept",
            _ => "kept neither",
        };
        self.refuse(&format!(
            "where its last batch ended is {kept} in {}. Give the query the options by which the old one \
             kept it (kinesis.metadataPath, or kinesis.metadataCommitterType DYNAMODB and \
             kinesis.dynamodb.tableName), for its first start at least. If it is gone, start with \
             kinesis.startingPositions and the shards' positions of the last line of {}: that batch is then \
             delivered again",
            places.join(" nor in "),
            last.logged.path
        ))
    }

    fn refuse(&self, why: &str) -> Error {
        let key = table::IMPORT_CHECKPOINT.key;
        Error::new(
            ErrorKind::InvalidOption,
            format!("{key}: the query can't go on from {}: {why}", self.path),
        )
        .with("option", key)
        .with("stream", self.options.stream.name.clone())
    }
}

/// The start of a shard that was at LATEST because it never gave the old query a record. LATEST would skip the
/// records that arrive before the new query starts, so the start is the shard's earlier position, or the time at
/// which it was first at LATEST.
fn latest_since(shard: &ShardId, batches: &[OldBatch]) -> GivenPosition {
    let mut since = None;
    for batch in batches.iter().rev() {
        match batch.offset.shards.get(shard) {
            Some(GivenPosition::Latest) => since = planned_millis(&batch.logged).or(since),
            Some(before) => return before.clone(),
            None => break,
        }
    }
    since.map_or(GivenPosition::TrimHorizon, GivenPosition::AtTimestamp)
}

/// Time at which a batch was planned, in milliseconds since the epoch.
fn planned_millis(batch: &LoggedBatch) -> Option<i64> {
    let metadata: serde_json::Value = serde_json::from_str(&batch.metadata).ok()?;
    metadata.get("batchTimestampMs")?.as_i64()
}

/// The shards that the new query starts with, and those among them that the old query left unread. A shard without a
/// record read waits for its ancestors and is then read from its first record on.
fn going_on(
    lineage: &Lineage,
    shards: BTreeMap<ShardId, GivenPosition>,
    left: BTreeMap<ShardId, GivenPosition>,
) -> (BTreeMap<ShardId, GivenPosition>, BTreeSet<ShardId>) {
    let left: BTreeMap<_, _> = left
        .into_iter()
        .filter(|(shard, _)| lineage.lists(shard))
        .collect();
    let unread = left.iter().filter(|(_, at)| **at != GivenPosition::ShardEnd);
    let unread = unread.map(|(shard, _)| shard.clone()).collect();
    let mut all = shards;
    all.extend(left);
    let waits = |shard: &ShardId| {
        let ancestors = lineage.ancestors_of(std::iter::once(shard));
        ancestors.into_iter().any(|ancestor| all.contains_key(ancestor))
    };
    let waiting: Vec<ShardId> = all
        .iter()
        .filter(|(shard, at)| !at.is_past_a_record() && waits(shard))
        .map(|(shard, _)| shard.clone())
        .collect();
    for shard in waiting {
        all.remove(&shard);
    }
    (all, unread)
}

/// The position of a shard that can't be queried because it was deleted.
fn as_it_stands(given: GivenPosition) -> Position {
    match given {
        GivenPosition::At(number) | GivenPosition::After(number) => Position::After(number),
        GivenPosition::AtTimestamp(millis) => Position::AtTimestamp(millis),
        GivenPosition::ShardEnd => Position::ShardEnd,
        GivenPosition::TrimHorizon | GivenPosition::Latest => Position::TrimHorizon,
    }
}
