//! The offset of a source in Spark's offset log.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Position, ShardId};
use crate::error::{Error, ErrorKind, Result};

/// Version of the offset format that this library writes.
const VERSION: u32 = 1;

/// The start of a batch: the resolved position of every shard. Batch 0 is the start of a query, before any shard is
/// listed; it is never read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offset {
    version: u32,
    /// ID of this source, under which its claims are kept; created when the query first starts.
    pub source: String,
    /// The stream's name.
    pub stream: String,
    /// Creation time of the stream, in milliseconds since the epoch: distinguishes a stream from a later one of the
    /// same name.
    pub created: i64,
    /// The source's own number of the batch.
    pub batch: u64,
    /// Identifies the checkpoint location for which the offset was made (see [`offset_home`]). In another location
    /// the query gets a new `source` with its next batch: two queries that continue from copies of one checkpoint
    /// must not share, or remove, each other's claims. None in offsets of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// Number of shards that one task of the batch reads. Kept here, so that every attempt has the same tasks with
    /// the same claims, even if the option changes at a restart.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub shards_per_task: usize,
    /// The start of a query whose shards are not listed yet. Only in batch 0, and only if no positions were given;
    /// those are in `shards`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<Position>,
    /// The start of each shard in this batch.
    #[serde(default)]
    pub shards: BTreeMap<ShardId, Position>,
    /// The shards in `shards` that this batch does not read: they had nothing to read when the batch was planned, or
    /// a query with `Trigger.AvailableNow` had finished them. They keep their positions; the next batch covers the
    /// records that arrive meanwhile.
    ///
    /// Spark logs this before any task of the batch runs, because nothing else could inform a repetition of the
    /// batch. A shard that is not read has no claim, just like one that was not read yet, so a task for it in the
    /// repetition would read the records that arrived since. Every version that reads this format leaves these shards
    /// out.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub skipped: BTreeSet<ShardId>,
}

impl Offset {
    /// The offset from which a new query starts.
    pub fn initial(source: String, stream: String, created: i64, at: Position, home: String) -> Self {
        Self {
            version: VERSION,
            source,
            stream,
            created,
            batch: 0,
            home: Some(home),
            shards_per_task: 1,
            initial: Some(at),
            shards: BTreeMap::new(),
            skipped: BTreeSet::new(),
        }
    }

    /// The offset from which a new query starts, if positions were given for its shards.
    pub fn given(
        source: String,
        stream: String,
        created: i64,
        shards: BTreeMap<ShardId, Position>,
        home: String,
    ) -> Self {
        Self {
            initial: None,
            shards,
            ..Self::initial(source, stream, created, Position::TrimHorizon, home)
        }
    }

    /// The offset of the batch after this one, with `shards_per_task` shards in a task, without a task for those in
    /// `skipped`. `home` identifies the current checkpoint location.
    pub fn following(
        &self,
        shards: BTreeMap<ShardId, Position>,
        shards_per_task: usize,
        skipped: BTreeSet<ShardId>,
        home: String,
    ) -> Self {
        let source = match &self.home {
            Some(known) if *known != home => uuid::Uuid::new_v4().to_string(),
            _ => self.source.clone(),
        };
        Self {
            source,
            home: Some(home),
            batch: self.batch.saturating_add(1),
            shards_per_task,
            initial: None,
            shards,
            skipped,
            ..self.clone()
        }
    }

    /// The shards that this batch reads, and their starts. Leaves out shards that start at their end, and skipped
    /// ones.
    pub fn read(&self) -> impl Iterator<Item = (&ShardId, &Position)> {
        let unread = |(shard, start): &(&ShardId, &Position)| {
            **start != Position::ShardEnd && !self.skipped.contains(*shard)
        };
        self.shards.iter().filter(unread)
    }

    /// The offset in the format of Spark's log.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| {
            Error::new(
                ErrorKind::Internal,
                format!("an offset can't be written: {error}"),
            )
        })
    }

    /// True for an offset of this connector, in any version.
    pub fn is_own(json: &str) -> bool {
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Own {
            version: u32,
            source: String,
        }
        serde_json::from_str::<Own>(json).is_ok()
    }

    /// Parses an offset from Spark's log.
    pub fn from_json(json: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let corrupt = |error: serde_json::Error| {
            Error::new(
                ErrorKind::CorruptCheckpoint,
                format!(
                    "the checkpoint's offset is not one of this source: {error}. A query goes on from another \
                     connector's checkpoint only with a new checkpointLocation: set kinesis.importCheckpoint to the \
                     old one if the AWS connector (awslabs/spark-sql-kinesis-connector) wrote it, else \
                     kinesis.startingPosition or kinesis.startingPositions (docs/migrating.md)"
                ),
            )
        };
        let Versioned { version } = serde_json::from_str(json).map_err(corrupt)?;
        if version != VERSION {
            return Err(Error::new(
                ErrorKind::CorruptCheckpoint,
                format!(
                    "the checkpoint's offset has version {version}, this connector reads version {VERSION}: \
                     use the connector's version that wrote it, or a newer one"
                ),
            ));
        }
        serde_json::from_str(json).map_err(corrupt)
    }
}

/// A short ID of a checkpoint location, for [`Offset::home`]: FNV-1a of its text, which never changes.
pub fn offset_home(location: &str) -> String {
    let hash = location.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn one() -> usize {
    1
}

fn is_one(number: &usize) -> bool {
    *number == 1
}

#[cfg(test)]
mod tests {
    use super::super::awslabs::{self, AwslabsOffset};
    use super::*;

    #[test]
    fn an_offset_survives_its_text() {
        let initial = Offset::initial(
            "s".into(),
            "orders".into(),
            17,
            Position::AtTimestamp(42),
            "h".into(),
        );
        let shard = ShardId::from("shardId-000000000000");
        let shards = BTreeMap::from([(shard.clone(), Position::TrimHorizon)]);
        let first = initial.following(shards.clone(), 1, BTreeSet::new(), "h".into());
        for offset in [
            initial,
            first.clone(),
            first.following(shards, 8, BTreeSet::from([shard]), "h".into()),
        ] {
            let json = offset.to_json().expect("writes");
            assert_eq!(Offset::from_json(&json).expect("reads"), offset, "{json}");
        }
    }

    #[test]
    fn the_format_stays() {
        let shard = ShardId::from("shardId-000000000000");
        let shards = BTreeMap::from([(shard.clone(), Position::TrimHorizon)]);
        let initial = Offset::initial("s".into(), "orders".into(), 17, Position::TrimHorizon, "h".into());
        let offset = initial.following(shards, 1, BTreeSet::new(), "h".into());
        let expected = r#"{"version":1,"source":"s","stream":"orders","created":17,"batch":1,"home":"h","#
            .to_owned()
            + r#""shards":{"shardId-000000000000":"TRIM_HORIZON"}"#;
        assert_eq!(offset.to_json().expect("writes"), format!("{expected}}}"));
        let skipping = Offset {
            skipped: BTreeSet::from([shard]),
            ..offset.clone()
        };
        let skipped = r#","skipped":["shardId-000000000000"]}"#;
        assert_eq!(skipping.to_json().expect("writes"), expected + skipped);
        let grouped = offset.following(BTreeMap::new(), 8, BTreeSet::new(), "h".into());
        let expected = r#"{"version":1,"source":"s","stream":"orders","created":17,"batch":2,"home":"h","#
            .to_owned()
            + r#""shardsPerTask":8,"shards":{}}"#;
        assert_eq!(grouped.to_json().expect("writes"), expected);
    }

    #[test]
    fn given_positions_are_kept_in_this_form_for_ever() {
        let shards = BTreeMap::from([
            (ShardId::from("a"), "AFTER 5".parse().expect("a position")),
            (ShardId::from("b"), Position::AtTimestamp(42)),
        ]);
        let offset = Offset::given("s".into(), "orders".into(), 17, shards, "h".into());
        let expected = r#"{"version":1,"source":"s","stream":"orders","created":17,"batch":0,"home":"h","#
            .to_owned()
            + r#""shards":{"a":"AFTER 5","b":"AT_TIMESTAMP 42"}}"#;
        assert_eq!(offset.to_json().expect("writes"), expected);
        assert_eq!(Offset::from_json(&expected).expect("reads"), offset);
    }

    #[test]
    fn an_offset_of_an_older_version_is_read() {
        let older =
            r#"{"version":1,"source":"s","stream":"orders","created":17,"batch":1,"shards":{"a":"AFTER 5"}}"#;
        let offset = Offset::from_json(older).expect("reads");
        assert_eq!(offset.home, None);
        let next = offset.following(offset.shards.clone(), 1, BTreeSet::new(), "h".into());
        assert_eq!((next.source.as_str(), next.home.as_deref()), ("s", Some("h")));
    }

    #[test]
    fn in_another_checkpoint_location_a_query_has_another_name() {
        let home = offset_home("file:/checkpoints/a/sources/0");
        assert_eq!(home, "56664cd54b70f70d", "it stays the same for ever");
        let initial = Offset::initial(
            "s".into(),
            "orders".into(),
            17,
            Position::TrimHorizon,
            home.clone(),
        );
        let next = |offset: &Offset, home: &str| {
            offset.following(BTreeMap::new(), 1, BTreeSet::new(), home.to_owned())
        };
        let here = next(&initial, &home);
        assert_eq!(here.source, "s");
        let (copy, other) = (next(&here, "copy"), next(&here, "other"));
        assert!(copy.source != "s" && other.source != copy.source);
        assert_eq!(next(&copy, "copy").source, copy.source);
    }

    #[test]
    fn whatever_is_read_is_written_as_it_is_read() {
        kinesis_fuzzing::fuzz!("offsets", 10_000, |input| {
            let text = String::from_utf8_lossy(input);
            match Offset::from_json(&text) {
                Ok(offset) => {
                    assert!(Offset::is_own(&text));
                    let json = offset.to_json().expect("writes");
                    assert_eq!(Offset::from_json(&json).expect("reads"), offset, "{json}");
                    let following = offset.following(offset.shards.clone(), 1, BTreeSet::new(), "h".into());
                    assert!(following.batch > offset.batch || offset.batch == u64::MAX);
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::CorruptCheckpoint),
            }
            // The files of the AWS connector come from a user's file system, too.
            drop(AwslabsOffset::parse(&text));
            if let Ok(end) = awslabs::end(&text) {
                assert!(!end.to_string().is_empty());
            }
        });
    }

    #[test]
    fn what_another_connector_or_version_wrote_is_refused_with_the_way_on() {
        let foreign = Offset::from_json(r#"{"metadata":{"streamName":"orders"}}"#).expect_err("refused");
        assert!(foreign.message().contains("new checkpointLocation"), "{foreign}");
        let newer = Offset::from_json(r#"{"version":2,"anything":[]}"#).expect_err("refused");
        assert!(newer.message().contains("version 2"), "{newer}");
    }
}
