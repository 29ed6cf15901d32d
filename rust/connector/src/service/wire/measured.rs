//! The decoders and the writer of bodies without a client, and the SDK's own codec for comparison: for the
//! micro-benchmarks of rust/benches.

use std::fmt::Display;
use std::sync::Arc;

use aws_sdk_kinesis::operation::get_records::{GetRecords, GetRecordsOutput};
use aws_sdk_kinesis::operation::put_records::{PutRecords, PutRecordsInput};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use aws_smithy_json::protocol::aws_json_rpc::AwsJsonRpcProtocol;
use aws_smithy_runtime_api::http::{Response, StatusCode};
use aws_smithy_schema::codec::Codec;
use aws_smithy_schema::protocol::ClientProtocol;
use aws_smithy_schema::serde::ShapeSerializer;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{ConfigBag, Layer};
use bytes::Bytes;

use super::protocol::{stock_codec, stock_protocol};
use super::split::{Format, Splitter};
use super::{ColumnsProtocol, DecodedRecords, PutBody, cbor};
use crate::error::{Error, ErrorKind, Result};
use crate::options::{StreamId, WireProtocol};
use crate::service::{Page, PutEntry, aws};

/// Content type of an answer in JSON.
const JSON: &str = "application/x-amz-json-1.1";

/// Bytes of a piece in which bodies arrive: a frame of HTTP/2 by default (RFC 9113 §4.2).
const PIECE: usize = 16 * 1024;

/// An answer to GetRecords, which can be decoded any number of times.
#[derive(Debug)]
pub struct Answer {
    content_type: &'static str,
    body: Bytes,
    format: Format,
    records: DecodedRecords,
    /// Properties of the call: the receiver of its records.
    call: ConfigBag,
    columns: ColumnsProtocol,
    stock: AwsJsonRpcProtocol,
}

impl Answer {
    /// A successful answer with this body.
    pub fn new(protocol: WireProtocol, body: Vec<u8>) -> Self {
        let (content_type, format) = match protocol {
            WireProtocol::Json => (JSON, Format::Json(Arc::new(stock_codec()))),
            WireProtocol::Cbor => (cbor::CONTENT_TYPE, Format::Cbor),
        };
        let records = DecodedRecords::of(protocol);
        let mut call = Layer::new("call");
        call.store_put(records.clone());
        Self {
            content_type,
            body: body.into(),
            format,
            records,
            call: ConfigBag::of_layers([call]),
            columns: ColumnsProtocol::new(),
            stock: stock_protocol(),
        }
    }

    /// Decodes the answer as in a read: the records from the body's pieces into columns, the rest by the SDK's codec.
    ///
    /// # Errors
    /// `Internal` if the body can't be decoded, or is so unusual that the SDK's codec decodes all of it.
    pub fn page(&self) -> Result<Page> {
        let mut splitter = Splitter::new(self.format.clone(), Some(self.body.len()));
        self.body.chunks(PIECE).for_each(|piece| splitter.add(piece));
        let apart = splitter.finish();
        let apart = apart.map_err(|_| failed("the records were left to the SDK's codec"))?;
        self.records.set_apart(apart.records, apart.list_at);
        let output = self.decoded(&self.columns, apart.rest.into())?;
        aws::page(output, self.records.take())
    }

    /// Decodes an answer in JSON with the SDK's codec alone: into an object for each record, and those into columns.
    ///
    /// # Errors
    /// `Internal` if the body can't be decoded.
    pub fn stock_page(&self) -> Result<Page> {
        aws::page(self.decoded(&self.stock, self.body.clone())?, None)
    }

    fn decoded(&self, protocol: &dyn ClientProtocol, body: Bytes) -> Result<GetRecordsOutput> {
        let status = StatusCode::try_from(200_u16).map_err(failed)?;
        let mut response = Response::new(status, SdkBody::from(body));
        response.headers_mut().insert("content-type", self.content_type);
        let mut value = protocol
            .deserialize_response(&response, GetRecords::OUTPUT_SCHEMA, &self.call)
            .map_err(failed)?;
        GetRecordsOutput::deserialize(&mut *value).map_err(failed)
    }
}

/// The body of a PutRecords request as the sink sends it.
///
/// # Errors
/// `Internal` if a key can't be written as JSON.
pub fn put_body(entries: &[PutEntry], stream: &StreamId) -> Result<Bytes> {
    PutBody::of(entries, stream).map(|body| body.bytes())
}

/// The body by the SDK's codec, from an object for each entry.
///
/// # Errors
/// `Internal` if the codec refuses the entries.
pub fn stock_put_body(entries: &[PutEntry], stream: &StreamId) -> Result<Vec<u8>> {
    let records = entries.iter().map(|entry| {
        PutRecordsRequestEntry::builder()
            .data(Blob::new(entry.data.as_ref()))
            .set_partition_key(entry.partition_key.clone())
            .set_explicit_hash_key(entry.explicit_hash_key.clone())
            .build()
            .map_err(failed)
    });
    let input = PutRecordsInput::builder()
        .set_records(Some(records.collect::<Result<_>>()?))
        .set_stream_name(stream.arn.is_none().then(|| stream.name.clone()))
        .set_stream_arn(stream.arn.clone())
        .build()
        .map_err(failed)?;
    let mut body = Codec::create_serializer(&stock_codec());
    body.write_struct(PutRecords::INPUT_SCHEMA, &input)
        .map_err(failed)?;
    Ok(body.finish())
}

fn failed(error: impl Display) -> Error {
    Error::new(ErrorKind::Internal, error.to_string())
}
