//! Parser of the rows that Java collects for the sink: frames in sequence, each length checked before it is used.
//!
//! A frame starts with its [`RowLengths`].

use std::mem::offset_of;

use bytes::Bytes;
use kinesis_connector::sink::{SinkRecord, SinkRow};
use kinesis_connector::{Error, ErrorKind, Result};

use crate::errors::invalid_argument;
use crate::layout::{NO_VALUE, RowLengths};

/// Parses exactly `rows` frames, which must fill the buffer. Fails with `InvalidArgument` if the buffer is malformed,
/// and with `InvalidRow` if a text isn't UTF-8.
pub(crate) fn parse(buffer: &Bytes, rows: usize) -> Result<Vec<SinkRow>> {
    // Every frame holds at least its lengths, so a wrong count can't reserve memory without limit.
    let mut records = Vec::with_capacity(rows.min(buffer.len() / size_of::<RowLengths>() + 1));
    let mut cursor = Cursor {
        buffer,
        position: 0,
        row: 0,
    };
    for row in 0..rows {
        cursor.row = row;
        records.push(cursor.sink_row()?);
    }
    match buffer.len() - cursor.position {
        0 => Ok(records),
        rest => Err(invalid_argument(format!(
            "{rest} bytes follow the last of {rows} rows"
        ))),
    }
}

struct Cursor<'b> {
    buffer: &'b Bytes,
    position: usize,
    row: usize,
}

impl Cursor<'_> {
    fn sink_row(&mut self) -> Result<SinkRow> {
        let key = self.optional_length(offset_of!(RowLengths, partition_key), "partition key")?;
        let data = self.length(offset_of!(RowLengths, data), "data")?;
        let hash = self.optional_length(offset_of!(RowLengths, explicit_hash_key), "explicit hash key")?;
        let stream = self.optional_length(offset_of!(RowLengths, stream_name), "stream name")?;
        self.position += size_of::<RowLengths>();
        let record = SinkRecord {
            partition_key: key.map(|length| self.text(length, "partitionKey")).transpose()?,
            data: self.bytes(data, "data")?,
            explicit_hash_key: hash
                .map(|length| self.text(length, "explicitHashKey"))
                .transpose()?,
        };
        let stream = stream.map(|length| self.text(length, "streamName")).transpose()?;
        Ok(SinkRow { stream, record })
    }

    fn malformed(&self, what: &str, why: &str) -> Error {
        invalid_argument(format!(
            "row {} of a buffer of {} bytes: {what} {why}",
            self.row,
            self.buffer.len()
        ))
    }

    /// The length at `offset` within the row's frame; `None` for [`NO_VALUE`].
    fn optional_length(&self, offset: usize, what: &str) -> Result<Option<usize>> {
        let start = self.position + offset;
        let field = self
            .buffer
            .get(start..start + size_of::<i32>())
            .and_then(|field| <[u8; 4]>::try_from(field).ok());
        let field = field.ok_or_else(|| self.malformed(what, "has no length any more"))?;
        match i32::from_le_bytes(field) {
            NO_VALUE => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => Ok(Some(length)),
                Err(_) => Err(self.malformed(what, &format!("has the length {length}"))),
            },
        }
    }

    fn length(&self, offset: usize, what: &str) -> Result<usize> {
        self.optional_length(offset, what)?
            .ok_or_else(|| self.malformed(what, "is missing"))
    }

    fn bytes(&mut self, length: usize, what: &str) -> Result<Bytes> {
        let rest = self.buffer.len() - self.position;
        if length > rest {
            return Err(self.malformed(
                what,
                &format!("has the length {length}, but {rest} bytes are left"),
            ));
        }
        let start = self.position;
        self.position += length;
        Ok(self.buffer.slice(start..self.position))
    }

    fn text(&mut self, length: usize, what: &str) -> Result<String> {
        let bytes = self.bytes(length, what)?;
        // Spark's strings may hold any bytes: a cast from binary does not check them.
        String::from_utf8(bytes.to_vec()).map_err(|error| {
            Error::new(
                ErrorKind::InvalidRow,
                format!(
                    "the column {what} of a row is not UTF-8 text (the first wrong byte is number {}); \
                     Kinesis takes only text there",
                    error.utf8_error().valid_up_to()
                ),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(key: &[u8], data: &[u8], hash: Option<&[u8]>) -> Vec<u8> {
        frame_for(key, data, hash, None)
    }

    fn frame_for(key: &[u8], data: &[u8], hash: Option<&[u8]>, stream: Option<&[u8]>) -> Vec<u8> {
        let length = |bytes: &[u8]| (bytes.len() as i32).to_le_bytes();
        let mut frame = Vec::new();
        frame.extend(length(key));
        frame.extend(length(data));
        frame.extend(hash.map_or((-1i32).to_le_bytes(), length));
        frame.extend(stream.map_or((-1i32).to_le_bytes(), length));
        frame.extend(key);
        frame.extend(data);
        frame.extend(hash.unwrap_or_default());
        frame.extend(stream.unwrap_or_default());
        frame
    }

    fn kind(buffer: Vec<u8>, rows: usize) -> ErrorKind {
        parse(&Bytes::from(buffer), rows).unwrap_err().kind()
    }

    #[test]
    fn frames_are_read_in_order() {
        let mut buffer = frame("schlüssel".as_bytes(), b"one", None);
        buffer.extend(frame(b"k", b"", Some(b"123")));
        let mut keyless = frame(b"", b"three", None);
        keyless[..4].copy_from_slice(&(-1i32).to_le_bytes());
        buffer.extend(keyless);
        buffer.extend(frame_for(b"k", b"four", None, Some(b"orders")));
        let rows = parse(&Bytes::from(buffer), 4).unwrap();
        let streams: Vec<_> = rows.iter().map(|row| row.stream.as_deref()).collect();
        assert_eq!(streams, [None, None, None, Some("orders")]);
        let records: Vec<_> = rows.into_iter().map(|row| row.record).collect();
        assert_eq!(
            (&records[2].partition_key, &*records[2].data),
            (&None, &b"three"[..])
        );
        assert_eq!(records[0].partition_key.as_deref(), Some("schlüssel"));
        assert_eq!(records[0].data, "one");
        assert_eq!(records[0].explicit_hash_key, None);
        assert_eq!(records[1].data, "");
        assert_eq!(records[1].explicit_hash_key.as_deref(), Some("123"));
        assert!(parse(&Bytes::new(), 0).unwrap().is_empty());
    }

    #[test]
    fn every_cut_of_a_buffer_is_refused() {
        let buffer = frame_for(b"key", b"data", Some(b"42"), Some(b"orders"));
        for length in 0..buffer.len() {
            assert_eq!(
                kind(buffer[..length].to_vec(), 1),
                ErrorKind::InvalidArgument,
                "{length}"
            );
        }
    }

    #[test]
    fn wrong_lengths_and_counts_are_refused() {
        let good = frame(b"key", b"data", None);
        assert_eq!(kind(good.clone(), 0), ErrorKind::InvalidArgument);
        assert_eq!(kind(good.clone(), 2), ErrorKind::InvalidArgument);
        assert_eq!(kind(good.clone(), usize::MAX), ErrorKind::InvalidArgument);
        for (at, length) in [
            (0, -2),
            (0, i32::MAX),
            (4, -1),
            (4, i32::MIN),
            (4, 5),
            (8, -2),
            (8, 1),
            (12, -2),
            (12, 1),
        ] {
            let mut bad = good.clone();
            bad[at..at + 4].copy_from_slice(&i32::to_le_bytes(length));
            assert_eq!(kind(bad, 1), ErrorKind::InvalidArgument, "{length} at {at}");
        }
    }

    /// The frame of a row, as Java writes it.
    fn written(row: &SinkRow) -> Vec<u8> {
        let record = &row.record;
        let fields = [
            record.partition_key.as_deref().map(str::as_bytes),
            Some(&record.data[..]),
            record.explicit_hash_key.as_deref().map(str::as_bytes),
            row.stream.as_deref().map(str::as_bytes),
        ];
        let lengths = fields.map(|field| field.map_or(-1, |field| field.len() as i32).to_le_bytes());
        [lengths.concat(), fields.map(Option::unwrap_or_default).concat()].concat()
    }

    /// The input's first byte is the number of rows.
    #[test]
    fn whatever_is_read_is_all_that_was_written() {
        let three = include_bytes!("../corpus/frames/three-rows");
        let read = parse(&Bytes::copy_from_slice(&three[1..]), three[0].into()).unwrap();
        assert_eq!(read.len(), 3);
        kinesis_fuzzing::fuzz!("frames", 20_000, |input| {
            let Some((&rows, buffer)) = input.split_first() else {
                return;
            };
            let buffer = Bytes::copy_from_slice(buffer);
            match parse(&buffer, rows.into()) {
                Ok(read) => {
                    assert_eq!(read.len(), usize::from(rows));
                    assert_eq!(read.iter().flat_map(written).collect::<Vec<u8>>(), buffer);
                }
                Err(error) => assert!(
                    matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::InvalidRow),
                    "{error}"
                ),
            }
        });
    }

    #[test]
    fn text_must_be_utf8() {
        assert_eq!(kind(frame(b"\xff", b"", None), 1), ErrorKind::InvalidRow);
        assert_eq!(kind(frame(b"k", b"", Some(b"\xc3")), 1), ErrorKind::InvalidRow);
        assert_eq!(
            kind(frame_for(b"k", b"", None, Some(b"\xc3")), 1),
            ErrorKind::InvalidRow
        );
    }
}
