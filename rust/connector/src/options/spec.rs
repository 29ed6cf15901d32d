//! What the table of options says about a key.

/// The largest number that the JVM's side can hold, too; shown as "or more".
pub(super) const NO_LIMIT: u64 = i64::MAX as u64;

/// The table of the documentation to which a key belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Which stream, and where: for reading and writing.
    Stream,
    /// Credentials: for reading and writing.
    Access,
    /// Retries and the network: for reading and writing.
    Client,
    /// Reading.
    Source,
    /// Writing.
    Sink,
}

impl Group {
    pub(super) const ALL: [Self; 5] = [Self::Stream, Self::Access, Self::Client, Self::Source, Self::Sink];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Stream => "Stream",
            Self::Access => "Access",
            Self::Client => "Requests",
            Self::Source => "Source",
            Self::Sink => "Sink",
        }
    }
}

/// The user of a set of options: the part of Spark that passes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// `spark.readStream`.
    Source,
    /// `spark.read`.
    BatchRead,
    /// `writeStream` and `df.write`.
    Sink,
}

/// The users of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// Reading and writing.
    All,
    /// Streaming and batch reads.
    Reads,
    /// Streaming reads. A batch read accepts the key with a warning, since jobs share their read options.
    Streaming,
    /// Batch reads.
    BatchRead,
    /// Writing.
    Sink,
}

impl Users {
    /// True if `user` may give the key, even without effect.
    pub fn admit(self, user: User) -> bool {
        match self {
            Self::All => true,
            Self::Reads | Self::Streaming => user != User::Sink,
            Self::BatchRead => user == User::BatchRead,
            Self::Sink => user == User::Sink,
        }
    }

    /// True if the key is one of writing and `user` reads, or the reverse.
    pub fn other_side(self, user: User) -> bool {
        match self {
            Self::All => false,
            Self::Reads | Self::Streaming | Self::BatchRead => user == User::Sink,
            Self::Sink => user != User::Sink,
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::All => "source, sink",
            Self::Reads => "source",
            Self::Streaming => "source (streaming)",
            Self::BatchRead => "source (batch)",
            Self::Sink => "sink",
        }
    }
}

/// The allowed values. Ranges are inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text with a syntax of its own, described for users.
    Text(&'static str),
    /// A whole number.
    Whole {
        /// The minimum.
        min: u64,
        /// The maximum.
        max: u64,
    },
    /// A number of bytes, with or without a suffix.
    Bytes {
        /// The minimum number of bytes.
        min: u64,
        /// The maximum number of bytes.
        max: u64,
    },
    /// A time with a suffix.
    Time {
        /// The minimum number of milliseconds.
        min_ms: u64,
        /// The maximum number of milliseconds.
        max_ms: u64,
    },
    /// `true` or `false`.
    Flag,
    /// One of these words, in any case.
    OneOf(&'static [&'static str]),
}

/// How far this version supports a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Entirely; if single values are refused, the key's parser does so.
    Full,
    /// Accepted with a warning. The text is the reason why it has no effect.
    NoEffect(&'static str),
}

/// One key: a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionSpec {
    /// The key as documented; users may write it in any case.
    pub key: &'static str,
    /// The table of the documentation that lists it.
    pub group: Group,
    /// The users that may give it.
    pub users: Users,
    /// The default as a user would write it. `None`: no default, or one described by `default_note`.
    pub default: Option<&'static str>,
    /// The documentation's default column if `default` is `None`.
    pub default_note: &'static str,
    /// The allowed values.
    pub kind: Kind,
    /// True if the value must never be shown.
    pub secret: bool,
    /// How far this version supports it.
    pub support: Support,
    /// Its meaning in one line.
    pub doc: &'static str,
}

impl OptionSpec {
    pub(super) const fn new(
        key: &'static str,
        group: Group,
        users: Users,
        kind: Kind,
        doc: &'static str,
    ) -> Self {
        Self {
            key,
            group,
            users,
            default: None,
            default_note: "–",
            kind,
            secret: false,
            support: Support::Full,
            doc,
        }
    }

    pub(super) const fn default(mut self, text: &'static str) -> Self {
        self.default = Some(text);
        self
    }

    pub(super) const fn default_note(mut self, text: &'static str) -> Self {
        self.default_note = text;
        self
    }

    pub(super) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub(super) const fn no_effect(mut self, why: &'static str) -> Self {
        self.support = Support::NoEffect(why);
        self
    }

    /// The allowed values, in words for error messages and the documentation.
    pub fn allowed(&self) -> String {
        match self.kind {
            Kind::Text(text) => text.to_owned(),
            Kind::Whole { min, max } => range("a whole number", min, max, ""),
            Kind::Bytes { min, max } => {
                format!(
                    "{}, or with one of the suffixes k, m, g (such as 8m)",
                    range("a number of bytes", min, max, "")
                )
            }
            Kind::Time { min_ms, max_ms } => range(
                "a time with one of the suffixes ms, s, m, min, h (such as 1s),",
                min_ms,
                max_ms,
                " ms",
            ),
            Kind::Flag => "true or false".to_owned(),
            Kind::OneOf(words) => words.join(" or "),
        }
    }
}

fn range(what: &str, min: u64, max: u64, unit: &str) -> String {
    if max == NO_LIMIT {
        format!("{what}, {min} or more")
    } else {
        format!("{what} from {min} to {max}{unit}")
    }
}
