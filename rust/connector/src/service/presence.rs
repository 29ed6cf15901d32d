//! Checks repeatedly whether a shard exists: a single answer that says "not found", or that ends a shard without
//! naming its children, may be wrong.

use std::time::Duration;

use super::{KinesisApi, Page, ShardFilter, StreamSummary};
use crate::error::{Error, ErrorKind, Result};
use crate::stream::{Lineage, ShardId};

/// Consecutive answers that must agree before something counts as gone.
const ANSWERS: u32 = 3;
/// Delay between two such answers. ListShards lags behind a split or merge by about this time.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Presence of a shard in the stream's listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It accepts records.
    Open,
    /// It was split or merged, and its records are still available.
    Closed,
    /// The stream has dropped it after the retention period.
    Gone,
}

/// Checks whether the shard exists in the stream created at this time (milliseconds since the epoch; none if
/// unknown). Fails if the stream is missing or was replaced by another one of the same name.
pub(crate) async fn presence(
    api: &dyn KinesisApi,
    stream: &str,
    created_millis: Option<i64>,
    shard: &ShardId,
) -> Result<Presence> {
    same_stream(api, stream, created_millis).await?;
    for answer in 1.. {
        let listing = match api.list_shards(ShardFilter::All).await {
            // The stream existed a moment ago.
            Err(error) if error.kind() == ErrorKind::NotFound && answer < ANSWERS => {
                tokio::time::sleep(ASK_EVERY).await;
                continue;
            }
            listing => listing?,
        };
        if let Some(listed) = listing.iter().find(|listed| listed.id == *shard) {
            return Ok(match listed.closed {
                true => Presence::Closed,
                false => Presence::Open,
            });
        }
        if Lineage::new(listing).is_older_than(shard) {
            return Err(Error::new(
                ErrorKind::Transport,
                "the stream's listing lacks the shard and all newer ones: it is older than what was listed before",
            )
            .retryable(true)
            .with("stream", stream)
            .with("shard", shard.to_string()));
        }
        if answer == ANSWERS {
            break;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(Presence::Gone)
}

/// Counts answers at one position that end a shard without naming its children. Other answers may come in between: a
/// new iterator reaches the same end through empty ones.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    seen: u32,
}

impl Ends {
    /// Checks an answer without an iterator for what follows. None if it ends the shard: it names the children, or
    /// recurs while the stream doesn't list the shard as open. Otherwise the error to retry on, since the answer may
    /// be wrong.
    pub(crate) async fn doubt(
        &mut self,
        api: &dyn KinesisApi,
        stream: &str,
        created_millis: Option<i64>,
        shard: &ShardId,
        page: &Page,
    ) -> Result<Option<Error>> {
        let unsure = page.next.is_none() && page.child_shards.is_empty();
        if !unsure {
            return Ok(None);
        }
        let what = match presence(api, stream, created_millis, shard).await? {
            Presence::Gone => return Ok(None),
            Presence::Open => "which the stream lists as open and without children",
            Presence::Closed => {
                self.seen += 1;
                if self.seen == ANSWERS {
                    return Ok(None);
                }
                "and names no children, although the stream lists the shard as closed"
            }
        };
        let message = format!("the answer to GetRecords ends the shard, {what}");
        let error = Error::new(ErrorKind::Transport, message);
        Ok(Some(error.retryable(true).with("shard", shard.to_string())))
    }
}

/// Checks that the stream is the one created at this time; fails if it was deleted, with or without a successor.
pub(crate) async fn same_stream(
    api: &dyn KinesisApi,
    stream: &str,
    created_millis: Option<i64>,
) -> Result<StreamSummary> {
    for answer in 1.. {
        let summary = match api.describe_stream().await {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(error),
            summary => Ok(summary?),
        };
        let same = |summary: StreamSummary| match created_millis {
            Some(created) if created != summary.created_millis => Err(stream_changed(stream)),
            _ => Ok(summary),
        };
        match summary.and_then(same) {
            Err(_) if answer < ANSWERS => tokio::time::sleep(ASK_EVERY).await,
            settled => return settled,
        }
    }
    Err(stream_changed(stream))
}

/// Error for a query whose stream was deleted and created again.
pub(crate) fn stream_changed(stream: &str) -> Error {
    Error::new(
        ErrorKind::StreamChanged,
        format!(
            "the stream {stream} was deleted and made again after the checkpoint was made: start with a new \
             checkpointLocation, and kinesis.startingPosition as wanted"
        ),
    )
    .with("stream", stream)
}
