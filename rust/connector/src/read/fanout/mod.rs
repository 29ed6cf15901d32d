//! Reading a shard with SubscribeToShard. A subscription lives five minutes and may not be opened again within five
//! seconds (AWS limits), so it belongs to no micro-batch: it stays in the process between tasks, goes on receiving
//! into a bounded buffer, and the next batch's task takes it over.

mod buffer;
mod consumers;
mod cursor;
#[cfg(test)]
mod idle_tests;
mod registry;
mod reports;
mod subscriber;
#[cfg(test)]
mod tests;

pub(crate) use consumers::{Busy, InUseByQuery};
pub(super) use cursor::{Deadline, FanOutCursor, Next};
pub(crate) use registry::{Availability, SubscriptionRegistry};
