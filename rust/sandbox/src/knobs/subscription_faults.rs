//! Faults of open subscriptions. A failing call of SubscribeToShard is a call fault, as for any operation.

use serde::Deserialize;

use super::{KnobError, Schedule, schedule};
use crate::protocol::ErrorCode;

/// A failure of an open subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionFault {
    /// Ends the subscription early, as if its lifetime were over.
    Cut,
    /// Resets the HTTP/2 stream; over HTTP/1.1, closes the connection in the middle of the response.
    Reset,
    /// Sends nothing more; the stream stays open, even beyond its lifetime.
    Stall,
    /// Silences the whole connection: what the client sends is discarded, and nothing is answered, not even HTTP/2
    /// pings.
    HalfOpen,
    /// Sends half of the next event, then ends the stream.
    HalfEvent,
    /// Sends all further bytes in pieces of this size, with a delay before each.
    Drip {
        /// The size of a piece, at least 1.
        bytes: usize,
        /// Delay before each piece, in milliseconds.
        delay_ms: u64,
    },
    /// Ends the stream with an error event.
    #[serde(deserialize_with = "code")]
    Exception(ErrorCode),
}

fn code<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<ErrorCode, D::Error> {
    let name = String::deserialize(deserializer)?;
    ErrorCode::parse(&name).ok_or_else(|| serde::de::Error::custom(format!("unknown error {name:?}")))
}

/// A subscription fault: its kind, the subscriptions it affects, and when it occurs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionFaultUpdate {
    /// `"cut"`, `"reset"`, `"stall"`, `"half_open"`, `"half_event"`, `{"drip": {"bytes": n, "delay_ms": n}}` or
    /// `{"exception": "<an error's name on the wire>"}`.
    pub fault: SubscriptionFault,
    /// Number of events before the fault, empty ones included; 0 is before the first.
    #[serde(default)]
    pub after_events: u64,
    /// Restricts the fault to this stream.
    pub stream: Option<String>,
    /// Restricts the fault to this shard.
    pub shard: Option<String>,
    /// True: affects subscriptions that are open now, and counts events from now. False: affects future
    /// subscriptions.
    #[serde(default)]
    pub open: bool,
    /// Affects this number of subscriptions.
    pub count: Option<u64>,
    /// Alternatively, affects this random fraction of all, drawn with the seed.
    pub fraction: Option<f64>,
}

/// A subscription fault and the subscriptions it is waiting for.
#[derive(Clone, Debug)]
pub(crate) struct WaitingFault {
    pub fault: PlannedFault,
    pub open: bool,
    stream: Option<String>,
    shard: Option<String>,
    pub schedule: Schedule,
}

/// A fault planned for one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlannedFault {
    pub fault: SubscriptionFault,
    /// Number of events left before the fault.
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

    /// A fault for future subscriptions of any stream and shard.
    pub fn to_come(fault: SubscriptionFault, after_events: u64, schedule: Schedule) -> WaitingFault {
        WaitingFault {
            fault: PlannedFault { fault, after_events },
            open: false,
            stream: None,
            shard: None,
            schedule,
        }
    }

    /// Whether the fault affects subscriptions of this shard.
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
