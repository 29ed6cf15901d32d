//! Records of each batch, and the invariants that must hold for them.

use std::collections::{BTreeMap, BTreeSet};

use kinesis_connector::claims::Claim;
use kinesis_connector::read::ReadTask;
use kinesis_connector::stream::{Offset, Position, ShardId};

use crate::query::Checked;
use crate::stream::{Record, Stream, StreamShard, index_of};

/// Rows that one attempt delivered.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub numbers: Vec<String>,
    /// True if the attempt read to its end.
    pub whole: bool,
}

#[derive(Debug, Default)]
pub struct Ledger {
    /// Start of the query: records that arrived earlier are not part of it.
    pub from: Option<i64>,
    batches: BTreeMap<u64, u64>,
    /// Records that expired before they were in a batch.
    lost: BTreeSet<u64>,
    last_of_key: BTreeMap<u8, u64>,
    /// Position of each shard after the last batch.
    ends: BTreeMap<ShardId, Position>,
    /// Shards that have left the offset.
    left: BTreeSet<ShardId>,
}

impl Ledger {
    /// Checks a planned batch: its starts are the last batch's ends, and parents come before their children.
    pub fn planned(&mut self, offset: &Offset, stream: &Stream) -> Checked {
        for (id, end) in std::mem::take(&mut self.ends) {
            let finished = self.is_finished(stream.find(&id));
            match offset.shards.get(&id) {
                Some(start) if *start == end || (*start == Position::ShardEnd && finished) => {}
                Some(start) => return Err(format!("{id} ended at {end}, and goes on at {start}")),
                None if finished => drop(self.left.insert(id)),
                None => return Err(format!("{id} left the offset at {end} with records unread")),
            }
        }
        for (id, start) in &offset.shards {
            if self.left.contains(id) {
                return Err(format!("{id} came back at {start}"));
            }
            if *start == Position::ShardEnd {
                continue;
            }
            for ancestor in stream.ancestors(id) {
                if !self.is_finished(stream.find(&ancestor)) {
                    return Err(format!("{id} is read before its ancestor {ancestor}"));
                }
            }
        }
        Ok(())
    }

    /// Checks a successful attempt: it delivered the batch's records up to the claim, or the first of them.
    pub fn read(&self, task: &ReadTask, rows: &Rows, claim: Option<&Claim>, stream: &Stream) -> Checked {
        let end = claim
            .and_then(|claim| claim.end_of(&task.shard))
            .unwrap_or(&task.start);
        let expected: Vec<String> = range(stream.find(&task.shard), &task.start, end)
            .map(|record| record.number.to_string())
            .collect();
        let right = match rows.whole {
            true => rows.numbers == expected && claim.is_some(),
            false => expected.starts_with(&rows.numbers),
        };
        if right {
            return Ok(());
        }
        Err(format!(
            "batch {} has {expected:?} of {}, and an attempt delivered {rows:?}",
            task.batch, task.shard
        ))
    }

    /// Records a completed batch. Checks that its records are in no other batch, and each key's are in order.
    pub fn ended(&mut self, offset: &Offset, claims: &BTreeMap<ShardId, Claim>, stream: &Stream) -> Checked {
        let mut shard_of_key: BTreeMap<u8, &ShardId> = BTreeMap::new();
        for (id, start) in &offset.shards {
            let claim = claims.get(id);
            if claim.is_some() && offset.skipped.contains(id) {
                return Err(format!("{id} has no task in batch {}, and a claim", offset.batch));
            }
            let end = claim.and_then(|claim| claim.end_of(id)).unwrap_or(start);
            self.ends.insert(id.clone(), end.clone());
            for record in range(stream.find(id), start, end) {
                let Record { number, key, .. } = *record;
                if let Some(before) = self.batches.insert(number, offset.batch) {
                    return Err(format!(
                        "record {number} is in batch {before} and in batch {}",
                        offset.batch
                    ));
                }
                if self
                    .last_of_key
                    .insert(key, number)
                    .is_some_and(|last| last > number)
                {
                    return Err(format!(
                        "record {number} comes after a later one of its key {key}"
                    ));
                }
                if *shard_of_key.entry(key).or_insert(id) != id {
                    return Err(format!(
                        "key {key} is read from two shards in batch {}",
                        offset.batch
                    ));
                }
                if self.from.is_some_and(|from| record.arrival < from) {
                    return Err(format!("record {number} arrived before the query's start"));
                }
            }
        }
        Ok(())
    }

    /// Number of records in all batches so far.
    pub fn records(&self) -> usize {
        self.batches.len()
    }

    /// Notes the unread records of expired shards as lost.
    pub fn expired(&mut self, stream: &Stream) {
        for shard in stream.shards.iter().filter(|shard| shard.gone) {
            let unread = shard.records.iter().map(|record| record.number);
            self.lost
                .extend(unread.filter(|number| !self.batches.contains_key(number)));
        }
    }

    /// Checks that every record was in a batch.
    pub fn is_complete(&self, stream: &Stream) -> Checked {
        self.is_complete_until(i64::MAX, stream)
    }

    /// Checks that every record that arrived before `end` was in a batch.
    pub fn is_complete_until(&self, end: i64, stream: &Stream) -> Checked {
        let done = |record: &Record| record.arrival >= end || self.is_done(record);
        let unread = |shard: &&StreamShard| !shard.records.iter().all(done);
        match stream.shards.iter().find(unread) {
            None => Ok(()),
            Some(shard) => Err(format!(
                "not all of {} was read: {:?}",
                shard.shard.id, self.batches
            )),
        }
    }

    fn is_finished(&self, shard: &StreamShard) -> bool {
        shard.closed.is_some() && shard.records.iter().all(|record| self.is_done(record))
    }

    fn is_done(&self, record: &Record) -> bool {
        let ours = self.from.is_none_or(|from| record.arrival >= from);
        !ours || self.batches.contains_key(&record.number) || self.lost.contains(&record.number)
    }
}

fn range<'a>(shard: &'a StreamShard, start: &Position, end: &Position) -> impl Iterator<Item = &'a Record> {
    let (from, to) = (index_of(shard, start), index_of(shard, end));
    // A batch that takes none of the records of a time ends at that time, which may lie before its start.
    shard.records[from..to.max(from)].iter()
}
