//! Whether a shard is there, asked anew: a single answer that says "not found", or ends a shard without naming its
//! children, may be wrong.

use std::time::Duration;

use super::{KinesisApi, Page, ShardFilter, StreamSummary};
use crate::error::{Error, ErrorKind, Result};
use crate::stream::{Lineage, ShardId};

/// Answers that must agree before something counts as gone.
const ANSWERS: u32 = 3;
/// Between two of them. ListShards may lag behind a split or merge by about this long.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What the stream's listing says of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It takes records.
    Open,
    /// It was split or merged, and its records are still there.
    Closed,
    /// The stream doesn't list it any more: its retention has passed.
    Gone,
}

/// Finds out whether the shard is there, in the stream that was created at this time (milliseconds since the epoch;
/// none where it isn't known). A stream that is missing, or another one under the same name, is an error.
pub(crate) async fn presence(
    api: &dyn KinesisApi,
    stream: &str,
    created_millis: Option<i64>,
    shard: &ShardId,
) -> Result<Presence> {
    same_stream(api, stream, created_millis).await?;
    for answer in 1.. {
        let listing = match api.list_shards(ShardFilter::All).await {
            // The stream was there just now.
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

/// The answers after one position that end a shard without naming its children. Others may come between them: where an
/// iterator begins anew, empty ones lead to the same end.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    seen: u32,
}

impl Ends {
    /// Whether an answer without an iterator for what follows ends the shard: it names the children, or comes again and
    /// again while the stream doesn't list the shard as open. None if so; else what is wrong with the answer, which may
    /// pass: it is to be asked for again.
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

/// Makes sure that the stream is the one created at this time: an error where it was deleted, or deleted and made
/// again.
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

/// The error of a query whose stream was deleted and made again.
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
