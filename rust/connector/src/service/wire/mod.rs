//! From the wire into columns: decodes an answer's records straight from its body, without an object per record.
//!
//! The AWS SDK accepts a client's own protocol. [`ColumnsProtocol`] is the SDK's, except for the records in the
//! answers to GetRecords and in the events of SubscribeToShard: those go to [`DecodedRecords`], and the SDK's output
//! has an empty list instead. An answer's records are decoded while its body arrives. A body that is unusual in any
//! way is left to the SDK's decoder as a whole.
//!
//! GetRecords also works in CBOR, which the SDK doesn't support. The body of PutRecords is written from the sink's
//! entries.

mod body;
mod cbor;
mod json;
pub mod measured;
mod protocol;
mod put;
mod split;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use aws_smithy_json::codec::JsonCodec;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, BeforeSerializationInterceptorContextRef,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use parking_lot::Mutex;

use self::body::SplitBody;
pub(super) use self::protocol::ColumnsProtocol;
pub(super) use self::put::PutBody;
use self::split::{Format, Splitter};
use super::columns::RecordColumns;
use crate::options::WireProtocol;

/// Bytes of the largest answers: at most 10 MiB of records (AWS limit of GetRecords), in base64 a third more, and the
/// other members of at most 10,000 records.
const LARGEST_ANSWER: usize = 32 << 20;

/// Protocol of a call and receiver of its records: an interceptor of GetRecords, or an argument of
/// [`ColumnsProtocol::of_events`] for all events of a subscription. A call without it is answered in JSON, with the
/// records in the SDK's output.
#[derive(Clone, Debug, Default)]
pub(super) struct DecodedRecords {
    /// Requested protocol of GetRecords. An answer is decoded by its own content type.
    protocol: WireProtocol,
    received: Arc<Mutex<Received>>,
}

#[derive(Debug, Default)]
struct Received {
    /// Codec of the client's protocol if it is [`ColumnsProtocol`], which splits answers while they arrive.
    codec: Option<Arc<JsonCodec>>,
    /// Records of the last answer or event.
    records: Option<RecordColumns>,
    /// Place of the empty list in the body from which `records` were split off.
    list_at: Option<usize>,
}

impl DecodedRecords {
    pub fn of(protocol: WireProtocol) -> Self {
        Self {
            protocol,
            ..Self::default()
        }
    }

    /// Takes the records of the last answer or event; none if they are in the SDK's output.
    pub fn take(&self) -> Option<RecordColumns> {
        let mut received = self.received.lock();
        received.list_at = None;
        received.records.take()
    }

    /// Has the call's answer split while it arrives; what is unusual in it is left to the codec.
    fn split_by(&self, codec: &Arc<JsonCodec>) {
        self.received.lock().codec = Some(Arc::clone(codec));
    }

    fn set(&self, records: Option<RecordColumns>) {
        let mut received = self.received.lock();
        (received.records, received.list_at) = (records, None);
    }

    /// Sets the records that were split off a body, in which an empty list is left at this place.
    fn set_apart(&self, records: RecordColumns, list_at: usize) {
        let mut received = self.received.lock();
        (received.records, received.list_at) = (Some(records), Some(list_at));
    }

    /// True if the records were split off the answer's body.
    fn are_apart(&self) -> bool {
        self.received.lock().list_at.is_some()
    }

    /// Puts the records back into the body from which they were split off.
    fn put_back(&self, rest: &[u8]) -> Option<Vec<u8>> {
        let mut received = self.received.lock();
        let records = received.records.take()?;
        Some(split::put_back(rest, received.list_at.take()?, &records))
    }
}

impl Storable for DecodedRecords {
    type Storer = StoreReplace<Self>;
}

impl Intercept for DecodedRecords {
    fn name(&self) -> &'static str {
        "DecodedRecords"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        cfg.interceptor_state().store_put(self.clone());
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.set(None);
        let codec = self.received.lock().codec.clone();
        let response = context.response_mut();
        let Some(codec) = codec.filter(|_| response.status().is_success()) else {
            return Ok(());
        };
        let format = match protocol::is_called_cbor(response) {
            true => Format::Cbor,
            false => Format::Json(codec),
        };
        let length = response.headers().get("content-length");
        let length = length.and_then(|length| length.parse().ok());
        // Memory is reserved by it, so an odd one must not count.
        let length = length.filter(|length| *length <= LARGEST_ANSWER);
        let original = std::mem::replace(response.body_mut(), SdkBody::taken());
        let splitter = Splitter::new(format, length);
        let body = SplitBody::new(original, splitter, self.clone());
        *response.body_mut() = SdkBody::from_body_1_x(body);
        Ok(())
    }
}
