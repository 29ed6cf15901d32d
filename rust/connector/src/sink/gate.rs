//! Gates of the shards that refused entries lately. [`Rate`] determines how fast entries pass a gate.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::outgoing::Outgoing;
use super::rate::{Counts, FORGOTTEN, Rate, Turn, weight};
use super::routes::Routes;
use crate::stream::ShardId;

/// Gates of a stream's shards, shared by all writers of this process.
///
/// A shard at its limit has a gate with a queue. Entries that the shard refused wait there, and first tries too if
/// their hash keys are known to belong to the shard. A stream that refuses nothing has no gates and learns no keys.
#[derive(Debug, Default)]
pub(crate) struct Gates(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    gates: HashMap<ShardId, Arc<Gate>>,
    routes: Routes,
    /// Time of the stream's last refusal.
    refused: Option<Instant>,
}

/// Outcomes of one answer's entries, by shard.
#[derive(Debug, Default)]
pub(super) struct Tally {
    shards: HashMap<ShardId, Counts>,
    /// Entries accepted by any shard.
    accepted: Counts,
    /// True if hash keys determine the shard.
    keyed: bool,
    /// Known hash keys of the entries, with their shards.
    keys: Vec<(u128, ShardId)>,
}

impl Tally {
    /// An empty tally. `keyed` is true if hash keys determine the shard.
    pub(super) fn of(keyed: bool) -> Self {
        Self {
            keyed,
            ..Self::default()
        }
    }

    /// Adds an entry that this shard accepted.
    pub(super) fn accepted(&mut self, shard: &ShardId, entry: &Outgoing) {
        let one = Counts {
            accepted: weight(entry.bytes()),
            entries: 1,
            ..Counts::default()
        };
        self.accepted.add(one);
        self.add(shard, one, entry.hash);
    }

    /// Adds an entry that was throttled with this message. Returns the shard named in the message, else an empty id.
    pub(super) fn throttled(&mut self, message: &str, entry: &Outgoing) -> ShardId {
        let shard = named_in(message);
        let one = Counts {
            refused: weight(entry.bytes()),
            entries: 1,
            refusals: 1,
            ..Counts::default()
        };
        self.add(&shard, one, entry.hash);
        shard
    }

    fn add(&mut self, shard: &ShardId, one: Counts, hash: Option<u128>) {
        match self.shards.get_mut(shard) {
            Some(counts) => counts.add(one),
            None => drop(self.shards.insert(shard.clone(), one)),
        }
        if let Some(hash) = hash.filter(|_| self.keyed && is_named(shard)) {
            self.keys.push((hash, shard.clone()));
        }
    }
}

/// The shard named in a message such as "Rate exceeded for shard shardId-000000000000 in stream …". Empty if there is
/// none.
fn named_in(message: &str) -> ShardId {
    let named = message
        .split_ascii_whitespace()
        .find(|word| word.starts_with("shardId-"));
    ShardId::from(named.unwrap_or_default())
}

fn is_named(shard: &ShardId) -> bool {
    *shard != ShardId::from("")
}

impl Gates {
    /// Updates the rates and the known hash keys by an answer.
    pub(super) fn learn(&self, tally: &Tally) {
        let now = Instant::now();
        for (shard, counts) in &tally.shards {
            if is_named(shard) {
                self.of(shard).lock().learn(*counts, now);
            }
        }
        // Refusals that name no shard share one gate, whose rate follows what all shards accept.
        let nameless = ShardId::from("");
        let refused = tally.shards.get(&nameless).copied();
        let mut known = self.lock();
        let known_before = known.gates.contains_key(&nameless);
        if tally.shards.values().any(|counts| counts.refusals > 0) {
            known.refused = Some(now);
        }
        if known.refused.is_some() {
            for (hash, shard) in &tally.keys {
                known.routes.learn(*hash, shard);
            }
        }
        drop(known);
        let mut counts = tally.accepted;
        counts.add(refused.unwrap_or_default());
        if counts.entries > 0 && (known_before || refused.is_some()) {
            self.of(&nameless).lock().learn(counts, now);
        }
    }

    /// Assigns each entry to its shard's gate, if that shard is known and at its limit.
    pub(super) fn place(&self, entries: &mut [Outgoing]) {
        {
            let mut known = self.lock();
            match known.refused {
                None => return,
                Some(refused) if refused.elapsed() < FORGOTTEN => {}
                Some(_) => {
                    known.refused = None;
                    known.routes.forget();
                    return;
                }
            }
        }
        entries.iter_mut().for_each(Outgoing::know_hash);
        let known = self.lock();
        for entry in entries.iter_mut() {
            if entry.gate.as_ref().is_some_and(|gate| gate.is_limited()) {
                continue;
            }
            let shard = entry.hash.and_then(|hash| known.routes.shard(hash));
            let gate = shard.and_then(|shard| known.gates.get(shard));
            entry.gate = gate.filter(|gate| gate.is_limited()).cloned();
        }
    }

    /// Gate of a shard, made if there is none. Making one drops all gates that are outdated and unused.
    pub(super) fn of(&self, shard: &ShardId) -> Arc<Gate> {
        let mut known = self.lock();
        if let Some(gate) = known.gates.get(shard) {
            return Arc::clone(gate);
        }
        let now = Instant::now();
        known
            .gates
            .retain(|_, gate| Arc::strong_count(gate) > 1 || gate.lock().is_needed(now));
        let gate = Arc::new(Gate::new(shard.clone(), now));
        known.gates.insert(shard.clone(), Arc::clone(&gate));
        gate
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock()
    }
}

/// Lets entries through to one shard, at its [`Rate`].
#[derive(Debug)]
pub(super) struct Gate {
    shard: ShardId,
    rate: Mutex<Rate>,
}

impl Gate {
    fn new(shard: ShardId, now: Instant) -> Self {
        Self {
            shard,
            rate: Mutex::new(Rate::new(now)),
        }
    }

    /// Call when `shard` answers an entry that waited here. If it isn't the gate's own shard, that one was split or
    /// merged, and nobody needs to wait here any longer.
    pub(super) fn answered_by(&self, shard: &ShardId) {
        if *shard != self.shard && is_named(shard) && is_named(&self.shard) {
            self.lock().set_free();
        }
    }

    /// True if the shard is at its limit, so that entries have to wait here.
    pub(super) fn is_limited(&self) -> bool {
        self.lock().is_limited(Instant::now())
    }

    /// A place in the queue for entries of this weight, or for some of them.
    pub(super) fn place(self: &Arc<Self>, weight: f64) -> Place {
        let (left, turn) = self.lock().place(weight, Instant::now());
        Place {
            gate: Arc::clone(self),
            turn,
            left,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rate> {
        self.rate.lock()
    }
}

/// A place in a gate's queue. On drop, its unused weight goes to those behind it.
#[derive(Debug)]
pub(super) struct Place {
    gate: Arc<Gate>,
    turn: Turn,
    /// Weight that may still go.
    left: f64,
}

impl Place {
    /// True if it is in this gate's queue.
    pub(super) fn is_at(&self, gate: &Arc<Gate>) -> bool {
        Arc::ptr_eq(&self.gate, gate)
    }

    /// Time until the next check of its turn. `None` if its entries may go.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.gate.lock().wait(self.turn, Instant::now())
    }

    /// Weight that may still go when its turn comes. Zero if the place is used up.
    pub(super) fn left(&self) -> f64 {
        self.left
    }

    /// Uses the place for an entry. The last entry may weigh more than is left.
    pub(super) fn take(&mut self, entry: &Outgoing) {
        self.left -= weight(entry.bytes());
        if self.left < 0.0 {
            self.gate.lock().settle(self.turn, self.left);
            self.left = 0.0;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.left > 0.0 {
            self.gate.lock().settle(self.turn, self.left);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::SinkRecord;
    use super::*;

    fn named(shard: &str) -> ShardId {
        ShardId::from(shard)
    }

    fn entry(hash: u128) -> Outgoing {
        entry_of(hash, Bytes::from_static(b"four"))
    }

    fn entry_of(hash: u128, data: Bytes) -> Outgoing {
        let record = SinkRecord {
            partition_key: Some("key".into()),
            data,
            explicit_hash_key: Some(hash.to_string()),
        };
        let mut entry = Outgoing::of(record, false);
        entry.know_hash();
        entry
    }

    #[test]
    fn the_shard_is_named_in_the_message() {
        let message = "Rate exceeded for shard shardId-000000000007 in stream s under account 111122223333.";
        assert_eq!(named_in(message), named("shardId-000000000007"));
        assert_eq!(named_in("slow down"), named(""));
    }

    /// Feeds an answer in which `shard` accepts and refuses these numbers of entries, with hash keys from `first` on.
    fn answer(gates: &Gates, shard: &str, first: u128, accepted: u128, refused: u128) {
        let mut tally = Tally::of(true);
        for number in 0..accepted {
            tally.accepted(&named(shard), &entry(first + number));
        }
        for number in 0..refused {
            tally.throttled(&format!("Rate exceeded for {shard}"), &entry(first + number));
        }
        gates.learn(&tally);
    }

    #[tokio::test(start_paused = true)]
    async fn first_tries_to_a_shard_at_its_limit_wait_and_others_do_not() {
        let gates = Gates::default();
        let mut entries = [entry(5), entry(70), entry(500)];
        entries[0].hash = None;
        gates.place(&mut entries);
        assert!(entries.iter().all(|entry| entry.gate.is_none()));
        assert_eq!(entries[0].hash, None, "a stream without refusals pays nothing");
        answer(&gates, "shardId-1", 0, 50, 50);
        answer(&gates, "shardId-2", 50, 50, 0);
        gates.place(&mut entries);
        assert!(
            entries[0]
                .gate
                .as_ref()
                .is_some_and(|gate| gate.shard == named("shardId-1"))
        );
        assert!(entries[1].gate.is_none() && entries[2].gate.is_none());
        tokio::time::advance(FORGOTTEN).await;
        entries[0].gate = None;
        gates.place(&mut entries);
        assert!(entries[0].gate.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_that_name_no_shard_are_paced_by_what_any_accepts() {
        let gates = Gates::default();
        let mut tally = Tally::of(true);
        (0..100).for_each(|hash| tally.accepted(&named("shardId-1"), &entry(hash)));
        (0..100).for_each(|hash| drop(tally.throttled("slow down", &entry(hash))));
        gates.learn(&tally);
        let gate = gates.of(&named(""));
        assert!(gate.is_limited());
        let place = gate.place(10.0);
        tokio::time::advance(Duration::from_millis(95)).await;
        assert!(place.wait().is_some());
        tokio::time::advance(Duration::from_millis(10)).await;
        assert!(place.wait().is_none());
        let mut entries = [entry(5)];
        gates.place(&mut entries);
        assert!(entries[0].gate.is_none(), "first tries go as ever");
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_given_up_is_for_those_behind() {
        let gates = Gates::default();
        answer(&gates, "shardId-1", 0, 100, 100);
        let gate = gates.of(&named("shardId-1"));
        let (first, mut second) = (gate.place(1e9), gate.place(1e9));
        assert_eq!(
            (first.left(), second.left()),
            (10.0, 10.0),
            "a tenth of a second's worth"
        );
        tokio::time::advance(Duration::from_millis(105)).await;
        assert!(first.wait().is_none() && second.wait().is_some());
        drop(first);
        assert!(second.wait().is_none());
        // Weight used beyond a place delays those behind it.
        let third = gate.place(1.0);
        (0..30).for_each(|hash| second.take(&entry(hash)));
        drop(second);
        tokio::time::advance(Duration::from_millis(190)).await;
        assert!(third.wait().is_some());
        tokio::time::advance(Duration::from_millis(30)).await;
        assert!(third.wait().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_record_among_small_ones_does_not_close_the_line_for_long() {
        let gates = Gates::default();
        answer(&gates, "shardId-1", 0, 1, 20);
        let gate = gates.of(&named("shardId-1"));
        let mut place = gate.place(1e9);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(place.wait().is_none());
        place.take(&entry_of(1, Bytes::from(vec![0; 1 << 20])));
        let behind = gate.place(1.0);
        assert!(behind.wait().is_some());
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(behind.wait().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_shard_that_was_split() {
        let gates = Gates::default();
        answer(&gates, "shardId-1", 0, 100, 400);
        let gate = gates.of(&named("shardId-1"));
        let place = gate.place(1e9);
        gate.answered_by(&named("shardId-1"));
        gate.answered_by(&named(""));
        assert!(gate.is_limited() && place.wait().is_some());
        gate.answered_by(&named("shardId-2"));
        assert!(!gate.is_limited() && place.wait().is_none());
        // An entry that waited there goes to the shard that takes its key after the split.
        answer(&gates, "shardId-2", 0, 50, 50);
        let mut entries = [entry(5)];
        entries[0].gate = Some(gate);
        gates.place(&mut entries);
        assert!(
            entries[0]
                .gate
                .as_ref()
                .is_some_and(|gate| gate.shard == named("shardId-2"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn gates_that_nobody_needs_are_forgotten() {
        let gates = Gates::default();
        answer(&gates, "shardId-1", 0, 1, 1);
        tokio::time::advance(FORGOTTEN).await;
        gates.of(&named("shardId-2"));
        assert_eq!(gates.lock().gates.len(), 1);
    }
}
