//! The probe of one shard: is there anything to read after a position?

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::read::remove_read;
use crate::service::{
    Ends, KinesisApi, Page, Presence, RequestCounters, ShardIterator, presence, same_stream,
};
use crate::stream::{Position, ShardId};

/// Number of records to request: one is enough.
const LIMIT: u32 = 1;
/// Maximum number of empty responses that a probe follows towards the tip. A longer stretch is left to a reader.
const MOST_FOLLOWED: u32 = 100;
/// Responses that end an open shard before the shard is left for the next probe.
const MOST_DOUBTED: u32 = 3;
/// Consecutive expired iterators before the shard is left for the next probe.
const MOST_EXPIRED: u32 = 5;
/// Wait after a doubtful response.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// The stream to probe.
#[derive(Clone, Debug)]
pub(in crate::plan) struct Stream {
    pub name: String,
    /// Time of its creation, in milliseconds since the epoch.
    pub created_millis: i64,
}

/// Findings of a probe in one shard.
#[derive(Debug)]
pub(in crate::plan) enum Found {
    /// Records, of which the first arrived at this time (milliseconds since the epoch), or another matter for a
    /// reader.
    HasRecords(Option<i64>),
    /// The tip, without a record before it. `behind_stretch` if empty responses led to it: a reader can keep how far
    /// the stretch goes.
    Idle {
        iterator: ShardIterator,
        behind_stretch: bool,
    },
    /// No records yet, but the tip is not reached: the service leads on response by response.
    Behind(ShardIterator),
    /// The shard is closed and was read to its end.
    Closed,
    /// No finding: the probe failed in a way that may pass.
    Unknown(Error),
}

impl Found {
    /// True if a reader has something to do.
    pub(in crate::plan) fn is_available(&self) -> bool {
        matches!(self, Self::HasRecords(_) | Self::Behind(_))
    }
}

/// A probe of one shard.
pub(in crate::plan) struct ShardProbe {
    pub api: Arc<dyn KinesisApi>,
    pub stream: Arc<Stream>,
    pub shard: ShardId,
    pub position: Position,
    /// Iterator at which the last probe ended.
    pub kept: Option<ShardIterator>,
    /// True if empty responses are to be followed to the tip, without a reader.
    pub follow: bool,
    pub counters: Arc<RequestCounters>,
}

impl ShardProbe {
    /// Probes the shard. Errors are permanent.
    pub(in crate::plan) async fn run(&self) -> Result<Found> {
        match self.search().await {
            // A reader handles a position that the service rejects, and a shard that is missing from its stream.
            Err(error) if error.kind() == ErrorKind::RefusedPosition => match self.same_stream().await {
                Ok(()) => Ok(Found::HasRecords(None)),
                Err(error) => unknown_if_it_passes(error),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => match self.presence().await {
                Ok(Presence::Gone) => Ok(Found::HasRecords(None)),
                Ok(Presence::Open | Presence::Closed) => Ok(Found::Unknown(error)),
                Err(error) => unknown_if_it_passes(error),
            },
            Err(error) => unknown_if_it_passes(error),
            Ok(found) => Ok(found),
        }
    }

    async fn search(&self) -> Result<Found> {
        let (mut iterator, mut expired) = (self.kept.clone(), 0);
        let (mut ends, mut doubted) = (Ends::default(), 0);
        let mut behind_stretch = false;
        for followed in 0.. {
            let at = match iterator.take() {
                Some(iterator) => iterator,
                None => {
                    self.api
                        .shard_iterator(&self.shard, &self.position, &self.counters)
                        .await?
                }
            };
            let response = self
                .api
                .get_records(&self.shard, &at, LIMIT, &self.counters)
                .await;
            let page = match response {
                Err(error) if error.kind().is_of_iterator() && expired < MOST_EXPIRED => {
                    expired += 1;
                    if error.kind() != ErrorKind::ExpiredIterator {
                        tokio::time::sleep(ASK_AGAIN).await;
                    }
                    if self.position.record().is_none() {
                        // Another stream of the same name would accept this position, too.
                        self.same_stream().await?;
                    }
                    continue;
                }
                page => self.without_what_was_read(page?)?,
            };
            let behind = page.millis_behind_latest.is_some_and(|millis| millis > 0);
            match page.next {
                _ if !page.records.is_empty() => {
                    return Ok(Found::HasRecords(Some(page.records.arrival_millis(0))));
                }
                None => {
                    let stream = &self.stream.name;
                    let doubt = ends.doubt(&*self.api, stream, self.created(), &self.shard, &page);
                    match doubt.await? {
                        None => return Ok(Found::Closed),
                        Some(wrong) if doubted == MOST_DOUBTED => return Ok(Found::Unknown(wrong)),
                        Some(_) => {
                            doubted += 1;
                            tokio::time::sleep(ASK_AGAIN).await;
                        }
                    }
                }
                Some(iterator) if !behind => {
                    return Ok(Found::Idle {
                        iterator,
                        behind_stretch,
                    });
                }
                Some(next) if !self.follow || followed >= MOST_FOLLOWED => return Ok(Found::Behind(next)),
                Some(next) => {
                    behind_stretch = true;
                    iterator = Some(next);
                }
            }
        }
        Err(Error::new(ErrorKind::Internal, "a question without an answer"))
    }

    /// Removes records that were read already: an iterator that begins at a time may return them.
    fn without_what_was_read(&self, mut page: Page) -> Result<Page> {
        if let Position::AfterQuiet(number, _) = &self.position
            && remove_read(number, &mut page.records)? > 0
        {
            // More may follow at once.
            page.millis_behind_latest = page.millis_behind_latest.map(|millis| millis.max(1));
        }
        Ok(page)
    }

    async fn presence(&self) -> Result<Presence> {
        presence(&*self.api, &self.stream.name, self.created(), &self.shard).await
    }

    async fn same_stream(&self) -> Result<()> {
        let described = same_stream(&*self.api, &self.stream.name, self.created());
        described.await.map(|_| ())
    }

    fn created(&self) -> Option<i64> {
        Some(self.stream.created_millis)
    }
}

fn unknown_if_it_passes(error: Error) -> Result<Found> {
    match error.is_retryable() || error.kind() == ErrorKind::ExpiredIterator {
        true => Ok(Found::Unknown(error)),
        false => Err(error),
    }
}
