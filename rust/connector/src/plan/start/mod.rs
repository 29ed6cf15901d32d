//! Start positions of a new query, and times that users give. No such time may be in the service's future: the
//! service accepts no start there, and a read that ends there delivers what has arrived by the time of the read.

pub(super) mod foreign;
pub(super) mod given;
mod import;
pub(super) mod initial_offset;
mod pinned;

use std::collections::BTreeMap;
use std::time::Duration;

use foreign::SparkCheckpoint;
use given::Givens;
use import::Import;

use super::clock::ServiceClock;
use super::shards::Shards;
use crate::claims::ClaimStore;
use crate::config::SourceConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{OptionSpec, SourceOptions, StartingPosition, table};
use crate::service::KinesisApi;
use crate::storage::FileSystem;
use crate::stream::{Position, ShardId};

/// Largest lead of a time that is taken for a difference of clocks; it is waited for.
const MARGIN_MILLIS: i64 = 5_000;

/// The start position of a new query.
pub(in crate::plan) async fn of_query(options: &SourceOptions, clock: ServiceClock) -> Result<Position> {
    Ok(match options.starting_position {
        // Not in the service's future: records that arrive until then would be left out.
        StartingPosition::Latest => Position::AtTimestamp(clock.bounds().0),
        StartingPosition::TrimHorizon => Position::TrimHorizon,
        StartingPosition::AtTimestamp { millis } => {
            let again = "start the query again: nothing was written to its checkpoint";
            await_past(&table::STARTING_POSITION, millis, clock, again).await?;
            Position::AtTimestamp(millis)
        }
    })
}

/// Start positions of a new query, if the options give positions of single shards.
pub(in crate::plan) async fn given(
    api: &dyn KinesisApi,
    config: &SourceConfig,
    clock: ServiceClock,
    shards: &mut Shards,
    files: &dyn FileSystem,
    store: &dyn ClaimStore,
) -> Result<Option<BTreeMap<ShardId, Position>>> {
    let options = &config.options;
    let mut givens = Givens {
        api,
        options,
        clock,
        spec: &table::STARTING_POSITIONS,
    };
    if let Some(path) = &options.import_checkpoint {
        givens.spec = &table::IMPORT_CHECKPOINT;
        let folder = config.checkpoint_location.as_deref().unwrap_or_default();
        let import = Import {
            path,
            files,
            store,
            options,
            source: SparkCheckpoint::of_source(files, folder).map_or(0, |(_, source)| source),
        };
        return import.starts(&givens, shards).await.map(Some);
    }
    match options.starting_positions.is_empty() {
        true => Ok(None),
        false => givens.starts(shards).await.map(Some),
    }
}

/// Waits until an option's time has passed by the service's clock. Refuses a time that is further ahead than clocks
/// may differ; `again` is the user's next step after correcting it.
pub(in crate::plan) async fn await_past(
    option: &OptionSpec,
    millis: i64,
    clock: ServiceClock,
    again: &str,
) -> Result<()> {
    let (_, latest) = clock.bounds();
    let ahead = millis - latest;
    if ahead > MARGIN_MILLIS {
        return Err(Error::new(
            ErrorKind::InvalidOption,
            format!(
                "{} is {} s in the future: {}, and by the service's clock it is {} now. Give the time with its right \
                 offset (Z is UTC), or a time that is past, and {again}",
                option.key,
                ahead / 1_000,
                iso_8601(millis),
                iso_8601(latest),
            ),
        )
        .with("option", option.key));
    }
    clock.wait_for(millis).await;
    Ok(())
}

fn iso_8601(millis: i64) -> String {
    chrono::DateTime::from_timestamp_millis(millis).map_or_else(
        || format!("{millis} ms after 1970"),
        |time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
    )
}

impl ServiceClock {
    /// Waits until the service's clock certainly shows this time.
    pub(in crate::plan) async fn wait_for(self, millis: i64) {
        let (earliest, _) = self.bounds();
        if let Ok(wait @ 1..) = u64::try_from(millis - earliest) {
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
    }
}
