//! Subscriptions of other processes: what an executor tells the driver of its own, and what the driver knows by that.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::residents::Standing;
use crate::error::{Error, ErrorKind, Result};
use crate::stream::{Position, ShardId};

/// An executor that has subscriptions says so at least so often …
pub(super) const REPEAT: Duration = Duration::from_secs(1);
/// … and is believed for so long: it may have died.
const BELIEVED: Duration = Duration::from_secs(3);

/// All subscriptions of a process that no task reads from right now, by source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Told {
    pub process: String,
    pub sources: BTreeMap<String, BTreeMap<ShardId, Stand>>,
}

/// Where a subscription stands, and what came after that.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stand {
    pub at: Position,
    pub found: Standing,
    /// By which it was opened.
    pub consumer: String,
}

/// What the driver answers: which of the sources it was told of are read by a query, each with its consumer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Answer {
    pub served: BTreeMap<String, String>,
    pub ended: Vec<String>,
}

impl Told {
    pub(super) fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(malformed)
    }

    pub(super) fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(unwritable)
    }
}

impl Answer {
    pub(super) fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(malformed)
    }

    pub(super) fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(unwritable)
    }
}

/// What the driver was told last by each process.
#[derive(Debug, Default)]
pub(super) struct Remote {
    processes: HashMap<String, Heard>,
}

#[derive(Debug)]
struct Heard {
    at: Instant,
    sources: BTreeMap<String, BTreeMap<ShardId, Stand>>,
}

impl Remote {
    /// Takes the place of what the process told before. Processes that are silent are forgotten.
    pub(super) fn hear(&mut self, told: Told) {
        self.processes.retain(|_, heard| heard.is_believed());
        let heard = Heard {
            at: Instant::now(),
            sources: told.sources,
        };
        self.processes.insert(told.process, heard);
    }

    /// What came for the shard after this position, if a subscription by this consumer, where one is given, stands
    /// there.
    pub(super) fn standing(
        &self,
        source: &str,
        shard: &ShardId,
        at: &Position,
        consumer: Option<&String>,
    ) -> Option<Standing> {
        let stands = self.stands(source).filter_map(|stands| stands.get(shard));
        stands
            .filter(|stand| stand.at == *at && consumer.is_none_or(|consumer| stand.consumer == *consumer))
            .map(|stand| stand.found)
            .next()
    }

    /// True if a process tells of the source's subscriptions.
    pub(super) fn tells_of(&self, source: &str) -> bool {
        self.stands(source).next().is_some()
    }

    fn stands<'a>(&'a self, source: &'a str) -> impl Iterator<Item = &'a BTreeMap<ShardId, Stand>> {
        self.processes
            .values()
            .filter(|heard| heard.is_believed())
            .filter_map(move |heard| heard.sources.get(source))
    }
}

impl Heard {
    fn is_believed(&self) -> bool {
        self.at.elapsed() < BELIEVED
    }
}

fn malformed(error: serde_json::Error) -> Error {
    Error::new(
        ErrorKind::InvalidArgument,
        format!("news of subscriptions are malformed: {error}"),
    )
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!("news of subscriptions can't be written: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(process: &str, source: &str, at: Position, found: Standing) -> Told {
        let consumer = "app:1".to_owned();
        let stands = BTreeMap::from([(ShardId::from("s-1"), Stand { at, found, consumer })]);
        Told {
            process: process.into(),
            sources: BTreeMap::from([(source.into(), stands)]),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_is_believed_until_it_tells_something_else_or_is_silent() {
        let shard = ShardId::from("s-1");
        let after = |number: &str| Position::After(number.parse().expect("a number"));
        let mut remote = Remote::default();
        let json = told("p", "q", after("5"), Standing::News)
            .to_json()
            .expect("writes");
        remote.hear(Told::from_json(&json).expect("reads"));
        let by = |remote: &Remote, source: &str, at: &str, consumer: Option<&str>| {
            let consumer = consumer.map(str::to_owned);
            remote.standing(source, &shard, &after(at), consumer.as_ref())
        };
        assert_eq!(by(&remote, "q", "5", None), Some(Standing::News));
        assert_eq!(by(&remote, "q", "5", Some("app:1")), Some(Standing::News));
        assert_eq!(by(&remote, "q", "5", Some("other:1")), None);
        assert_eq!(by(&remote, "q", "6", None), None);
        assert_eq!(by(&remote, "other", "5", None), None);
        assert!(remote.tells_of("q") && !remote.tells_of("other"));

        remote.hear(told("p", "other", after("5"), Standing::Quiet));
        assert_eq!(by(&remote, "q", "5", None), None);
        assert_eq!(by(&remote, "other", "5", None), Some(Standing::Quiet));

        tokio::time::advance(BELIEVED).await;
        assert_eq!(by(&remote, "other", "5", None), None);
        assert!(!remote.tells_of("other"));
    }
}
