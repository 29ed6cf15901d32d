//! Forwards the connector's events to the JVM's log.
//!
//! Events go into a bounded queue, from which one thread passes them to slf4j. So a logging thread never waits for
//! Java, holds no native lock while Java runs, and can't re-enter this module. When the queue is full, events are
//! dropped and counted. Events of the connector's crates pass at the level of the JVM's log, those of other crates
//! only from WARN on, because some of them log details of requests at lower levels.

use std::cell::Cell;
use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use kinesis_connector::Result;
use kinesis_connector::error::{escaped, quotes_request};
use once_cell::sync::OnceCell;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::errors::internal;
use crate::layout::{LOG_DEBUG, LOG_ERROR, LOG_INFO, LOG_OFF, LOG_TRACE, LOG_WARN};
use crate::{runtime, upcall};

const QUEUE: usize = 1_024;
/// Longest message, in bytes; a longer one is cut, so that a line of the log stays readable.
const LONGEST_MESSAGE: usize = 8 * 1_024;
const OWN_CRATES: [(&str, &str); 3] = [
    ("kinesis_connector", ""),
    ("kinesis_aggregation", ".aggregation"),
    ("sparkkinesis", ".jni"),
];
const LOGGER: &str = "io.sparkkinesis.native";

/// The most detailed level that passes.
static LEVEL: AtomicI32 = AtomicI32::new(LOG_OFF);

struct Entry {
    level: i32,
    logger: String,
    message: String,
}

/// Connects events to the JVM's log. A second call only sets the level.
pub(crate) fn install(level: i32) -> Result<()> {
    static CONNECTED: OnceCell<()> = OnceCell::new();
    CONNECTED.get_or_try_init(connect)?;
    set_level(level);
    Ok(())
}

fn connect() -> Result<()> {
    let (sender, receiver) = sync_channel(QUEUE);
    std::thread::Builder::new()
        .name("kinesis-log".to_owned())
        .spawn(move || deliver(&receiver))
        .map_err(|error| internal(format!("the log's thread could not be started: {error}")))?;
    let forward = Forward {
        queue: sender,
        lost: AtomicU64::new(0),
    };
    tracing::subscriber::set_global_default(forward)
        .map_err(|error| internal(format!("the log could not be connected: {error}")))
}

/// Sets the most detailed level that passes. An event that doesn't pass costs one comparison at its call site.
pub(crate) fn set_level(level: i32) {
    if LEVEL.swap(level, Ordering::Relaxed) != level {
        tracing::callsite::rebuild_interest_cache();
    }
}

fn deliver(queue: &Receiver<Entry>) {
    runtime::attach_as_daemon();
    DELIVERING.set(true);
    while let Ok(entry) = queue.recv() {
        upcall::log(entry.level, &entry.logger, &entry.message);
    }
    runtime::detach();
}

thread_local! {
    // True on the log's own thread, and on others while they enqueue an event. Events raised meanwhile are dropped.
    static DELIVERING: Cell<bool> = const { Cell::new(false) };
}

/// Resets [`DELIVERING`] after an event was enqueued.
struct Delivered;

impl Drop for Delivered {
    fn drop(&mut self) {
        DELIVERING.set(false);
    }
}

struct Forward {
    queue: SyncSender<Entry>,
    lost: AtomicU64,
}

impl Subscriber for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && passes(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match LEVEL.load(Ordering::Relaxed) {
            ..=LOG_OFF => LevelFilter::OFF,
            LOG_ERROR => LevelFilter::ERROR,
            LOG_WARN => LevelFilter::WARN,
            LOG_INFO => LevelFilter::INFO,
            LOG_DEBUG => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }

    fn event(&self, event: &Event<'_>) {
        if DELIVERING.replace(true) {
            return;
        }
        // Also reset when the formatting of a value panics, so that the thread's next events pass.
        let _delivered = Delivered;
        let metadata = event.metadata();
        let mut message = Message::default();
        event.record(&mut message);
        let entry = Entry {
            level: number(metadata.level()),
            logger: logger(metadata.target()),
            message: message.text(
                own(metadata.target()).is_some(),
                self.lost.swap(0, Ordering::Relaxed),
            ),
        };
        if self.queue.try_send(entry).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    // Spans are not recorded.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn passes(metadata: &Metadata<'_>) -> bool {
    let level = number(metadata.level());
    level <= LEVEL.load(Ordering::Relaxed) && (level <= LOG_WARN || own(metadata.target()).is_some())
}

fn number(level: &Level) -> i32 {
    match *level {
        Level::ERROR => LOG_ERROR,
        Level::WARN => LOG_WARN,
        Level::INFO => LOG_INFO,
        Level::DEBUG => LOG_DEBUG,
        Level::TRACE => LOG_TRACE,
    }
}

/// The crate's part of the logger's name and the module path within the crate; `None` for other crates.
fn own(target: &str) -> Option<(&'static str, &str)> {
    OWN_CRATES.iter().find_map(|(name, part)| {
        let rest = target.strip_prefix(name)?;
        (rest.is_empty() || rest.starts_with("::")).then_some((*part, rest))
    })
}

/// The logger's name for a module, such as `io.sparkkinesis.native.read.feed`.
fn logger(target: &str) -> String {
    match own(target) {
        Some((part, modules)) => format!("{LOGGER}{part}{}", modules.replace("::", ".")),
        None => format!("{LOGGER}.lib.{}", target.replace("::", ".")),
    }
}

#[derive(Default)]
struct Message {
    message: String,
    fields: String,
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing into a String can't fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            name => {
                let _ = write!(self.fields, " {name}={value}");
            }
        }
    }
}

impl Message {
    /// The message as one line. A text of another crate is left out if it may quote a signed request; the connector's
    /// own texts never do.
    fn text(self, own: bool, lost: u64) -> String {
        let mut text = self.message;
        text.push_str(&self.fields);
        if !own && quotes_request(&text) {
            text = "a message was left out, since it may quote a signed request".to_owned();
        }
        let mut text = escaped(text);
        if text.len() > LONGEST_MESSAGE {
            text.truncate(text.floor_char_boundary(LONGEST_MESSAGE));
            text.push('…');
        }
        if lost > 0 {
            let _ = write!(
                text,
                " ({lost} earlier messages were dropped because the log was too slow)"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loggers_are_named_after_modules() {
        assert_eq!(
            logger("kinesis_connector::read::feed"),
            "io.sparkkinesis.native.read.feed"
        );
        assert_eq!(logger("kinesis_connector"), "io.sparkkinesis.native");
        assert_eq!(logger("sparkkinesis::log"), "io.sparkkinesis.native.jni.log");
        assert_eq!(
            logger("kinesis_aggregation::codec"),
            "io.sparkkinesis.native.aggregation.codec"
        );
        assert_eq!(
            logger("aws_config::profile"),
            "io.sparkkinesis.native.lib.aws_config.profile"
        );
        assert_eq!(
            logger("kinesis_connectors"),
            "io.sparkkinesis.native.lib.kinesis_connectors"
        );
    }

    /// Panics when it is formatted.
    struct Unshowable;

    impl Debug for Unshowable {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("it can't be shown")
        }
    }

    #[test]
    fn a_panic_while_an_event_is_made_silences_nobody() {
        let (sender, receiver) = sync_channel(QUEUE);
        let forward = Forward {
            queue: sender,
            lost: AtomicU64::new(0),
        };
        LEVEL.store(LOG_TRACE, Ordering::Relaxed);
        tracing::subscriber::with_default(forward, || {
            let panicked = std::panic::catch_unwind(|| tracing::warn!("odd: {Unshowable:?}"));
            assert!(panicked.is_err());
            tracing::warn!("the next one");
        });
        let messages: Vec<String> = receiver.try_iter().map(|entry| entry.message).collect();
        assert_eq!(messages, ["the next one"]);
    }

    #[test]
    fn messages_are_one_line_and_quote_no_request() {
        let message = |text: &str| Message {
            message: text.to_owned(),
            fields: " error=x-amz-security-token:TOKEN".to_owned(),
        };
        assert!(!message("refused").text(false, 0).contains("TOKEN"));
        let escapes = Message {
            message: "a\nb\u{1b}[31m".to_owned(),
            fields: String::new(),
        };
        assert_eq!(escapes.text(true, 0), r"a\nb\u{1b}[31m");
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let message = Message {
            message: "ö".repeat(LONGEST_MESSAGE),
            fields: String::new(),
        };
        let text = message.text(true, 3);
        assert!(
            text.contains("ö…")
                && text.ends_with("(3 earlier messages were dropped because the log was too slow)")
        );
    }
}
