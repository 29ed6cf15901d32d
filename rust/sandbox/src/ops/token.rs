//! Shard iterators and page tokens: opaque text, which only the sandbox decodes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::knobs::Listing;

/// Content of a shard iterator: a place in a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Iterator {
    pub stream_uid: u64,
    pub shard: u32,
    /// Index of the next record.
    pub index: u64,
    pub issued_ms: i64,
    pub epoch: u32,
    /// Position in the time between the previous record and this one.
    pub time_ms: i64,
    /// Number of empty responses before the iterator reaches its position.
    pub empty: u32,
}

/// Length of a usual iterator of the service, so that no client relies on short ones.
const ITERATOR_BYTES: usize = 150;
const MAGIC: u32 = 0x4b53_4202;
/// Number of bytes covered by the checksum, which follows them.
const SUMMED: usize = 48;

impl Iterator {
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(ITERATOR_BYTES);
        bytes.extend_from_slice(&MAGIC.to_be_bytes());
        bytes.extend_from_slice(&self.stream_uid.to_be_bytes());
        bytes.extend_from_slice(&self.shard.to_be_bytes());
        bytes.extend_from_slice(&self.index.to_be_bytes());
        bytes.extend_from_slice(&self.issued_ms.to_be_bytes());
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.time_ms.to_be_bytes());
        bytes.extend_from_slice(&self.empty.to_be_bytes());
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum.to_be_bytes());
        bytes.resize(ITERATOR_BYTES, 0);
        STANDARD.encode(bytes)
    }

    pub fn decode(text: &str) -> Option<Iterator> {
        let bytes = STANDARD.decode(text).ok()?;
        let bytes: &[u8; ITERATOR_BYTES] = bytes.as_slice().try_into().ok()?;
        let u32_at = |at: usize| bytes[at..].first_chunk().copied().map(u32::from_be_bytes);
        let u64_at = |at: usize| bytes[at..].first_chunk().copied().map(u64::from_be_bytes);
        if u32_at(0)? != MAGIC || u64_at(SUMMED)? != checksum(&bytes[..SUMMED]) {
            return None;
        }
        Some(Iterator {
            stream_uid: u64_at(4)?,
            shard: u32_at(12)?,
            index: u64_at(16)?,
            issued_ms: u64_at(24)? as i64,
            epoch: u32_at(32)?,
            time_ms: u64_at(36)? as i64,
            empty: u32_at(44)?,
        })
    }
}

/// FNV-1a, which detects a token that was cut or altered by accident.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, b| {
        (sum ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Content of a page token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Page {
    pub stream_uid: Option<u64>,
    /// Last name or id of the previous page.
    pub after: String,
    /// Filter of the first page.
    pub filter: Option<(String, String, f64)>,
    pub issued_ms: i64,
    /// Listing that the first page was made with.
    pub listing: Option<Listing>,
}

impl Page {
    pub fn encode(&self) -> String {
        STANDARD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    pub fn decode(text: &str) -> Option<Page> {
        serde_json::from_slice(&STANDARD.decode(text).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iterators_survive_and_damage_is_noticed() {
        let iterator = Iterator {
            stream_uid: 7,
            shard: 3,
            index: u64::MAX - 1,
            issued_ms: 1_700_000_000_123,
            epoch: 9,
            time_ms: 1_600_000_000_456,
            empty: 4,
        };
        let text = iterator.encode();
        assert_eq!(Iterator::decode(&text), Some(iterator));
        for bad in ["", "AAAA", "not base64!", &text[1..], &text.replacen('E', "F", 1)] {
            assert_eq!(Iterator::decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn pages_survive() {
        let filter = Some(("AT_TIMESTAMP".to_owned(), String::new(), 12.345));
        let page = Page {
            stream_uid: Some(1),
            after: "shardId-000000000009".into(),
            filter,
            issued_ms: 5,
            listing: Some(Listing::BeforeReshard),
        };
        assert_eq!(Page::decode(&page.encode()), Some(page));
        assert_eq!(Page::decode("garbage"), None);
    }
}
