//! From the wire into columns: decodes an answer's records straight from its body, without an object per record.
//!
//! The AWS SDK accepts a client's own protocol. [`ColumnsProtocol`] is the SDK's, except for the records in the
//! answers to GetRecords and in the events of SubscribeToShard: those go to [`DecodedRecords`], and the SDK's output
//! has an empty list instead. A body that is unusual in any way is left to the SDK's decoder as a whole.
//!
//! GetRecords also works in CBOR, which the SDK doesn't support. The body of PutRecords is written from the sink's
//! entries.

mod cbor;
mod json;
pub mod measured;
mod protocol;
mod put;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeSerializationInterceptorContextRef;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use parking_lot::Mutex;

pub(super) use self::protocol::ColumnsProtocol;
pub(super) use self::put::PutBody;
use super::columns::RecordColumns;
use crate::options::WireProtocol;

/// Protocol of a call and receiver of its records: an interceptor of GetRecords, or an argument of
/// [`ColumnsProtocol::of_events`] for all events of a subscription. A call without it is answered in JSON, with the
/// records in the SDK's output.
#[derive(Clone, Debug, Default)]
pub(super) struct DecodedRecords {
    /// Requested protocol of GetRecords. An answer is decoded by its own content type.
    protocol: WireProtocol,
    records: Arc<Mutex<Option<RecordColumns>>>,
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
        self.records.lock().take()
    }

    fn set(&self, records: Option<RecordColumns>) {
        *self.records.lock() = records;
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
}
