//! JSON written straight into a buffer, for responses that carry records.

use std::io::Write;

/// Appends `text` as a JSON string, quotes included.
pub(crate) fn push_json_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut done = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[done..at]);
        done = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            // Writing to a Vec cannot fail.
            _ => drop(write!(out, "\\u{byte:04x}")),
        }
    }
    out.extend_from_slice(&bytes[done..]);
    out.push(b'"');
}

/// Appends a time as seconds with milliseconds as the fraction, as in awsJson.
pub(crate) fn push_seconds(out: &mut Vec<u8>, millis: i64) {
    drop(write!(
        out,
        "{}.{:03}",
        millis.div_euclid(1000),
        millis.rem_euclid(1000)
    ));
}

/// A time as seconds with milliseconds as the fraction, for responses built with `serde_json`.
pub(crate) fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_survive_a_json_parser() {
        for text in ["", "plain", "a\"b\\c", "\u{0}\u{1f}\n\t", "grün – 水", "ends\\"] {
            let mut out = Vec::new();
            push_json_string(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn times_keep_their_milliseconds() {
        for millis in [0, 1, 999, 1_000, 1_700_000_000_007, 1_700_000_000_120] {
            let mut out = Vec::new();
            push_seconds(&mut out, millis);
            let back: f64 = String::from_utf8(out).unwrap().parse().unwrap();
            assert_eq!((back * 1000.0).round() as i64, millis);
        }
    }
}
