//! One attempt at a task: reads its shards concurrently, each to its own limits, then claims the ends of all of them
//! together, once.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::try_join_all;
use tokio::sync::watch;

use super::end_rule::EndRule;
use super::reader::Fetcher;
use crate::claims::{Claim, ClaimStore, PutResult};
use crate::error::Result;
use crate::options::SourceOptions;
use crate::read::feed::{self, Feed, FeedParts, ReadKind};
use crate::read::turns::{Turn, Waiters};
use crate::read::{FeedRegistry, PeerCallRate, Shared, TaskPlan};
use crate::service::{FanOutApi, KinesisApi, Patience};
use crate::stream::Position;

pub(in crate::read) struct Attempt<'a> {
    pub api: Arc<dyn KinesisApi>,
    /// Present for tasks with a consumer.
    pub fan_out: Option<Arc<dyn FanOutApi>>,
    /// Holds the claims; none in a batch read, whose end is known beforehand.
    pub store: Option<Arc<dyn ClaimStore>>,
    pub feeds: &'a FeedRegistry,
    pub options: &'a SourceOptions,
    pub plan: &'a TaskPlan,
    pub shards: &'a [Arc<Shared>],
    pub stop: watch::Receiver<bool>,
}

/// A shard of the attempt and the feed that it is read from.
struct Reading<'a> {
    fetcher: Fetcher<'a>,
    feed: Box<dyn Feed>,
}

impl<'a> Attempt<'a> {
    /// Reads the task's part of the batch into the queue and claims its end.
    pub(in crate::read) async fn run(self) -> Result<()> {
        let Some(turn) = self.take_turn().await else {
            return Ok(());
        };
        let earlier = match &self.store {
            Some(store) => store.get(self.plan.claim_key()).await?,
            None => None,
        };
        // An existing claim leaves nothing to decide.
        let turn = turn.filter(|_| earlier.is_none());
        let waiters = turn.as_ref().map(Turn::waiters).unwrap_or_default();
        let shards = self.shards.iter();
        let mut readings =
            try_join_all(shards.map(|shard| self.read(shard, earlier.as_ref(), &waiters))).await?;
        let Some(store) = &self.store else { return Ok(()) };
        let (claim, own) = match earlier {
            Some(claim) => (Some(claim), false),
            None => self.claim(&**store, turn, &mut readings).await?,
        };
        for reading in readings {
            reading.leave(claim.as_ref(), own);
        }
        Ok(())
    }

    /// Waits for this attempt's turn among those of the process, if the task makes claims. The outer option is none
    /// if the reader was stopped meanwhile; nothing has been read then.
    async fn take_turn(&self) -> Option<Option<Turn>> {
        if self.store.is_none() {
            return Some(None);
        }
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            turn = self.feeds.turns().take(self.plan.claim_key()) => Some(turn),
            // Only the reader drops the sender, and it aborts this task when it does.
            Ok(_) = stop.wait_for(|stop| *stop) => None,
        }
    }

    /// Reads a shard to its end in an earlier claim, otherwise as far as the batch goes.
    async fn read(
        &self,
        shard: &Arc<Shared>,
        earlier: Option<&Claim>,
        waiters: &Waiters,
    ) -> Result<Reading<'a>> {
        let mut fetcher = Fetcher {
            parts: FeedParts {
                api: self.api.clone(),
                fan_out: self.fan_out.clone(),
                feeds: self.feeds,
                options: self.options,
                shared: shard.clone(),
            },
            stop: self.stop.clone(),
            waiters: waiters.clone(),
            patience: Patience::default(),
        };
        if let Some(asked) = &shard.task.asked {
            asked.count(
                &self.feeds.subscriptions().process(),
                &*self.api,
                &shard.task.shard,
            );
        }
        let work = async {
            let (kind, rule) = match earlier {
                Some(claim) => (ReadKind::Replay, EndRule::Claim(end_of(claim, shard))),
                None => (ReadKind::Live, EndRule::open(self.options, &shard.task)),
            };
            let mut feed = feed::open(&fetcher.parts, kind)?;
            fetcher.read(&rule, &mut feed).await?;
            Ok(feed)
        };
        let feed = work.await.map_err(|error| shard.named(error))?;
        shard.queue.finish_lane(shard.lane);
        Ok(Reading { fetcher, feed })
    }

    /// Stores a claim for what was fetched, and reconciles with an earlier claim if one exists. The returned claim is
    /// none if nothing was fetched, by a task that needed no rows; the flag is true if the claim is this attempt's
    /// own. Other attempts get their turn as soon as the claim is stored.
    async fn claim(
        &self,
        store: &dyn ClaimStore,
        turn: Option<Turn>,
        readings: &mut [Reading<'a>],
    ) -> Result<(Option<Claim>, bool)> {
        if !self.shards.iter().any(|shard| shard.progress().fetched) {
            return Ok((None, false));
        }
        let ends: BTreeMap<_, _> = self
            .shards
            .iter()
            .map(|shard| (shard.task.shard.clone(), shard.fetched_to()))
            .collect();
        let own = self.plan.claim(ends);
        let put = store.put_if_absent(self.plan.claim_key(), &own).await?;
        drop(turn);
        match put {
            PutResult::Stored => Ok((Some(own), true)),
            PutResult::Exists(first) => {
                let followed = readings.iter_mut().map(|reading| reading.follow(&first));
                try_join_all(followed).await?;
                Ok((Some(first), false))
            }
        }
    }
}

impl Reading<'_> {
    async fn follow(&mut self, first: &Claim) -> Result<()> {
        // The other attempts have their turn: this one may wait for its consumer again.
        self.fetcher.waiters = Waiters::default();
        let shard = self.fetcher.parts.shared.clone();
        self.fetcher
            .follow(&end_of(first, &shard), &mut self.feed)
            .await
            .map_err(|error| shard.named(error))
    }

    /// Hands the feed to the reader of the next batch once the batch's end is sure. Only the attempt that fixed the
    /// end fetches ahead, so that no two processes request the same records.
    fn leave(self, claim: Option<&Claim>, own: bool) {
        let (shard, api) = (self.fetcher.parts.shared.clone(), self.fetcher.parts.api.clone());
        let end = claim.map(|claim| end_of(claim, &shard));
        self.feed.hand_off(
            end.as_ref().unwrap_or(&shard.task.start),
            own,
            &self.fetcher.parts,
        );
        let process = self.fetcher.parts.feeds.subscriptions().process();
        let asked = PeerCallRate::lately(&process, &*api, &shard.task.shard);
        let mut progress = shard.progress();
        (progress.claimed, progress.asked) = (end, asked);
    }
}

/// The claimed end of the shard's part of the batch. A shard missing from the claim was not read.
fn end_of(claim: &Claim, shard: &Shared) -> Position {
    claim
        .end_of(&shard.task.shard)
        .unwrap_or(&shard.task.start)
        .clone()
}
