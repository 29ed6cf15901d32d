//! Splits, merges, and the sequence of them that makes shards uniform.

use std::sync::Arc;

use super::{HashRange, Shard, StreamState, now_ms};

impl StreamState {
    /// Splits an open shard; the second child begins at `at`, inside the parent's range. Closing the parent and
    /// creating the children is one step.
    pub fn split(&mut self, parent: &Arc<Shard>, at: u128) {
        let HashRange { start, end } = parent.range;
        self.replace(
            &[Arc::clone(parent)],
            &[
                HashRange {
                    start,
                    end: at.saturating_sub(1),
                },
                HashRange { start: at, end },
            ],
        );
    }

    /// Merges two open neighbours; the child's parent is `parent`, its adjacent parent `adjacent`.
    pub fn merge(&mut self, parent: &Arc<Shard>, adjacent: &Arc<Shard>) {
        let range = HashRange {
            start: parent.range.start.min(adjacent.range.start),
            end: parent.range.end.max(adjacent.range.end),
        };
        self.replace(&[Arc::clone(parent), Arc::clone(adjacent)], &[range]);
    }

    /// Resizes the open shards to `count` equal ranges: splits every shard that spans a boundary, then merges the
    /// neighbours inside each range.
    pub fn make_uniform(&mut self, count: u32) {
        for part in HashRange::uniform(count) {
            let across = self
                .route(part.start)
                .filter(|s| s.range.start != part.start)
                .cloned();
            if let Some(shard) = across {
                self.split(&shard, part.start);
            }
        }
        for part in HashRange::uniform(count) {
            loop {
                let mut inside = self.open.iter().filter(|s| part.contains(s.range.start));
                let (Some(left), Some(right)) = (inside.next().cloned(), inside.next().cloned()) else {
                    break;
                };
                self.merge(&left, &right);
            }
        }
    }

    fn replace(&mut self, parents: &[Arc<Shard>], ranges: &[HashRange]) {
        let now = now_ms();
        let first = self.shards.len() as u32;
        for parent in parents {
            let mut state = parent.state();
            state.closed_ms = Some(now);
            state.children = (first..first + ranges.len() as u32).collect();
        }
        let lineage = [parents.first().map(Arc::as_ref), parents.get(1).map(Arc::as_ref)];
        self.open
            .retain(|open| !parents.iter().any(|parent| parent.index == open.index));
        for (index, range) in (first..).zip(ranges) {
            let child = Arc::new(Shard::new(index, *range, lineage, now, 0));
            self.shards.push(Arc::clone(&child));
            self.open.push(child);
        }
        self.open.sort_by_key(|s| s.range.start);
        for parent in parents {
            parent.changes.mark();
            parent.changes.notify();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stream;
    use super::super::stream::Earlier;
    use super::*;

    fn stream(shards: u32) -> Stream {
        Stream::new(1, "s", "arn".into(), shards, false, Earlier::default())
    }

    fn covered(state: &StreamState) -> bool {
        let open = &state.open;
        open.first().is_some_and(|s| s.range.start == 0)
            && open.last().is_some_and(|s| s.range.end == u128::MAX)
            && open.windows(2).all(|w| w[0].range.end + 1 == w[1].range.start)
    }

    #[test]
    fn a_split_closes_the_parent_and_names_the_children() {
        let stream = stream(1);
        let mut state = stream.write();
        let parent = Arc::clone(&state.open[0]);
        state.split(&parent, 1000);
        assert!(parent.state().closed_ms.is_some());
        assert_eq!(parent.state().children, [1, 2]);
        assert_eq!(state.open.iter().map(|s| s.index).collect::<Vec<_>>(), [1, 2]);
        assert!(state.open.iter().all(|s| s.parents().eq([0])));
        assert_eq!(state.route(999).map(|s| s.index), Some(1));
        assert_eq!(state.route(1000).map(|s| s.index), Some(2));
        assert!(covered(&state));
    }

    #[test]
    fn a_merge_has_both_parents_whatever_their_order() {
        let stream = stream(2);
        let mut state = stream.write();
        let (left, right) = (Arc::clone(&state.open[0]), Arc::clone(&state.open[1]));
        state.merge(&right, &left);
        let child = &state.open[0];
        assert_eq!((child.parent, child.adjacent_parent), (Some(1), Some(0)));
        assert_eq!(
            child.range,
            HashRange {
                start: 0,
                end: u128::MAX
            }
        );
        assert_eq!(
            (left.state().children.clone(), right.state().children.clone()),
            (vec![2], vec![2])
        );
        assert!(child.starting_number() > left.ending_number(&left.state()).unwrap());
    }

    #[test]
    fn uniform_scaling_leaves_even_shards_with_known_parents() {
        for (from, to) in [
            (1, 2),
            (2, 4),
            (4, 2),
            (2, 3),
            (3, 2),
            (3, 6),
            (5, 5),
            (4, 7),
            (7, 4),
        ] {
            let stream = stream(from);
            let mut state = stream.write();
            state.make_uniform(to);
            let ranges: Vec<_> = state.open.iter().map(|s| s.range).collect();
            assert_eq!(ranges, HashRange::uniform(to), "{from} -> {to}");
            for shard in &state.shards[from as usize..] {
                assert!(shard.parents().count() > 0);
                for parent in shard.parents() {
                    let parent = &state.shards[parent as usize];
                    assert!(parent.state().children.contains(&shard.index));
                    assert!(parent.created_s < shard.created_s);
                }
            }
            if to == 2 * from {
                assert_eq!(
                    state.shards.len() as u32,
                    from + to,
                    "a doubling splits each shard once"
                );
            }
        }
    }
}
