//! A round of probes: several shards at once, until the responses are enough.

use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use super::Extent;
use super::shard_probe::{Found, ShardProbe};
use crate::error::Result;
use crate::stream::{Position, ShardId};

/// Once a probe has found records, longest wait for the next response, in addition to the time that the first one
/// took and to [`WORTH_A_TASK`].
const WAIT_FOR_OTHERS: Duration = Duration::from_millis(250);
/// Part of that wait for each shard without a response: a task for the shard takes no less.
const WORTH_A_TASK: Duration = Duration::from_millis(2);
/// Number of responses that are enough to tell whether most shards have records.
const SAMPLE: usize = 8;
/// Time for which a batch of shards with certain records waits for the responses of others.
const PROBE_BESIDE: Duration = Duration::from_millis(250);
/// Time for which requests may finish after their round. Dropping them at once would close their connections, and the
/// readers would open others. It is short, since a request that isn't sent yet could take a reader's turn.
const FINISH_WITHIN: Duration = Duration::from_millis(100);

/// How a round of probes runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub extent: Extent,
    /// Number of shards that are probed at the same time.
    pub at_once: usize,
    /// True if one shard with records is enough to end the round.
    pub one_is_enough: bool,
}

/// The probe of a shard, by the position after which it looked.
pub(super) type Response = (ShardId, Position, Found);

/// The responses to a round, and all probed shards, including those without a response.
#[derive(Debug, Default)]
pub(super) struct Responses {
    pub called: Vec<ShardId>,
    pub found: Vec<Response>,
    /// See [`super::Probed::of_most`].
    pub of_most: bool,
}

impl Round {
    /// Runs these probes in their order. Errors are permanent.
    pub(super) async fn run(self, probes: Vec<ShardProbe>) -> Result<Responses> {
        let all = probes.len();
        let mut waiting = probes.into_iter();
        let mut running = FuturesUnordered::new();
        let mut responses = Responses::default();
        let (began, mut first_took, mut available) = (Instant::now(), Duration::ZERO, 0);
        while !responses.of_most {
            let until = match self.extent {
                Extent::Beside => Some(began + PROBE_BESIDE),
                Extent::NextBatch if available > 0 => {
                    let left = u32::try_from(all - responses.found.len()).unwrap_or(u32::MAX);
                    let longest = first_took + WAIT_FOR_OTHERS + WORTH_A_TASK.saturating_mul(left);
                    Some(Instant::now() + longest)
                }
                Extent::NextBatch | Extent::All => None,
            };
            if until.is_some_and(|until| until <= Instant::now()) {
                break;
            }
            let free = self.at_once.saturating_sub(running.len());
            for probe in waiting.by_ref().take(free) {
                responses.called.push(probe.shard.clone());
                running.push(respond(probe));
            }
            let next = running.next();
            let response = match until {
                None => next.await,
                Some(until) => tokio::time::timeout_at(until, next).await.ok().flatten(),
            };
            let Some(response) = response else { break };
            let response = response?;
            available += usize::from(response.2.is_available());
            if responses.found.is_empty() {
                first_took = began.elapsed();
            }
            responses.found.push(response);
            let answered = responses.found.len();
            let is_enough = match self.one_is_enough {
                true => available > 0,
                false => answered >= SAMPLE && available * 2 >= answered,
            };
            responses.of_most = self.extent != Extent::All && is_enough;
        }
        while let Some(Some(response)) = running.next().now_or_never() {
            responses.found.push(response?);
        }
        if !running.is_empty() {
            let rest = running.for_each(|_| std::future::ready(()));
            tokio::spawn(tokio::time::timeout(FINISH_WITHIN, rest));
        }
        Ok(responses)
    }
}

async fn respond(probe: ShardProbe) -> Result<Response> {
    let found = probe.run().await?;
    Ok((probe.shard, probe.position, found))
}
