//! Records of one answer as columns, in the layout that the JVM receives: i32 offsets and bytes.

use arrow_array::types::ByteArrayType;
use arrow_array::{GenericByteArray, TimestampMicrosecondArray};
use arrow_buffer::NullBuffer;
use tokio::time::Instant;

use crate::batch::{Held, RecordBatch};
use crate::error::{Error, ErrorKind, Result};

/// Concatenated values of varying length.
#[derive(Clone, Debug)]
struct ByteColumn {
    offsets: Vec<i32>,
    values: Vec<u8>,
}

impl ByteColumn {
    fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self {
            offsets,
            values: Vec::with_capacity(bytes),
        }
    }

    fn remove_first(&mut self, rows: usize) {
        let cut = self.offsets[rows];
        self.values.drain(..cut as usize);
        self.offsets.drain(..rows);
        self.offsets.iter_mut().for_each(|offset| *offset -= cut);
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(self.offsets[rows] as usize);
        self.offsets.truncate(rows + 1);
    }

    fn end_value(&mut self) -> Result<()> {
        let end = i32::try_from(self.values.len())
            .map_err(|_| Error::new(ErrorKind::Internal, "more than 2 GiB in one column of records"))?;
        self.offsets.push(end);
        Ok(())
    }

    /// Reserves room for `rows` more rows as long as the first one.
    fn reserve_like_first(&mut self, rows: usize) {
        let first = self.offsets.get(1).map_or(0, |end| *end as usize);
        self.values.reserve(rows * first);
        self.offsets.reserve(rows);
    }

    fn is_text(&self) -> bool {
        self.values.is_ascii()
            || std::str::from_utf8(&self.values)
                .is_ok_and(|text| self.offsets.iter().all(|at| text.is_char_boundary(*at as usize)))
    }

    fn get(&self, row: usize) -> &[u8] {
        &self.values[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    fn into_array<T: ByteArrayType<Offset = i32>>(
        self,
        nulls: Option<NullBuffer>,
    ) -> Result<GenericByteArray<T>> {
        let broken = |error: &dyn std::fmt::Display| {
            Error::new(
                ErrorKind::Internal,
                format!("records can't be laid out as columns: {error}"),
            )
        };
        let offsets = arrow_buffer::OffsetBuffer::new(self.offsets.into());
        GenericByteArray::try_new(offsets, self.values.into(), nulls).map_err(|error| broken(&error))
    }
}

/// How the service encrypts a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Not encrypted.
    None,
    /// Encrypted with a KMS key.
    Kms,
}

impl Encryption {
    /// The service's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Kms => "KMS",
        }
    }
}

/// Append positions of the columns for a row's values.
pub(super) struct OpenRow<'a> {
    pub data: &'a mut Vec<u8>,
    pub partition_key: &'a mut Vec<u8>,
    pub sequence_number: &'a mut Vec<u8>,
}

/// Records in the shard's order. All access goes through methods, which keeps the layout free to change.
#[derive(Clone, Debug)]
pub struct RecordColumns {
    data: ByteColumn,
    partition_keys: ByteColumn,
    sequence_numbers: ByteColumn,
    arrival_millis: Vec<i64>,
    /// Ends with the last record whose encryption is known.
    encryptions: Vec<Option<Encryption>>,
    received: Instant,
    /// True for records without a partition key. Ends with the last one of them.
    keyless: Vec<bool>,
}

impl RecordColumns {
    /// Reserves room for `rows` records with `data_bytes` bytes of data.
    pub fn with_capacity(rows: usize, data_bytes: usize) -> Self {
        Self {
            data: ByteColumn::with_capacity(rows, data_bytes),
            partition_keys: ByteColumn::with_capacity(rows, rows * 16),
            sequence_numbers: ByteColumn::with_capacity(rows, rows * 56),
            arrival_millis: Vec::with_capacity(rows),
            encryptions: Vec::new(),
            received: Instant::now(),
            keyless: Vec::new(),
        }
    }

    /// Appends a record with an optional partition key. Records without one occur on streams with AUTO record
    /// distribution.
    pub fn push_with(
        &mut self,
        data: &[u8],
        partition_key: Option<&str>,
        sequence_number: &str,
        arrival_millis: i64,
    ) -> Result<()> {
        let row = self.open_row();
        row.data.extend_from_slice(data);
        row.partition_key
            .extend_from_slice(partition_key.unwrap_or_default().as_bytes());
        row.sequence_number.extend_from_slice(sequence_number.as_bytes());
        self.end_row(partition_key.is_some(), arrival_millis, None)
    }

    /// Appends a record.
    pub fn push(
        &mut self,
        data: &[u8],
        partition_key: &str,
        sequence_number: &str,
        arrival_millis: i64,
    ) -> Result<()> {
        self.push_with(data, Some(partition_key), sequence_number, arrival_millis)
    }

    /// Columns to which the caller appends a record's values one by one; [`Self::end_row`] completes the record.
    pub(super) fn open_row(&mut self) -> OpenRow<'_> {
        OpenRow {
            data: &mut self.data.values,
            partition_key: &mut self.partition_keys.values,
            sequence_number: &mut self.sequence_numbers.values,
        }
    }

    /// Removes the values of a record that was not completed.
    pub(super) fn discard_open_row(&mut self) {
        for column in [
            &mut self.data,
            &mut self.partition_keys,
            &mut self.sequence_numbers,
        ] {
            column.truncate(self.arrival_millis.len());
        }
    }

    /// Completes the record whose values were appended through [`Self::open_row`]; it has a partition key if `keyed`.
    pub(super) fn end_row(
        &mut self,
        keyed: bool,
        arrival_millis: i64,
        encryption: Option<Encryption>,
    ) -> Result<()> {
        let row = self.len();
        self.data.end_value()?;
        self.partition_keys.end_value()?;
        self.sequence_numbers.end_value()?;
        self.arrival_millis.push(arrival_millis);
        if !keyed {
            self.keyless.resize(row, false);
            self.keyless.push(true);
        }
        if let Some(encryption) = encryption {
            self.set_encryption(encryption);
        }
        Ok(())
    }

    /// Reserves room for `rows` more records like the first one.
    pub(super) fn reserve_like_first(&mut self, rows: usize) {
        self.data.reserve_like_first(rows);
        self.partition_keys.reserve_like_first(rows);
        self.sequence_numbers.reserve_like_first(rows);
        self.arrival_millis.reserve(rows);
    }

    /// True if all partition keys and sequence numbers are UTF-8. They always are, except in rows appended through
    /// [`Self::open_row`].
    pub(super) fn is_text(&self) -> bool {
        self.partition_keys.is_text() && self.sequence_numbers.is_text()
    }

    /// Sets the encryption of the last record; it is unknown otherwise.
    pub fn set_encryption(&mut self, encryption: Encryption) {
        if let Some(before) = self.len().checked_sub(1) {
            self.encryptions.resize(before, None);
            self.encryptions.push(Some(encryption));
        }
    }

    /// Removes the first `rows` records, or all if there are fewer.
    pub fn remove_first(&mut self, rows: usize) {
        let rows = rows.min(self.len());
        self.data.remove_first(rows);
        self.partition_keys.remove_first(rows);
        self.sequence_numbers.remove_first(rows);
        self.arrival_millis.drain(..rows);
        self.encryptions.drain(..rows.min(self.encryptions.len()));
        self.keyless.drain(..rows.min(self.keyless.len()));
    }

    /// Keeps the first `rows` records, or all if there are fewer.
    pub fn truncate(&mut self, rows: usize) {
        let rows = rows.min(self.len());
        self.data.truncate(rows);
        self.partition_keys.truncate(rows);
        self.sequence_numbers.truncate(rows);
        self.arrival_millis.truncate(rows);
        self.encryptions.truncate(rows);
        self.keyless.truncate(rows);
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.arrival_millis.len()
    }

    /// True if there are no records.
    pub fn is_empty(&self) -> bool {
        self.arrival_millis.is_empty()
    }

    /// When the last record arrived, milliseconds since the epoch.
    pub fn last_arrival_millis(&self) -> Option<i64> {
        self.arrival_millis.last().copied()
    }

    /// When the answer was received: the creation time of these columns, or of those that they were cut from.
    pub fn received(&self) -> Instant {
        self.received
    }

    /// Sets the time when the answer was received to now.
    pub(super) fn are_received(&mut self) {
        self.received = Instant::now();
    }

    /// Bytes of all columns.
    pub fn bytes(&self) -> usize {
        let columns = [&self.data, &self.partition_keys, &self.sequence_numbers];
        columns.iter().map(|column| column.values.len()).sum::<usize>() + self.len() * size_of::<i64>()
    }

    /// Bytes of the payloads.
    pub fn data_bytes(&self) -> usize {
        self.data.values.len()
    }

    /// Number of leading records that take at most `bytes`.
    pub fn fitting(&self, bytes: usize) -> usize {
        let columns = [&self.data, &self.partition_keys, &self.sequence_numbers];
        let taken = |rows: usize| {
            let values = columns.iter().map(|column| column.offsets[rows] as usize);
            values.sum::<usize>() + rows * size_of::<i64>()
        };
        let (mut fit, mut over) = (0, self.len() + 1);
        while over - fit > 1 {
            let middle = fit + (over - fit) / 2;
            match taken(middle) <= bytes {
                true => fit = middle,
                false => over = middle,
            }
        }
        fit
    }

    /// A copy of the records from row `from` on.
    pub fn tail(&self, from: usize) -> Result<Self> {
        let from = from.min(self.len());
        let data_bytes = self.data.values.len() - self.data.offsets[from] as usize;
        let mut tail = Self::with_capacity(self.len() - from, data_bytes);
        tail.received = self.received;
        for row in from..self.len() {
            tail.push_with(
                self.data(row),
                self.partition_key(row),
                self.sequence_number(row),
                self.arrival_millis(row),
            )?;
            if let Some(encryption) = self.encryption(row) {
                tail.set_encryption(encryption);
            }
        }
        Ok(tail)
    }

    /// A record's payload.
    pub fn data(&self, row: usize) -> &[u8] {
        self.data.get(row)
    }

    /// A record's sequence number.
    pub fn sequence_number(&self, row: usize) -> &str {
        std::str::from_utf8(self.sequence_numbers.get(row)).unwrap_or_default()
    }

    /// Bytes of a record's sequence number, also before [`Self::is_text`] is known.
    pub(super) fn raw_sequence_number(&self, row: usize) -> &[u8] {
        self.sequence_numbers.get(row)
    }

    /// Bytes of a record's partition key, if it has one, also before [`Self::is_text`] is known.
    pub(super) fn raw_partition_key(&self, row: usize) -> Option<&[u8]> {
        let keyed = !self.keyless.get(row).copied().unwrap_or_default();
        keyed.then(|| self.partition_keys.get(row))
    }

    /// A record's partition key, if it has one.
    pub fn partition_key(&self, row: usize) -> Option<&str> {
        match self.keyless.get(row) {
            Some(true) => None,
            _ => Some(std::str::from_utf8(self.partition_keys.get(row)).unwrap_or_default()),
        }
    }

    /// A record's approximate arrival time, milliseconds since the epoch.
    pub fn arrival_millis(&self, row: usize) -> i64 {
        self.arrival_millis[row]
    }

    /// A record's encryption; none if the service doesn't report it.
    pub fn encryption(&self, row: usize) -> Option<Encryption> {
        self.encryptions.get(row).copied().flatten()
    }

    /// The columns as Arrow arrays; no payload is copied.
    pub fn into_batch(self) -> Result<RecordBatch> {
        self.into_batch_of(Held::ALL)
    }

    /// Like [`Self::into_batch`], for a batch that holds these columns. Frees the memory of the others.
    pub(crate) fn into_batch_of(mut self, held: Held) -> Result<RecordBatch> {
        let data = match held.data {
            true => Some(self.data.into_array(None)?),
            false => None,
        };
        let partition_key = match held.partition_key {
            true => {
                let rows = self.arrival_millis.len();
                let keys = (!self.keyless.is_empty()).then(|| {
                    self.keyless.resize(rows, false);
                    self.keyless.iter().map(|keyless| !keyless).collect()
                });
                Some(self.partition_keys.into_array(keys)?)
            }
            false => None,
        };
        let arrival = held.arrival.then(|| {
            let micros = self
                .arrival_millis
                .iter()
                .map(|millis| millis.saturating_mul(1000));
            TimestampMicrosecondArray::from(micros.collect::<Vec<i64>>())
        });
        Ok(RecordBatch {
            data,
            partition_key,
            sequence_number: self.sequence_numbers.into_array(None)?,
            arrival,
            extra: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests;
