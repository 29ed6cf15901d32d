//! The options as a user wrote them, and how they are read.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::parse::{self, Refusal};
use super::spec::{Kind, OptionSpec, Support, User, Users};
use super::table;
use super::types::{HIDDEN, RetryOptions};
use crate::error::{Error, ErrorKind, Result};

const PREFIX: &str = "kinesis.";
const INTERNAL_PREFIX: &str = "kinesis.internal.";
/// Similarity to a known key, without their common prefix, from which an unknown key counts as a typo of it; 1 is the
/// same key.
const NEAR: f64 = 0.6;
/// Maximum length of a refused value in an error message, in characters.
const SHOWN: usize = 256;

/// A user's `kinesis.*` options. Keys are case-insensitive; all other keys are Spark's and are left out. `Debug`
/// shows neither secret values nor values of unknown keys.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, serde_json::Value>")]
pub struct RawOptions {
    /// Values by their keys in lower case.
    given: BTreeMap<String, Entry>,
    /// Keys that lack only the prefix to be known ones, in the user's spelling, by the full key in lower case.
    unprefixed: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    /// In the user's spelling, for messages.
    key: String,
    value: String,
}

impl RawOptions {
    /// Collects options. The same key in two spellings is an error unless the values agree.
    pub fn new<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self>
    where
        K: AsRef<str>,
        V: Into<String>,
    {
        let mut entries = BTreeMap::<String, Entry>::new();
        let mut unprefixed = BTreeMap::new();
        for (key, value) in pairs {
            let key = key.as_ref().trim();
            let folded = key.to_ascii_lowercase();
            if !folded.starts_with(PREFIX) {
                unprefixed.insert(format!("{PREFIX}{folded}"), key.to_owned());
                continue;
            }
            let entry = Entry {
                key: key.to_owned(),
                value: value.into().trim().to_owned(),
            };
            if let Some(other) = entries.get(&folded)
                && other.value != entry.value
            {
                return Err(Error::new(
                    ErrorKind::InvalidOption,
                    format!(
                        "{} and {key} are the same option with different values; keep one",
                        other.key
                    ),
                )
                .with("option", key));
            }
            entries.insert(folded, entry);
        }
        unprefixed.retain(|ours, _| table::find(ours).is_some());
        Ok(Self {
            given: entries,
            unprefixed,
        })
    }

    /// Collects the options of a JSON object whose values are strings.
    pub fn from_json(json: &str) -> Result<Self> {
        let object: BTreeMap<String, serde_json::Value> = serde_json::from_str(json).map_err(|error| {
            // The parser's own message could quote a value.
            Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "the options are not a JSON object (line {}, column {})",
                    error.line(),
                    error.column()
                ),
            )
        })?;
        Self::try_from(object)
    }

    /// The given keys that belong to the other side: a read's for a write, a write's for a read. Many jobs share one
    /// map of options between both.
    pub fn other_side(&self, user: User) -> impl Iterator<Item = &str> {
        let is_other =
            move |folded: &str| table::find(folded).is_some_and(|spec| spec.users.other_side(user));
        self.given
            .iter()
            .filter(move |(folded, _)| is_other(folded))
            .map(|(_, entry)| entry.key.as_str())
    }

    /// Refuses unknown keys, keys without their prefix, and keys of another user. Returns warnings for keys without
    /// effect.
    pub(super) fn check_keys(&self, user: User) -> Result<Vec<String>> {
        for (ours, key) in &self.unprefixed {
            let spec = table::find(ours).filter(|spec| spec.users.admit(user));
            if let Some(spec) = spec.filter(|spec| !self.has(spec)) {
                return Err(without_prefix(spec, key));
            }
        }
        let mut warnings = Vec::new();
        for (folded, entry) in &self.given {
            let key = &entry.key;
            if folded.starts_with(INTERNAL_PREFIX) {
                warnings.push(format!(
                    "{key} is an internal option of another connector: it has no effect here and can be removed"
                ));
                continue;
            }
            let Some(spec) = table::find(folded) else {
                return Err(unknown(key, folded, user));
            };
            if spec.users.other_side(user) {
                warnings.push(other_side(spec, user));
                continue;
            }
            if !spec.users.admit(user) {
                return Err(no_end(spec));
            }
            if user == User::BatchRead && spec.users == Users::Streaming {
                warnings.push(format!(
                    "{key} has no effect: a batch read has no micro-batches and no checkpoint"
                ));
            } else if let Support::NoEffect(why) = spec.support {
                warnings.push(format!("{key} has no effect: {why}"));
            }
        }
        Ok(warnings)
    }

    pub(super) fn has(&self, spec: &OptionSpec) -> bool {
        self.given(spec).is_some()
    }

    fn given(&self, spec: &OptionSpec) -> Option<&str> {
        self.given
            .get(&spec.key.to_ascii_lowercase())
            .map(|entry| entry.value.as_str())
    }

    /// The given value, otherwise the default, parsed; `None` if there is neither.
    pub(super) fn get<T>(
        &self,
        spec: &OptionSpec,
        parse: impl FnOnce(&str) -> Result<T, Refusal>,
    ) -> Result<Option<T>> {
        match self.given(spec).or(spec.default) {
            None => Ok(None),
            Some("") => Err(refused(spec, "", "it is empty; leave the option out instead")),
            Some(value) => parse(value).map(Some).map_err(|why| refused(spec, value, &why)),
        }
    }

    /// Text that isn't interpreted further.
    pub(super) fn text(&self, spec: &OptionSpec) -> Result<Option<String>> {
        self.get(spec, parse::any)
    }

    /// A number, or a number of bytes, within the row's bounds.
    pub(super) fn number(&self, spec: &OptionSpec) -> Result<Option<u64>> {
        match spec.kind {
            Kind::Whole { min, max } => self.get(spec, |value| parse::whole(value, min, max)),
            Kind::Bytes { min, max } => self.get(spec, |value| parse::bytes(value, min, max)),
            _ => Err(wrong_row(spec)),
        }
    }

    /// A number in a type that holds the row's maximum.
    pub(super) fn number_as<T: TryFrom<u64>>(&self, spec: &OptionSpec) -> Result<Option<T>> {
        self.number(spec)?
            .map(|number| T::try_from(number).map_err(|_| wrong_row(spec)))
            .transpose()
    }

    /// A number in a type that holds the row's maximum, for a row with a default.
    pub(super) fn number_or_default<T: TryFrom<u64>>(&self, spec: &OptionSpec) -> Result<T> {
        self.number_as(spec)?.ok_or_else(|| wrong_row(spec))
    }

    /// A number of milliseconds whose row has a default.
    pub(super) fn millis(&self, spec: &OptionSpec) -> Result<Duration> {
        self.number_or_default(spec).map(Duration::from_millis)
    }

    /// A time with a suffix whose row has a default.
    pub(super) fn time(&self, spec: &OptionSpec) -> Result<Duration> {
        match spec.kind {
            Kind::Time { min_ms, max_ms } => self.required(spec, |value| parse::time(value, min_ms, max_ms)),
            _ => Err(wrong_row(spec)),
        }
    }

    /// `true` or `false`, for a row with a default.
    pub(super) fn flag(&self, spec: &OptionSpec) -> Result<bool> {
        self.required(spec, parse::flag)
    }

    /// One of the row's words, for a row with a default.
    pub(super) fn word(&self, spec: &OptionSpec) -> Result<&'static str> {
        match spec.kind {
            Kind::OneOf(words) => self.required(spec, |value| parse::one_of(value, words)),
            _ => Err(wrong_row(spec)),
        }
    }

    /// One of the row's words, for a row without a default.
    pub(super) fn optional_word(&self, spec: &OptionSpec) -> Result<Option<&'static str>> {
        match spec.kind {
            Kind::OneOf(words) => self.get(spec, |value| parse::one_of(value, words)),
            _ => Err(wrong_row(spec)),
        }
    }

    /// A value of a row with a default.
    pub(super) fn required<T>(
        &self,
        spec: &OptionSpec,
        parse: impl FnOnce(&str) -> Result<T, Refusal>,
    ) -> Result<T> {
        self.get(spec, parse)?.ok_or_else(|| wrong_row(spec))
    }

    /// The retry options in the three rows of one kind of requests. A first wait above the longest one is limited to
    /// it, with a warning.
    pub(super) fn retry(&self, rows: [&OptionSpec; 3], warnings: &mut Vec<String>) -> Result<RetryOptions> {
        let [retries, interval, max_interval] = rows;
        let options = RetryOptions {
            retries: self.number_or_default(retries)?,
            interval: self.millis(interval)?,
            max_interval: self.millis(max_interval)?,
        };
        if options.interval > options.max_interval {
            warnings.push(format!(
                "{} ({}) is above {} ({}): each wait lasts the latter",
                interval.key,
                options.interval.as_millis(),
                max_interval.key,
                options.max_interval.as_millis()
            ));
        }
        Ok(RetryOptions {
            interval: options.interval.min(options.max_interval),
            ..options
        })
    }
}

impl TryFrom<BTreeMap<String, serde_json::Value>> for RawOptions {
    type Error = Error;

    fn try_from(object: BTreeMap<String, serde_json::Value>) -> Result<Self> {
        let mut pairs = Vec::with_capacity(object.len());
        for (key, value) in object {
            match value {
                serde_json::Value::String(value) => pairs.push((key, value)),
                _ => {
                    return Err(Error::new(
                        ErrorKind::InvalidArgument,
                        format!("the value of {key} is not a JSON string"),
                    )
                    .with("option", key));
                }
            }
        }
        Self::new(pairs)
    }
}

impl fmt::Debug for RawOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.given.values().map(|entry| {
                let value = match table::find(&entry.key) {
                    Some(spec) if !spec.secret => shown(&entry.value),
                    _ => HIDDEN.to_owned(),
                };
                (&entry.key, value)
            }))
            .finish()
    }
}

/// The error for a refused value, with the reason (which may be empty) and the allowed values.
pub(super) fn refused(spec: &OptionSpec, value: &str, why: &str) -> Error {
    // A reason may quote the value, so a secret's reason is left out, too.
    let found = match (spec.secret && !value.is_empty(), why.is_empty()) {
        (true, _) => format!("{} has a value that is not allowed", spec.key),
        (false, true) => format!("{} is \"{}\"", spec.key, shown(value)),
        (false, false) => format!("{} is \"{}\": {why}", spec.key, shown(value)),
    };
    Error::new(
        ErrorKind::InvalidOption,
        format!("{found}. Allowed: {}", spec.allowed()),
    )
    .with("option", spec.key)
}

/// The error for options that exclude each other, or for a missing one.
pub(super) fn conflict(spec: &OptionSpec, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOption, message).with("option", spec.key)
}

fn unknown(key: &str, folded: &str, user: User) -> Error {
    let rest = folded.strip_prefix(PREFIX).unwrap_or(folded);
    let likeness = |known: &str| {
        let known = known.to_ascii_lowercase();
        strsim::normalized_damerau_levenshtein(rest, known.strip_prefix(PREFIX).unwrap_or(&known))
    };
    let nearest = table::table()
        .iter()
        .filter(|spec| spec.users.admit(user))
        .map(|spec| (likeness(spec.key), spec.key))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    let message = match nearest {
        Some((_, nearest)) => {
            format!("{key} is not an option of this connector; the nearest one is {nearest}")
        }
        None => format!("{key} is not an option of this connector; docs/options.md lists all options"),
    };
    Error::new(ErrorKind::InvalidOption, message).with("option", key)
}

fn without_prefix(spec: &OptionSpec, key: &str) -> Error {
    Error::new(
        ErrorKind::InvalidOption,
        format!(
            "{key} has no effect: the option's name is {}, with the prefix. Add the prefix, or remove the option",
            spec.key
        ),
    )
    .with("option", key)
}

fn other_side(spec: &OptionSpec, user: User) -> String {
    let key = spec.key;
    match user {
        User::Sink => format!("{key} has no effect: it is an option of reading (readStream, read)"),
        User::Source | User::BatchRead => {
            format!("{key} has no effect: it is an option of writing (writeStream, write)")
        }
    }
}

fn no_end(spec: &OptionSpec) -> Error {
    let key = spec.key;
    Error::new(
        ErrorKind::InvalidOption,
        format!("{key} is an option of batch reads (spark.read); a streaming query has no end: remove it"),
    )
    .with("option", key)
}

/// The error for a mistake in the table, which the tests detect.
fn wrong_row(spec: &OptionSpec) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!("the table's row of {} does not fit its use", spec.key),
    )
    .with("option", spec.key)
}

/// A value in the form that messages show: shortened, and without the text before the @ in a URL.
fn shown(value: &str) -> String {
    let masked = match value.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}://***@{host}"),
            None => value.to_owned(),
        },
        None => match value.rsplit_once('@') {
            // As in `name:password@host`.
            Some((user, host)) if user.contains(':') => format!("***@{host}"),
            _ => value.to_owned(),
        },
    };
    match masked.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", masked.get(..end).unwrap_or_default()),
        None => masked,
    }
}
