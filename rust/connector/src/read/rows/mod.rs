//! From one answer's records to rows: aggregates taken apart, and the cut where a batch ends. A cut falls between
//! whole Kinesis records, never inside an aggregate.

mod aggregates;
mod extra;
#[cfg(test)]
mod tests;

use super::task::ReadTask;
use crate::batch::{MAX_BATCH_BYTES, RecordBatch};
use crate::error::Result;
use crate::options::{ExtraColumn, SourceOptions};
use crate::service::RecordColumns;
use crate::stream::{SequenceNumber, ShardId};

use aggregates::{Aggregates, Content};
use extra::ExtraBuilder;

/// Bytes of all columns after which a part of an answer's records is handed on, where they are taken apart.
const PART_BYTES: usize = 2 * MAX_BATCH_BYTES;

/// How a shard's records become rows.
#[derive(Clone, Debug)]
pub(super) struct RowRules {
    shard: ShardId,
    aggregates: Aggregates,
    extra: Vec<ExtraColumn>,
}

impl RowRules {
    pub(super) fn new(options: &SourceOptions, task: &ReadTask) -> Self {
        Self {
            shard: task.shard.clone(),
            aggregates: Aggregates::new(options.aggregation, task.hash_range),
            extra: options.extra_columns.clone(),
        }
    }
}

/// How much of what was fetched belongs to the batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    /// Rows still allowed. The batch's first record passes even if it holds more.
    pub rows: Option<u64>,
    /// Bytes of data still allowed; likewise.
    pub bytes: Option<u64>,
    /// The last record of the batch: a claim's.
    pub through: Option<SequenceNumber>,
    /// Records that arrived later (milliseconds since the epoch) are not read.
    pub until: Option<i64>,
    /// True before the batch has its first record.
    pub first: bool,
}

/// Why an answer was not taken whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The batch has its rows or bytes.
    Full,
    /// The rest is after the claim's end.
    Claim,
    /// The rest arrived after the time bound.
    Time,
}

/// A part of what an answer has for the batch.
#[derive(Debug)]
pub(super) struct Taken {
    pub batches: Vec<RecordBatch>,
    pub rows: u64,
    pub bytes: u64,
    /// The last record taken so far.
    pub last: Option<SequenceNumber>,
    /// When that arrived, milliseconds since the epoch.
    pub last_arrival: Option<i64>,
    /// Another part follows.
    pub more: bool,
    /// Set if records were left.
    pub cut: Option<Cut>,
    /// The records that were left, where they are wanted.
    pub rest: Option<RecordColumns>,
    /// Aggregates among the taken records that have no rows in the batches.
    pub skipped: SkippedAggregates,
}

/// Aggregates that were passed over.
#[derive(Clone, Debug, Default)]
pub(crate) struct SkippedAggregates {
    pub count: u64,
    /// Which the first was, and why.
    pub first: Option<String>,
}

impl SkippedAggregates {
    pub(super) fn add(&mut self, more: Self) {
        self.count += more.count;
        self.first = self.first.take().or(more.first);
    }
}

/// An answer's records on their way into the batch. Records grow when they are taken apart, so what is made of an answer
/// comes in parts: the next one is made when there is room for it, and its maker does something else in between.
pub(super) struct Taking<'a> {
    records: RecordColumns,
    rules: &'a RowRules,
    keep_rest: bool,
    walk: Walk<'a>,
}

impl<'a> Taking<'a> {
    /// Takes what belongs to the batch.
    pub(super) fn new(
        records: RecordColumns,
        bounds: &'a Bounds,
        rules: &'a RowRules,
        keep_rest: bool,
    ) -> Self {
        let walk = Walk {
            bounds,
            rows: 0,
            bytes: 0,
            taken: 0,
            cut: None,
        };
        Self {
            records,
            rules,
            keep_rest,
            walk,
        }
    }

    /// The next part: all that belongs to the batch, or, of records that are taken apart, the next [`PART_BYTES`] and
    /// what the last of them has more.
    pub(super) fn part(&mut self) -> Result<Taken> {
        let Self {
            records, rules, walk, ..
        } = self;
        let (from, rows_before, bytes_before) = (walk.taken, walk.rows, walk.bytes);
        let mut skipped = SkippedAggregates::default();
        let mut apart = (from > 0).then(|| RecordColumns::with_capacity(records.len() - from, 0));
        let mut extra = ExtraBuilder::new(&rules.extra, &rules.shard);
        let mut more = false;
        for row in from..records.len() {
            walk.cut = walk.bound_before(records, row)?;
            if walk.cut.is_some() {
                break;
            }
            if apart
                .as_ref()
                .is_some_and(|columns| columns.bytes() >= PART_BYTES)
            {
                more = true;
                break;
            }
            let content = rules.aggregates.open(records, row)?;
            let (rows, bytes) = match &content {
                Content::Plain => (1, records.data(row).len() as u64),
                Content::Users(users) => (
                    users.len() as u64,
                    users.iter().map(|user| user.data.len() as u64).sum(),
                ),
                Content::Skipped(_) => (0, 0),
            };
            walk.cut = walk.bound_with(rows, bytes);
            if walk.cut.is_some() {
                break;
            }
            if apart.is_none() && !matches!(content, Content::Plain) {
                apart = Some(copy_of_first(records, row)?);
            }
            if let Some(columns) = &mut apart {
                append(columns, records, row, &content)?;
            }
            extra.append(records, row, &content);
            if let Content::Skipped(why) = content {
                skipped.add(SkippedAggregates {
                    count: 1,
                    first: Some(why),
                });
            }
            walk.taken += 1;
            walk.rows += rows;
            walk.bytes += bytes;
        }
        let (taken, cut) = (walk.taken, walk.cut);
        let (rows, bytes) = (walk.rows - rows_before, walk.bytes - bytes_before);
        let last = taken.checked_sub(1);
        let last_arrival = last.map(|row| records.arrival_millis(row));
        let last = last.map(|row| records.sequence_number(row).parse()).transpose()?;
        let rest = match cut {
            Some(_) => self.rest()?,
            None => None,
        };
        let mut batch = match apart {
            Some(columns) => columns.into_batch()?,
            // Nothing is asked of them after the last part, and this is it.
            None => std::mem::replace(&mut self.records, RecordColumns::with_capacity(0, 0))
                .into_batch()?
                .slice(0, taken),
        };
        batch.extra = extra.finish();
        Ok(Taken {
            batches: batch.split(),
            rows,
            bytes,
            last,
            last_arrival,
            more,
            cut,
            rest,
            skipped,
        })
    }

    /// What was not taken so far, where it is wanted.
    pub(super) fn rest(&self) -> Result<Option<RecordColumns>> {
        match self.keep_rest {
            true => self.records.tail(self.walk.taken).map(Some),
            false => Ok(None),
        }
    }
}

/// How far the taking has come.
struct Walk<'a> {
    bounds: &'a Bounds,
    rows: u64,
    bytes: u64,
    taken: usize,
    cut: Option<Cut>,
}

impl Walk<'_> {
    /// Whether the batch ends before this record, whatever it holds.
    fn bound_before(&self, records: &RecordColumns, row: usize) -> Result<Option<Cut>> {
        if let Some(through) = &self.bounds.through {
            let number: SequenceNumber = records.sequence_number(row).parse()?;
            return Ok((number > *through).then_some(Cut::Claim));
        }
        let late = |until| records.arrival_millis(row) > until;
        if self.bounds.until.is_some_and(late) {
            return Ok(Some(Cut::Time));
        }
        Ok(self.bound_with(1, 0))
    }

    /// Whether the batch ends before the next record, which holds so many rows and bytes.
    fn bound_with(&self, rows: u64, bytes: u64) -> Option<Cut> {
        if self.bounds.through.is_some() || (self.bounds.first && self.taken == 0) {
            return None;
        }
        let over = |allowed: Option<u64>, wanted: u64| allowed.is_some_and(|allowed| wanted > allowed);
        let full = over(self.bounds.rows, self.rows + rows) || over(self.bounds.bytes, self.bytes + bytes);
        full.then_some(Cut::Full)
    }
}

fn copy_of_first(records: &RecordColumns, rows: usize) -> Result<RecordColumns> {
    let mut columns = RecordColumns::with_capacity(records.len(), 0);
    for row in 0..rows {
        append(&mut columns, records, row, &Content::Plain)?;
    }
    Ok(columns)
}

fn append(columns: &mut RecordColumns, records: &RecordColumns, row: usize, content: &Content) -> Result<()> {
    let (number, arrival) = (records.sequence_number(row), records.arrival_millis(row));
    match content {
        Content::Plain => columns.push_with(records.data(row), records.partition_key(row), number, arrival),
        Content::Users(users) => users
            .iter()
            .try_for_each(|user| columns.push(&user.data, &user.partition_key, number, arrival)),
        Content::Skipped(_) => Ok(()),
    }
}
