//! Turns one answer's records into rows: splits aggregates, and cuts where the batch ends. A cut falls between whole
//! Kinesis records, never inside an aggregate.

mod aggregates;
mod extra;
#[cfg(test)]
mod tests;

use super::task::ReadTask;
use crate::batch::{Column, Held, MAX_BATCH_BYTES, RecordBatch};
use crate::error::Result;
use crate::options::{ExtraColumn, SourceOptions};
use crate::service::RecordColumns;
use crate::stream::{SequenceNumber, ShardId};

use aggregates::{Aggregates, Content};
use extra::ExtraBuilder;

/// Bytes of all columns at which a part of an answer is complete, if its records are split.
const PART_BYTES: usize = 2 * MAX_BATCH_BYTES;

/// Rules that turn a shard's records into rows.
#[derive(Clone, Debug)]
pub(super) struct RowRules {
    shard: ShardId,
    aggregates: Aggregates,
    held: Held,
    extra: Vec<ExtraColumn>,
}

impl RowRules {
    /// Rules for rows of these columns.
    pub(super) fn new(options: &SourceOptions, columns: &[Column], task: &ReadTask) -> Self {
        let mut held = Held::of(columns);
        // Rows that are dropped at another attempt's claim are subtracted from the counts, with the bytes of their
        // payloads. A batch read makes no claims, and has an end from the start.
        held.data |= task.until.is_none();
        let extra = columns.iter().filter_map(|column| match column {
            Column::Extra(extra) => Some(*extra),
            _ => None,
        });
        Self {
            shard: task.shard.clone(),
            aggregates: Aggregates::new(options.aggregation, task.hash_range),
            held,
            extra: extra.collect(),
        }
    }
}

/// How much of the fetched records belongs to the batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    /// Rows still allowed. The batch's first record passes even if it holds more.
    pub rows: Option<u64>,
    /// Bytes of data still allowed. The batch's first record passes even if it holds more.
    pub bytes: Option<u64>,
    /// The batch's last record, from its claim.
    pub through: Option<SequenceNumber>,
    /// Latest arrival time (milliseconds since the epoch) of the records to read.
    pub until: Option<i64>,
    /// True until the batch has its first record.
    pub first: bool,
}

/// Why part of an answer was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The batch's limit of rows or bytes is reached.
    Full,
    /// The rest is after the claim's end.
    Claim,
    /// The rest arrived after the time bound.
    Time,
}

/// A part of an answer's rows for the batch.
#[derive(Debug)]
pub(super) struct Taken {
    pub batches: Vec<RecordBatch>,
    pub rows: u64,
    pub bytes: u64,
    /// The last record taken so far.
    pub last: Option<SequenceNumber>,
    /// When the last record taken arrived, milliseconds since the epoch.
    pub last_arrival: Option<i64>,
    /// True if another part follows.
    pub more: bool,
    /// Set if records were left.
    pub cut: Option<Cut>,
    /// The records that were left, if requested.
    pub rest: Option<RecordColumns>,
    /// Aggregates among the taken records without rows in the batches.
    pub skipped: SkippedAggregates,
}

/// Aggregates that were passed over.
#[derive(Clone, Debug, Default)]
pub(crate) struct SkippedAggregates {
    pub count: u64,
    /// Identifies the first aggregate passed over, with the reason.
    pub first: Option<String>,
}

impl SkippedAggregates {
    pub(super) fn add(&mut self, more: Self) {
        self.count += more.count;
        self.first = self.first.take().or(more.first);
    }
}

/// Conversion of an answer's records into rows. Splitting aggregates multiplies their size, so the rows come in
/// parts: the caller requests the next one once there is room, and yields in between.
pub(super) struct Taking<'a> {
    records: RecordColumns,
    rules: &'a RowRules,
    keep_rest: bool,
    walk: Walk<'a>,
}

impl<'a> Taking<'a> {
    /// Starts taking what belongs to the batch.
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

    /// The next part: everything that belongs to the batch or, if records are split, about [`PART_BYTES`]; the last
    /// record may exceed that.
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
                apart = Some(copy_of_first(records, row, rules.held)?);
            }
            if let Some(columns) = &mut apart {
                append(columns, records, row, &content, rules.held)?;
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
            Some(columns) => columns.into_batch_of(self.rules.held)?,
            // The last part: the records aren't needed afterwards.
            None => std::mem::replace(&mut self.records, RecordColumns::with_capacity(0, 0))
                .into_batch_of(self.rules.held)?
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

    /// The records not taken so far, if requested.
    pub(super) fn rest(&self) -> Result<Option<RecordColumns>> {
        match self.keep_rest {
            true => self.records.tail(self.walk.taken).map(Some),
            false => Ok(None),
        }
    }
}

/// All rows of an answer's records, without a reader: for the micro-benchmarks of rust/benches.
pub fn rows_of(records: RecordColumns, options: &SourceOptions, task: &ReadTask) -> Result<Vec<RecordBatch>> {
    let (rules, bounds) = (
        RowRules::new(options, &Column::all(options), task),
        Bounds::default(),
    );
    let mut taking = Taking::new(records, &bounds, &rules, false);
    let mut batches = Vec::new();
    loop {
        let taken = taking.part()?;
        batches.extend(taken.batches);
        if !taken.more {
            return Ok(batches);
        }
    }
}

/// Progress through an answer's records.
struct Walk<'a> {
    bounds: &'a Bounds,
    rows: u64,
    bytes: u64,
    taken: usize,
    cut: Option<Cut>,
}

impl Walk<'_> {
    /// Why the batch ends before this record, whatever its content; none if it doesn't.
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

    /// Why the batch ends before the next record, which holds this many rows and bytes; none if it doesn't.
    fn bound_with(&self, rows: u64, bytes: u64) -> Option<Cut> {
        if self.bounds.through.is_some() || (self.bounds.first && self.taken == 0) {
            return None;
        }
        let over = |allowed: Option<u64>, wanted: u64| allowed.is_some_and(|allowed| wanted > allowed);
        let full = over(self.bounds.rows, self.rows + rows) || over(self.bounds.bytes, self.bytes + bytes);
        full.then_some(Cut::Full)
    }
}

fn copy_of_first(records: &RecordColumns, rows: usize, held: Held) -> Result<RecordColumns> {
    let mut columns = RecordColumns::with_capacity(records.len(), 0);
    for row in 0..rows {
        append(&mut columns, records, row, &Content::Plain, held)?;
    }
    Ok(columns)
}

/// Appends a record's rows. Values that no batch holds are left out.
fn append(
    columns: &mut RecordColumns,
    records: &RecordColumns,
    row: usize,
    content: &Content,
    held: Held,
) -> Result<()> {
    let (number, arrival) = (records.sequence_number(row), records.arrival_millis(row));
    let mut push = |data: &[u8], key: Option<&str>| {
        let data = if held.data { data } else { &[] };
        let key = if held.partition_key { key } else { Some("") };
        columns.push_with(data, key, number, arrival)
    };
    match content {
        Content::Plain => push(records.data(row), records.partition_key(row)),
        Content::Users(users) => users
            .iter()
            .try_for_each(|user| push(&user.data, Some(&*user.partition_key))),
        Content::Skipped(_) => Ok(()),
    }
}
