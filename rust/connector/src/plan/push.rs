//! The planner's part in enhanced fan-out: records are pushed to the readers, which may be in the same process.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Planner;
use super::fan_out::FanOut;
use super::news::{Looked, News};
use crate::error::Result;
use crate::read::ShardReport;
use crate::stream::{Position, ShardId};

/// How long after a batch its executors may take to tell of their subscriptions.
const TELLING: Duration = Duration::from_millis(100);

impl Planner {
    /// The query stopped, for good or not: ends what its readers left in this process, and lets its next start, or
    /// another query, have its consumer.
    pub fn stop(&self) {
        self.close();
        if let Some(fan_out) = &self.fan_out {
            fan_out.stop();
        }
    }

    /// The query ended for good, not by a failure after which it starts again: deregisters the consumer if the query
    /// registered it, and nobody has taken it since the query [stopped](Self::stop).
    pub async fn release(&self) -> Result<()> {
        self.stop();
        let folder = self.config.checkpoint_location.as_deref().unwrap_or_default();
        match &self.fan_out {
            Some(fan_out) => fan_out.release(&*self.files.0, folder).await,
            None => Ok(()),
        }
    }

    /// Whether a reader that reported the tip had read all that was there at this time. GetRecords answers with what is
    /// there; a subscription pushes it a moment later, so its last record tells, or that it waited for one in vain.
    pub(super) fn is_past(&self, report: &ShardReport, since: i64) -> bool {
        self.fan_out.is_none()
            || report.records == 0
            || report.last_arrival.is_some_and(|arrival| arrival >= since)
    }

    /// Waits until a subscription has something to read, in this process or in one that tells it. Shards of which
    /// nothing is told are asked for; while the stream is busy, their next batch follows without a question.
    pub(super) async fn wait_for_push(
        &self,
        fan_out: &FanOut,
        source: &str,
        news: &mut News,
        positions: &mut BTreeMap<ShardId, Position>,
        busy: bool,
        deadline: Instant,
    ) -> Result<bool> {
        let pushed = fan_out.news(source);
        loop {
            let known = fan_out.known(source, positions);
            for shard in known.ended {
                fan_out.end(source, &shard);
                positions.insert(shard, Position::ShardEnd);
            }
            let elsewhere = positions
                .iter()
                .any(|(shard, at)| *at != Position::ShardEnd && !known.standing.contains(shard));
            let now = Instant::now();
            // What is to happen of which nothing is told: in a busy stream the next batch, else a look.
            let due = match busy {
                false => news.due(),
                // Just after a batch its executors are about to tell.
                true if fan_out.told_of(source) => news.asked_last().map(|asked| asked + TELLING),
                true => None,
            };
            let due = due.unwrap_or(now);
            if known.news || (busy && elsewhere && due <= now) {
                return Ok(true);
            }
            if elsewhere && due <= now {
                let looked = news
                    .look(&self.api, positions, &known.standing, &self.counters, deadline)
                    .await?;
                match looked {
                    Looked::News => {
                        fan_out.saw(news.hit());
                        return Ok(true);
                    }
                    Looked::Nothing => continue,
                    Looked::Unfinished => return Ok(false),
                }
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            let wake = if elsewhere { due.min(deadline) } else { deadline };
            let _ = tokio::time::timeout_at(wake, pushed.notified()).await;
        }
    }
}
