//! Which of the entries that wait go into the next request.

use std::sync::Arc;

use super::batch::{MAX_ENTRIES, MAX_REQUEST_BYTES};
use super::gate::Gate;
use super::ordered;
use super::outgoing::Outgoing;
use crate::options::SinkOrdering;

/// What may go into a request: so many entries of shards that aren't at their limit, and of each other shard what its gate
/// lets through.
#[derive(Debug)]
pub(super) struct Round {
    free: usize,
    gates: Vec<(Arc<Gate>, usize)>,
}

impl Round {
    /// So many entries may go to shards that aren't at their limit. If there are none for these, or `in_line`, waits until
    /// the first entry may go.
    pub(super) async fn when_ready(pending: &[Outgoing], free: usize, in_line: bool) -> Self {
        let mut waiting = Vec::<(Arc<Gate>, usize)>::new();
        let mut others = false;
        for entry in pending {
            match limited(entry) {
                None => others = true,
                Some(gate) => match waiting.iter_mut().find(|(known, _)| Arc::ptr_eq(known, gate)) {
                    Some((_, count)) => *count += 1,
                    None => waiting.push((Arc::clone(gate), 1)),
                },
            }
        }
        let mut round = Self {
            free,
            gates: Vec::with_capacity(waiting.len()),
        };
        for (gate, count) in waiting {
            let count = count.min(MAX_ENTRIES);
            // The first of the gates is the first entry's, if that is at a gate.
            let waits = round.gates.is_empty() && (in_line || !others);
            let admitted = match waits {
                true => gate.admit(count).await,
                false => gate.admit_now(count),
            };
            round.gates.push((gate, admitted));
        }
        round
    }

    /// Takes what goes, and leaves the rest: no more bytes than a request may have.
    pub(super) fn take(mut self, pending: &mut Vec<Outgoing>, ordering: SinkOrdering) -> Vec<Outgoing> {
        match ordering {
            SinkOrdering::Key => ordered::apart(pending, |entry| self.admits(entry)),
            SinkOrdering::None => self.in_turn(pending),
        }
    }

    fn in_turn(&mut self, pending: &mut Vec<Outgoing>) -> Vec<Outgoing> {
        let (mut taken, mut kept, mut bytes) = (Vec::new(), Vec::new(), 0usize);
        let mut entries = pending.drain(..);
        for entry in entries.by_ref() {
            let size = entry.bytes();
            if !taken.is_empty() && (taken.len() == MAX_ENTRIES || bytes + size > MAX_REQUEST_BYTES) {
                kept.push(entry);
                break;
            }
            if self.admits(&entry) {
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

    fn admits(&mut self, entry: &Outgoing) -> bool {
        let gate = entry.gate.as_ref();
        let gated = gate.and_then(|gate| self.gates.iter_mut().find(|(known, _)| Arc::ptr_eq(known, gate)));
        let left = gated.map_or(&mut self.free, |(_, left)| left);
        let admits = *left > 0;
        *left -= usize::from(admits);
        admits
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        for (gate, left) in self.gates.drain(..).filter(|(_, left)| *left > 0) {
            gate.give_back(left);
        }
    }
}

/// The gate of an entry's shard, if that is at its limit.
pub(super) fn limited(entry: &Outgoing) -> Option<&Arc<Gate>> {
    entry.gate.as_ref().filter(|gate| gate.is_limited())
}
