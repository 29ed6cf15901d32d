//! Checks whether rows can be Kinesis records. Errors give a row's size and its limit, never its content.

use super::SinkRecord;
use super::batch::counted_bytes;
use crate::error::{Error, ErrorKind, Result};

/// Longest partition key, in characters (AWS limit).
const MAX_KEY_CHARACTERS: usize = 256;

/// Largest record, in bytes, that a stream can be set up for (AWS limit); the option's upper bound.
const LARGEST_RECORD_BYTES: usize = 10 * 1024 * 1024;

/// Checks all records, so that none is taken if one is invalid.
pub(super) fn validate(records: &[SinkRecord], max_record_bytes: usize, keyless: bool) -> Result<()> {
    records.iter().try_for_each(|record| {
        match &record.partition_key {
            Some(key) => partition_key(key)?,
            None if keyless => {}
            None => return Err(no_key()),
        }
        record
            .explicit_hash_key
            .as_deref()
            .map_or(Ok(()), explicit_hash_key)?;
        size(record, max_record_bytes)
    })
}

fn no_key() -> Error {
    Error::new(
        ErrorKind::InvalidRow,
        "A row has no partitionKey. Only a stream with AUTO record distribution takes such records, and this one has \
         another, or may not be asked (kinesis:DescribeStreamSummary): give such rows a key, or filter them out.",
    )
    .with("column", "partitionKey")
}

fn partition_key(key: &str) -> Result<()> {
    if key.is_empty() {
        return Err(Error::new(
            ErrorKind::InvalidRow,
            "A row's partitionKey is empty. Kinesis takes 1 to 256 characters: filter such rows out, or give them \
             a key.",
        )
        .with("column", "partitionKey"));
    }
    // The common case needs no decoding: there are no more characters than bytes.
    if key.len() > MAX_KEY_CHARACTERS {
        let characters = key.chars().count();
        if characters > MAX_KEY_CHARACTERS {
            return Err(Error::new(
                ErrorKind::InvalidRow,
                format!(
                    "A row's partitionKey has {characters} characters. Kinesis takes 1 to {MAX_KEY_CHARACTERS}: \
                     shorten the key, for example by a hash of it."
                ),
            )
            .with("column", "partitionKey"));
        }
    }
    Ok(())
}

/// Checks against the service's own pattern, `0|([1-9]\d{0,38})`, and its bound.
fn explicit_hash_key(key: &str) -> Result<()> {
    let digits = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (key == "0" || !key.starts_with('0'));
    if plain && key.parse::<u128>().is_ok() {
        return Ok(());
    }
    let why = if plain {
        "is too large a number"
    } else if digits {
        "starts with a zero"
    } else {
        "is not a decimal number"
    };
    Err(Error::new(
        ErrorKind::InvalidRow,
        format!(
            "A row's explicitHashKey ({} characters) {why}. Kinesis takes a decimal number from 0 to 2^128 - 1, \
             without sign, space or leading zeros: correct the column, or set it to null to use the partition \
             key's hash.",
            key.chars().count()
        ),
    )
    .with("column", "explicitHashKey"))
}

fn size(record: &SinkRecord, max_record_bytes: usize) -> Result<()> {
    let bytes = counted_bytes(record.partition_key.as_deref(), &record.data);
    if bytes <= max_record_bytes {
        return Ok(());
    }
    let cure = if max_record_bytes < LARGEST_RECORD_BYTES {
        format!(
            "make the record smaller, or raise kinesis.sink.maxRecordBytes (up to {LARGEST_RECORD_BYTES}) if the \
             stream is set up for larger records"
        )
    } else {
        "make the record smaller; Kinesis takes no larger ones".to_owned()
    };
    Err(Error::new(
        ErrorKind::InvalidRow,
        format!(
            "A row makes a record of {bytes} bytes ({} of data, {} of partitionKey), the limit is \
             {max_record_bytes}: {cure}.",
            record.data.len(),
            record.partition_key.as_ref().map_or(0, String::len)
        ),
    )
    .with("column", "data")
    .with("option", "kinesis.sink.maxRecordBytes"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn record(key: &str, data: usize, hash_key: Option<&str>) -> SinkRecord {
        SinkRecord {
            partition_key: Some(key.into()),
            data: Bytes::from(vec![b'x'; data]),
            explicit_hash_key: hash_key.map(Into::into),
        }
    }

    fn refusal(record: SinkRecord, limit: usize) -> Error {
        let error = validate(&[record], limit, false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRow);
        assert!(!error.is_retryable());
        error
    }

    #[test]
    fn partition_keys_have_1_to_256_characters() {
        validate(
            &[record("k", 0, None), record(&"k".repeat(256), 1, None)],
            MIB,
            false,
        )
        .unwrap();
        validate(
            &[
                record(&"é".repeat(256), 1, None),
                record(&"😀".repeat(256), 1, None),
            ],
            MIB,
            false,
        )
        .unwrap();
        assert!(refusal(record("", 1, None), MIB).message().contains("empty"));
        let error = refusal(record(&"é".repeat(257), 1, None), MIB);
        assert!(error.message().contains("257 characters"), "{error}");
        assert!(!error.to_string().contains('é'));
    }

    #[test]
    fn a_record_without_a_key_is_for_streams_that_need_none() {
        let record = SinkRecord {
            partition_key: None,
            ..record("", 10, None)
        };
        validate(std::slice::from_ref(&record), 10, true).unwrap();
        let error = refusal(record, 10);
        assert!(error.message().contains("AUTO record distribution"), "{error}");
    }

    #[test]
    fn data_may_be_empty() {
        validate(&[record("k", 0, None)], 1, false).unwrap();
    }

    #[test]
    fn explicit_hash_keys_are_decimals_below_2_to_128() {
        let largest = u128::MAX.to_string();
        for good in ["0", "1", "99", largest.as_str()] {
            validate(&[record("k", 1, Some(good))], MIB, false).unwrap();
        }
        let bad = [
            ("", "not a decimal"),
            ("+1", "not a decimal"),
            ("-1", "not a decimal"),
            (" 1", "not a decimal"),
            ("0x10", "not a decimal"),
            ("١", "not a decimal"),
            ("007", "leading zeros"),
            ("340282366920938463463374607431768211456", "too large"),
            ("9999999999999999999999999999999999999999", "too large"),
        ];
        for (key, why) in bad {
            let error = refusal(record("k", 1, Some(key)), MIB);
            assert!(error.message().contains(why), "{key}: {error}");
            assert_eq!(error.context(), [("column", "explicitHashKey".to_owned())]);
        }
    }

    #[test]
    fn the_size_limit_counts_data_and_partition_key() {
        validate(&[record("key", MIB - 3, Some("5"))], MIB, false).unwrap();
        let error = refusal(record("key", MIB - 2, None), MIB);
        for part in [
            "1048577 bytes",
            "1048574 of data",
            "3 of partitionKey",
            "1048576",
            "kinesis.sink.maxRecordBytes",
        ] {
            assert!(error.message().contains(part), "{part} in {error}");
        }
        assert!(!error.to_string().contains("xx"), "no payload");
    }

    #[test]
    fn at_the_largest_limit_the_option_is_no_cure() {
        let error = refusal(record("k", LARGEST_RECORD_BYTES, None), LARGEST_RECORD_BYTES);
        assert!(!error.message().contains("raise"), "{error}");
    }
}
