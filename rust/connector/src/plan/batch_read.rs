//! Plans a batch read: every shard from the starting to the ending position. A batch read has no checkpoint and no
//! claims: its end is a time, the same for every attempt at a task.

use std::collections::{BTreeMap, BTreeSet};

use super::clock::ServiceClock;
use super::start::{await_past, given};
use crate::error::{Error, ErrorKind, Result};
use crate::options::{EndingPosition, SourceOptions, StartingPosition, table};
use crate::read::{ReadTask, TaskPlan};
use crate::service::{KinesisApi, ShardFilter};
use crate::stream::{Lineage, Position, Shard, ShardId};

/// Source ID in the tasks of a batch read, which has no source of a streaming query.
const SOURCE: &str = "batch-read";

/// The tasks of a batch read, one JSON for each group of `kinesis.shardsPerTask` shards that can have records between
/// the two positions. The ending position LATEST is the moment of this call, by the service's clock. No position is
/// in the service's future.
pub async fn batch_read_tasks(api: &dyn KinesisApi, options: &SourceOptions) -> Result<Vec<String>> {
    let (clock, _) = ServiceClock::asked(api, &options.stream.name).await?;
    let (start, filter) = match options.starting_position {
        StartingPosition::TrimHorizon => (Position::TrimHorizon, ShardFilter::All),
        StartingPosition::AtTimestamp { millis } => {
            await_past(&table::STARTING_POSITION, millis, clock, "read again").await?;
            (Position::AtTimestamp(millis), ShardFilter::FromTimestamp(millis))
        }
        StartingPosition::Latest => {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                "a batch read from LATEST would read nothing",
            ));
        }
    };
    let until = match options.ending_position {
        Some(EndingPosition::AtTimestamp { millis }) => {
            await_past(&table::ENDING_POSITION, millis, clock, "read again").await?;
            millis - 1
        }
        Some(EndingPosition::Latest) | None => {
            let (_, latest) = clock.bounds();
            // If the clocks differ, records with that time may still arrive, and not every attempt would see them.
            clock.wait_for(latest).await;
            latest
        }
    };
    let shards = api.list_shards(filter).await?;
    let shards = match given::of_batch_read(api, options, clock).await? {
        given if given.is_empty() => shards.into_iter().map(|shard| (start.clone(), shard)).collect(),
        given => beside_given(&given, &start, shards, api.list_shards(ShardFilter::All).await?),
    };
    let tasks = shards
        .into_iter()
        .map(|(start, shard)| ReadTask {
            hash_range: Some(shard.hash_range()),
            until: Some(until),
            ..ReadTask::new(SOURCE, 0, shard.id, start)
        })
        .collect();
    TaskPlan::group(tasks, options.shards_per_task)
        .map(|plan| plan.to_json())
        .collect()
}

/// The shards to read and their start positions, where some shards have a given one. Ancestors of these count as
/// read, and their descendants are read from their first record on. Other shards start at `start` if they can have
/// records from there on.
fn beside_given(
    given: &BTreeMap<ShardId, Position>,
    start: &Position,
    recent: Vec<Shard>,
    all: Vec<Shard>,
) -> Vec<(Position, Shard)> {
    let recent: BTreeSet<ShardId> = recent.into_iter().map(|shard| shard.id).collect();
    let lineage = Lineage::new(all.clone());
    let (read, following) = (
        lineage.ancestors_of(given.keys()),
        lineage.descendants_of(given.keys()),
    );
    let start_of = |shard: &ShardId| match given.get(shard) {
        Some(Position::ShardEnd) => None,
        Some(given) => Some(given.clone()),
        None if read.contains(shard) => None,
        None if following.contains(shard) => Some(Position::TrimHorizon),
        None => recent.contains(shard).then(|| start.clone()),
    };
    all.into_iter()
        .filter_map(|shard| Some((start_of(&shard.id)?, shard)))
        .collect()
}
