//! What the planner of a query with enhanced fan-out has beside: its consumer, and the subscriptions that stand in
//! this process, or in one that tells it, so that news come without a question.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::consumer::RegisteredConsumer;
use crate::checkpoint::hadoop::FileSystem;
use crate::error::{Error, ErrorKind, Result};
use crate::options::ConsumerChoice;
use crate::read::{InUseByQuery, Residents, Standing};
use crate::service::FanOutApi;
use crate::stream::{Position, ShardId};

/// How long a query that ends just now may take to leave its consumer to the next.
const OTHER_ENDS: Duration = Duration::from_secs(5);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// The fan-out part of a planner.
#[derive(Debug)]
pub(super) struct FanOut {
    api: Arc<dyn FanOutApi>,
    residents: Residents,
    consumer: RegisteredConsumer,
    _in_use: InUseByQuery,
    /// Shards in which the driver itself saw something new.
    seen: Mutex<BTreeSet<ShardId>>,
}

/// What the subscriptions know of the shards.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// One of them has something to read.
    pub news: bool,
    /// Shards whose subscription stands at the position.
    pub standing: BTreeSet<ShardId>,
    /// Shards that ended at the position.
    pub ended: Vec<ShardId>,
}

impl FanOut {
    /// Finds or registers the consumer and takes it for this query.
    pub(super) async fn prepare(
        api: Arc<dyn FanOutApi>,
        residents: Residents,
        stream_arn: &str,
        choice: &ConsumerChoice,
        files: &dyn FileSystem,
        folder: &str,
    ) -> Result<Self> {
        // First this: a query that ends just now may be about to deregister what is described then.
        let in_use = claim(&residents, &key(stream_arn, choice)).await?;
        let consumer = RegisteredConsumer::prepare(&*api, stream_arn, choice, files, folder).await?;
        Ok(Self {
            api,
            residents,
            consumer,
            _in_use: in_use,
            seen: Mutex::default(),
        })
    }

    /// The consumer's ARN.
    pub(super) fn consumer(&self) -> String {
        self.consumer.arn.clone()
    }

    /// From now on news of this source, the query's, are heard.
    pub(super) fn serve(&self, source: &str) {
        self.residents.news(source);
    }

    /// Told when something arrived for the source.
    pub(super) fn news(&self, source: &str) -> Arc<Notify> {
        self.residents.news(source)
    }

    /// True if executors tell of the source's subscriptions.
    pub(super) fn told_of(&self, source: &str) -> bool {
        self.residents.told_of(source)
    }

    /// What is known of these positions without a question.
    pub(super) fn known(&self, source: &str, positions: &BTreeMap<ShardId, Position>) -> Known {
        let mut known = Known::default();
        for (shard, position) in positions {
            match self.residents.standing(source, shard, position) {
                Some(Standing::Quiet) => {}
                Some(Standing::News) => known.news = true,
                Some(Standing::End) => known.ended.push(shard.clone()),
                None => continue,
            }
            known.standing.insert(shard.clone());
        }
        known
    }

    /// The subscription of a shard is done.
    pub(super) fn end(&self, source: &str, shard: &ShardId) {
        self.residents.end(source, shard);
    }

    /// The driver saw something new in these shards; forgets what it saw before.
    pub(super) fn saw(&self, shards: impl IntoIterator<Item = ShardId>) {
        *self.seen() = shards.into_iter().collect();
    }

    /// Whether the driver saw something new in the shard.
    pub(super) fn has_seen(&self, shard: &ShardId) -> bool {
        self.seen().contains(shard)
    }

    /// The query ended for good: deregisters the consumer if the query registered it.
    pub(super) async fn release(&self, files: &dyn FileSystem, folder: &str) -> Result<()> {
        self.consumer.release(&*self.api, files, folder).await
    }

    fn seen(&self) -> MutexGuard<'_, BTreeSet<ShardId>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the consumer for one query of this process, as long as that lives.
async fn claim(residents: &Residents, consumer: &str) -> Result<InUseByQuery> {
    let deadline = Instant::now() + OTHER_ENDS;
    loop {
        match residents.claim_consumer(consumer) {
            Some(in_use) => return Ok(in_use),
            None if Instant::now() >= deadline => {
                return Err(Error::new(
                    ErrorKind::InUse,
                    "another query of this application, or another source of this query, reads with the same consumer: \
                     one would take the shards from the other. Give each a kinesis.consumerName of its own",
                )
                .with("consumer", consumer));
            }
            None => tokio::time::sleep(ASK_EVERY).await,
        }
    }
}

/// A consumer's ARN without the time of its registration, however it is named.
fn key(stream_arn: &str, choice: &ConsumerChoice) -> String {
    match choice {
        ConsumerChoice::Name(name) => format!("{stream_arn}/consumer/{name}"),
        ConsumerChoice::Arn(arn) => arn
            .rsplit_once(':')
            .map_or(arn.as_str(), |(key, _)| key)
            .to_owned(),
    }
}
