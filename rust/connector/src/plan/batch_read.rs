//! Planning a batch read: every shard from the starting to the ending position. There is no
//! checkpoint and no claim: the end is a time, the same for every attempt at a task.

use std::collections::BTreeSet;

use super::clock::ServiceClock;
use super::given;
use super::start::await_past;
use crate::config::SourceConfig;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{EndingPosition, SourceOptions, StartingPosition, table};
use crate::read::{ReadTask, TaskPlan};
use crate::service::{KinesisApi, ShardFilter};
use crate::stream::{Position, Shard, ShardId};

/// What stands in a task where a streaming query has its source's id.
const SOURCE: &str = "batch-read";

/// The tasks of a batch read, one JSON for each group of `kinesis.shardsPerTask` shards that can have records between
/// the two positions. The ending position LATEST is the moment of this call, by the service's clock. No position is in the
/// service's future.
pub async fn batch_read_tasks(engine: &Engine, config: &SourceConfig) -> Result<Vec<String>> {
    batch_read_tasks_on(&*engine.source_client(config).await?, &config.options).await
}

/// The same on this client.
#[doc(hidden)]
pub async fn batch_read_tasks_on(api: &dyn KinesisApi, options: &SourceOptions) -> Result<Vec<String>> {
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
            // Where the clocks are apart, records with that time may yet arrive: not every attempt would see them.
            clock.wait_for(latest).await;
            latest
        }
    };
    let mut shards = api.list_shards(filter).await?;
    let given = given::of_batch_read(api, options, clock).await?;
    if filter != ShardFilter::All && !given.is_empty() {
        let all = api.list_shards(ShardFilter::All).await?;
        let listed: BTreeSet<ShardId> = shards.iter().map(|shard| shard.id.clone()).collect();
        let more = |shard: &Shard| given.contains_key(&shard.id) && !listed.contains(&shard.id);
        shards.extend(all.into_iter().filter(more));
        shards.sort_by(|left, right| left.id.cmp(&right.id));
    }
    let tasks = shards
        .into_iter()
        .map(|shard| (given.get(&shard.id).unwrap_or(&start).clone(), shard))
        .filter(|(start, _)| *start != Position::ShardEnd)
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
