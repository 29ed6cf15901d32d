//! Knobs of consumers and their subscriptions.

use serde::{Deserialize, Serialize};

/// Behaviour of subscriptions, apart from faults. The defaults are the service's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SubscriptionSettings {
    pub lifetime_ms: u64,
    pub idle_event_ms: u64,
    pub exclusive_ms: u64,
    pub between_calls_ms: u64,
    pub max_records_per_event: Option<usize>,
    pub most_consumers: usize,
}

impl Default for SubscriptionSettings {
    fn default() -> Self {
        SubscriptionSettings {
            lifetime_ms: 300_000,
            idle_event_ms: 5000,
            exclusive_ms: 5000,
            between_calls_ms: 0,
            max_records_per_event: None,
            most_consumers: 20,
        }
    }
}

/// Update of the subscriptions' behaviour. Absent members leave their settings unchanged; changes also apply to open
/// subscriptions.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SubscriptionUpdate {
    /// Lifetime of a subscription. The service's is 300,000.
    pub lifetime_ms: Option<u64>,
    /// Time without an event after which an empty event is sent (default 5000).
    pub idle_event_ms: Option<u64>,
    /// Time after a successful call in which another call for the same consumer and shard gets
    /// ResourceInUseException; a later call takes over. The service's is 5000.
    pub exclusive_ms: Option<u64>,
    /// Minimum time between two successful calls for the same consumer and shard; an earlier call gets
    /// LimitExceededException. 0, the default, is no limit; the service's is 1000.
    pub between_calls_ms: Option<u64>,
    /// Maximum number of records in an event; 0 lifts the cap.
    pub max_records_per_event: Option<usize>,
    /// Maximum number of consumers of a stream. The service's is 20.
    pub most_consumers: Option<usize>,
}

impl SubscriptionSettings {
    /// Applies an update.
    pub fn change(&mut self, update: &SubscriptionUpdate) {
        let set = |value: &mut u64, new: Option<u64>| *value = new.unwrap_or(*value);
        set(&mut self.lifetime_ms, update.lifetime_ms);
        set(&mut self.idle_event_ms, update.idle_event_ms);
        set(&mut self.exclusive_ms, update.exclusive_ms);
        set(&mut self.between_calls_ms, update.between_calls_ms);
        if let Some(cap) = update.max_records_per_event {
            self.max_records_per_event = (cap > 0).then_some(cap);
        }
        self.most_consumers = update.most_consumers.unwrap_or(self.most_consumers);
    }
}
