//! What a test may turn about consumers and their subscriptions.

use serde::{Deserialize, Serialize};

/// How subscriptions go, beside their faults. The defaults are the service's.
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

/// A change of how subscriptions go. What is absent stays as it is; what is changed also holds for those open now.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SubscriptionUpdate {
    /// How long a subscription lives. The service's is 300,000.
    pub lifetime_ms: Option<u64>,
    /// How long a subscription is silent before an empty event comes (default 5000).
    pub idle_event_ms: Option<u64>,
    /// How long after a successful call a second one for the same consumer and shard gets ResourceInUseException; later
    /// it takes over. The service's is 5000.
    pub exclusive_ms: Option<u64>,
    /// The least time between two successful calls for the same consumer and shard, else LimitExceededException. 0, the
    /// default, is no limit; the service's is 1000.
    pub between_calls_ms: Option<u64>,
    /// At most this many records in an event; 0 lifts the cap.
    pub max_records_per_event: Option<usize>,
    /// How many consumers a stream may have. The service's is 20.
    pub most_consumers: Option<usize>,
}

impl SubscriptionSettings {
    /// Takes over what the update says.
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
