//! Selects the waiting entries that go into the next request.

use std::sync::Arc;
use std::time::Duration;

use super::batch::{MAX_ENTRIES, MAX_REQUEST_BYTES};
use super::gate::{Gate, Place};
use super::ordered;
use super::outgoing::Outgoing;
use super::rate::weight;
use crate::options::SinkOrdering;

/// Time that due entries wait for others of the same request that are due soon. Without it, requests would have only
/// a few entries when many shards are at their limit.
const COMPANY: Duration = Duration::from_millis(50);

/// Places of a request's entries in the queues of the shards at their limit, one per queue. They are kept between
/// rounds.
#[derive(Debug, Default)]
pub(super) struct Lines {
    places: Vec<Place>,
}

impl Lines {
    /// Takes places for entries that need one, and waits until some entries may go. Entries that need no place may go
    /// at once, unless `in_line` is set because they have to wait for others.
    pub(super) async fn ready(&mut self, pending: &[Outgoing], in_line: bool) {
        let (waiting, others) = weights(pending);
        self.places
            .retain(|place| place.left() > 0.0 && waiting.iter().any(|(gate, _)| place.is_at(gate)));
        for (gate, weight) in waiting {
            if !self.places.iter().any(|place| place.is_at(gate)) {
                self.places.push(gate.place(weight));
            }
        }
        if self.places.is_empty() || (others && !in_line) {
            return;
        }
        loop {
            let (mut due, mut wait) = (0.0, None::<Duration>);
            for place in &self.places {
                match place.wait() {
                    None => due += place.left(),
                    Some(left) => wait = Some(wait.map_or(left, |wait| wait.min(left))),
                }
            }
            let Some(wait) = wait.filter(|_| due < MAX_ENTRIES as f64) else {
                return;
            };
            if due > 0.0 {
                tokio::time::sleep(COMPANY).await;
                return;
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Removes and returns the next round's entries, at most one request: those whose turn has come, and up to `free`
    /// entries that need no place.
    pub(super) fn take(
        &mut self,
        pending: &mut Vec<Outgoing>,
        free: usize,
        ordering: SinkOrdering,
    ) -> Vec<Outgoing> {
        let (waiting, _) = weights(pending);
        let gates: Vec<_> = waiting.into_iter().map(|(gate, _)| Arc::clone(gate)).collect();
        let mut due: Vec<_> = self
            .places
            .iter_mut()
            .filter(|place| place.wait().is_none())
            .collect();
        let mut free = free;
        let admit = |entry: &Outgoing| {
            let gate = entry.gate.as_ref();
            let Some(gate) = gate.filter(|gate| gates.iter().any(|limited| Arc::ptr_eq(limited, gate)))
            else {
                let admits = free > 0;
                free -= usize::from(admits);
                return admits;
            };
            let place = due.iter_mut().find(|place| place.is_at(gate));
            let Some(place) = place.filter(|place| place.left() > 0.0) else {
                return false;
            };
            place.take(entry);
            true
        };
        match ordering {
            SinkOrdering::Key => ordered::apart(pending, admit),
            SinkOrdering::None => in_turn(pending, admit),
        }
    }
}

/// Takes up to `most` entries, whatever their shards.
pub(super) fn past_lines(pending: &mut Vec<Outgoing>, most: usize, ordering: SinkOrdering) -> Vec<Outgoing> {
    let mut left = most;
    let admit = |_: &Outgoing| {
        let admits = left > 0;
        left -= usize::from(admits);
        admits
    };
    match ordering {
        SinkOrdering::Key => ordered::apart(pending, admit),
        SinkOrdering::None => in_turn(pending, admit),
    }
}

/// Takes, in order, the entries that `admit` accepts, up to the limits of a request.
fn in_turn(pending: &mut Vec<Outgoing>, mut admit: impl FnMut(&Outgoing) -> bool) -> Vec<Outgoing> {
    let (mut taken, mut kept, mut bytes) = (Vec::new(), Vec::new(), 0usize);
    let mut entries = pending.drain(..);
    for entry in entries.by_ref() {
        let size = entry.bytes();
        if !taken.is_empty() && (taken.len() == MAX_ENTRIES || bytes + size > MAX_REQUEST_BYTES) {
            kept.push(entry);
            break;
        }
        if admit(&entry) {
            bytes += size;
            taken.push(entry);
        } else {
            kept.push(entry);
        }
    }
    kept.extend(entries);
    *pending = kept;
    taken
}

/// Total weight of the entries for each shard at its limit, and true if there are other entries.
fn weights(pending: &[Outgoing]) -> (Vec<(&Arc<Gate>, f64)>, bool) {
    let mut gates = Vec::<(&Arc<Gate>, f64)>::new();
    let mut free = Vec::<&Arc<Gate>>::new();
    let mut others = false;
    for entry in pending {
        let Some(gate) = &entry.gate else {
            others = true;
            continue;
        };
        let weight = weight(entry.bytes());
        if let Some((_, sum)) = gates.iter_mut().find(|(known, _)| Arc::ptr_eq(known, gate)) {
            *sum += weight;
        } else if free.iter().any(|known| Arc::ptr_eq(known, gate)) {
            others = true;
        } else if gate.is_limited() {
            gates.push((gate, weight));
        } else {
            free.push(gate);
            others = true;
        }
    }
    (gates, others)
}

/// The gate of an entry's shard, if the shard is at its limit.
pub(super) fn limited(entry: &Outgoing) -> Option<&Arc<Gate>> {
    entry.gate.as_ref().filter(|gate| gate.is_limited())
}

/// Total weight of the entries that need no gate.
pub(super) fn unlimited_weight(pending: &[Outgoing]) -> f64 {
    let unlimited = pending.iter().filter(|entry| limited(entry).is_none());
    unlimited.map(|entry| weight(entry.bytes())).sum()
}
