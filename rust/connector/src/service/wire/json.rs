//! Decodes the records of a JSON body into columns.

use aws_smithy_json::codec::{JsonCodec, JsonDeserializer};
use aws_smithy_schema::codec::Codec;
use aws_smithy_schema::prelude::{BLOB, STRING, TIMESTAMP};
use aws_smithy_schema::serde::{SerdeError, ShapeDeserializer};
use base64_simd::STANDARD;

use super::super::aws::millis;
use super::super::columns::{Encryption, RecordColumns};

/// The member that holds the records.
pub(super) const RECORDS: &str = "Records";

/// Maximum depth of skipped lists and objects.
const DEPTH: u8 = 8;

/// The place of the list of records. None without one, and for anything unlike what the service writes.
pub(super) fn list_of_records(bytes: &[u8], codec: &JsonCodec) -> Option<usize> {
    let mut cursor = Cursor::new(bytes, codec);
    cursor.take(b'{')?;
    while cursor.key()? != RECORDS.as_bytes() {
        cursor.skip_value(DEPTH)?;
        cursor.take(b',')?;
    }
    cursor.take(b'[')?;
    Some(cursor.at - 1)
}

/// What follows in a list of records.
pub(super) enum Next {
    /// A record of this many bytes, which was appended to the columns.
    Record(usize),
    /// The end of the list, after this many bytes.
    End(usize),
}

/// Reads the next record of a list, and the comma before it. None if there isn't a whole one, and for anything unlike
/// what the service writes: the columns are unchanged then.
pub(super) fn next_record(bytes: &[u8], codec: &JsonCodec, records: &mut RecordColumns) -> Option<Next> {
    let mut cursor = Cursor::new(bytes, codec);
    if cursor.takes(b']')? {
        return Some(Next::End(cursor.at));
    }
    if !records.is_empty() {
        cursor.take(b',')?;
    }
    if cursor.record(records).is_none() {
        records.discard_open_row();
        return None;
    }
    Some(Next::Record(cursor.at))
}

/// The records as members of a list, so that any decoder reads from it what was read here.
pub(super) fn written(records: &RecordColumns) -> Vec<u8> {
    let mut list = Vec::new();
    for row in 0..records.len() {
        list.extend_from_slice(if row == 0 {
            b"{\"Data\":\""
        } else {
            b",{\"Data\":\""
        });
        list.extend_from_slice(STANDARD.encode_to_string(records.data(row)).as_bytes());
        list.extend_from_slice(b"\",\"SequenceNumber\":");
        append_text(&mut list, records.raw_sequence_number(row));
        if let Some(key) = records.raw_partition_key(row) {
            list.extend_from_slice(b",\"PartitionKey\":");
            append_text(&mut list, key);
        }
        if let Some(encryption) = records.encryption(row) {
            list.extend_from_slice(format!(",\"EncryptionType\":\"{}\"", encryption.name()).as_bytes());
        }
        let millis = records.arrival_millis(row);
        let (sign, millis) = (if millis < 0 { "-" } else { "" }, millis.unsigned_abs());
        let seconds = format!("{sign}{}.{:03}", millis / 1000, millis % 1000);
        list.extend_from_slice(format!(",\"ApproximateArrivalTimestamp\":{seconds}}}").as_bytes());
    }
    list
}

/// Appends a string; its bytes needn't be UTF-8.
fn append_text(list: &mut Vec<u8>, text: &[u8]) {
    list.push(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' => list.extend_from_slice(&[b'\\', *byte]),
            0..0x20 => list.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => list.push(*byte),
        }
    }
    list.push(b'"');
}

struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
    codec: &'a JsonCodec,
}

/// A string without its quotation marks.
struct Text<'a> {
    raw: &'a [u8],
    escaped: bool,
}

impl<'a> Cursor<'a> {
    fn new(body: &'a [u8], codec: &'a JsonCodec) -> Self {
        Self { body, at: 0, codec }
    }

    /// The next byte that isn't white space.
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

    /// Consumes the next byte if it is this one; false otherwise.
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

    /// A member's name; consumes the colon after it.
    fn key(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let key = &self.body[self.at..];
        let key = &key[..key.iter().position(|byte| matches!(byte, b'"' | b'\\'))?];
        self.at += key.len();
        self.take(b'"')?;
        self.take(b':')?;
        Some(key)
    }

    /// Consumes a null; false if the value is something else.
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

    /// A run of bytes that occur in numbers.
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

    /// Skips a value; none if parsers disagree on its validity.
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

    /// Decodes the value between `start` and the cursor with the codec.
    fn decoded<T>(
        &self,
        start: usize,
        read: impl FnOnce(&mut JsonDeserializer<'a>) -> Result<T, SerdeError>,
    ) -> Option<T> {
        read(&mut self.codec.create_deserializer(&self.body[start..self.at])).ok()
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
        // The decoder alone would grow the column one record at a time.
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
                .map(|time| millis(&time))
                // Others can't be written as seconds with the same meaning to all decoders.
                .filter(|millis| millis.unsigned_abs() < 1_000_000_000_000_000),
        }
    }

    /// The encryption; an unknown name is no error.
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

/// Milliseconds of decimal seconds without a part of a millisecond, also as the service writes them:
/// `1.700000000123E9`. With so few digits, the codec's floating-point value is off by less than half a millisecond.
fn plain_millis(seconds: &[u8]) -> Option<i64> {
    let (seconds, exponent) = match seconds {
        [seconds @ .., b'E' | b'e', exponent @ b'0'..=b'9'] => (seconds, usize::from(exponent - b'0')),
        _ => (seconds, 0),
    };
    let point = seconds.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(point) => (&seconds[..point], &seconds[point + 1..]),
        None => (seconds, [].as_slice()),
    };
    // Digits of the fraction that are milliseconds or more.
    let places = exponent + 3;
    if whole.is_empty() || point.is_some() == fraction.is_empty() || fraction.len() > places {
        return None;
    }
    let zeros = places - fraction.len();
    if whole.len() + places > 13 {
        return None;
    }
    let digits = whole.iter().chain(fraction);
    let digits = digits.chain(std::iter::repeat_n(&b'0', zeros));
    digits.into_iter().try_fold(0_i64, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + i64::from(digit - b'0'))
    })
}
