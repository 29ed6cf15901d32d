//! One stored record.

use super::SequenceNumber;
use crate::protocol::{push_json_string, push_seconds};

/// A stored record. One block of text holds the sequence number's digits, the payload in base64 as received, and the
/// partition key (empty if there is none), so that a response is made by copying.
#[derive(Debug)]
pub(crate) struct Record {
    pub arrival_ms: i64,
    data_len: u32,
    base64_len: u32,
    text: Box<str>,
}

impl Record {
    /// `data_len` is the length of the decoded payload.
    pub fn new(
        number: &SequenceNumber,
        arrival_ms: i64,
        base64: &str,
        data_len: usize,
        partition_key: &str,
    ) -> Record {
        let mut text = String::with_capacity(SequenceNumber::DIGITS + base64.len() + partition_key.len());
        // Digits are ASCII.
        text.push_str(std::str::from_utf8(&number.digits()).unwrap_or_default());
        text.push_str(base64);
        text.push_str(partition_key);
        Record {
            arrival_ms,
            data_len: data_len as u32,
            base64_len: base64.len() as u32,
            text: text.into_boxed_str(),
        }
    }

    pub fn sequence_number(&self) -> &str {
        &self.text[..SequenceNumber::DIGITS]
    }

    pub fn base64(&self) -> &str {
        &self.text[SequenceNumber::DIGITS..][..self.base64_len as usize]
    }

    pub fn partition_key(&self) -> &str {
        &self.text[SequenceNumber::DIGITS + self.base64_len as usize..]
    }

    /// Size that counts against the limits: payload and partition key.
    pub fn size(&self) -> usize {
        self.data_len as usize + self.partition_key().len()
    }

    /// Approximate length of [`push_json`](Self::push_json)'s output.
    pub fn json_len(&self) -> usize {
        self.text.len() + 128
    }

    /// Appends the record as a member of GetRecords' `Records`.
    pub fn push_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"SequenceNumber\":\"");
        out.extend_from_slice(self.sequence_number().as_bytes());
        out.extend_from_slice(b"\",\"ApproximateArrivalTimestamp\":");
        push_seconds(out, self.arrival_ms);
        out.extend_from_slice(b",\"Data\":\"");
        out.extend_from_slice(self.base64().as_bytes());
        out.push(b'"');
        if !self.partition_key().is_empty() {
            out.extend_from_slice(b",\"PartitionKey\":");
            push_json_string(out, self.partition_key());
        }
        out.extend_from_slice(b",\"EncryptionType\":\"NONE\"}");
    }
}
