//! Records of a JSON body as columns.

use aws_smithy_json::codec::{JsonCodec, JsonDeserializer};
use aws_smithy_schema::codec::Codec;
use aws_smithy_schema::prelude::{BLOB, STRING, TIMESTAMP};
use aws_smithy_schema::serde::{SerdeError, ShapeDeserializer};
use base64_simd::STANDARD;

use super::super::aws::millis;
use super::super::columns::{Encryption, RecordColumns};

/// The member with the records.
pub(super) const RECORDS: &str = "Records";

/// How deep lists and objects are that are skipped.
const DEPTH: u8 = 8;

/// A body in two parts.
pub(super) struct Apart {
    /// The records of the first list of them.
    pub records: RecordColumns,
    /// The body with an empty list in place of the records.
    pub rest: Vec<u8>,
}

/// Takes the records out of an object in JSON. None where there are none, or where anything is not quite as the
/// service writes it: then the codec has to say what the body means, and whether it is one. Of the rest this looks
/// at nothing that it needn't; the codec reads it anyway.
pub(super) fn take_apart(body: &[u8], codec: &JsonCodec) -> Option<Apart> {
    let mut cursor = Cursor { body, at: 0, codec };
    cursor.take(b'{')?;
    loop {
        if cursor.key()? == RECORDS.as_bytes() {
            break;
        }
        cursor.skip_value(DEPTH)?;
        cursor.take(b',')?;
    }
    cursor.peek()?;
    let start = cursor.at;
    let records = cursor.records()?;
    let mut rest = Vec::with_capacity(start + 2 + body.len() - cursor.at);
    rest.extend_from_slice(&body[..start]);
    rest.extend_from_slice(b"[]");
    rest.extend_from_slice(&body[cursor.at..]);
    Some(Apart { records, rest })
}

struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
    codec: &'a JsonCodec,
}

/// A string, without its quotation marks.
struct Text<'a> {
    raw: &'a [u8],
    escaped: bool,
}

impl<'a> Cursor<'a> {
    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.body.get(self.at)? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.takes(byte)?.then_some(())
    }

    /// Whether the next byte is this one, which is taken then.
    fn takes(&mut self, byte: u8) -> Option<bool> {
        let found = self.peek()? == byte;
        self.at += usize::from(found);
        Some(found)
    }

    fn string(&mut self) -> Option<Text<'a>> {
        self.take(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += memchr::memchr2(b'"', b'\\', self.body.get(self.at..)?)?;
            if self.body[self.at] == b'"' {
                let raw = &self.body[start..self.at];
                self.at += 1;
                return Some(Text { raw, escaped });
            }
            escaped = true;
            self.at += 2;
        }
    }

    /// A member's name, and the colon after it.
    fn key(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let key = &self.body[self.at..];
        let key = &key[..key.iter().position(|byte| matches!(byte, b'"' | b'\\'))?];
        self.at += key.len();
        self.take(b'"')?;
        self.take(b':')?;
        Some(key)
    }

    /// True if the value is null, which is taken then.
    fn null(&mut self) -> Option<bool> {
        Some(
            self.peek()? == b'n' && {
                self.literal(b"null")?;
                true
            },
        )
    }

    fn literal(&mut self, literal: &[u8]) -> Option<()> {
        self.body[self.at..]
            .starts_with(literal)
            .then(|| self.at += literal.len())?;
        self.ends_value()
    }

    /// A number, or what has no other byte than one.
    fn number(&mut self) -> Option<&'a [u8]> {
        self.peek()?;
        let digits = &self.body[self.at..];
        let inside = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let digits = &digits[..digits.iter().position(|byte| !inside(byte))?];
        self.at += digits.len();
        self.ends_value()?;
        Some(digits)
    }

    fn ends_value(&self) -> Option<()> {
        matches!(
            self.body.get(self.at)?,
            b' ' | b'\t' | b'\n' | b'\r' | b',' | b'}' | b']'
        )
        .then_some(())
    }

    /// Skips a value, unless there is something in it that some take for a value and others don't.
    fn skip_value(&mut self, depth: u8) -> Option<()> {
        match self.peek()? {
            b'"' => (!self.string()?.escaped).then_some(()),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            open @ (b'[' | b'{') => {
                let (close, depth) = (open + 2, depth.checked_sub(1)?);
                self.at += 1;
                let mut ended = self.takes(close)?;
                while !ended {
                    if open == b'{' {
                        self.key()?;
                    }
                    self.skip_value(depth)?;
                    ended = self.takes(close)?;
                    if !ended {
                        self.take(b',')?;
                    }
                }
                Some(())
            }
            _ => match self.number()? {
                b"0" => Some(()),
                [b'1'..=b'9', more @ ..] => more.iter().all(u8::is_ascii_digit).then_some(()),
                _ => None,
            },
        }
    }

    /// A value as the codec reads it: what is between a place and here.
    fn decoded<T>(
        &self,
        start: usize,
        read: impl FnOnce(&mut JsonDeserializer<'a>) -> Result<T, SerdeError>,
    ) -> Option<T> {
        read(&mut self.codec.create_deserializer(&self.body[start..self.at])).ok()
    }

    fn records(&mut self) -> Option<RecordColumns> {
        let mut records = RecordColumns::with_capacity(0, 0);
        self.take(b'[')?;
        if self.takes(b']')? {
            return Some(records);
        }
        let start = self.at;
        self.record(&mut records)?;
        // Records of a shard mostly resemble each other.
        let like_it = (self.body.len() - self.at) / (self.at - start);
        records.reserve_like_first(like_it + like_it / 16 + 1);
        while !self.takes(b']')? {
            self.take(b',')?;
            self.record(&mut records)?;
        }
        records.is_text().then_some(records)
    }

    fn record(&mut self, records: &mut RecordColumns) -> Option<()> {
        let (mut keyed, mut arrival, mut encryption) = (false, 0, None);
        self.take(b'{')?;
        let mut ended = self.takes(b'}')?;
        let mut seen = [false; 5];
        while !ended {
            let key = self.key()?;
            let known = [
                b"Data".as_slice(),
                b"PartitionKey",
                b"SequenceNumber",
                b"ApproximateArrivalTimestamp",
                b"EncryptionType",
            ];
            match known.iter().position(|known| *known == key) {
                Some(member) if seen[member] => return None,
                Some(member) => {
                    seen[member] = true;
                    let row = records.open_row();
                    match (self.null()?, member) {
                        (true, _) => {}
                        (_, 0) => self.data(row.data)?,
                        (_, 1) => {
                            keyed = true;
                            self.text(row.partition_key)?;
                        }
                        (_, 2) => self.text(row.sequence_number)?,
                        (_, 3) => arrival = self.arrival()?,
                        _ => encryption = self.encryption()?,
                    }
                }
                None => {
                    std::str::from_utf8(key).ok()?;
                    self.skip_value(DEPTH)?;
                }
            }
            ended = self.takes(b'}')?;
            if !ended {
                self.take(b',')?;
            }
        }
        records.end_row(keyed, arrival, encryption).ok()
    }

    fn data(&mut self, into: &mut Vec<u8>) -> Option<()> {
        self.peek()?;
        let start = self.at;
        let text = self.string()?;
        if text.escaped {
            let data = self.decoded(start, |value| value.read_blob(&BLOB))?;
            into.extend_from_slice(data.as_ref());
            return Some(());
        }
        // The decoder alone would grow the column by one record at a time.
        into.reserve(STANDARD.estimated_decoded_length(text.raw.len()));
        STANDARD.decode_append(text.raw, into).ok()
    }

    fn text(&mut self, into: &mut Vec<u8>) -> Option<()> {
        self.peek()?;
        let start = self.at;
        let text = self.string()?;
        match text.escaped {
            false => into.extend_from_slice(text.raw),
            true => into.extend_from_slice(
                self.decoded(start, |value| value.read_string(&STRING))?
                    .as_bytes(),
            ),
        }
        Some(())
    }

    fn arrival(&mut self) -> Option<i64> {
        self.peek()?;
        let start = self.at;
        match plain_millis(self.number()?) {
            Some(millis) => Some(millis),
            None => self
                .decoded(start, |value| value.read_timestamp(&TIMESTAMP))
                .map(|time| millis(&time)),
        }
    }

    /// None of the two that are known is not an error.
    fn encryption(&mut self) -> Option<Option<Encryption>> {
        let name = self.string()?;
        if name.escaped {
            return None;
        }
        match std::str::from_utf8(name.raw).ok()? {
            "NONE" => Some(Some(Encryption::None)),
            "KMS" => Some(Some(Encryption::Kms)),
            _ => Some(None),
        }
    }
}

/// The milliseconds of seconds in figures, with three figures of a fraction at most. There are so few of them that a
/// number of floating point, which the codec makes of it, is less than half a millisecond off.
fn plain_millis(seconds: &[u8]) -> Option<i64> {
    let point = seconds.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(point) => (&seconds[..point], &seconds[point + 1..]),
        None => (seconds, [].as_slice()),
    };
    if whole.is_empty() || whole.len() > 10 || fraction.len() > 3 || point.is_some() == fraction.is_empty() {
        return None;
    }
    let figures = |figures: &[u8]| {
        figures.iter().try_fold(0_i64, |number, figure| {
            figure
                .is_ascii_digit()
                .then(|| number * 10 + i64::from(figure - b'0'))
        })
    };
    let unit = [0, 100, 10, 1][fraction.len()];
    Some(figures(whole)? * 1000 + figures(fraction)? * unit)
}
