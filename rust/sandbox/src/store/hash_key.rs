//! Hash keys: from partition keys to shards, and the division of the key space.

use md5::{Digest, Md5};

/// A shard's range of hash keys, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HashRange {
    pub start: u128,
    pub end: u128,
}

impl HashRange {
    /// Divides the key space into `count` equal ranges. Boundaries are exact (floor of i * 2^128 / count), so that 3
    /// and 6 shards share boundaries, and doubling splits every shard once.
    pub fn uniform(count: u32) -> Vec<HashRange> {
        (0..count)
            .map(|i| HashRange {
                start: boundary(i, count),
                end: if i + 1 == count {
                    u128::MAX
                } else {
                    boundary(i + 1, count) - 1
                },
            })
            .collect()
    }

    pub fn contains(&self, key: u128) -> bool {
        self.start <= key && key <= self.end
    }
}

fn boundary(i: u32, count: u32) -> u128 {
    let (i, count) = (u128::from(i), u128::from(count));
    // 2^128 = whole * count + rest, computed without a 129th bit.
    let (mut whole, mut rest) = (u128::MAX / count, u128::MAX % count + 1);
    if rest == count {
        whole = whole.wrapping_add(1);
        rest = 0;
    }
    i.wrapping_mul(whole).wrapping_add(i * rest / count)
}

/// The hash key of a partition key: its MD5 as an unsigned number, big endian.
pub(crate) fn hash_of(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

/// Reads `0|([1-9]\d{0,38})` up to 2^128 - 1.
pub(crate) fn parse_hash_key(text: &str) -> Option<u128> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    if canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_keys_hash_by_md5() {
        // md5("a") = 0cc175b9c0f1b6a831c399e269772661
        assert_eq!(hash_of("a"), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
    }

    #[test]
    fn uniform_ranges_cover_the_key_space_without_gaps() {
        for count in [1, 2, 3, 4, 5, 7, 100, 1000] {
            let ranges = HashRange::uniform(count);
            assert_eq!(ranges.len(), count as usize);
            assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (0, u128::MAX));
            assert!(ranges.windows(2).all(|w| w[0].end + 1 == w[1].start));
        }
        // The service's value for the second of three shards.
        assert_eq!(
            HashRange::uniform(3)[1].start,
            113_427_455_640_312_821_154_458_202_477_256_070_485
        );
    }

    #[test]
    fn doubling_keeps_the_boundaries() {
        let six: Vec<_> = HashRange::uniform(6).iter().map(|r| r.start).collect();
        assert!(HashRange::uniform(3).iter().all(|r| six.contains(&r.start)));
    }

    #[test]
    fn hash_keys_are_canonical_decimals() {
        assert_eq!(parse_hash_key("0"), Some(0));
        assert_eq!(parse_hash_key(&u128::MAX.to_string()), Some(u128::MAX));
        for bad in [
            "",
            "00",
            "-1",
            "+1",
            "x",
            "340282366920938463463374607431768211456",
        ] {
            assert_eq!(parse_hash_key(bad), None, "{bad}");
        }
    }
}
