//! Pages that wait for a shard's reader, with their memory reservations.

use std::collections::VecDeque;

use crate::read::memory_pool::MemoryReservation;
use crate::service::Page;
use crate::stream::Position;

/// Contiguous pages. Whoever reserves their bytes bounds the buffer.
#[derive(Debug, Default)]
pub(super) struct PageBuffer {
    pages: VecDeque<(Page, MemoryReservation)>,
    bytes: usize,
}

impl PageBuffer {
    /// Appends a page.
    pub(super) fn push_back(&mut self, page: Page, reserved: MemoryReservation) {
        self.bytes += page.records.bytes();
        self.pages.push_back((page, reserved));
    }

    /// Puts a page before all others.
    pub(super) fn push_front(&mut self, page: Page, reserved: MemoryReservation) {
        self.bytes += page.records.bytes();
        self.pages.push_front((page, reserved));
    }

    /// Removes the first page and releases its bytes.
    pub(super) fn pop_front(&mut self) -> Option<Page> {
        let (page, _) = self.pages.pop_front()?;
        self.bytes -= page.records.bytes();
        Some(page)
    }

    pub(super) fn front(&self) -> Option<&Page> {
        self.pages.front().map(|(page, _)| page)
    }

    pub(super) fn back(&self) -> Option<&Page> {
        self.pages.back().map(|(page, _)| page)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Bytes of all records.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Position after the last record.
    pub(super) fn end(&self) -> Option<Position> {
        let records = self.pages.iter().map(|(page, _)| &page.records);
        let last = records.rev().find(|records| !records.is_empty())?;
        let number = last.sequence_number(last.len() - 1).parse();
        number.ok().map(Position::After)
    }
}
