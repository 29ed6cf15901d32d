//! Where claims are kept: for each (source, batch, shard) the batch's end, written once, by whoever is first,
//! before any attempt finishes with another end.

mod clients;
pub mod dynamodb;
mod failure;
pub mod hadoop;
pub mod memory;
pub(crate) mod protocol;
pub mod s3;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub(crate) use clients::StoreClients;

use crate::error::{Error, ErrorKind, Result};
use crate::stream::{Position, ShardId};

/// The version of the claim format that this library writes.
const VERSION: u32 = 1;

/// Names a claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimKey {
    /// The query source, [`crate::stream::Offset::source`].
    pub source: String,
    /// The source's batch.
    pub batch: u64,
    /// The shard.
    pub shard: ShardId,
}

impl fmt::Display for ClaimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.source, self.batch, self.shard)
    }
}

/// The end of a shard's part of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    version: u32,
    /// The first position that is not part of the batch any more. The batch's start where it holds no record.
    pub end: Position,
}

impl Claim {
    /// A claim of this end.
    pub fn new(end: Position) -> Self {
        Self {
            version: VERSION,
            end,
        }
    }

    /// The claim as the stores keep it.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("a claim can't be written: {error}")))
    }

    /// Reads a claim; `place` names the entry for the message.
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
        Ok(claim)
    }
}

/// What became of an attempt to claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutResult {
    /// This claim holds.
    Stored,
    /// Another was first and holds.
    Exists(Claim),
}

/// A place for claims. Every implementation is atomic in [`put_if_absent`](Self::put_if_absent): of any number of
/// attempts at the same key, on whichever machine, one is stored and all others see it.
#[async_trait]
pub trait CheckpointStore: fmt::Debug + Send + Sync {
    /// Makes what is missing, and finds out early what would fail later. The planner does this when it opens; the
    /// other operations work without it.
    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    /// Claims an end, unless one is claimed already.
    async fn put_if_absent(&self, key: &ClaimKey, claim: &Claim) -> Result<PutResult>;

    /// The claim of one shard in a batch.
    async fn get(&self, key: &ClaimKey) -> Result<Option<Claim>>;

    /// All claims of a batch.
    async fn load(&self, source: &str, batch: u64) -> Result<BTreeMap<ShardId, Claim>>;

    /// Removes the claims of all batches before this one.
    async fn purge(&self, source: &str, before: u64) -> Result<()>;
}
