//! All streams, by name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Stream;
use super::stream::Earlier;
use crate::protocol::{ACCOUNT, ErrorCode, ServiceError};

/// Streams of all regions. They share one name space, whichever region a request is signed for.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    by_name: RwLock<BTreeMap<String, Arc<Stream>>>,
    next_uid: AtomicU64,
    /// Latest creation times of deleted streams, by name.
    deleted: Mutex<BTreeMap<String, Earlier>>,
}

/// Settings of a new stream.
pub(crate) struct NewStream<'a> {
    pub name: &'a str,
    pub region: &'a str,
    pub shard_count: u32,
    pub on_demand: bool,
    pub max_record_kib: Option<i64>,
    pub creating_for_ms: u64,
}

pub(crate) fn no_stream(name: &str) -> ServiceError {
    ServiceError::not_found(format!("Stream {name} under account {ACCOUNT} not found."))
}

impl Streams {
    fn map(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<Stream>>> {
        self.by_name.read()
    }

    fn map_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Arc<Stream>>> {
        self.by_name.write()
    }

    pub fn get(&self, name: &str) -> Result<Arc<Stream>, ServiceError> {
        self.map().get(name).cloned().ok_or_else(|| no_stream(name))
    }

    /// Finds the stream that an iterator or a page token belongs to.
    pub fn by_uid(&self, uid: u64) -> Option<Arc<Stream>> {
        self.map().values().find(|s| s.uid == uid).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Stream>> {
        self.map().values().cloned().collect()
    }

    pub fn create(&self, new: &NewStream<'_>, shard_limit: usize) -> Result<(), ServiceError> {
        let mut map = self.map_mut();
        if map.contains_key(new.name) {
            return Err(ServiceError::in_use(format!(
                "Stream {} under account {ACCOUNT} already exists.",
                new.name
            )));
        }
        let open: usize = map.values().map(|s| s.read().open.len()).sum();
        check_shard_limit(open + new.shard_count as usize, shard_limit)?;
        let uid = self.next_uid.fetch_add(1, Ordering::Relaxed);
        let arn = format!("arn:aws:kinesis:{}:{ACCOUNT}:stream/{}", new.region, new.name);
        let earlier = self.deleted.lock().get(new.name).copied().unwrap_or_default();
        let stream = Stream::new(uid, new.name, arn, new.shard_count, new.on_demand, earlier);
        {
            let mut state = stream.write();
            state.max_record_kib = new.max_record_kib.unwrap_or(1024);
            state.busy("CREATING", new.creating_for_ms);
        }
        map.insert(new.name.to_owned(), Arc::new(stream));
        Ok(())
    }

    pub fn delete(&self, name: &str) -> Result<(), ServiceError> {
        let stream = self.map_mut().remove(name).ok_or_else(|| no_stream(name))?;
        self.deleted.lock().insert(name.to_owned(), stream.latest());
        stream.end();
        Ok(())
    }

    pub fn clear(&self) {
        for (name, stream) in std::mem::take(&mut *self.map_mut()) {
            self.deleted.lock().insert(name, stream.latest());
            stream.end();
        }
    }

    /// Number of open shards in all streams.
    pub fn open_shards(&self) -> usize {
        self.map().values().map(|s| s.read().open.len()).sum()
    }
}

/// Checks the account's limit on open shards.
pub(crate) fn check_shard_limit(wanted: usize, limit: usize) -> Result<(), ServiceError> {
    if wanted <= limit {
        return Ok(());
    }
    Err(ServiceError::new(
        ErrorCode::LimitExceededException,
        format!(
            "This request would exceed the shard limit for the account {ACCOUNT}. Limit: {limit}. \
             Shards after the request: {wanted}. Start the sandbox with a higher shard limit."
        ),
    ))
}
