//! CBOR, which the SDK for Java and some others use: the same members as in JSON, but payloads as bytes and times in
//! milliseconds.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};
use serde_json::{Map, Value};

use super::ServiceError;

pub(crate) const CBOR: &str = "application/x-amz-cbor-1.1";

/// CBOR tag of a time.
const TIME: minicbor::data::Tag = minicbor::data::Tag::new(1);

/// Converts a GetRecords request, whose members are texts and numbers.
pub(crate) fn cbor_to_json(body: &[u8]) -> Result<Bytes, ServiceError> {
    let members = read(body).map_err(|error| ServiceError::serialization(error.to_string()))?;
    Ok(Value::Object(members).to_string().into())
}

fn read(body: &[u8]) -> Result<Map<String, Value>, minicbor::decode::Error> {
    let mut decoder = Decoder::new(body);
    let mut left = decoder.map()?;
    let mut members = Map::new();
    while left != Some(0) && (left.is_some() || decoder.datatype()? != Type::Break) {
        left = left.map(|left| left - 1);
        let name = decoder.str()?;
        let value = match decoder.datatype()? {
            Type::String => decoder.str()?.into(),
            Type::Null => {
                decoder.null()?;
                Value::Null
            }
            _ => decoder.i64()?.into(),
        };
        members.insert(name.to_owned(), value);
    }
    Ok(members)
}

/// Converts a response. Lists and objects end with a break, as the service's may.
pub(crate) fn json_to_cbor(json: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let failed = |why: String| ServiceError::serialization(format!("the answer can't be CBOR: {why}"));
    let value: Value = serde_json::from_slice(json).map_err(|error| failed(error.to_string()))?;
    let mut encoder = Encoder::new(Vec::with_capacity(json.len()));
    write(&mut encoder, &value).map_err(|error| failed(error.to_string()))?;
    Ok(encoder.into_writer())
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn write(encoder: &mut Encoder<Vec<u8>>, value: &Value) -> Written {
    match value {
        Value::Null => encoder.null()?,
        Value::Bool(value) => encoder.bool(*value)?,
        Value::String(text) => encoder.str(text)?,
        Value::Number(number) => match number.as_i64() {
            Some(number) => encoder.i64(number)?,
            None => encoder.f64(number.as_f64().unwrap_or_default())?,
        },
        Value::Array(list) => {
            encoder.begin_array()?;
            list.iter().try_for_each(|value| write(encoder, value))?;
            encoder.end()?
        }
        Value::Object(members) => {
            encoder.begin_map()?;
            for (name, value) in members {
                encoder.str(name)?;
                member(encoder, name, value)?;
            }
            encoder.end()?
        }
    };
    Ok(())
}

fn member(encoder: &mut Encoder<Vec<u8>>, name: &str, value: &Value) -> Written {
    match (name, value) {
        ("Data", Value::String(base64)) => {
            encoder.bytes(&STANDARD.decode(base64).unwrap_or_default())?;
        }
        ("ApproximateArrivalTimestamp", Value::Number(seconds)) => {
            let millis = (seconds.as_f64().unwrap_or_default() * 1000.0).round();
            encoder.tag(TIME)?.i64(millis as i64)?;
        }
        _ => write(encoder, value)?,
    }
    Ok(())
}
