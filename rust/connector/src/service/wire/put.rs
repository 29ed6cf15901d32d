//! The body of PutRecords, written from the entries without an object of the SDK's for each of them.

use std::fmt;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeSerializationInterceptorContextRef;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use base64_simd::STANDARD;
use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};
use crate::options::StreamId;
use crate::service::PutEntry;

/// Bytes of an entry's member names and punctuation, with room for the escapes of usual keys.
const AROUND_AN_ENTRY: usize = 96;

/// The whole JSON body of a PutRecords request: an interceptor of the call, whose SDK input has no records. Further
/// tries of the request share it.
#[derive(Clone)]
pub(in crate::service) struct PutBody(Bytes);

/// Without the records.
impl fmt::Debug for PutBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PutBody({} bytes)", self.0.len())
    }
}

impl PutBody {
    /// Puts the entries into a stream, which is named by its ARN where that is known.
    ///
    /// # Errors
    /// `Internal` if a key can't be written as JSON.
    pub fn of(entries: &[PutEntry], stream: &StreamId) -> Result<Self> {
        let size: usize = entries
            .iter()
            .map(|entry| {
                let keys = [&entry.partition_key, &entry.explicit_hash_key];
                let keys: usize = keys.into_iter().flatten().map(String::len).sum();
                STANDARD.encoded_length(entry.data.len()) + keys + AROUND_AN_ENTRY
            })
            .sum();
        let mut body = Vec::with_capacity(size + AROUND_AN_ENTRY);
        body.extend_from_slice(br#"{"Records":["#);
        for (index, entry) in entries.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(br#"{"Data":""#);
            STANDARD.encode_append(&entry.data, &mut body);
            body.push(b'"');
            member(&mut body, "PartitionKey", entry.partition_key.as_deref())?;
            member(&mut body, "ExplicitHashKey", entry.explicit_hash_key.as_deref())?;
            body.push(b'}');
        }
        body.push(b']');
        let name = stream.arn.is_none().then_some(stream.name.as_str());
        member(&mut body, "StreamName", name)?;
        member(&mut body, "StreamARN", stream.arn.as_deref())?;
        body.push(b'}');
        Ok(Self(body.into()))
    }

    pub(super) fn bytes(&self) -> Bytes {
        self.0.clone()
    }
}

/// Appends a member that has a value to an object that has others.
fn member(body: &mut Vec<u8>, name: &str, value: Option<&str>) -> Result<()> {
    let Some(value) = value else { return Ok(()) };
    body.extend_from_slice(b",\"");
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(b"\":");
    serde_json::to_writer(body, value).map_err(|error| {
        Error::new(
            ErrorKind::Internal,
            format!("{name} of a PutRecords request can't be written: {error}"),
        )
    })
}

impl Storable for PutBody {
    type Storer = StoreReplace<Self>;
}

impl Intercept for PutBody {
    fn name(&self) -> &'static str {
        "PutBody"
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
