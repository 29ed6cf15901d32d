//! The connector's one error type: what failed, why, and how to fix it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The kind of a failure. The numbers cross the JNI boundary and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[cfg_attr(test, derive(strum::EnumIter))]
#[repr(i32)]
pub enum ErrorKind {
    /// A defect in the connector, including panics that the guard caught.
    Internal = 1,
    /// An option's key or value was refused.
    InvalidOption = 2,
    /// A feature of the design that this version lacks.
    NotSupported = 3,
    /// The stream, or another named resource, does not exist.
    NotFound = 4,
    /// Credentials are missing, wrong, or lack a permission.
    Access = 5,
    /// The service throttled the requests until all retries were used up.
    Throttled = 6,
    /// The service was unreachable, or returned a server error after all retries.
    Transport = 7,
    /// The service rejected the request as invalid.
    InvalidRequest = 8,
    /// A KMS key that encrypts the stream can't be used.
    Kms = 9,
    /// Records expired, or a shard was deleted, before they were read.
    DataLoss = 10,
    /// Another attempt claimed a nearer end for this shard and batch; the retry reads exactly to it.
    ClaimConflict = 11,
    /// The checkpoint store failed.
    Store = 12,
    /// Data in a checkpoint can't be understood.
    CorruptCheckpoint = 13,
    /// The stream is not the one that the checkpoint belongs to.
    StreamChanged = 14,
    /// A row can't be written as a Kinesis record.
    InvalidRow = 15,
    /// The service did not accept every record within the retries allowed.
    PutFailed = 16,
    /// A handle is stale, was closed, or is of another type.
    InvalidHandle = 17,
    /// The operation was stopped because its task or query was.
    Interrupted = 18,
    /// The shard iterator is older than five minutes; a new one is needed.
    ExpiredIterator = 19,
    /// An argument passed across the boundary is malformed.
    InvalidArgument = 20,
    /// A record marked as an aggregate can't be taken apart.
    MalformedRecord = 21,
    /// The service rejects the position at which a shard was to be read.
    RefusedPosition = 22,
    /// The resource is in use: a consumer that has a subscription, or a stream that is being changed.
    InUse = 23,
}

impl ErrorKind {
    /// This kind's number at the JNI boundary.
    pub fn code(self) -> i32 {
        self as i32
    }

    /// True for an unusable shard iterator: too old, or rejected as invalid. Nothing else in a GetRecords request can
    /// be invalid.
    pub(crate) fn is_of_iterator(self) -> bool {
        matches!(self, Self::ExpiredIterator | Self::InvalidRequest)
    }

    /// This kind's name in logs and exceptions.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A failure: its kind, its message, and the names (stream, shard, option, request id …) it concerns.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    context: Vec<(&'static str, String)>,
    retryable: bool,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// A result with the connector's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure that a retry can't fix.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: escaped(message.into()),
            context: Vec::new(),
            retryable: false,
            source: None,
        }
    }

    /// Keeps the cause of the failure, for [`source`](StdError::source). The message holds what users need of it.
    #[must_use]
    pub fn caused_by(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The same failure with another message.
    #[must_use]
    pub(crate) fn reworded(mut self, message: impl Into<String>) -> Self {
        self.message = escaped(message.into());
        self
    }

    /// Marks whether the same attempt may succeed later.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }

    /// Adds a name that the failure concerns. A key that exists already keeps its first, more exact value.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        if !self.context.iter().any(|(known, _)| *known == key) {
            self.context.push((key, escaped(value.into())));
        }
        self
    }

    /// The failure's kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message without the context.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The names the failure concerns, in the order they were added.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.context
    }

    /// True where the same attempt may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }
}

/// True for a text that may quote a signed request with its session token, as services do when they reject its
/// signature. Such a text is neither logged nor thrown.
pub fn quotes_request(text: &str) -> bool {
    let text = text.to_lowercase();
    [
        "canonical string",
        "canonical request",
        "security-token",
        "stringtosign",
        "string-to-sign",
    ]
    .iter()
    .any(|part| text.contains(part))
}

/// The text with its control characters escaped. A text from a service, a file or a record thus stays on one line of
/// a log, commands no terminal, and is shown in its own order.
pub fn escaped(text: String) -> String {
    let controls = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.chars().any(controls) {
        return text;
    }
    let mut clean = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match controls(letter) {
            true => clean.extend(letter.escape_default()),
            false => clean.push(letter),
        }
    }
    clean
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for (index, (key, value)) in self.context.iter().enumerate() {
            write!(f, "{}{key}={value}", if index == 0 { " [" } else { ", " })?;
        }
        if !self.context.is_empty() {
            f.write_str("]")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

/// A foreign message without its final full stop, for use within a sentence.
pub(crate) fn unstopped(words: &str) -> &str {
    words.trim_end().trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;

    #[test]
    fn numbers_at_the_boundary_stay() {
        assert_eq!(ErrorKind::Internal.code(), 1);
        assert_eq!(ErrorKind::ClaimConflict.code(), 11);
        assert_eq!(ErrorKind::InvalidArgument.code(), 20);
        assert_eq!(ErrorKind::ClaimConflict.name(), "ClaimConflict");
    }

    #[test]
    fn the_exception_in_java_has_the_same_numbers() {
        let java = include_str!("../../../jvm/src/main/java/io/sparkkinesis/KinesisConnectorException.java");
        let constants: Vec<(String, i32)> = java
            .lines()
            .filter_map(|line| line.trim().strip_prefix("public static final int "))
            .filter_map(|rest| rest.strip_suffix(';')?.split_once(" = "))
            .map(|(name, number)| (name.replace('_', ""), number.parse().unwrap()))
            .collect();
        let kinds: Vec<(String, i32)> = ErrorKind::iter()
            .map(|kind| (kind.name().to_uppercase(), kind.code()))
            .collect();
        assert_eq!(constants, kinds);
    }

    #[test]
    fn quoted_requests_are_noticed() {
        for quoting in [
            "The Canonical String for this request should have been 'POST",
            "<StringToSign>AWS4-HMAC-SHA256",
            "x-amz-security-token:FwoG",
        ] {
            assert!(quotes_request(quoting), "{quoting}");
        }
        assert!(!quotes_request(
            "The security token included in the request is expired"
        ));
    }

    #[test]
    fn control_characters_are_escaped() {
        let error = Error::new(ErrorKind::Transport, "a\nb\u{1b}[31m \u{85}é").with("stream", "x\r");
        assert_eq!(error.to_string(), r"a\nb\u{1b}[31m \u{85}é [stream=x\r]");
        let lines = Error::new(ErrorKind::Transport, "a\u{2028}b\u{202e}c\u{200d}");
        assert_eq!(lines.message(), "a\\u{2028}b\\u{202e}c\u{200d}");
    }

    #[test]
    fn display_shows_the_context_after_the_message() {
        let error = Error::new(ErrorKind::NotFound, "no such stream")
            .with("stream", "a")
            .with("stream", "b");
        assert_eq!(error.to_string(), "no such stream [stream=a]");
    }

    #[test]
    fn the_cause_survives_copies_and_other_words() {
        let cause = std::io::Error::other("disk full");
        let error = Error::new(ErrorKind::Store, "storing /a")
            .caused_by(cause)
            .retryable(true);
        let error = error
            .with("shard", "b")
            .clone()
            .reworded("the claim could not be stored\n");
        assert_eq!(error.to_string(), r"the claim could not be stored\n [shard=b]");
        assert!(error.is_retryable());
        let source = error
            .source()
            .and_then(|source| source.downcast_ref::<std::io::Error>());
        assert_eq!(source.map(ToString::to_string).as_deref(), Some("disk full"));
        assert!(Error::new(ErrorKind::Store, "no").source().is_none());
    }
}
