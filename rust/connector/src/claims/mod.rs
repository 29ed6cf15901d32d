//! Claims: the end of a batch for each (source, batch, shard), stored once, by the first attempt that reads to it.
//! The shards that one task reads as a group share a claim.

pub mod backends;
#[cfg(test)]
mod model;
mod open;
pub(crate) mod protocol;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub(crate) use backends::clients::StoreClients;
pub(crate) use open::open;

use crate::error::{Error, ErrorKind, Result};
use crate::stream::{Position, ShardId};

/// Version of the claim format that this library writes.
const VERSION: u32 = 1;

/// Identifies a claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimKey {
    /// ID of the query source, [`crate::stream::Offset::source`].
    pub source: String,
    /// The source's number of the batch.
    pub batch: u64,
    /// The shard, or the name of a task's group of shards.
    pub shard: ShardId,
}

impl fmt::Display for ClaimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.source, self.batch, self.shard)
    }
}

/// The end of a shard's part of a batch, or the ends of a group's shards. An end is the first position after the
/// batch's records, or the batch's start if it has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<Position>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ends: Option<BTreeMap<ShardId, Position>>,
}

impl Claim {
    /// A claim of one shard's end.
    pub fn new(end: Position) -> Self {
        Self {
            version: VERSION,
            end: Some(end),
            ends: None,
        }
    }

    /// A claim of the ends of a group's shards.
    pub fn of_group(ends: BTreeMap<ShardId, Position>) -> Self {
        Self {
            version: VERSION,
            end: None,
            ends: Some(ends),
        }
    }

    /// The end of the shard's part of the batch; none if the shard is in a group and was not read.
    pub fn end_of(&self, shard: &ShardId) -> Option<&Position> {
        match &self.ends {
            Some(ends) => ends.get(shard),
            None => self.end.as_ref(),
        }
    }

    /// The claim in the stores' format.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("a claim can't be written: {error}")))
    }

    /// Parses a claim; `place` names the entry in the error.
    pub fn from_json(json: &[u8], place: &str) -> Result<Self> {
        let corrupt = |why: &str| {
            Error::new(
                ErrorKind::CorruptCheckpoint,
                format!(
                    "the claim at {place} can't be read: {why}. Remove this one entry to go on: its shard's part \
                     of the batch is then read anew from where the batch started, and may be delivered again"
                ),
            )
            .with("claim", place)
        };
        let claim: Self = serde_json::from_slice(json).map_err(|error| corrupt(&error.to_string()))?;
        if claim.version != VERSION {
            return Err(corrupt(&format!(
                "its version is {}, not {VERSION}",
                claim.version
            )));
        }
        match (&claim.end, &claim.ends) {
            (Some(_), None) | (None, Some(_)) => Ok(claim),
            (None, None) => Err(corrupt("it has neither the field end nor ends")),
            (Some(_), Some(_)) => Err(corrupt("it has both the field end and ends")),
        }
    }
}

/// The error of processes that can't see each other's claims.
pub(crate) fn not_shared(what: &str) -> Error {
    Error::new(
        ErrorKind::Store,
        format!(
            "{what}: the claims' folder isn't shared by the executors, so a batch could have different rows for each \
             of them. Put checkpointLocation, or kinesis.metadataPath, on a file system that the driver and all \
             executors share (HDFS, S3, a mounted network file system), or set kinesis.metadataCommitterType to \
             DYNAMODB; a folder on each machine's own disk serves local[…] only"
        ),
    )
}

/// The outcome of a put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutResult {
    /// This claim was stored and holds.
    Stored,
    /// Another claim was first and holds.
    Exists(Claim),
}

/// A store of claims. Every implementation is atomic in [`put_if_absent`](Self::put_if_absent): of any number of
/// attempts at the same key, on any machine, one is stored and all others see it.
#[async_trait]
pub trait ClaimStore: fmt::Debug + Send + Sync {
    /// Creates what is missing, and finds failures early that would occur later. The planner calls this when it is
    /// opened; the other operations work without it.
    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    /// Leaves a mark of this start of the query for [`Self::find_mark`]. The driver calls this before it plans a
    /// batch of the source.
    async fn leave_mark(&self, _source: &str, _start: &str) -> Result<()> {
        Ok(())
    }

    /// Removes the marks of other starts, which nobody reads any more.
    async fn remove_other_marks(&self, _source: &str, _start: &str) -> Result<()> {
        Ok(())
    }

    /// Fails if this process can't see the mark that the driver left at this start: then it can't see the claims of
    /// other processes either. A store that all processes reach by its nature needs no mark.
    async fn find_mark(&self, _source: &str, _start: &str) -> Result<()> {
        Ok(())
    }

    /// Claims an end, unless one has been claimed.
    async fn put_if_absent(&self, key: &ClaimKey, claim: &Claim) -> Result<PutResult>;

    /// The claim of one shard, or of a group of shards, in a batch.
    async fn get(&self, key: &ClaimKey) -> Result<Option<Claim>>;

    /// All claims of a batch, by the names in their keys.
    async fn load(&self, source: &str, batch: u64) -> Result<BTreeMap<ShardId, Claim>>;

    /// The shards' ends, as text, that awslabs/spark-sql-kinesis-connector keeps in the same place for a batch of its
    /// own. Empty in stores that it doesn't share.
    async fn foreign_ends(&self, _batch: u64) -> Result<BTreeMap<ShardId, String>> {
        Ok(BTreeMap::new())
    }

    /// True if there are claims of this batch or a later one.
    async fn has_from(&self, source: &str, batch: u64) -> Result<bool>;

    /// Removes the claims of all batches before this one.
    async fn purge(&self, source: &str, before: u64) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_stays() {
        let end: Position = "AFTER 5".parse().expect("a position");
        let json = |claim: &Claim| String::from_utf8(claim.to_json().expect("writes")).expect("text");
        let one = Claim::new(end.clone());
        assert_eq!(json(&one), r#"{"version":1,"end":"AFTER 5"}"#);
        let group = Claim::of_group(BTreeMap::from([
            ("a".into(), end),
            ("b".into(), Position::ShardEnd),
        ]));
        let text = r#"{"version":1,"ends":{"a":"AFTER 5","b":"SHARD_END"}}"#;
        assert_eq!(json(&group), text);
        for claim in [one, group] {
            assert_eq!(
                Claim::from_json(json(&claim).as_bytes(), "there").expect("reads"),
                claim
            );
        }
        for odd in [r#"{"version":1}"#, r#"{"version":1,"end":"SHARD_END","ends":{}}"#] {
            let error = Claim::from_json(odd.as_bytes(), "there").expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::CorruptCheckpoint);
        }
    }

    #[test]
    fn a_group_s_claim_has_each_shard_s_end() {
        let ends = BTreeMap::from([(ShardId::from("a"), Position::ShardEnd)]);
        let group = Claim::of_group(ends);
        assert_eq!(group.end_of(&"a".into()), Some(&Position::ShardEnd));
        assert_eq!(group.end_of(&"b".into()), None, "b was not read");
        let one = Claim::new(Position::ShardEnd);
        assert_eq!(one.end_of(&"a".into()), Some(&Position::ShardEnd));
    }
}
