//! From one answer's records to rows: aggregates taken apart, and the cut where a batch ends. A cut falls between
//! whole Kinesis records, never inside an aggregate.

use bytes::Bytes;
use kinesis_aggregation::{Decoded, MAGIC, UserRecord, decode};

use crate::batch::RecordBatch;
use crate::error::{Error, ErrorKind, Result};
use crate::service::RecordColumns;
use crate::stream::SequenceNumber;

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

/// The part of an answer that belongs to the batch.
#[derive(Debug)]
pub(super) struct Taken {
    pub batches: Vec<RecordBatch>,
    pub rows: u64,
    pub bytes: u64,
    /// The last record taken.
    pub last: Option<SequenceNumber>,
    /// Set if records were left.
    pub cut: Option<Cut>,
    /// The records that were left, where they are wanted.
    pub rest: Option<RecordColumns>,
}

/// Takes what belongs to the batch.
pub(super) fn take(records: RecordColumns, bounds: &Bounds, keep_rest: bool) -> Result<Taken> {
    let mut walk = Walk {
        bounds,
        rows: 0,
        bytes: 0,
        taken: 0,
        cut: None,
    };
    let mut apart: Option<RecordColumns> = None;
    for row in 0..records.len() {
        let users = user_records(&records, row)?;
        let (rows, bytes) = match &users {
            Some(users) => (
                users.len() as u64,
                users.iter().map(|user| user.data.len() as u64).sum(),
            ),
            None => (1, records.data(row).len() as u64),
        };
        walk.cut = walk.bound_before(&records, row, rows, bytes)?;
        if walk.cut.is_some() {
            break;
        }
        if users.is_some() && apart.is_none() {
            apart = Some(copy_of_first(&records, row)?);
        }
        if let Some(columns) = &mut apart {
            append(columns, &records, row, users.as_deref())?;
        }
        walk.taken += 1;
        walk.rows += rows;
        walk.bytes += bytes;
    }
    let last = match walk.taken {
        0 => None,
        taken => Some(records.sequence_number(taken - 1).parse()?),
    };
    let (rows, bytes, cut, taken) = (walk.rows, walk.bytes, walk.cut, walk.taken);
    let rest = match cut {
        Some(_) if keep_rest => Some(records.tail(taken)?),
        _ => None,
    };
    let batch = match apart {
        Some(columns) => columns.into_batch()?,
        None => records.into_batch()?.slice(0, taken),
    };
    Ok(Taken {
        batches: batch.split(),
        rows,
        bytes,
        last,
        cut,
        rest,
    })
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
    /// Whether the batch ends before this record.
    fn bound_before(
        &self,
        records: &RecordColumns,
        row: usize,
        rows: u64,
        bytes: u64,
    ) -> Result<Option<Cut>> {
        if let Some(through) = &self.bounds.through {
            let number: SequenceNumber = records.sequence_number(row).parse()?;
            return Ok((number > *through).then_some(Cut::Claim));
        }
        if self
            .bounds
            .until
            .is_some_and(|until| records.arrival_millis(row) > until)
        {
            return Ok(Some(Cut::Time));
        }
        if self.bounds.first && self.taken == 0 {
            return Ok(None);
        }
        let over = |allowed: Option<u64>, wanted: u64| allowed.is_some_and(|allowed| wanted > allowed);
        let full = over(self.bounds.rows, self.rows + rows) || over(self.bounds.bytes, self.bytes + bytes);
        Ok(full.then_some(Cut::Full))
    }
}

/// The user records of an aggregate; none for a plain record.
fn user_records(records: &RecordColumns, row: usize) -> Result<Option<Vec<UserRecord>>> {
    let data = records.data(row);
    if !data.starts_with(&MAGIC) {
        return Ok(None);
    }
    match decode(&Bytes::copy_from_slice(data)) {
        Ok(Decoded::Aggregate(users)) => Ok(Some(users)),
        Ok(Decoded::Plain) => Ok(None),
        Err(error) => Err(Error::new(
            ErrorKind::MalformedRecord,
            format!(
                "the KPL aggregate with sequence number {} can't be taken apart: {error}. Its producer wrote it \
                 wrongly; the query can't go past it without losing its records",
                records.sequence_number(row)
            ),
        )),
    }
}

fn copy_of_first(records: &RecordColumns, rows: usize) -> Result<RecordColumns> {
    let mut columns = RecordColumns::with_capacity(records.len(), 0);
    for row in 0..rows {
        append(&mut columns, records, row, None)?;
    }
    Ok(columns)
}

fn append(
    columns: &mut RecordColumns,
    records: &RecordColumns,
    row: usize,
    users: Option<&[UserRecord]>,
) -> Result<()> {
    let (number, arrival) = (records.sequence_number(row), records.arrival_millis(row));
    match users {
        None => columns.push(records.data(row), records.partition_key(row), number, arrival),
        Some(users) => users
            .iter()
            .try_for_each(|user| columns.push(&user.data, &user.partition_key, number, arrival)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinesis_aggregation::encode;

    fn records(payloads: &[&[u8]]) -> RecordColumns {
        let mut columns = RecordColumns::with_capacity(payloads.len(), 0);
        for (row, payload) in payloads.iter().enumerate() {
            columns
                .push(payload, "outer", &(row + 10).to_string(), 1_000 + row as i64)
                .expect("fits");
        }
        columns
    }

    fn aggregate(users: &[(&str, &str)]) -> Vec<u8> {
        let users: Vec<UserRecord> = users
            .iter()
            .enumerate()
            .map(|(index, (key, data))| UserRecord {
                partition_key: (*key).into(),
                explicit_hash_key: None,
                data: Bytes::copy_from_slice(data.as_bytes()),
                sub_sequence: index as u32,
            })
            .collect();
        encode(&users).to_vec()
    }

    fn rows(taken: &Taken) -> Vec<(String, String, String)> {
        let mut rows = Vec::new();
        for batch in &taken.batches {
            for row in 0..batch.rows() {
                rows.push((
                    String::from_utf8_lossy(batch.data.value(row)).into_owned(),
                    batch.partition_key.value(row).to_owned(),
                    batch.sequence_number.value(row).to_owned(),
                ));
            }
        }
        rows
    }

    fn row(data: &str, key: &str, number: &str) -> (String, String, String) {
        (data.into(), key.into(), number.into())
    }

    #[test]
    fn plain_records_are_rows() {
        let taken = take(records(&[b"a", b"", b"c"]), &Bounds::default(), false).expect("taken");
        assert_eq!(
            rows(&taken),
            [
                row("a", "outer", "10"),
                row("", "outer", "11"),
                row("c", "outer", "12")
            ]
        );
        assert_eq!((taken.rows, taken.bytes, taken.cut), (3, 2, None));
        assert_eq!(taken.last.expect("last").as_str(), "12");
    }

    #[test]
    fn aggregates_are_taken_apart_in_their_place() {
        let aggregate = aggregate(&[("k1", "x"), ("k2", "yy")]);
        let taken = take(records(&[b"a", &aggregate, b"c"]), &Bounds::default(), false).expect("taken");
        let expected = [
            row("a", "outer", "10"),
            row("x", "k1", "11"),
            row("yy", "k2", "11"),
            row("c", "outer", "12"),
        ];
        assert_eq!(rows(&taken), expected);
        assert_eq!((taken.rows, taken.bytes), (4, 5));
    }

    #[test]
    fn what_only_begins_like_an_aggregate_is_a_plain_record() {
        let broken = [MAGIC.as_slice(), b"not an aggregate at all, just bytes"].concat();
        let taken = take(records(&[&broken]), &Bounds::default(), false).expect("taken");
        assert_eq!(taken.batches[0].data.value(0), broken);
    }

    #[test]
    fn the_cut_falls_before_the_record_that_is_too_much() {
        let aggregate = aggregate(&[("k", "x"), ("k", "y"), ("k", "z")]);
        let page = || records(&[b"a", &aggregate, b"c"]);
        let within = |rows| Bounds {
            rows: Some(rows),
            ..Bounds::default()
        };
        let taken = take(page(), &within(3), true).expect("taken");
        assert_eq!((taken.rows, taken.cut), (1, Some(Cut::Full)));
        assert_eq!(taken.last.expect("last").as_str(), "10");
        let rest = taken.rest.expect("the rest");
        assert_eq!(
            (rest.len(), rest.sequence_number(0), rest.data(1)),
            (2, "11", b"c".as_slice())
        );
        assert_eq!(take(page(), &within(4), true).expect("taken").rows, 4);
        assert_eq!(take(page(), &within(5), true).expect("taken").cut, None);
    }

    #[test]
    fn the_first_record_of_a_batch_passes_however_large() {
        let page = records(&[b"far too large", b"b"]);
        let bounds = Bounds {
            bytes: Some(3),
            first: true,
            ..Bounds::default()
        };
        let taken = take(page, &bounds, false).expect("taken");
        assert_eq!((taken.rows, taken.cut), (1, Some(Cut::Full)));
    }

    #[test]
    fn later_arrivals_are_left() {
        let bounds = Bounds {
            until: Some(1_001),
            ..Bounds::default()
        };
        let taken = take(records(&[b"a", b"b", b"c"]), &bounds, false).expect("taken");
        assert_eq!((taken.rows, taken.cut), (2, Some(Cut::Time)));
    }

    #[test]
    fn a_claim_is_kept_exactly_whatever_the_limits() {
        let through = Some("11".parse().expect("number"));
        let bounds = Bounds {
            rows: Some(1),
            through,
            ..Bounds::default()
        };
        let taken = take(records(&[b"a", b"b", b"c"]), &bounds, false).expect("taken");
        assert_eq!((taken.rows, taken.cut), (2, Some(Cut::Claim)));
    }
}
