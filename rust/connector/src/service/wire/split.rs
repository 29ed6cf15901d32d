//! Splits the records off a body while it arrives, so that neither the body nor a record's text is ever held as a
//! whole.

use std::sync::Arc;

use aws_smithy_json::codec::JsonCodec;

use super::super::columns::RecordColumns;
use super::cbor::{self, Left};
use super::json::{self, Next};

/// A body split in two.
#[derive(Debug)]
pub(super) struct Apart {
    /// The first list of records.
    pub records: RecordColumns,
    /// The body with an empty list in place of the records.
    pub rest: Vec<u8>,
    /// The place of the empty list in `rest`.
    pub list_at: usize,
}

/// What a body is written in.
#[derive(Clone, Debug)]
pub(super) enum Format {
    /// JSON, of which what is unusual is left to this codec.
    Json(Arc<JsonCodec>),
    /// CBOR.
    Cbor,
}

/// Splits a whole body in JSON. None if it is left to the SDK's decoder.
pub(super) fn take_apart(body: &[u8], codec: &Arc<JsonCodec>) -> Option<Apart> {
    let mut splitter = Splitter::new(Format::Json(Arc::clone(codec)), Some(body.len()));
    splitter.split(body);
    splitter.into_apart().ok()
}

/// The JSON whose empty list at `list_at` has these records.
pub(super) fn put_back(rest: &[u8], list_at: usize, records: &RecordColumns) -> Vec<u8> {
    let (before, after) = rest.split_at((list_at + 1).min(rest.len()));
    [before, &json::written(records), after].concat()
}

/// Bytes by which a record may be longer than the one before it, and still be read at the first try.
const LONGER: usize = 16;

#[derive(Debug)]
enum Stage {
    Before,
    /// In the list of records; in CBOR with the number of records that are left.
    Records(Option<Left>),
    After,
}

/// Splits a body that arrives in pieces.
#[derive(Debug)]
pub(super) struct Splitter {
    format: Format,
    /// Number of bytes from here on, if known.
    left: Option<usize>,
    stage: Stage,
    /// What has arrived of a record, or of the body's beginning.
    pending: Vec<u8>,
    /// Length of `pending` from which on it is read again.
    enough: usize,
    /// Bytes of the last record.
    last_record: usize,
    records: RecordColumns,
    rest: Vec<u8>,
    list_at: usize,
}

impl Splitter {
    /// Splits a body of this many bytes, if known.
    pub fn new(format: Format, length: Option<usize>) -> Self {
        Self {
            format,
            left: length,
            stage: Stage::Before,
            pending: Vec::new(),
            enough: 0,
            last_record: 0,
            records: RecordColumns::with_capacity(0, 0),
            rest: Vec::new(),
            list_at: 0,
        }
    }

    /// Adds the next piece of the body.
    pub fn add(&mut self, mut piece: &[u8]) {
        while !self.pending.is_empty() {
            let had = self.pending.len();
            let more = piece.len().min(self.enough - had);
            self.pending.extend_from_slice(&piece[..more]);
            if self.pending.len() < self.enough {
                return;
            }
            let split = self.split_pending();
            if let Some(of_piece) = split.checked_sub(had) {
                // What follows is in the piece, too, and needn't be copied.
                self.pending.clear();
                piece = &piece[of_piece..];
            } else {
                piece = &piece[more..];
                self.wait_for_more();
            }
        }
        let split = self.split(piece);
        self.pending.extend_from_slice(&piece[split..]);
        self.wait_for_more();
    }

    /// Sets when `pending` is read again: when it may hold a record like the last one, but not with each piece, or a
    /// record in many pieces would be read as many times.
    fn wait_for_more(&mut self) {
        self.enough = (self.last_record + LONGER).max(2 * self.pending.len());
    }

    /// The body split in two, or as one if it is left to a decoder of whole bodies: without records, or unlike what
    /// the service writes.
    pub fn finish(mut self) -> Result<Apart, Vec<u8>> {
        self.split_pending();
        self.into_apart()
    }

    fn into_apart(mut self) -> Result<Apart, Vec<u8>> {
        if matches!(self.stage, Stage::After) && self.records.is_text() {
            self.records.are_received();
            return Ok(Apart {
                records: self.records,
                rest: self.rest,
                list_at: self.list_at,
            });
        }
        Err(match (&self.stage, &self.format) {
            (Stage::Before, _) => self.pending,
            (Stage::After, _) => put_back(&self.rest, self.list_at, &self.records),
            (Stage::Records(_), Format::Json(_)) => [
                &self.rest,
                b"[".as_slice(),
                &json::written(&self.records),
                &self.pending,
            ]
            .concat(),
            // The next record is none: an error, whatever the records before it are.
            (Stage::Records(left), Format::Cbor) => {
                let head = left.and_then(Left::head).unwrap_or_default();
                [self.rest, head, self.pending].concat()
            }
        })
    }

    /// Splits what is pending; returns how many bytes of it were split.
    fn split_pending(&mut self) -> usize {
        let mut pending = std::mem::take(&mut self.pending);
        let split = self.split(&pending);
        pending.drain(..split);
        self.pending = pending;
        split
    }

    /// Splits what these bytes have; returns how many they were.
    fn split(&mut self, bytes: &[u8]) -> usize {
        let format = self.format.clone();
        let mut at = 0;
        while let Some(read) = self.step(&bytes[at..], &format) {
            at += read;
            self.left = self.left.map(|left| left.saturating_sub(read));
        }
        at
    }

    fn step(&mut self, bytes: &[u8], format: &Format) -> Option<usize> {
        let next = match (&mut self.stage, format) {
            (Stage::Before, _) => return self.begin(bytes, format),
            (Stage::After, _) => {
                self.rest.extend_from_slice(bytes);
                return (!bytes.is_empty()).then_some(bytes.len());
            }
            (Stage::Records(_), Format::Json(codec)) => json::next_record(bytes, codec, &mut self.records)?,
            (Stage::Records(left), Format::Cbor) => {
                cbor::next_record(bytes, left.as_mut()?, &mut self.records)?
            }
        };
        match next {
            Next::Record(read) => {
                self.last_record = read;
                if let (1, Some(left)) = (self.records.len(), self.left) {
                    // A shard's records are mostly alike.
                    let like_it = left.saturating_sub(read) / read;
                    self.records.reserve_like_first(like_it + like_it / 16 + 1);
                }
                Some(read)
            }
            Next::End(read) => {
                self.rest.extend_from_slice(match format {
                    Format::Json(_) => b"[]",
                    Format::Cbor => cbor::EMPTY_LIST,
                });
                self.stage = Stage::After;
                Some(read)
            }
        }
    }

    fn begin(&mut self, bytes: &[u8], format: &Format) -> Option<usize> {
        let (read, left) = match format {
            Format::Json(codec) => {
                self.list_at = json::list_of_records(bytes, codec)?;
                (self.list_at + 1, None)
            }
            Format::Cbor => {
                let list = cbor::list_of_records(bytes)?;
                self.list_at = list.at;
                (list.first, Some(list.left))
            }
        };
        self.rest.extend_from_slice(&bytes[..self.list_at]);
        self.stage = Stage::Records(left);
        Some(read)
    }
}
