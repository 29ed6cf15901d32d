//! Reads a shard's part of a batch from its feed into the queue, up to the end that the [`EndRule`] decides.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::end_rule::{EndRule, SoFar, Step, Verdict};
use crate::claims::protocol::{Reconcile, reconcile};
use crate::error::{Error, ErrorKind, Result};
use crate::read::feed::{Feed, FeedParts, Next, Retention, Wanted, is_tip};
use crate::read::lag::{Ending, Lag};
use crate::read::rows::{Bounds, Taken, Taking};
use crate::read::turns::Waiters;
use crate::read::{Backlog, Shared};
use crate::service::{Page, Patience};
use crate::stream::Position;

/// Answers from the tip without the claimed record before a reader stops looking for it.
const PATIENCE_FOR_CLAIM: u32 = 25;

/// Fetching side of one shard.
pub(super) struct Fetcher<'a> {
    pub parts: FeedParts<'a>,
    pub stop: watch::Receiver<bool>,
    /// Other attempts of this process that wait for the batch's end.
    pub waiters: Waiters,
    /// Includes the limits that the shard's readers share.
    pub patience: Patience,
}

impl Fetcher<'_> {
    fn shared(&self) -> &Arc<Shared> {
        &self.parts.shared
    }

    /// Reads to the end of the shard's part of the batch, or until stopped. Stopping a claimed batch early is safe,
    /// since its claim is already stored.
    pub(super) async fn read(&mut self, rule: &EndRule, feed: &mut Box<dyn Feed>) -> Result<()> {
        if rule.is_empty() {
            return Ok(());
        }
        let mut tips = 0;
        while !rule.is_at(&self.position()) {
            let bounds = rule.bounds(self.so_far());
            let asked = self.next_page(feed, wanted(rule, &bounds), rule).await?;
            let Some(answer) = asked else { return Ok(()) };
            let Some(page) = answer else {
                // The shard's part ends here for every attempt, with or without rows.
                self.shared().progress().fetched = true;
                return Ok(());
            };
            let Some(step) = self.take_page(page, &bounds, &mut **feed).await? else {
                return Ok(());
            };
            match rule.after(&step, self.so_far(), &self.position(), Instant::now()) {
                Verdict::End => break,
                Verdict::Missed => return self.claim_out_of_reach(rule),
                Verdict::NotThereYet => {
                    tips += 1;
                    if tips > PATIENCE_FOR_CLAIM {
                        // A subscription that is being reopened can't see records that arrive meanwhile.
                        if !self.replace(feed) {
                            return self.claim_out_of_reach(rule);
                        }
                        tips = 0;
                    }
                }
                Verdict::GoOn => {}
            }
            // Empty answers behind the tip are a stretch without records. The reader walks through it at the pace
            // that five requests a second per shard (AWS limit) allow.
            if step.empty {
                let pause = async {
                    feed.pause().await;
                    Ok(())
                };
                if self.or_stop(pause).await?.is_none() {
                    return Ok(());
                }
            }
        }
        self.stand_at_claim(rule);
        Ok(())
    }

    /// The next answer. The inner option is none if the shard's part of the batch ends before it, the outer one if
    /// the reader was stopped. Throttling is no failure: the request is repeated until its turn comes.
    async fn next_page(
        &mut self,
        feed: &mut Box<dyn Feed>,
        wanted: Wanted,
        rule: &EndRule,
    ) -> Result<Option<Option<Page>>> {
        loop {
            let asked = self.or_stop(feed.next(wanted, rule.deadline())).await;
            let error = match asked {
                Ok(None) => return Ok(None),
                Ok(Some(Next::Page(page))) => {
                    self.patience.answered();
                    return Ok(Some(Some(*page)));
                }
                Ok(Some(Next::TimeIsOver)) => return Ok(Some(None)),
                Ok(Some(Next::Silent)) => match self.replace(feed) {
                    true => continue,
                    false => return Ok(Some(None)),
                },
                Ok(Some(Next::Throttled(error))) => error,
                // The subscription can't be opened at this position: GetRecords finds out why.
                Err(error) if error.kind() == ErrorKind::RefusedPosition && self.replace(feed) => continue,
                Err(error) => return Err(error),
            };
            let again = Instant::now() + self.patience.wait_after(error)?;
            if rule.ends_when_throttled(self.so_far()) {
                return Ok(Some(None));
            }
            let wait = async {
                tokio::time::sleep_until(again).await;
                Ok(())
            };
            if self.or_stop(wait).await?.is_none() {
                return Ok(None);
            }
            self.shared().counters.count_retry();
        }
    }

    /// Continues from here with the feed's alternative; false if there is none.
    fn replace(&self, feed: &mut Box<dyn Feed>) -> bool {
        let other = feed.instead(self.position(), &self.parts);
        other.map(|other| *feed = other).is_some()
    }

    /// Handles records before a claim's end that have expired since.
    fn claim_out_of_reach(&self, rule: &EndRule) -> Result<()> {
        let Some(end) = rule.claimed() else { return Ok(()) };
        Retention::new(self.parts.options, self.shared()).lost(&format!(
            "the batch was claimed to end at {end}, but the shard has no such record any more: it is older than the \
             stream's retention, as others of the batch may be"
        ))?;
        self.stand_at_claim(rule);
        Ok(())
    }

    fn stand_at_claim(&self, rule: &EndRule) {
        if let Some(end) = rule.claimed() {
            self.shared().progress().position = end.clone();
        }
    }

    /// Reconciles with the claim of another attempt, after this attempt has read as far as its own rule allows.
    pub(super) async fn follow(&mut self, first: &Position, feed: &mut Box<dyn Feed>) -> Result<()> {
        match reconcile(&self.position(), first) {
            Reconcile::Accept => Ok(()),
            Reconcile::ReadOn => self.read(&EndRule::Claim(first.clone()), feed).await,
            Reconcile::CutBack => self.fall_back_to(first),
        }
    }

    /// Drops what was fetched after a nearer claim. Fails if any of it was delivered.
    fn fall_back_to(&self, first: &Position) -> Result<()> {
        let Some(dropped) = self.shared().queue.truncate(self.shared().lane, first) else {
            return Err(Error::new(
                ErrorKind::ClaimConflict,
                format!(
                    "another attempt at this batch ended at {first}, and this one has delivered records after it. \
                     The next attempt reads exactly to that end"
                ),
            )
            .retryable(true));
        };
        let mut progress = self.shared().progress();
        progress.rows -= dropped.rows;
        progress.bytes -= dropped.bytes;
        progress.position = first.clone();
        // Only the attempt that claimed first knows these values.
        progress.lag = None;
        progress.last_arrival = None;
        progress.backlog = Backlog::Remaining;
        Ok(())
    }

    /// Moves an answer's records into the queue, part by part; none if stopped meanwhile.
    async fn take_page(&mut self, page: Page, bounds: &Bounds, feed: &mut dyn Feed) -> Result<Option<Step>> {
        let empty = page.records.is_empty();
        self.shared().progress().stretch.saw(&page);
        let (newest, received) = (page.records.last_arrival_millis(), page.records.received());
        let shared = Arc::clone(self.shared());
        let mut hurried = false;
        let mut taking = Taking::new(page.records, bounds, &shared.rules, feed.retains_leftover());
        loop {
            let Taken {
                batches,
                rows,
                bytes,
                last,
                last_arrival,
                more,
                cut,
                skipped,
                rest,
            } = taking.part()?;
            // A shard that was closed after the claim may end where the claim does: the batch stays as it was
            // claimed.
            let at_claim = last.is_some() && last == bounds.through;
            let shard_end = page.next.is_none() && cut.is_none() && !at_claim && !more;
            let backlog = if shard_end {
                Backlog::Empty
            } else if more || cut.is_some() || !is_tip(page.millis_behind_latest, empty) {
                Backlog::Remaining
            } else if feed.tip_unconfirmed() || page.next.is_none() {
                Backlog::Unknown
            } else {
                Backlog::Empty
            };
            {
                let mut progress = self.shared().progress();
                progress.fetched = true;
                progress.rows += rows;
                progress.bytes += bytes;
                progress.skipped.add(skipped);
                progress.backlog = backlog;
                progress.last_arrival = last_arrival.or(progress.last_arrival);
                progress.fetched_behind = page.millis_behind_latest.or(progress.fetched_behind);
                progress.lag = Lag::of(Ending {
                    millis_behind_latest: page.millis_behind_latest,
                    received,
                    last_arrival: newest,
                    delivered: progress.last_arrival,
                    left: more || cut.is_some(),
                })
                .or(progress.lag);
                match last {
                    _ if shard_end => progress.position = Position::ShardEnd,
                    Some(number) => progress.position = Position::After(number),
                    None => progress.get_through_stretch(),
                }
                if !more {
                    let next = page.next.clone().filter(|_| cut.is_none());
                    feed.advance_to(progress.position.clone(), next, rest);
                }
            }
            let mut step = Step {
                hurried,
                cut,
                shard_end,
                tip: backlog == Backlog::Empty,
                empty,
            };
            for batch in batches {
                let (queue, lane) = (&self.shared().queue, self.shared().lane);
                let push = async { Ok(queue.push(lane, batch, &self.waiters).await) };
                let Some(had_room) = self.or_stop(push).await? else {
                    if more {
                        feed.advance_to(self.position(), None, taking.rest()?);
                    }
                    return Ok(None);
                };
                step.hurried |= !had_room;
            }
            hurried = step.hurried;
            if !more {
                return Ok(Some(step));
            }
            // Taking records apart is pure CPU work: give other tasks a chance to run.
            tokio::task::yield_now().await;
        }
    }

    fn so_far(&self) -> SoFar {
        let progress = self.shared().progress();
        SoFar {
            rows: progress.rows,
            bytes: progress.bytes,
            advanced: !progress.position.is_same_place(&self.shared().task.start),
        }
    }

    fn position(&self) -> Position {
        self.shared().progress().position.clone()
    }

    /// Runs `work`; none if the reader is stopped first.
    async fn or_stop<T>(&self, work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            // Only the reader drops the sender, and it aborts this task when it does.
            Ok(_) = stop.wait_for(|stop| *stop) => Ok(None),
            done = work => done.map(Some),
        }
    }
}

/// How much of the next answer the batch can use.
fn wanted(rule: &EndRule, bounds: &Bounds) -> Wanted {
    match rule.claimed() {
        Some(_) => Wanted::All,
        None => Wanted::AtMost {
            rows: bounds.rows,
            bytes: bounds.bytes,
        },
    }
}
