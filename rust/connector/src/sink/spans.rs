//! Sets of hash keys, as ranges.

use std::collections::BTreeMap;

use crate::stream::HashRange;

/// Disjoint ranges of hash keys.
#[derive(Debug, Default)]
pub(super) struct Spans(BTreeMap<u128, u128>);

impl Spans {
    /// True if any hash key of this range is in the set.
    pub(super) fn touch(&self, span: HashRange) -> bool {
        self.0
            .range(..=span.end)
            .next_back()
            .is_some_and(|(_, end)| *end >= span.start)
    }

    /// Adds a range, and merges it with those that it overlaps.
    pub(super) fn add(&mut self, mut span: HashRange) {
        while let Some((&start, &end)) = self.0.range(..=span.end).next_back()
            && end >= span.start
        {
            self.0.remove(&start);
            span.start = span.start.min(start);
            span.end = span.end.max(end);
        }
        self.0.insert(span.start, span.end);
    }

    /// Removes a range that was added and has overlapped no other since.
    pub(super) fn remove(&mut self, span: HashRange) {
        self.0.remove(&span.start);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u128, end: u128) -> HashRange {
        HashRange { start, end }
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let mut spans = Spans::default();
        assert!(!spans.touch(span(0, u128::MAX)));
        for (start, end) in [(10, 20), (30, 30), (40, 50)] {
            spans.add(span(start, end));
        }
        let touched = [
            (0, 9),
            (0, 10),
            (20, 29),
            (21, 29),
            (30, 30),
            (31, 39),
            (15, 16),
            (51, 60),
        ];
        assert_eq!(
            touched.map(|(start, end)| spans.touch(span(start, end))),
            [false, true, true, false, true, false, true, false]
        );
        spans.add(span(20, 40));
        assert_eq!(spans.0, BTreeMap::from([(10, 50)]));
        spans.add(span(0, 0));
        spans.remove(span(10, 50));
        assert_eq!(spans.0, BTreeMap::from([(0, 0)]));
    }
}
