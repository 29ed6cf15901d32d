//! The SDK's JSON protocol, with the records taken apart.

use std::sync::Arc;

use aws_sdk_kinesis::operation::get_records::GetRecords;
use aws_sdk_kinesis::types::SubscribeToShardEvent;
use aws_smithy_json::codec::{JsonCodec, JsonCodecSettings, JsonSerializer};
use aws_smithy_json::protocol::aws_json_rpc::AwsJsonRpcProtocol;
use aws_smithy_runtime_api::http::{Request, Response};
use aws_smithy_schema::codec::{Codec, DynCodec};
use aws_smithy_schema::protocol::ClientProtocolInner;
use aws_smithy_schema::serde::{SerdeError, SerializableStruct, ShapeDeserializer};
use aws_smithy_schema::{Schema, ShapeId};
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::Format;
use aws_smithy_types::endpoint::Endpoint;
use aws_smithy_types::error::metadata::Builder as MetadataBuilder;
use aws_smithy_types::{BigDecimal, BigInteger, Blob, DateTime, Document};

use super::{DecodedRecords, json};

const NAMESPACE: &str = "com.amazonaws.kinesis";

/// The protocol that the SDK's clients have by themselves.
pub(super) fn stock_protocol() -> AwsJsonRpcProtocol {
    AwsJsonRpcProtocol::aws_json_1_1().with_default_namespace(NAMESPACE)
}

/// That protocol's codec.
pub(super) fn stock_codec() -> JsonCodec {
    let settings = JsonCodecSettings::builder()
        .use_json_name(false)
        .default_timestamp_format(Format::EpochSeconds)
        .default_namespace(NAMESPACE);
    JsonCodec::new(settings.build())
}

/// Gives the records of answers to [`DecodedRecords`] where there is one, and is the SDK's JSON protocol otherwise.
#[derive(Debug)]
pub(in crate::service) struct ColumnsProtocol {
    stock: AwsJsonRpcProtocol,
    codec: Arc<JsonCodec>,
    events: Option<EventCodec>,
}

impl ColumnsProtocol {
    /// Of a client. Its calls of GetRecords have [`DecodedRecords`] as an interceptor.
    pub fn new() -> Self {
        Self {
            stock: stock_protocol(),
            codec: Arc::new(stock_codec()),
            events: None,
        }
    }

    /// Of one subscription, whose events are decoded one at a time.
    pub fn of_events(records: DecodedRecords) -> Self {
        let protocol = Self::new();
        let codec = Arc::clone(&protocol.codec);
        Self {
            events: Some(EventCodec { codec, records }),
            ..protocol
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
        self.stock.serialize_request(input, schema, endpoint, cfg)
    }

    fn deserialize_response<'a>(
        &self,
        response: &'a Response,
        schema: &Schema<'_>,
        cfg: &'a ConfigBag,
    ) -> Result<Box<dyn ShapeDeserializer + 'a>, SerdeError> {
        let whole = self.stock.deserialize_response(response, schema, cfg)?;
        Ok(match cfg.load::<DecodedRecords>() {
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
        self.stock.parse_error_metadata(response, cfg)
    }

    fn deserialize_error_response<'a>(
        &self,
        response: &'a Response,
        cfg: &'a ConfigBag,
    ) -> Result<Box<dyn ShapeDeserializer + 'a>, SerdeError> {
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

/// True for what has records that can be decoded apart.
fn has_records(schema: &Schema<'_>) -> bool {
    let id = schema.shape_id();
    id == GetRecords::OUTPUT_SCHEMA.shape_id() || id == SubscribeToShardEvent::SCHEMA.shape_id()
}

/// Reads a structure that has records without them; anything else as it is.
struct RecordsApart<'a> {
    body: &'a [u8],
    /// The SDK's own way to read the body.
    whole: Box<dyn ShapeDeserializer + 'a>,
    codec: Arc<JsonCodec>,
    records: DecodedRecords,
}

type Member<'m> = &'m mut dyn FnMut(&Schema<'_>, &mut dyn ShapeDeserializer) -> Result<(), SerdeError>;

impl RecordsApart<'_> {
    /// True if the structure was read, and the records were given away.
    fn read_apart(&self, schema: &Schema<'_>, member: Member<'_>) -> bool {
        let Some(apart) = json::take_apart(self.body, &self.codec) else {
            return false;
        };
        let mut lists = 0;
        let read = Codec::create_deserializer(&*self.codec, &apart.rest).read_struct(
            schema,
            &mut |schema, value| {
                lists += usize::from(schema.member_name() == Some(json::RECORDS));
                member(schema, value)
            },
        );
        // Of two lists the last one counts.
        let read = read.is_ok() && lists == 1;
        if read {
            self.records.set(Some(apart.records));
        }
        read
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
            self.records.set(None);
            if self.read_apart(schema, member) {
                return Ok(());
            }
        }
        // What was read before is read once more, and no member keeps another value.
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
