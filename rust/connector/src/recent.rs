//! A small cache for values that are expensive to create and can be shared, such as clients.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Time after which an unused value is dropped.
const IDLE: Duration = Duration::from_secs(600);
/// Maximum number of cached values. A dropped value that is in use lives on with its users.
const MOST: usize = 64;

/// Values by their key. [`Self::get`] drops those unused for [`IDLE`]; a full cache drops the least recently used
/// one.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    entries: Vec<Entry<K, V>>,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: Arc<V>,
    used: Instant,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<K: PartialEq, V> Recent<K, V> {
    /// The value of this key, which counts as used.
    pub fn get(&mut self, key: &K) -> Option<Arc<V>> {
        let now = Instant::now();
        for entry in &mut self.entries {
            if entry.key == *key || Arc::strong_count(&entry.value) > 1 {
                entry.used = now;
            }
        }
        self.entries.retain(|entry| now - entry.used < IDLE);
        let found = self.entries.iter().find(|entry| entry.key == *key);
        found.map(|entry| entry.value.clone())
    }

    /// Stores a new value, after [`Self::get`] found none.
    pub fn put(&mut self, key: K, value: Arc<V>) {
        if self.entries.len() >= MOST {
            let oldest = (0..self.entries.len()).min_by_key(|index| {
                let entry = &self.entries[*index];
                (Arc::strong_count(&entry.value) > 1, entry.used)
            });
            if let Some(oldest) = oldest {
                self.entries.swap_remove(oldest);
            }
        }
        self.entries.push(Entry {
            key,
            value,
            used: Instant::now(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_nobody_uses_goes() {
        let mut recent = Recent::default();
        let used = Arc::new("used");
        recent.put(1, used.clone());
        recent.put(2, Arc::new("idle"));
        tokio::time::advance(IDLE / 2).await;
        assert_eq!(recent.get(&2).as_deref(), Some(&"idle"), "it was used, and stays");
        tokio::time::advance(IDLE).await;
        assert_eq!(recent.get(&1).as_deref(), Some(&"used"));
        assert_eq!(recent.get(&2), None);
        drop(used);
        tokio::time::advance(IDLE).await;
        assert_eq!(recent.get(&3), None);
        assert_eq!(recent.get(&1), None);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_too_many() {
        let mut recent = Recent::default();
        let used = Arc::new(0);
        recent.put(0, used.clone());
        for key in 1..=2 * MOST {
            tokio::time::advance(Duration::from_millis(1)).await;
            recent.put(key, Arc::new(key));
        }
        assert_eq!(recent.entries.len(), MOST);
        assert_eq!(recent.get(&0).as_deref(), Some(&0), "in use");
        assert_eq!(recent.get(&1), None);
        assert_eq!(recent.get(&(2 * MOST)).as_deref(), Some(&(2 * MOST)));
    }
}
