//! The SDK's JSON protocol with separate decoding of records.

use std::sync::Arc;

use aws_sdk_kinesis::operation::get_records::GetRecords;
use aws_sdk_kinesis::operation::put_records::PutRecords;
use aws_sdk_kinesis::types::SubscribeToShardEvent;
use aws_smithy_json::codec::{JsonCodec, JsonCodecSettings, JsonSerializer};
use aws_smithy_json::protocol::aws_json_rpc::AwsJsonRpcProtocol;
use aws_smithy_runtime_api::http::{Request, Response};
use aws_smithy_schema::codec::{Codec, DynCodec};
use aws_smithy_schema::protocol::ClientProtocolInner;
use aws_smithy_schema::serde::{SerdeError, SerializableStruct, ShapeDeserializer};
use aws_smithy_schema::{Schema, ShapeId};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::Format;
use aws_smithy_types::endpoint::Endpoint;
use aws_smithy_types::error::metadata::Builder as MetadataBuilder;
use aws_smithy_types::{BigDecimal, BigInteger, Blob, DateTime, Document};
use bytes::Bytes;

use super::{DecodedRecords, PutBody, cbor, json, split};
use crate::options::WireProtocol;

const NAMESPACE: &str = "com.amazonaws.kinesis";

/// The default protocol of the SDK's clients.
pub(super) fn stock_protocol() -> AwsJsonRpcProtocol {
    AwsJsonRpcProtocol::aws_json_1_1().with_default_namespace(NAMESPACE)
}

/// Codec of [`stock_protocol`].
pub(super) fn stock_codec() -> JsonCodec {
    let settings = JsonCodecSettings::builder()
        .use_json_name(false)
        .default_timestamp_format(Format::EpochSeconds)
        .default_namespace(NAMESPACE);
    JsonCodec::new(settings.build())
}

/// The SDK's JSON protocol, except that calls with [`DecodedRecords`] get their records there, in CBOR if requested,
/// and that the body of PutRecords is the call's [`PutBody`].
#[derive(Debug)]
pub(in crate::service) struct ColumnsProtocol {
    stock: AwsJsonRpcProtocol,
    codec: Arc<JsonCodec>,
    events: Option<EventCodec>,
}

impl ColumnsProtocol {
    /// For a client, whose GetRecords calls have [`DecodedRecords`] as an interceptor.
    pub fn new() -> Self {
        Self {
            stock: stock_protocol(),
            codec: Arc::new(stock_codec()),
            events: None,
        }
    }

    /// For one subscription, whose events are decoded one at a time.
    pub fn of_events(records: DecodedRecords) -> Self {
        let protocol = Self::new();
        let codec = Arc::clone(&protocol.codec);
        Self {
            events: Some(EventCodec { codec, records }),
            ..protocol
        }
    }

    /// Decodes an answer in CBOR; its records go to `records` if present.
    fn decoded_cbor(&self, response: &Response, records: Option<&DecodedRecords>) -> FromCbor {
        let body = response.body().bytes().unwrap_or_default();
        let json = match records {
            // An empty body has no members, as in JSON.
            _ if body.is_empty() => Ok(Vec::new()),
            None => cbor::to_json(body),
            Some(records) => cbor::take_apart(body).map(|apart| {
                if !records.are_apart() {
                    records.set(Some(apart.records));
                }
                apart.rest
            }),
        };
        FromCbor {
            json: json.map_err(|error| format!("not the CBOR that it should be: {error}")),
            codec: Arc::clone(&self.codec),
        }
    }
}

impl ClientProtocolInner for ColumnsProtocol {
    type Request = Request;
    type Response = Response;

    fn protocol_id(&self) -> &ShapeId<'static> {
        self.stock.protocol_id()
    }

    fn serialize_request(
        &self,
        input: &dyn SerializableStruct,
        schema: &Schema<'_>,
        endpoint: &str,
        cfg: &ConfigBag,
    ) -> Result<Request, SerdeError> {
        let mut request = self.stock.serialize_request(input, schema, endpoint, cfg)?;
        let operation = schema.shape_id();
        if operation == PutRecords::INPUT_SCHEMA.shape_id() {
            if let Some(body) = cfg.load::<PutBody>() {
                set_body(&mut request, body.bytes());
            }
            return Ok(request);
        }
        let records = cfg.load::<DecodedRecords>();
        let records = records.filter(|_| operation == GetRecords::INPUT_SCHEMA.shape_id());
        if let Some(records) = records {
            records.split_by(&self.codec);
        }
        if records.is_some_and(|records| records.protocol == WireProtocol::Cbor) {
            let body = request.body().bytes().and_then(cbor::request);
            let body = body.ok_or_else(|| SerdeError::unsupported("a request in CBOR with such a member"))?;
            request.headers_mut().insert(CONTENT_TYPE, cbor::CONTENT_TYPE);
            set_body(&mut request, body.into());
        }
        Ok(request)
    }

    fn deserialize_response<'a>(
        &self,
        response: &'a Response,
        schema: &Schema<'_>,
        cfg: &'a ConfigBag,
    ) -> Result<Box<dyn ShapeDeserializer + 'a>, SerdeError> {
        let records = cfg.load::<DecodedRecords>();
        if is_cbor(response) {
            let records = records.filter(|_| has_records(schema));
            if records.is_none() {
                // Other calls never request CBOR, and the SDK's own records would lack payloads.
                return Err(SerdeError::unsupported("an answer in CBOR to a request in JSON"));
            }
            return Ok(Box::new(self.decoded_cbor(response, records)));
        }
        let whole = self.stock.deserialize_response(response, schema, cfg)?;
        Ok(match records {
            Some(records) if has_records(schema) => Box::new(RecordsApart {
                body: response.body().bytes().unwrap_or_default(),
                whole,
                codec: Arc::clone(&self.codec),
                records: records.clone(),
            }),
            _ => whole,
        })
    }

    fn parse_error_metadata(
        &self,
        response: &Response,
        cfg: &ConfigBag,
    ) -> Result<MetadataBuilder, SerdeError> {
        if !is_cbor(response) {
            return self.stock.parse_error_metadata(response, cfg);
        }
        // The error may also be in a header.
        let body = cbor::to_json(response.body().bytes().unwrap_or_default());
        let body = body.unwrap_or_else(|_| b"{}".to_vec());
        let mut json = Response::new(response.status(), SdkBody::from(body));
        for (name, value) in response.headers() {
            json.headers_mut()
                .try_append(name.to_owned(), value.to_owned())
                .map_err(|error| SerdeError::invalid_input(error.to_string()))?;
        }
        self.stock.parse_error_metadata(&json, cfg)
    }

    fn deserialize_error_response<'a>(
        &self,
        response: &'a Response,
        cfg: &'a ConfigBag,
    ) -> Result<Box<dyn ShapeDeserializer + 'a>, SerdeError> {
        if is_cbor(response) {
            return Ok(Box::new(self.decoded_cbor(response, None)));
        }
        self.stock.deserialize_error_response(response, cfg)
    }

    fn update_endpoint(
        &self,
        request: &mut Request,
        endpoint: &Endpoint,
        cfg: &ConfigBag,
    ) -> Result<(), SerdeError> {
        self.stock.update_endpoint(request, endpoint, cfg)
    }

    fn payload_codec(&self) -> Option<&dyn DynCodec> {
        match &self.events {
            Some(events) => Some(events),
            None => self.stock.payload_codec(),
        }
    }

    fn event_stream_media_type(&self) -> Option<&str> {
        self.stock.event_stream_media_type()
    }

    fn parse_event_stream_error_metadata(&self, payload: &[u8]) -> Result<MetadataBuilder, SerdeError> {
        self.stock.parse_event_stream_error_metadata(payload)
    }
}

/// Decodes the payloads of a subscription's events.
#[derive(Debug)]
struct EventCodec {
    codec: Arc<JsonCodec>,
    records: DecodedRecords,
}

impl Codec for EventCodec {
    type Serializer = JsonSerializer;
    type Deserializer<'a> = RecordsApart<'a>;

    fn create_serializer(&self) -> JsonSerializer {
        Codec::create_serializer(&*self.codec)
    }

    fn create_deserializer<'a>(&self, input: &'a [u8]) -> RecordsApart<'a> {
        RecordsApart {
            body: input,
            whole: DynCodec::create_deserializer(&*self.codec, input),
            codec: Arc::clone(&self.codec),
            records: self.records.clone(),
        }
    }
}

const CONTENT_TYPE: &str = "content-type";

fn set_body(request: &mut Request, body: Bytes) {
    let length = body.len().to_string();
    request.headers_mut().insert("content-length", length);
    *request.body_mut() = SdkBody::from(body);
}

/// True for an answer whose header says that it is in CBOR.
pub(super) fn is_called_cbor(response: &Response) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE);
    content_type.is_some_and(|content_type| content_type.starts_with(cbor::CONTENT_TYPE))
}

/// True for an answer in CBOR. A body that begins like JSON, as no CBOR read here does, counts as JSON despite its
/// header.
fn is_cbor(response: &Response) -> bool {
    is_called_cbor(response) && !response.body().bytes().unwrap_or_default().starts_with(b"{")
}

/// True for structures with records that can be decoded separately.
fn has_records(schema: &Schema<'_>) -> bool {
    let id = schema.shape_id();
    id == GetRecords::OUTPUT_SCHEMA.shape_id() || id == SubscribeToShardEvent::SCHEMA.shape_id()
}

/// Reads a structure without its records if it has any, and anything else unchanged.
struct RecordsApart<'a> {
    body: &'a [u8],
    /// The SDK's own deserializer of the body.
    whole: Box<dyn ShapeDeserializer + 'a>,
    codec: Arc<JsonCodec>,
    records: DecodedRecords,
}

type Member<'m> = &'m mut dyn FnMut(&Schema<'_>, &mut dyn ShapeDeserializer) -> Result<(), SerdeError>;

impl RecordsApart<'_> {
    /// True if the structure was read and its records were delivered.
    fn read_apart(&self, schema: &Schema<'_>, member: Member<'_>) -> bool {
        self.records.set(None);
        let Some(apart) = split::take_apart(self.body, &self.codec) else {
            return false;
        };
        let read = self.has_one_list(&apart.rest, schema, member);
        if read {
            self.records.set(Some(apart.records));
        }
        read
    }

    /// Reads a structure whose records were split off while it arrived.
    fn read_rest(&self, schema: &Schema<'_>, member: Member<'_>) -> Result<(), SerdeError> {
        if self.has_one_list(self.body, schema, member) {
            return Ok(());
        }
        let whole = self.records.put_back(self.body).unwrap_or_default();
        Codec::create_deserializer(&*self.codec, &whole).read_struct(schema, member)
    }

    /// True if the structure was read and has one list of records. With two lists the last one counts, which the
    /// SDK's decoder gets right.
    fn has_one_list(&self, body: &[u8], schema: &Schema<'_>, member: Member<'_>) -> bool {
        let mut lists = 0;
        let read =
            Codec::create_deserializer(&*self.codec, body).read_struct(schema, &mut |schema, value| {
                lists += usize::from(schema.member_name() == Some(json::RECORDS));
                member(schema, value)
            });
        read.is_ok() && lists == 1
    }
}

/// Reads a structure from CBOR; the SDK requests nothing else.
struct FromCbor {
    json: Result<Vec<u8>, String>,
    codec: Arc<JsonCodec>,
}

macro_rules! unsupported {
    ($($read:ident -> $value:ty),*) => {
        $(fn $read(&mut self, _: &Schema<'_>) -> Result<$value, SerdeError> {
            Err(SerdeError::unsupported("not a structure"))
        })*
    };
}

impl ShapeDeserializer for FromCbor {
    fn read_struct(&mut self, schema: &Schema<'_>, member: Member<'_>) -> Result<(), SerdeError> {
        match &self.json {
            Ok(json) => Codec::create_deserializer(&*self.codec, json).read_struct(schema, member),
            Err(error) => Err(SerdeError::invalid_input(error)),
        }
    }

    fn read_list(
        &mut self,
        _: &Schema<'_>,
        _: &mut dyn FnMut(&mut dyn ShapeDeserializer) -> Result<(), SerdeError>,
    ) -> Result<(), SerdeError> {
        Err(SerdeError::unsupported("not a structure"))
    }

    fn read_map(
        &mut self,
        _: &Schema<'_>,
        _: &mut dyn FnMut(String, &mut dyn ShapeDeserializer) -> Result<(), SerdeError>,
    ) -> Result<(), SerdeError> {
        Err(SerdeError::unsupported("not a structure"))
    }

    unsupported!(
        read_boolean -> bool, read_byte -> i8, read_short -> i16, read_integer -> i32, read_long -> i64,
        read_float -> f32, read_double -> f64, read_big_integer -> BigInteger, read_big_decimal -> BigDecimal,
        read_string -> String, read_blob -> Blob, read_timestamp -> DateTime, read_document -> Document
    );

    fn is_null(&self) -> bool {
        false
    }

    fn container_size(&self) -> Option<usize> {
        None
    }
}

macro_rules! as_a_whole {
    ($($read:ident -> $value:ty),*) => {
        $(fn $read(&mut self, schema: &Schema<'_>) -> Result<$value, SerdeError> {
            self.whole.$read(schema)
        })*
    };
}

impl ShapeDeserializer for RecordsApart<'_> {
    fn read_struct(&mut self, schema: &Schema<'_>, member: Member<'_>) -> Result<(), SerdeError> {
        if has_records(schema) {
            if self.records.are_apart() {
                return self.read_rest(schema, member);
            }
            if self.read_apart(schema, member) {
                return Ok(());
            }
        }
        // Rereads all members, which overwrites what was read before.
        self.whole.read_struct(schema, member)
    }

    fn read_list(
        &mut self,
        schema: &Schema<'_>,
        element: &mut dyn FnMut(&mut dyn ShapeDeserializer) -> Result<(), SerdeError>,
    ) -> Result<(), SerdeError> {
        self.whole.read_list(schema, element)
    }

    fn read_map(
        &mut self,
        schema: &Schema<'_>,
        entry: &mut dyn FnMut(String, &mut dyn ShapeDeserializer) -> Result<(), SerdeError>,
    ) -> Result<(), SerdeError> {
        self.whole.read_map(schema, entry)
    }

    as_a_whole!(
        read_boolean -> bool, read_byte -> i8, read_short -> i16, read_integer -> i32, read_long -> i64,
        read_float -> f32, read_double -> f64, read_big_integer -> BigInteger, read_big_decimal -> BigDecimal,
        read_string -> String, read_blob -> Blob, read_timestamp -> DateTime, read_document -> Document
    );

    fn is_null(&self) -> bool {
        self.whole.is_null()
    }

    fn read_null(&mut self) -> Result<(), SerdeError> {
        self.whole.read_null()
    }

    fn skip_value(&mut self) -> Result<(), SerdeError> {
        self.whole.skip_value()
    }

    fn container_size(&self) -> Option<usize> {
        self.whole.container_size()
    }
}
