//! The service's CBOR: `application/x-amz-cbor-1.1`, with payloads as bytes and times in milliseconds. Everything
//! except records is converted to JSON for the SDK's own decoder.

use std::borrow::Cow;

use base64_simd::STANDARD;
use minicbor::data::Type;
use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};
use serde_json::{Map, Value};

use super::super::columns::{Encryption, RecordColumns};
use super::json::{Next, RECORDS};

/// Content type of requests and answers.
pub(super) const CONTENT_TYPE: &str = "application/x-amz-cbor-1.1";

/// A list without items.
pub(super) const EMPTY_LIST: &[u8] = &[0x80];

/// Maximum depth of nested lists and objects.
const DEPTH: u8 = 16;

/// An answer split in two.
pub(super) struct Apart {
    pub records: RecordColumns,
    /// The other members, in JSON.
    pub rest: Vec<u8>,
}

/// Converts a request from JSON. None if a member is neither text nor number, which no GetRecords request has.
pub(super) fn request(json: &[u8]) -> Option<Vec<u8>> {
    let members: Map<String, Value> = serde_json::from_slice(json).ok()?;
    let mut request = Encoder::new(Vec::new());
    request.map(members.len() as u64).ok()?;
    for (name, value) in &members {
        request.str(name).ok()?;
        match value {
            Value::String(text) => request.str(text).ok()?,
            Value::Number(number) => request.i64(number.as_i64()?).ok()?,
            _ => return None,
        };
    }
    Some(request.into_writer())
}

/// Converts an answer without records to JSON.
pub(super) fn to_json(body: &[u8]) -> Result<Vec<u8>, Error> {
    whole(body, |decoder| object(decoder, DEPTH)).map(written)
}

/// Splits an answer into its records and the rest in JSON.
pub(super) fn take_apart(body: &[u8]) -> Result<Apart, Error> {
    let (records, rest) = whole(body, |decoder| {
        let (mut records, mut rest) = (None, Map::new());
        members(decoder, |name, value| {
            if name != RECORDS {
                rest.insert(name.to_owned(), any(value, DEPTH)?);
            } else if records.is_some() {
                return Err(Error::message("two lists of records"));
            } else if !null(value)? {
                records = Some(all_records(value)?);
            }
            Ok(())
        })?;
        Ok((records, rest))
    })?;
    Ok(Apart {
        records: records.unwrap_or_else(|| RecordColumns::with_capacity(0, 0)),
        rest: written(rest),
    })
}

/// The place of the list of records in an answer, and the list's length if the answer says it.
pub(super) fn list_of_records(bytes: &[u8]) -> Option<List> {
    let mut decoder = Decoder::new(bytes);
    let mut left = Left(decoder.map().ok()?);
    while left.takes_one(&mut decoder).ok()? {
        if name(&mut decoder).ok()? != RECORDS {
            any(&mut decoder, DEPTH).ok()?;
            continue;
        }
        let at = decoder.position();
        let left = Left(decoder.array().ok()?);
        let first = decoder.position();
        return Some(List { at, first, left });
    }
    None
}

/// Where a list of records begins.
pub(super) struct List {
    /// Where it begins.
    pub at: usize,
    /// Where its first record begins.
    pub first: usize,
    /// The number of its records.
    pub left: Left,
}

/// Reads the next record of a list. None if there isn't a whole one, or if it isn't a record: list and columns are
/// unchanged then.
pub(super) fn next_record(bytes: &[u8], list: &mut Left, records: &mut RecordColumns) -> Option<Next> {
    let mut decoder = Decoder::new(bytes);
    let mut left = *list;
    if !left.takes_one(&mut decoder).ok()? {
        return Some(Next::End(decoder.position()));
    }
    if record(&mut decoder, records).is_err() {
        records.discard_open_row();
        return None;
    }
    *list = left;
    Some(Next::Record(decoder.position()))
}

fn written(object: Map<String, Value>) -> Vec<u8> {
    Value::Object(object).to_string().into_bytes()
}

fn whole<'a, T>(body: &'a [u8], read: impl FnOnce(&mut Decoder<'a>) -> Result<T, Error>) -> Result<T, Error> {
    let mut decoder = Decoder::new(body);
    let value = read(&mut decoder)?;
    match decoder.position() == body.len() {
        true => Ok(value),
        false => Err(Error::message("more than one value")),
    }
}

/// Remaining items of a list or an object: a count, or none if a break ends it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left(Option<u64>);

impl Left {
    /// The head of a list of so many items.
    pub fn head(self) -> Option<Vec<u8>> {
        let mut head = Encoder::new(Vec::new());
        match self.0 {
            Some(count) => head.array(count).ok()?,
            None => head.begin_array().ok()?,
        };
        Some(head.into_writer())
    }

    fn takes_one(&mut self, decoder: &mut Decoder<'_>) -> Result<bool, Error> {
        match &mut self.0 {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if decoder.datatype()? == Type::Break => {
                decoder.set_position(decoder.position() + 1);
                Ok(false)
            }
            None => Ok(true),
        }
    }
}

fn members<'a>(
    decoder: &mut Decoder<'a>,
    mut member: impl FnMut(&str, &mut Decoder<'a>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut left = Left(decoder.map()?);
    while left.takes_one(decoder)? {
        let name = name(decoder)?;
        member(&name, decoder)?;
    }
    Ok(())
}

/// The name of a member.
fn name<'a>(decoder: &mut Decoder<'a>) -> Result<Cow<'a, str>, Error> {
    Ok(match decoder.datatype()? {
        Type::String => decoder.str()?.into(),
        _ => text(decoder)?.into(),
    })
}

/// Consumes a null; false if the value is something else.
fn null(decoder: &mut Decoder<'_>) -> Result<bool, Error> {
    let found = decoder.datatype()? == Type::Null;
    if found {
        decoder.null()?;
    }
    Ok(found)
}

fn append_text(decoder: &mut Decoder<'_>, into: &mut Vec<u8>) -> Result<(), Error> {
    for part in decoder.str_iter()? {
        into.extend_from_slice(part?.as_bytes());
    }
    Ok(())
}

/// Some services write payloads in base64, as in JSON; the SDK for Java reads both.
fn append_data(decoder: &mut Decoder<'_>, into: &mut Vec<u8>) -> Result<(), Error> {
    if matches!(decoder.datatype()?, Type::String | Type::StringIndef) {
        let base64 = text(decoder)?;
        into.reserve(STANDARD.estimated_decoded_length(base64.len()));
        return STANDARD
            .decode_append(base64, into)
            .map_err(|_| Error::message("a payload that isn't base64"));
    }
    for part in decoder.bytes_iter()? {
        into.extend_from_slice(part?);
    }
    Ok(())
}

fn text(decoder: &mut Decoder<'_>) -> Result<String, Error> {
    decoder.str_iter()?.collect()
}

fn all_records(decoder: &mut Decoder<'_>) -> Result<RecordColumns, Error> {
    let mut records = RecordColumns::with_capacity(0, 0);
    let mut left = Left(decoder.array()?);
    while left.takes_one(decoder)? {
        record(decoder, &mut records)?;
    }
    Ok(records)
}

fn record(decoder: &mut Decoder<'_>, records: &mut RecordColumns) -> Result<(), Error> {
    let (mut keyed, mut arrival, mut encryption) = (false, 0, None);
    let mut seen = [false; 5];
    members(decoder, |name, value| {
        let member = match name {
            "Data" => 0,
            "PartitionKey" => 1,
            "SequenceNumber" => 2,
            "ApproximateArrivalTimestamp" => 3,
            "EncryptionType" => 4,
            _ => return any(value, DEPTH).map(drop),
        };
        if std::mem::replace(&mut seen[member], true) {
            return Err(Error::message("a member of a record comes twice"));
        }
        if null(value)? {
            return Ok(());
        }
        let row = records.open_row();
        match member {
            0 => append_data(value, row.data)?,
            1 => {
                keyed = true;
                append_text(value, row.partition_key)?;
            }
            2 => append_text(value, row.sequence_number)?,
            3 => arrival = millis(value)?,
            _ => {
                encryption = match text(value)?.as_str() {
                    "NONE" => Some(Encryption::None),
                    "KMS" => Some(Encryption::Kms),
                    _ => None,
                }
            }
        }
        Ok(())
    })?;
    records
        .end_row(keyed, arrival, encryption)
        .map_err(|_| Error::message("more than 2 GiB in one column of records"))
}

/// A time, with or without a tag.
fn millis(decoder: &mut Decoder<'_>) -> Result<i64, Error> {
    while decoder.datatype()? == Type::Tag {
        decoder.tag()?;
    }
    let float = match decoder.datatype()? {
        Type::F32 => f64::from(decoder.f32()?),
        Type::F64 => decoder.f64()?,
        _ => return decoder.i64(),
    };
    match float.is_finite() {
        true => Ok(float.round() as i64),
        false => Err(Error::message("a time that is none")),
    }
}

fn object(decoder: &mut Decoder<'_>, depth: u8) -> Result<Map<String, Value>, Error> {
    let mut object = Map::new();
    members(decoder, |name, value| {
        object.insert(name.to_owned(), any(value, depth)?);
        Ok(())
    })?;
    Ok(object)
}

fn any(decoder: &mut Decoder<'_>, depth: u8) -> Result<Value, Error> {
    let depth = depth
        .checked_sub(1)
        .ok_or_else(|| Error::message("nested too deep"))?;
    Ok(match decoder.datatype()? {
        Type::Null => {
            decoder.null()?;
            Value::Null
        }
        Type::Bool => decoder.bool()?.into(),
        Type::F32 => decoder.f32()?.into(),
        Type::F64 => decoder.f64()?.into(),
        Type::String | Type::StringIndef => text(decoder)?.into(),
        Type::Array | Type::ArrayIndef => {
            let mut left = Left(decoder.array()?);
            let mut list = Vec::new();
            while left.takes_one(decoder)? {
                list.push(any(decoder, depth)?);
            }
            Value::Array(list)
        }
        Type::Map | Type::MapIndef => Value::Object(object(decoder, depth)?),
        // No known member has one of these types, but an unknown one may.
        Type::Bytes | Type::BytesIndef | Type::Undefined | Type::Simple | Type::F16 => {
            decoder.skip()?;
            Value::Null
        }
        Type::Tag => {
            decoder.tag()?;
            any(decoder, depth)?
        }
        Type::U64 => decoder.u64()?.into(),
        // Below the range of any number here.
        Type::Int => {
            decoder.skip()?;
            Value::Null
        }
        _ => decoder.i64()?.into(),
    })
}
