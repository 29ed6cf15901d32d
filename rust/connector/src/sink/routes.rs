//! The shards of hash keys, learnt from responses. No permission to list shards is needed.

use std::collections::BTreeMap;

use crate::stream::ShardId;

/// Maximum number of runs. A stream has one for each shard, and a few more while its shards change.
const MOST_RUNS: usize = 20_000;

/// Number of counted responses at which both counts are halved, so that older ones count less.
const ANSWERS: usize = 2_000;

/// The routes are used unless more than one in this many responses contradicts them.
const AGAINST: usize = 10;

/// Ranges from the least to the greatest hash key that each shard was seen to take.
///
/// Shards take ranges of hash keys, so a hash key between two keys of a shard belongs to that shard; the shard of a
/// key outside all runs is unknown. A response by another shard than the run's shows that shards were split or
/// merged: the run is dropped, and its replacement is learnt from the next responses. Where keys don't determine the
/// shard, every other response is of that kind, and no shard is returned while that is so.
#[derive(Debug, Default)]
pub(super) struct Routes {
    runs: BTreeMap<u128, Run>,
    right: usize,
    wrong: usize,
}

#[derive(Debug)]
struct Run {
    end: u128,
    shard: ShardId,
}

impl Routes {
    /// The shard that is likely to take this hash key.
    pub(super) fn shard(&self, hash: u128) -> Option<&ShardId> {
        let believed = self.wrong * AGAINST <= self.right + self.wrong;
        let (_, run) = self.before(hash).filter(|_| believed)?;
        (hash <= run.end).then_some(&run.shard)
    }

    /// Learns from a response that this shard takes this hash key.
    pub(super) fn learn(&mut self, hash: u128, shard: &ShardId) {
        let before = self
            .before(hash)
            .map(|(start, run)| (start, run.end, run.shard == *shard));
        let before = match before {
            Some((_, end, true)) if hash <= end => {
                self.count(true);
                return;
            }
            Some((start, end, false)) if hash <= end => {
                self.count(false);
                self.runs.remove(&start);
                self.before(hash)
                    .map(|(start, run)| (start, run.end, run.shard == *shard))
            }
            other => other,
        };
        let mut run = Run {
            end: hash,
            shard: shard.clone(),
        };
        let after = self.runs.range(hash..).next();
        if let Some((&start, _)) = after.filter(|(_, after)| after.shard == *shard)
            && let Some(after) = self.runs.remove(&start)
        {
            run.end = after.end;
        }
        if run.end != hash || before.is_some_and(|(_, _, same)| same) {
            self.count(true);
        }
        let start = before
            .filter(|(_, _, same)| *same)
            .map_or(hash, |(start, ..)| start);
        self.runs.insert(start, run);
        if self.runs.len() > MOST_RUNS {
            self.forget();
        }
    }

    pub(super) fn forget(&mut self) {
        self.runs.clear();
    }

    /// The last run that begins at this hash key or before.
    fn before(&self, hash: u128) -> Option<(u128, &Run)> {
        let (start, run) = self.runs.range(..=hash).next_back()?;
        Some((*start, run))
    }

    fn count(&mut self, right: bool) {
        match right {
            true => self.right += 1,
            false => self.wrong += 1,
        }
        if self.right + self.wrong >= ANSWERS {
            self.right /= 2;
            self.wrong /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(routes: &mut Routes, answers: &[(u128, &str)]) {
        for (hash, shard) in answers {
            routes.learn(*hash, &ShardId::from(*shard));
        }
    }

    /// The shards of these hash keys, `-` if unknown.
    fn shards(routes: &Routes, hashes: &[u128]) -> String {
        let shard = |hash: &u128| routes.shard(*hash).map_or("-", ShardId::as_str);
        hashes.iter().map(shard).collect()
    }

    #[test]
    fn what_lies_between_two_keys_of_a_shard_is_that_shards() {
        let mut routes = Routes::default();
        learn(
            &mut routes,
            &[(20, "a"), (10, "a"), (15, "a"), (70, "b"), (90, "b"), (80, "b")],
        );
        assert_eq!(
            shards(&routes, &[9, 10, 17, 20, 21, 69, 70, 75, 90, 91]),
            "-aaa--bbb-"
        );
        learn(&mut routes, &[(0, "a"), (100, "b"), (50, "c")]);
        assert_eq!(shards(&routes, &[0, 5, 50, 51, 100, 101]), "aac-b-");
        assert_eq!(routes.runs.len(), 3);
    }

    #[test]
    fn a_split_and_a_merge_are_learnt_from_the_next_answers() {
        let mut routes = Routes::default();
        let before: Vec<_> = (0..100)
            .map(|hash| (hash, if hash < 50 { "a" } else { "b" }))
            .collect();
        learn(&mut routes, &before);
        learn(&mut routes, &[(10, "c"), (40, "d")]);
        assert_eq!(shards(&routes, &[9, 10, 11, 40, 60]), "-c-db");
        learn(&mut routes, &[(0, "c"), (20, "c"), (30, "d"), (49, "d")]);
        assert_eq!(shards(&routes, &[0, 15, 25, 35, 49, 60]), "cc-ddb");
        learn(&mut routes, &[(5, "e"), (70, "e"), (40, "e"), (99, "e")]);
        assert_eq!(shards(&routes, &[4, 5, 30, 60, 99]), "-eeee");
        assert_eq!(routes.runs.len(), 1);
    }

    #[test]
    fn nothing_is_known_where_keys_do_not_decide_on_the_shard() {
        let mut routes = Routes::default();
        let names = ["a", "b", "c", "d"];
        for number in 0..10_000_u128 {
            learn(
                &mut routes,
                &[(number * 7_919 % 1_000, names[number as usize % 4])],
            );
            assert!(routes.runs.len() <= 1_000);
        }
        assert!((0..1_000).all(|hash| routes.shard(hash).is_none()));
        // Then the keys determine the shard.
        for hash in (0..1_000).cycle().take(6 * ANSWERS) {
            learn(&mut routes, &[(hash, if hash < 500 { "a" } else { "b" })]);
        }
        assert_eq!(shards(&routes, &[0, 499, 500, 999]), "aabb");
    }
}
