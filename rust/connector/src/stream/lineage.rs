//! How shards descend from one another, and when each may be read.

use std::collections::{BTreeMap, BTreeSet};

use super::{HashRange, Position, ShardId};

/// A shard as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The shard's ID.
    pub id: ShardId,
    /// The shards from which it descends: one after a split, two after a merge, none for an original shard.
    pub parents: Vec<ShardId>,
    /// Its first hash key.
    pub hash_start: u128,
    /// Its last hash key.
    pub hash_end: u128,
    /// True if it was split or merged, and takes no more records.
    pub closed: bool,
}

impl Shard {
    /// The range of its hash keys.
    pub fn hash_range(&self) -> HashRange {
        HashRange {
            start: self.hash_start,
            end: self.hash_end,
        }
    }
}

/// The shards of a stream in one listing.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    shards: BTreeMap<ShardId, Shard>,
    children: BTreeMap<ShardId, Vec<ShardId>>,
}

impl Lineage {
    /// The lineage in a listing.
    pub fn new(listing: Vec<Shard>) -> Self {
        let mut children: BTreeMap<ShardId, Vec<ShardId>> = BTreeMap::new();
        for shard in &listing {
            for parent in &shard.parents {
                children.entry(parent.clone()).or_default().push(shard.id.clone());
            }
        }
        Self {
            shards: listing
                .into_iter()
                .map(|shard| (shard.id.clone(), shard))
                .collect(),
            children,
        }
    }

    /// The number of listed shards.
    pub fn len(&self) -> usize {
        self.shards.len()
    }

    /// True if the listing was empty.
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }

    /// True if this shard is listed.
    pub fn lists(&self, shard: &ShardId) -> bool {
        self.shards.contains_key(shard)
    }

    /// True if the listing is older than the shard. The service numbers shards in the order of their creation, and
    /// the newest are open: if a shard was removed after its retention, newer ones are listed.
    pub fn is_older_than(&self, shard: &ShardId) -> bool {
        self.shards.keys().all(|listed| listed < shard)
    }

    /// True if not all children of a listed shard are listed: they don't have all of its hash keys.
    pub fn lacks_children_of(&self, shard: &ShardId) -> bool {
        !self.is_replaced(shard, |_| true)
    }

    /// True if a shard is listed as open and without children.
    pub fn is_open_without_children(&self, shard: &ShardId) -> bool {
        let open = self.shards.get(shard).is_some_and(|shard| !shard.closed);
        open && !self.children.contains_key(shard)
    }

    /// The start of a new query: the shards whose parents are not listed, all at the same position. The others follow
    /// when their parents end.
    pub fn roots(&self, at: &Position) -> BTreeMap<ShardId, Position> {
        self.shards
            .values()
            .filter(|shard| !shard.parents.iter().any(|parent| self.lists(parent)))
            .map(|shard| (shard.id.clone(), at.clone()))
            .collect()
    }

    /// The start of a new query with given positions; all other shards start at `at`. Ancestors of given shards count
    /// as read, and descendants follow after them. `recent` is true for shards that can have records from `at` on;
    /// the others count as read, too.
    pub fn starts(
        &self,
        given: &BTreeMap<ShardId, Position>,
        at: &Position,
        recent: impl Fn(&ShardId) -> bool,
    ) -> BTreeMap<ShardId, Position> {
        let read = self.ancestors_of(given.keys());
        let following = self.descendants_of(given.keys());
        let mut starts = given.clone();
        for shard in self.shards.values() {
            let id = &shard.id;
            if given.contains_key(id) || read.contains(id) || following.contains(id) {
                continue;
            }
            let ended = |parent: &ShardId| !self.lists(parent) || read.contains(parent) || !recent(parent);
            if !recent(id) {
                starts.insert(id.clone(), Position::ShardEnd);
            } else if shard.parents.iter().all(ended) {
                starts.insert(id.clone(), at.clone());
            }
        }
        starts
    }

    /// All listed descendants of these shards.
    pub fn descendants_of<'a>(&'a self, shards: impl Iterator<Item = &'a ShardId>) -> BTreeSet<&'a ShardId> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&ShardId> = shards.collect();
        while let Some(id) = open.pop() {
            for child in self.children.get(id).map(Vec::as_slice).unwrap_or_default() {
                if found.insert(child) {
                    open.push(child);
                }
            }
        }
        found
    }

    /// True if a shard takes no more records.
    pub fn is_closed(&self, shard: &ShardId) -> bool {
        self.shards.get(shard).is_some_and(|shard| shard.closed)
    }

    /// The newest shard.
    pub fn newest(&self) -> Option<&ShardId> {
        self.shards.keys().next_back()
    }

    /// Advances positions from ended shards to their children: a child starts at TRIM_HORIZON once all its known
    /// parents were read to their ends, and an ended parent is removed once its children are present.
    pub fn advance(&self, positions: &BTreeMap<ShardId, Position>) -> BTreeMap<ShardId, Position> {
        let read_before = self.ancestors_of(positions.keys());
        let ended = |parent: &ShardId| {
            !self.lists(parent)
                || read_before.contains(parent)
                || positions.get(parent) == Some(&Position::ShardEnd)
        };
        let mut next = positions.clone();
        for shard in self.shards.values() {
            let known = positions.contains_key(&shard.id) || read_before.contains(&shard.id);
            if !known && shard.parents.iter().all(ended) {
                next.insert(shard.id.clone(), Position::TrimHorizon);
            }
        }
        let passed = self.ancestors_of(next.keys());
        let stands = |child: &ShardId| next.contains_key(child) || passed.contains(child);
        let replaced: Vec<ShardId> = next
            .iter()
            .filter(|(id, position)| **position == Position::ShardEnd && self.is_replaced(id, stands))
            .map(|(id, _)| id.clone())
            .collect();
        for id in replaced {
            next.remove(&id);
        }
        next
    }

    /// All listed ancestors of these shards. Ancestors of an offset's shards were read: an offset drops a parent only
    /// once it has the children.
    pub fn ancestors_of<'a>(&'a self, shards: impl Iterator<Item = &'a ShardId>) -> BTreeSet<&'a ShardId> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&ShardId> = shards.collect();
        while let Some(id) = open.pop() {
            let parents = self
                .shards
                .get(id)
                .map(|shard| shard.parents.as_slice())
                .unwrap_or_default();
            for parent in parents {
                if self.lists(parent) && found.insert(parent) {
                    open.push(parent);
                }
            }
        }
        found
    }

    /// True if the shard's children in the offset, or those replaced there by descendants, have every hash key of the
    /// shard. If a listing shows only one half of a split, the other half is still awaited.
    fn is_replaced(&self, id: &ShardId, stands: impl Fn(&ShardId) -> bool) -> bool {
        let Some(parent) = self.shards.get(id) else {
            return true;
        };
        let children = self.children.get(id).map(Vec::as_slice).unwrap_or_default();
        let present = children.iter().filter(|child| stands(child));
        self.take_keys(present, parent.hash_start, parent.hash_end)
    }

    /// True if these shards have all hash keys.
    pub fn take_all_keys<'a>(&self, shards: impl Iterator<Item = &'a ShardId>) -> bool {
        self.take_keys(shards, 0, u128::MAX)
    }

    /// True if these shards have every hash key from `first` to `last`.
    fn take_keys<'a>(&self, shards: impl Iterator<Item = &'a ShardId>, first: u128, last: u128) -> bool {
        let mut ranges: Vec<(u128, u128)> = shards
            .filter_map(|shard| self.shards.get(shard))
            .map(|shard| (shard.hash_start, shard.hash_end))
            .collect();
        ranges.sort_unstable();
        let mut wanted = first;
        for (start, end) in ranges {
            if start > wanted {
                return false;
            }
            if end >= last {
                return true;
            }
            wanted = wanted.max(end.saturating_add(1));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u128 = u128::MAX;
    const HALF: u128 = u128::MAX / 2;

    fn shard(id: &str, parents: &[&str], hash_start: u128, hash_end: u128) -> Shard {
        Shard {
            id: id.into(),
            parents: parents.iter().map(|parent| ShardId::from(*parent)).collect(),
            hash_start,
            hash_end,
            closed: false,
        }
    }

    fn at(shards: &[(&str, Position)]) -> BTreeMap<ShardId, Position> {
        shards
            .iter()
            .map(|(id, position)| (ShardId::from(*id), position.clone()))
            .collect()
    }

    fn after(number: &str) -> Position {
        Position::After(number.parse().expect("number"))
    }

    fn split() -> Lineage {
        Lineage::new(vec![
            shard("a", &[], 0, MAX),
            shard("b", &["a"], 0, HALF),
            shard("c", &["a"], HALF + 1, MAX),
        ])
    }

    #[test]
    fn a_new_query_starts_with_the_roots() {
        assert_eq!(
            split().roots(&Position::TrimHorizon),
            at(&[("a", Position::TrimHorizon)])
        );
    }

    #[test]
    fn given_positions_stand_beside_the_one_for_all_others() {
        let all = |_: &ShardId| true;
        let merge = Lineage::new(vec![
            shard("a", &[], 0, HALF),
            shard("b", &[], HALF + 1, MAX),
            shard("c", &["a", "b"], 0, MAX),
            shard("d", &["c"], 0, HALF),
            shard("e", &["c"], HALF + 1, MAX),
        ]);
        let starts = |given: &[(&str, Position)]| merge.starts(&at(given), &Position::TrimHorizon, all);
        assert_eq!(
            starts(&[("a", after("5"))]),
            at(&[("a", after("5")), ("b", Position::TrimHorizon)])
        );
        // What comes before a given shard was read; its sibling is one of the others.
        assert_eq!(
            starts(&[("d", after("7"))]),
            at(&[("d", after("7")), ("e", Position::TrimHorizon)])
        );
        let ended = at(&[("a", Position::ShardEnd), ("b", Position::ShardEnd)]);
        let next = merge.advance(&merge.starts(&ended, &Position::AtTimestamp(9), all));
        assert_eq!(next, at(&[("c", Position::TrimHorizon)]));
    }

    #[test]
    fn a_shard_too_old_for_the_others_position_keeps_nobody_waiting() {
        let merge = Lineage::new(vec![
            shard("a", &[], 0, HALF),
            shard("b", &[], HALF + 1, MAX),
            shard("c", &["a", "b"], 0, MAX),
        ]);
        let time = Position::AtTimestamp(9);
        let starts = merge.starts(&at(&[("a", after("5"))]), &time, |shard| shard.as_str() == "c");
        assert_eq!(starts, at(&[("a", after("5")), ("b", Position::ShardEnd)]));
        assert_eq!(merge.advance(&starts), starts);
        let ended = at(&[("a", Position::ShardEnd), ("b", Position::ShardEnd)]);
        assert_eq!(merge.advance(&ended), at(&[("c", Position::TrimHorizon)]));
    }

    #[test]
    fn children_wait_for_their_parent() {
        let positions = at(&[("a", after("5"))]);
        assert_eq!(split().advance(&positions), positions);
    }

    #[test]
    fn children_take_the_place_of_an_ended_parent() {
        let next = split().advance(&at(&[("a", Position::ShardEnd)]));
        assert_eq!(
            next,
            at(&[("b", Position::TrimHorizon), ("c", Position::TrimHorizon)])
        );
    }

    #[test]
    fn a_parent_read_before_does_not_come_back() {
        let positions = at(&[("b", after("7")), ("c", after("8"))]);
        assert_eq!(split().advance(&positions), positions);
    }

    #[test]
    fn a_merged_shard_waits_for_both_parents() {
        let merge = Lineage::new(vec![
            shard("a", &[], 0, HALF),
            shard("b", &[], HALF + 1, MAX),
            shard("c", &["a", "b"], 0, MAX),
        ]);
        let one = at(&[("a", Position::ShardEnd), ("b", after("1"))]);
        assert_eq!(merge.advance(&one), one);
        let both = at(&[("a", Position::ShardEnd), ("b", Position::ShardEnd)]);
        assert_eq!(merge.advance(&both), at(&[("c", Position::TrimHorizon)]));
    }

    #[test]
    fn a_parent_stays_until_all_its_hash_keys_are_taken() {
        let half_listed = Lineage::new(vec![shard("a", &[], 0, MAX), shard("b", &["a"], 0, HALF)]);
        let next = half_listed.advance(&at(&[("a", Position::ShardEnd)]));
        assert_eq!(
            next,
            at(&[("a", Position::ShardEnd), ("b", Position::TrimHorizon)])
        );
        let next = split().advance(&next);
        assert_eq!(
            next,
            at(&[("b", Position::TrimHorizon), ("c", Position::TrimHorizon)])
        );
    }

    #[test]
    fn a_parent_does_not_stay_for_children_that_others_stand_for() {
        let late = Lineage::new(vec![
            shard("a", &[], 0, MAX),
            shard("b", &["a"], 0, HALF),
            shard("c", &["a"], HALF + 1, MAX),
            shard("d", &["b"], 0, HALF / 2),
            shard("e", &["b"], HALF / 2 + 1, HALF),
        ]);
        let next = late.advance(&at(&[
            ("a", Position::ShardEnd),
            ("d", after("5")),
            ("e", after("6")),
        ]));
        assert_eq!(
            next,
            at(&[("c", Position::TrimHorizon), ("d", after("5")), ("e", after("6"))])
        );
    }

    #[test]
    fn all_hash_keys_are_taken_or_not() {
        let lineage = split();
        let ids = |ids: &[&str]| ids.iter().map(|id| ShardId::from(*id)).collect::<Vec<_>>();
        assert!(lineage.take_all_keys(ids(&["b", "c"]).iter()));
        assert!(!lineage.take_all_keys(ids(&["c"]).iter()));
        assert!(!lineage.take_all_keys(ids(&[]).iter()));
    }

    #[test]
    fn a_parent_that_is_no_longer_listed_counts_as_ended() {
        let listing = Lineage::new(vec![
            shard("d", &["b"], 0, HALF),
            shard("c", &["a"], HALF + 1, MAX),
        ]);
        let next = listing.advance(&at(&[("a", Position::ShardEnd), ("c", after("3"))]));
        assert_eq!(next, at(&[("c", after("3")), ("d", Position::TrimHorizon)]));
    }

    #[test]
    fn generations_follow_one_another() {
        let listing = Lineage::new(vec![
            shard("a", &[], 0, MAX),
            shard("b", &["a"], 0, HALF),
            shard("c", &["a"], HALF + 1, MAX),
            shard("d", &["b", "c"], 0, MAX),
        ]);
        let mut positions = listing.roots(&Position::TrimHorizon);
        let mut generations = Vec::new();
        while !positions.contains_key(&ShardId::from("d")) {
            generations.push(
                positions
                    .keys()
                    .map(ShardId::to_string)
                    .collect::<Vec<_>>()
                    .join(","),
            );
            let ended = positions
                .keys()
                .map(|id| (id.clone(), Position::ShardEnd))
                .collect();
            positions = listing.advance(&ended);
        }
        assert_eq!(generations, ["a", "b,c"]);
        assert_eq!(positions, at(&[("d", Position::TrimHorizon)]));
    }
}
