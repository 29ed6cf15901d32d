//! A stream: its settings, its shards, and the routing of hash keys.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::consumer::{Consumers, Ending};
use super::{HashRange, Shard, now_ms};
use crate::knobs::Listing;
use crate::protocol::{ACCOUNT, ServiceError};

/// One stream. A put holds the read lock and a reshard the write lock, so no record reaches a closed shard.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Unique id, which distinguishes streams that have the same name one after another.
    pub uid: u64,
    pub name: String,
    pub arn: String,
    pub created_ms: i64,
    state: RwLock<StreamState>,
    consumers: Mutex<Consumers>,
    listing: Mutex<Option<OddListing>>,
}

/// A temporary difference between the stream's lists and its state.
#[derive(Debug)]
struct OddListing {
    show: Listing,
    until: ListingUntil,
}

/// End of an odd listing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ListingUntil {
    /// After this number of lists.
    Lists(u64),
    /// At this time.
    Ms(i64),
}

/// Latest creation times of streams that had the same name; a new stream's are later.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Earlier {
    pub created_ms: i64,
    pub created_s: u64,
}

#[derive(Debug)]
pub(crate) struct StreamState {
    pub on_demand: bool,
    pub retention_hours: i64,
    pub max_record_kib: i64,
    /// All shards ever, by index; removed ones are marked as unlisted.
    pub shards: Vec<Arc<Shard>>,
    /// Open shards, by the start of their ranges.
    pub open: Vec<Arc<Shard>>,
    /// Time until which a change is shown as under way.
    pub busy_until_ms: i64,
    pub busy_status: &'static str,
    /// Index of the first shard that the last reshard created.
    pub newest: u32,
}

impl Stream {
    pub fn new(
        uid: u64,
        name: &str,
        arn: String,
        shard_count: u32,
        on_demand: bool,
        earlier: Earlier,
    ) -> Stream {
        let created_ms = now_ms().max(earlier.created_ms + 1);
        let after_s = earlier.created_s + 1;
        let shards: Vec<_> = HashRange::uniform(shard_count)
            .into_iter()
            .enumerate()
            .map(|(index, range)| Shard::new(index as u32, range, [None, None], created_ms, after_s))
            .map(Arc::new)
            .collect();
        let state = StreamState {
            on_demand,
            retention_hours: 24,
            max_record_kib: 1024,
            open: shards.clone(),
            shards,
            busy_until_ms: 0,
            busy_status: "ACTIVE",
            newest: shard_count,
        };
        Stream {
            uid,
            name: name.to_owned(),
            arn,
            created_ms,
            state: RwLock::new(state),
            consumers: Mutex::default(),
            listing: Mutex::default(),
        }
    }

    /// Creation times that a later stream of this name must exceed.
    pub fn latest(&self) -> Earlier {
        let shards = &self.read().shards;
        Earlier {
            created_ms: self.created_ms,
            created_s: shards.iter().map(|shard| shard.created_s).max().unwrap_or(0),
        }
    }

    /// Makes lists show an earlier state of the stream.
    pub fn show(&self, show: Listing, until: ListingUntil) {
        *self.listing.lock() = Some(OddListing { show, until });
    }

    /// Listing that a new list shows instead of the stream's state, if any. Counts the list.
    pub fn take_listing(&self) -> Option<Listing> {
        let mut listing = self.listing.lock();
        let OddListing { show, until } = listing.as_mut()?;
        let show = *show;
        let over = match until {
            ListingUntil::Lists(0) => true,
            ListingUntil::Lists(left) => {
                *left -= 1;
                false
            }
            ListingUntil::Ms(ms) => now_ms() >= *ms,
        };
        if over {
            *listing = None;
        }
        (!over).then_some(show)
    }

    /// The currently registered consumers.
    pub fn consumers(&self) -> MutexGuard<'_, Consumers> {
        let mut consumers = self.consumers.lock();
        consumers.forget_deleted();
        consumers
    }

    /// Ends all subscriptions because the stream is deleted.
    pub fn end(&self) {
        for consumer in self.consumers().all() {
            consumer.end(Ending::StreamDeleted, 0);
        }
    }

    pub fn read(&self) -> RwLockReadGuard<'_, StreamState> {
        self.state.read()
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, StreamState> {
        self.state.write()
    }

    /// Finds a shard by its id, unless it is unlisted.
    pub fn shard(&self, id: &str) -> Result<Arc<Shard>, ServiceError> {
        self.read()
            .shards
            .iter()
            .find(|s| s.id == id && !s.state().unlisted)
            .cloned()
            .ok_or_else(|| {
                ServiceError::not_found(format!(
                    "Shard {id} in stream {} under account {ACCOUNT} does not exist",
                    self.name
                ))
            })
    }

    /// Requires ACTIVE. For operations that change the stream or need a settled state.
    pub fn require_active(&self, state: &StreamState) -> Result<(), ServiceError> {
        match state.status() {
            "ACTIVE" => Ok(()),
            status => Err(ServiceError::in_use(format!(
                "Stream {} under account {ACCOUNT} not ACTIVE, instead in state {status}",
                self.name
            ))),
        }
    }

    /// Requires any status but CREATING. For reads and writes of records.
    pub fn require_created(&self) -> Result<(), ServiceError> {
        if self.read().status() == "CREATING" {
            Err(super::streams::no_stream(&self.name))
        } else {
            Ok(())
        }
    }
}

impl StreamState {
    pub fn status(&self) -> &'static str {
        if self.busy_status != "ACTIVE" && now_ms() < self.busy_until_ms {
            self.busy_status
        } else {
            "ACTIVE"
        }
    }

    /// Shows a change as under way for `for_ms`.
    pub fn busy(&mut self, status: &'static str, for_ms: u64) {
        self.busy_status = if for_ms == 0 { "ACTIVE" } else { status };
        self.busy_until_ms = now_ms() + for_ms as i64;
    }

    /// Finds the open shard of a hash key.
    pub fn route(&self, key: u128) -> Option<&Arc<Shard>> {
        let after = self.open.partition_point(|s| s.range.start <= key);
        self.open
            .get(after.checked_sub(1)?)
            .filter(|s| s.range.contains(key))
    }

    /// Wakes the subscriptions of shards that got records.
    pub fn notify_subscriptions(&self) {
        for shard in &self.open {
            shard.changes.notify();
        }
    }

    /// Marks the start of a reshard.
    pub fn begin_reshard(&mut self) {
        self.newest = self.shards.len() as u32;
    }

    /// Shards that lists show.
    pub fn listed(&self) -> impl Iterator<Item = &Arc<Shard>> {
        self.shards.iter().filter(|s| !s.state().unlisted)
    }
}
