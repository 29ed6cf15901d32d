//! Subscription reports from an executor to the driver, and the driver's resulting view of its peers.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::stream::{Position, ShardId};

/// Maximum time between two reports of an executor that has subscriptions.
pub(super) const REPEAT: Duration = Duration::from_secs(1);
/// How long a report is valid. Above [`REPEAT`]; the executor may have died since.
const FRESH_FOR: Duration = Duration::from_secs(3);

/// Whether a shard has anything to read after a position, from the subscription that stands there. If there are
/// several, the greatest value counts: an earlier subscription may still stand there without seeing any more of the
/// shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Availability {
    /// No records arrived.
    Idle,
    /// The shard ended there without a further record.
    Closed,
    /// Records arrived.
    HasRecords,
}

/// All subscriptions of a process without a reading task, by source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SubscriptionReport {
    pub process: String,
    pub sources: BTreeMap<String, BTreeMap<ShardId, ShardStatus>>,
}

/// A subscription's position, and what arrived after it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ShardStatus {
    pub at: Position,
    pub found: Availability,
    /// The consumer with which it was opened.
    pub consumer: String,
}

/// The driver's acknowledgement of a report: the sources that its queries read, each with its consumer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct ReportAck {
    pub served: BTreeMap<String, String>,
    pub ended: Vec<String>,
}

impl SubscriptionReport {
    pub(super) fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(malformed)
    }

    pub(super) fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(unwritable)
    }
}

impl ReportAck {
    pub(super) fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(malformed)
    }

    pub(super) fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(unwritable)
    }
}

/// The latest report of each process.
#[derive(Debug, Default)]
pub(super) struct Peers {
    processes: HashMap<String, PeerState>,
}

#[derive(Debug)]
struct PeerState {
    at: Instant,
    sources: BTreeMap<String, BTreeMap<ShardId, ShardStatus>>,
}

impl Peers {
    /// Replaces the process's earlier report and forgets processes without a fresh one.
    pub(super) fn on_report(&mut self, report: SubscriptionReport) {
        self.processes.retain(|_, peer| peer.is_fresh());
        let peer = PeerState {
            at: Instant::now(),
            sources: report.sources,
        };
        self.processes.insert(report.process, peer);
    }

    /// Availability after this position, from subscriptions that stand there: of any consumer, or of the given one.
    pub(super) fn availability(
        &self,
        source: &str,
        shard: &ShardId,
        at: &Position,
        consumer: Option<&String>,
    ) -> Option<Availability> {
        let statuses = self.statuses(source).filter_map(|statuses| statuses.get(shard));
        statuses
            .filter(|status| status.at == *at && consumer.is_none_or(|consumer| status.consumer == *consumer))
            .map(|status| status.found)
            .max()
    }

    /// True if a process reports on the source's subscriptions.
    pub(super) fn reports_on(&self, source: &str) -> bool {
        self.statuses(source).next().is_some()
    }

    fn statuses<'a>(&'a self, source: &'a str) -> impl Iterator<Item = &'a BTreeMap<ShardId, ShardStatus>> {
        self.processes
            .values()
            .filter(|peer| peer.is_fresh())
            .filter_map(move |peer| peer.sources.get(source))
    }
}

impl PeerState {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < FRESH_FOR
    }
}

fn malformed(error: serde_json::Error) -> Error {
    Error::new(
        ErrorKind::InvalidArgument,
        format!("a report on subscriptions is malformed: {error}"),
    )
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!("a report on subscriptions can't be written: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(process: &str, source: &str, at: Position, found: Availability) -> SubscriptionReport {
        let consumer = "app:1".to_owned();
        let statuses = BTreeMap::from([(ShardId::from("s-1"), ShardStatus { at, found, consumer })]);
        SubscriptionReport {
            process: process.into(),
            sources: BTreeMap::from([(source.into(), statuses)]),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_counts_until_the_next_one_or_until_it_is_old() {
        let shard = ShardId::from("s-1");
        let after = |number: &str| Position::After(number.parse().expect("a number"));
        let mut peers = Peers::default();
        let json = report("p", "q", after("5"), Availability::HasRecords)
            .to_json()
            .expect("writes");
        peers.on_report(SubscriptionReport::from_json(&json).expect("reads"));
        let by = |peers: &Peers, source: &str, at: &str, consumer: Option<&str>| {
            let consumer = consumer.map(str::to_owned);
            peers.availability(source, &shard, &after(at), consumer.as_ref())
        };
        assert_eq!(by(&peers, "q", "5", None), Some(Availability::HasRecords));
        assert_eq!(
            by(&peers, "q", "5", Some("app:1")),
            Some(Availability::HasRecords)
        );
        assert_eq!(by(&peers, "q", "5", Some("other:1")), None);
        assert_eq!(by(&peers, "q", "6", None), None);
        assert_eq!(by(&peers, "other", "5", None), None);
        assert!(peers.reports_on("q") && !peers.reports_on("other"));

        peers.on_report(report("p", "other", after("5"), Availability::Idle));
        assert_eq!(by(&peers, "q", "5", None), None);
        assert_eq!(by(&peers, "other", "5", None), Some(Availability::Idle));

        tokio::time::advance(FRESH_FOR).await;
        assert_eq!(by(&peers, "other", "5", None), None);
        assert!(!peers.reports_on("other"));
    }

    #[tokio::test]
    async fn records_count_wherever_they_arrived() {
        use Availability::{Closed, HasRecords, Idle};
        for (known, best) in [
            ([HasRecords, Idle, Closed], HasRecords),
            ([Idle, Closed, Idle], Closed),
            ([Idle, Idle, Idle], Idle),
        ] {
            // Hash maps have no order: try several.
            for _ in 0..16 {
                let mut peers = Peers::default();
                for (number, found) in known.into_iter().enumerate() {
                    peers.on_report(report(&number.to_string(), "q", Position::TrimHorizon, found));
                }
                let found = peers.availability("q", &ShardId::from("s-1"), &Position::TrimHorizon, None);
                assert_eq!(found, Some(best));
            }
        }
    }
}
