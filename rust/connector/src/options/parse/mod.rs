//! Parsers of values: from a user's text to its meaning. A refusal has the reason only; the caller, which has the
//! row, adds the key and the allowed values.

mod arn;
mod endpoint;
mod position;

pub(super) use arn::{StreamArn, consumer_arn, role_arn, stream_arn};
pub(super) use endpoint::{Endpoint, endpoint, region_of_host, region_of_sts_host};
pub(super) use position::{ending_position, starting_position, starting_positions};
use std::time::Duration;

/// The reason why a value is refused.
pub(super) type Refusal = String;

/// A whole number within bounds.
pub(super) fn whole(text: &str, min: u64, max: u64) -> Result<u64, Refusal> {
    let number = digits(text).ok_or("it is not a whole number")?;
    within(number, min, max)
}

/// A number of bytes; the suffixes are binary, as Spark's are.
pub(super) fn bytes(text: &str, min: u64, max: u64) -> Result<u64, Refusal> {
    let (number, suffix) = split_suffix(text);
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(format!("{suffix:?} is not a suffix")),
    };
    let number = digits(number).ok_or("it is not a number of bytes")?;
    let bytes = number.checked_mul(1 << shift).ok_or("it is too large")?;
    within(bytes, min, max)
}

/// A time with a suffix. A bare number is refused: Spark reads it as milliseconds, people as seconds.
pub(super) fn time(text: &str, min_ms: u64, max_ms: u64) -> Result<Duration, Refusal> {
    let (number, suffix) = split_suffix(text);
    let factor = match suffix.to_ascii_lowercase().as_str() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "" => return Err("it has no suffix".to_owned()),
        _ => return Err(format!("{suffix:?} is not a suffix")),
    };
    let number = digits(number).ok_or("it is not a time")?;
    let millis = number.checked_mul(factor).ok_or("it is too long")?;
    within(millis, min_ms, max_ms).map(Duration::from_millis)
}

/// `true` or `false`, in any case.
pub(super) fn flag(text: &str) -> Result<bool, Refusal> {
    if text.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if text.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(String::new())
    }
}

/// The word of the list that equals the text in any case, in the list's spelling.
pub(super) fn one_of(text: &str, words: &[&'static str]) -> Result<&'static str, Refusal> {
    words
        .iter()
        .find(|word| word.eq_ignore_ascii_case(text))
        .copied()
        .ok_or_else(String::new)
}

/// A name of a stream or consumer. The limits are the service's (CreateStream, RegisterStreamConsumer: 1 to 128 of
/// `[a-zA-Z0-9_.-]`).
pub(super) fn resource_name(text: &str) -> Result<String, Refusal> {
    made_of(text, 1, 128, "_.-")
}

/// A region's name. Only its characters are checked: AWS adds regions, and local services have their own.
pub(super) fn region(text: &str) -> Result<String, Refusal> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        Err(String::new())
    }
}

/// Any text.
pub(super) fn any(text: &str) -> Result<String, Refusal> {
    Ok(text.to_owned())
}

/// Any text without white space.
pub(super) fn no_white_space(text: &str) -> Result<String, Refusal> {
    if text.contains(char::is_whitespace) {
        Err(String::new())
    } else {
        Ok(text.to_owned())
    }
}

/// A class's full name in the JVM's spelling: parts of letters, digits, `_` and `$`, none of which begins with a
/// digit.
pub(super) fn class_name(text: &str) -> Result<String, Refusal> {
    let part = |part: &str| {
        !part.starts_with(|c: char| c.is_numeric())
            && !part.is_empty()
            && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$')
    };
    match text.split('.').all(part) {
        true => Ok(text.to_owned()),
        false => Err(String::new()),
    }
}

/// A text of `min` to `max` characters: ASCII letters, digits, and the given signs.
pub(super) fn made_of(text: &str, min: usize, max: usize, signs: &str) -> Result<String, Refusal> {
    let length = text.chars().count();
    if let Some(bad) = text
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !signs.contains(*c))
    {
        return Err(format!("it contains {bad:?}"));
    }
    if length < min || length > max {
        return Err(format!(
            "it has {length} character{}",
            if length == 1 { "" } else { "s" }
        ));
    }
    Ok(text.to_owned())
}

/// A number of digits only, without a sign; none if there are too many.
fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

fn split_suffix(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    text.split_at(end)
}

fn within(number: u64, min: u64, max: u64) -> Result<u64, Refusal> {
    if number < min {
        Err("it is too small".to_owned())
    } else if number > max {
        Err("it is too large".to_owned())
    } else {
        Ok(number)
    }
}
