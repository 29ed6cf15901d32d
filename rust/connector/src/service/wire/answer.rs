//! Answers of GetRecords without a client around them, for benchmarks and fuzz targets.

use aws_sdk_kinesis::operation::get_records::{GetRecords, GetRecordsOutput};
use aws_smithy_runtime_api::http::{Request, Response, StatusCode};
use aws_smithy_schema::protocol::ClientProtocolInner;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use bytes::Bytes;

use super::super::Page;
use super::super::aws::page;
use super::{ColumnsProtocol, DecodedRecords};

/// Decodes answers of GetRecords as a client does.
#[doc(hidden)]
#[derive(Debug)]
pub struct AnswerDecoder(ColumnsProtocol);

impl AnswerDecoder {
    /// One for any number of answers.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(ColumnsProtocol::new())
    }

    /// The page of an answer with this content type; what is wrong with one that isn't any.
    pub fn page(&self, content_type: &'static str, body: Bytes) -> Result<Page, String> {
        read(&self.0, content_type, body)
    }
}

/// What a protocol makes of an answer.
pub(super) fn read(
    protocol: &dyn ClientProtocolInner<Request = Request, Response = Response>,
    content_type: &'static str,
    body: Bytes,
) -> Result<Page, String> {
    let records = DecodedRecords::default();
    let mut cfg = ConfigBag::base();
    cfg.interceptor_state().store_put(records.clone());
    let status = StatusCode::try_from(200_u16).map_err(|error| error.to_string())?;
    let mut response = Response::new(status, SdkBody::from(body));
    response.headers_mut().insert("content-type", content_type);
    let answer = protocol
        .deserialize_response(&response, GetRecords::OUTPUT_SCHEMA, &cfg)
        .and_then(|mut answer| GetRecordsOutput::deserialize(&mut *answer))
        .map_err(|error| error.to_string())?;
    page(answer, records.take()).map_err(|error| error.to_string())
}
