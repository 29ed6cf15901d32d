//! Which of the entries that wait go into the next request.

use std::sync::Arc;
use std::time::Duration;

use super::batch::{MAX_ENTRIES, MAX_REQUEST_BYTES};
use super::gate::{Gate, Place};
use super::ordered;
use super::outgoing::Outgoing;
use super::rate::weight;
use crate::options::SinkOrdering;

/// How long entries that may go wait for others of the same request whose turn comes soon: where many shards are at
/// their limit, requests would have a few entries each otherwise.
const COMPANY: Duration = Duration::from_millis(50);

/// The places of one request's entries in the lines of those shards that are at their limit, one in each line. They are
/// kept from round to round.
#[derive(Debug, Default)]
pub(super) struct Lines {
    places: Vec<Place>,
}

impl Lines {
    /// Takes places for entries that need one, and waits until some of the entries may go. If some need no place, these
    /// may go at once, unless `in_line`: then they are known to wait for others.
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

    /// Takes what goes, and leaves the rest: what has come to its turn, and so many entries that need no place; no more
    /// bytes than a request may have.
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

/// Takes so many entries, of whatever shard.
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

/// Takes entries in their order that `admit` lets go, as many as a request may have.
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

/// The weight of what waits for each shard at its limit, and whether there is anything else.
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

/// The gate of an entry's shard, if that is at its limit.
pub(super) fn limited(entry: &Outgoing) -> Option<&Arc<Gate>> {
    entry.gate.as_ref().filter(|gate| gate.is_limited())
}
