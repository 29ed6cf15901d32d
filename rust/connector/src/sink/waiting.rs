//! A writer's buffer of rows that wait for a request, packed into aggregates or not.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::batch::Queue;
use super::ordered::Sequence;
use super::outgoing::Outgoing;
use super::pack::Packer;
use super::shard_map::ShardMap;
use crate::options::SinkOrdering;
use crate::stream::HashRange;

/// Rows that are packed into aggregates or not, and then wait for a request: in any order, or with each key's order
/// kept.
#[derive(Debug)]
pub(super) struct Waiting {
    max_buffered_time: Duration,
    max_record_bytes: usize,
    packer: Option<Packer>,
    /// Time at which the packed rows are due.
    packed_deadline: Option<Instant>,
    line: Line,
    /// Scratch buffer, empty between calls.
    packed: Vec<Outgoing>,
}

#[derive(Debug)]
enum Line {
    Any(Queue),
    Ordered(Sequence),
}

impl Waiting {
    pub(super) fn new(max_buffered_time: Duration, max_record_bytes: usize, ordering: SinkOrdering) -> Self {
        Self {
            max_buffered_time,
            max_record_bytes,
            packer: None,
            packed_deadline: None,
            line: match ordering {
                SinkOrdering::None => Line::Any(Queue::new(max_buffered_time)),
                SinkOrdering::Key => Line::Ordered(Sequence::new(max_buffered_time)),
            },
            packed: Vec::new(),
        }
    }

    /// Packs further rows for these shards; without a map, further rows are put one by one.
    pub(super) fn pack_for(&mut self, map: Option<&Arc<ShardMap>>, now: Instant) {
        match (&self.packer, map) {
            (None, None) => return,
            (Some(packer), Some(map)) if packer.is_for(map) => return,
            _ => {}
        }
        self.drain(now);
        self.packer = map.map(|map| Packer::new(Arc::clone(map), self.max_record_bytes));
    }

    /// True if more rows may be added.
    pub(super) fn has_room(&self) -> bool {
        match &self.line {
            Line::Any(queue) => queue.has_room(),
            Line::Ordered(sequence) => sequence.has_room(),
        }
    }

    pub(super) fn push(&mut self, row: Outgoing, now: Instant) {
        let Some(packer) = &mut self.packer else {
            self.line_up(row, now);
            return;
        };
        if packer.is_empty() {
            self.packed_deadline = now.checked_add(self.max_buffered_time);
        }
        packer.add(row, &mut self.packed);
        if packer.is_empty() {
            self.packed_deadline = None;
        }
        self.line_up_packed(now);
    }

    /// Makes all waiting rows due, without a full request.
    pub(super) fn seal(&mut self, now: Instant) {
        self.drain(now);
        match &mut self.line {
            Line::Any(queue) => queue.seal(),
            Line::Ordered(sequence) => sequence.seal(),
        }
    }

    /// The entries of the next request, if there is one to send.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Vec<Outgoing>> {
        // Packed rows are due with the rest. Until this call, their aggregates stay open and may grow.
        if self.has_room() && self.packed_deadline.is_some_and(|deadline| deadline <= now) {
            self.seal(now);
        }
        match &mut self.line {
            Line::Any(queue) => queue.pop(now),
            Line::Ordered(sequence) => sequence.pop(now),
        }
    }

    /// Call when popped entries with these hash keys are accepted.
    pub(super) fn settled(&mut self, spans: &[HashRange]) {
        if let Line::Ordered(sequence) = &mut self.line {
            sequence.settled(spans);
        }
    }

    /// Time at which a request that isn't full is due; `None` if that is at once, or never.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let lined_up = match &self.line {
            Line::Any(queue) => queue.deadline(),
            Line::Ordered(sequence) => sequence.deadline(),
        };
        let packed = self.packed_deadline.filter(|_| self.has_room());
        lined_up.into_iter().chain(packed).min()
    }

    /// Bytes of all waiting rows.
    pub(super) fn bytes(&self) -> usize {
        let lined_up = match &self.line {
            Line::Any(queue) => queue.bytes(),
            Line::Ordered(sequence) => sequence.bytes(),
        };
        lined_up + self.packer.as_ref().map_or(0, Packer::bytes)
    }

    /// True if no row waits.
    pub(super) fn is_empty(&self) -> bool {
        let packed = self.packer.as_ref().is_none_or(Packer::is_empty);
        packed
            && match &self.line {
                Line::Any(queue) => queue.is_empty(),
                Line::Ordered(sequence) => sequence.is_empty(),
            }
    }

    /// Drops all waiting rows and frees their memory.
    pub(super) fn clear(&mut self) {
        (self.packer, self.packed_deadline) = (None, None);
        match &mut self.line {
            Line::Any(queue) => queue.clear(),
            Line::Ordered(sequence) => sequence.clear(),
        }
    }

    fn drain(&mut self, now: Instant) {
        if let Some(packer) = &mut self.packer {
            packer.drain(&mut self.packed);
        }
        self.packed_deadline = None;
        self.line_up_packed(now);
    }

    fn line_up_packed(&mut self, now: Instant) {
        let mut packed = std::mem::take(&mut self.packed);
        for entry in packed.drain(..) {
            self.line_up(entry, now);
        }
        self.packed = packed;
    }

    fn line_up(&mut self, entry: Outgoing, now: Instant) {
        match &mut self.line {
            Line::Any(queue) => queue.push(entry, now),
            Line::Ordered(sequence) => sequence.push(entry, now),
        }
    }
}
