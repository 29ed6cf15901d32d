//! Faults of open subscriptions. That a call of SubscribeToShard itself fails is a fault of calls, as for any operation.

use serde::Deserialize;

use super::{KnobError, Schedule, schedule};
use crate::protocol::ErrorCode;

/// What befalls a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionFault {
    /// It ends before its time, as if that were over.
    Cut,
    /// The HTTP/2 stream is reset; over HTTP/1.1 the connection is closed in the middle of the answer.
    Reset,
    /// Nothing comes any more; the stream stays open, beyond its lifetime too.
    Stall,
    /// The whole connection falls silent: what the client sends is swallowed, nothing is answered, HTTP/2's pings
    /// neither.
    HalfOpen,
    /// Half of the next event comes, and then the stream ends.
    HalfEvent,
    /// From here on the bytes come in pieces of this size, so long after one another.
    Drip {
        /// The size of a piece, at least 1.
        bytes: usize,
        /// Milliseconds before each piece.
        delay_ms: u64,
    },
    /// An error in the stream ends it.
    #[serde(deserialize_with = "code")]
    Exception(ErrorCode),
}

fn code<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<ErrorCode, D::Error> {
    let name = String::deserialize(deserializer)?;
    ErrorCode::parse(&name).ok_or_else(|| serde::de::Error::custom(format!("unknown error {name:?}")))
}

/// A fault of subscriptions: which one, of which subscriptions, and when.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionFaultUpdate {
    /// `"cut"`, `"reset"`, `"stall"`, `"half_open"`, `"half_event"`, `{"drip": {"bytes": n, "delay_ms": n}}` or
    /// `{"exception": "<an error's name on the wire>"}`.
    pub fault: SubscriptionFault,
    /// After so many events, empty ones included; 0 is before the first.
    #[serde(default)]
    pub after_events: u64,
    /// Of this stream only.
    pub stream: Option<String>,
    /// Of this shard only.
    pub shard: Option<String>,
    /// Meets subscriptions that are open now, and counts events from now on, instead of meeting those to come.
    #[serde(default)]
    pub open: bool,
    /// The next so many subscriptions.
    pub count: Option<u64>,
    /// Or this part of all, at random with the seed.
    pub fraction: Option<f64>,
}

/// A fault that waits for its subscriptions.
#[derive(Clone, Debug)]
pub(crate) struct WaitingFault {
    pub fault: PlannedFault,
    pub open: bool,
    stream: Option<String>,
    shard: Option<String>,
    pub schedule: Schedule,
}

/// A fault that is to befall one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlannedFault {
    pub fault: SubscriptionFault,
    /// Events that still come before.
    pub after_events: u64,
}

impl WaitingFault {
    pub fn new(update: &SubscriptionFaultUpdate) -> Result<WaitingFault, KnobError> {
        if matches!(update.fault, SubscriptionFault::Drip { bytes: 0, .. }) {
            return Err(KnobError("a drip needs pieces of at least 1 byte".into()));
        }
        Ok(WaitingFault {
            fault: PlannedFault {
                fault: update.fault,
                after_events: update.after_events,
            },
            open: update.open,
            stream: update.stream.clone(),
            shard: update.shard.clone(),
            schedule: schedule(update.count, update.fraction)?,
        })
    }

    /// A fault of any stream's and shard's subscriptions to come.
    pub fn to_come(fault: SubscriptionFault, after_events: u64, schedule: Schedule) -> WaitingFault {
        WaitingFault {
            fault: PlannedFault { fault, after_events },
            open: false,
            stream: None,
            shard: None,
            schedule,
        }
    }

    /// Whether it is for subscriptions of this shard.
    pub fn concerns(&self, stream: &str, shard: &str) -> bool {
        self.stream.as_deref().is_none_or(|s| s == stream) && self.shard.as_deref().is_none_or(|s| s == shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<SubscriptionFaultUpdate, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn faults_are_read_by_their_names() {
        let update =
            read(r#"{"fault": {"drip": {"bytes": 7, "delay_ms": 2}}, "shard": "x", "count": 1}"#).unwrap();
        let (bytes, delay_ms) = (7, 2);
        assert_eq!(update.fault, SubscriptionFault::Drip { bytes, delay_ms });
        let waiting = WaitingFault::new(&update).unwrap();
        assert!(waiting.concerns("any", "x") && !waiting.concerns("any", "y"));
        let update = read(r#"{"fault": {"exception": "KMSThrottlingException"}, "fraction": 0.5}"#).unwrap();
        assert_eq!(
            update.fault,
            SubscriptionFault::Exception(ErrorCode::KMSThrottlingException)
        );
        for bad in [
            r#"{"fault": "cut"}"#,
            r#"{"fault": "cut", "count": 1, "fraction": 0.1}"#,
            r#"{"fault": {"drip": {"bytes": 0, "delay_ms": 2}}, "count": 1}"#,
        ] {
            assert!(WaitingFault::new(&read(bad).unwrap()).is_err(), "{bad}");
        }
        for bad in [
            r#"{"fault": "cut", "after": 1, "count": 1}"#,
            r#"{"fault": "trip", "count": 1}"#,
            r#"{"fault": {"exception": "Oops"}, "count": 1}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
