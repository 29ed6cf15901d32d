//! Planning a batch read: every shard from the starting to the ending position. There is no
//! checkpoint and no claim: the end is a time, the same for every attempt at a task.

use super::clock::ServiceClock;
use crate::config::SourceConfig;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{EndingPosition, StartingPosition};
use crate::read::{ReadTask, TaskPlan};
use crate::service::ShardFilter;
use crate::stream::Position;

/// What stands in a task where a streaming query has its source's id.
const SOURCE: &str = "batch-read";

/// The tasks of a batch read, one JSON for each group of `kinesis.shardsPerTask` shards that can have records between
/// the two positions. The ending position LATEST is the moment of this call, by the service's clock.
pub async fn batch_read_tasks(engine: &Engine, config: &SourceConfig) -> Result<Vec<String>> {
    let api = engine.source_client(config).await?;
    let (start, filter) = match config.options.starting_position {
        StartingPosition::TrimHorizon => (Position::TrimHorizon, ShardFilter::All),
        StartingPosition::AtTimestamp { millis } => {
            (Position::AtTimestamp(millis), ShardFilter::FromTimestamp(millis))
        }
        StartingPosition::Latest => {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                "a batch read from LATEST would read nothing",
            ));
        }
    };
    let until = match config.options.ending_position {
        Some(EndingPosition::AtTimestamp { millis }) => millis - 1,
        Some(EndingPosition::Latest) | None => {
            let summary = api.describe_stream().await?;
            ServiceClock::compare(&config.options.stream.name, &summary).now_millis()
        }
    };
    let shards = api.list_shards(filter).await?;
    let tasks = shards
        .into_iter()
        .map(|shard| ReadTask {
            hash_range: Some(shard.hash_range()),
            until: Some(until),
            ..ReadTask::new(SOURCE, 0, shard.id, start.clone())
        })
        .collect();
    TaskPlan::group(tasks, config.options.shards_per_task)
        .map(|plan| plan.to_json())
        .collect()
}
