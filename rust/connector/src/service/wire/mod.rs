//! From the wire into columns: records are decoded from an answer's body without an object for each of them.
//!
//! The AWS SDK lets a client bring its protocol. [`ColumnsProtocol`] is the SDK's own one but for the records in the
//! answers to GetRecords and in the events of SubscribeToShard: those go to [`DecodedRecords`], and the SDK's output
//! has an empty list instead. A body that is unusual in any way is left to the SDK's decoder as a whole.
//!
//! GetRecords can also be asked and answered in CBOR, which the SDK doesn't know. The body of PutRecords is written from
//! the sink's entries.

mod cbor;
mod json;
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

/// The protocol of a call, and the records of its answer, for whoever made the call: an interceptor of GetRecords,
/// and for all events of a subscription given to [`ColumnsProtocol::of_events`]. A call without it is
/// answered in JSON, and gets the records in the SDK's output.
#[derive(Clone, Debug, Default)]
pub(super) struct DecodedRecords {
    /// What GetRecords asks in, and wants to be answered in. Answers are read by their own content type.
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

    /// The records of the answer or event that was decoded last; none if they are in the SDK's output.
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
