//! Sequence numbers: 188-bit numbers written as 56 decimal digits, with the service's layout.
//!
//! From the top: the digit 2, the shard's creation (36 bits of seconds), the low 4 bits of the shard's index, the
//! record's index in its shard (64 bits), 8 spare bits, the record's second (36 bits), the shard's index (32 bits),
//! the version 2 (4 bits). Numbers therefore grow with the record's index inside a shard. A child's numbers are
//! greater than its parents', because its creation here is at least a second after theirs.

use std::fmt;

const CHUNK: u128 = 10_000_000_000_000_000_000; // 10^19
const SECONDS: u64 = (1 << 36) - 1;

/// A record's place in a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SequenceNumber {
    high: u64,
    low: u128,
}

impl SequenceNumber {
    /// Number of digits of every sequence number.
    pub const DIGITS: usize = 56;

    pub fn new(shard_created_s: u64, shard: u32, index: u64, at_s: u64) -> SequenceNumber {
        SequenceNumber {
            high: 2 << 56 | (shard_created_s & SECONDS) << 20 | u64::from(shard & 0xf) << 16 | index >> 48,
            low: u128::from(index) << 80 | u128::from(at_s & SECONDS) << 36 | u128::from(shard) << 4 | 2,
        }
    }

    /// The place behind the record `index` at the time `at_s`: greater than that record's number, less than the next
    /// one's, and growing with time even without new records.
    pub fn behind(shard_created_s: u64, shard: u32, index: u64, at_s: u64) -> SequenceNumber {
        let record = SequenceNumber::new(shard_created_s, shard, index, at_s);
        SequenceNumber {
            low: record.low | 1 << 72,
            ..record
        }
    }

    /// Whether this is a place behind a record. No record has such a number.
    pub fn is_behind(&self) -> bool {
        self.low >> 72 & 0xff != 0
    }

    pub fn shard_created_s(&self) -> u64 {
        self.high >> 20 & SECONDS
    }

    pub fn shard(&self) -> u32 {
        (self.low >> 4) as u32
    }

    pub fn index(&self) -> u64 {
        (self.high & 0xffff) << 48 | (self.low >> 80) as u64
    }

    /// The digits, written without an allocation.
    pub fn digits(&self) -> [u8; Self::DIGITS] {
        let mut limbs = [self.high, (self.low >> 64) as u64, self.low as u64];
        let mut out = [b'0'; Self::DIGITS];
        let mut end = Self::DIGITS;
        while end > 0 {
            let mut rest = 0_u128;
            for limb in &mut limbs {
                let part = rest << 64 | u128::from(*limb);
                *limb = (part / CHUNK) as u64;
                rest = part % CHUNK;
            }
            let start = end.saturating_sub(19);
            let mut chunk = rest as u64;
            for digit in out[start..end].iter_mut().rev() {
                *digit = b'0' + (chunk % 10) as u8;
                chunk /= 10;
            }
            end = start;
        }
        out
    }

    /// Parses the output of [`digits`](Self::digits); `None` for text that no shard can have issued.
    pub fn parse(text: &str) -> Option<SequenceNumber> {
        if text.len() != Self::DIGITS {
            return None;
        }
        let mut limbs = [0_u64; 3];
        for byte in text.bytes() {
            let mut carry = u128::from(byte.checked_sub(b'0').filter(|d| *d <= 9)?);
            for limb in limbs.iter_mut().rev() {
                let part = u128::from(*limb) * 10 + carry;
                *limb = part as u64;
                carry = part >> 64;
            }
        }
        let number = SequenceNumber {
            high: limbs[0],
            low: u128::from(limbs[1]) << 64 | u128::from(limbs[2]),
        };
        (number.high >> 56 == 2 && number.low & 0xf == 2).then_some(number)
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.digits()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_like_the_service() {
        let text = SequenceNumber::new(1_700_000_000, 0, 0, 1_700_000_000).to_string();
        assert_eq!(text.len(), 56);
        assert!(text.starts_with("49"), "{text}");
    }

    #[test]
    fn survives_the_decimal_form() {
        for (created, shard, index) in [(0, 0, 0), (1_700_000_000, 17, 1), (SECONDS, u32::MAX, u64::MAX)] {
            let number = SequenceNumber::new(created, shard, index, 1_800_000_000);
            let back = SequenceNumber::parse(&number.to_string()).unwrap();
            assert_eq!(back, number);
            assert_eq!(
                (back.shard_created_s(), back.shard(), back.index()),
                (created, shard, index)
            );
        }
    }

    #[test]
    fn order_of_the_text_is_the_order_of_the_records() {
        let number = |created, index, at| SequenceNumber::new(created, 3, index, at).to_string();
        assert!(number(10, 1, 99) < number(10, 2, 50));
        assert!(number(10, u64::MAX >> 1, 99) < number(11, 0, 11));
    }

    #[test]
    fn places_behind_a_record_lie_before_the_next() {
        let behind = |at| SequenceNumber::behind(10, 3, 7, at);
        let record = |index| SequenceNumber::new(10, 3, index, 50);
        assert!(record(7) < behind(50) && behind(50) < behind(51) && behind(51) < record(8));
        assert_eq!((behind(50).index(), behind(50).is_behind()), (7, true));
        assert!(!record(7).is_behind());
    }

    #[test]
    fn refuses_what_no_shard_gave() {
        for bad in [
            "",
            "0",
            "1",
            "abc",
            &"1".repeat(56),
            &"9".repeat(56),
            &"4".repeat(57),
        ] {
            assert_eq!(SequenceNumber::parse(bad), None, "{bad}");
        }
    }
}
