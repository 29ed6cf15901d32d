//! A writer to the world's stream, and the stream's records, read by a client independent of the connector.

use std::collections::BTreeMap;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{HashKeyRange, ShardIteratorType};
use bytes::Bytes;
use kinesis_aggregation::{Decoded, UserRecord, decode};
use kinesis_connector::sink::{SinkRecord, StreamWriter};
use kinesis_connector::stream::HashRange;
use kinesis_connector::{Engine, SinkConfig};
use serde_json::json;

use super::{STREAM, World};

/// A Kinesis record of the stream.
pub struct Written {
    /// Hash key range of its shard.
    pub range: HashRange,
    pub partition_key: String,
    pub data: Bytes,
}

impl Written {
    /// The record's user records; one if it is no aggregate.
    pub fn rows(&self) -> Vec<UserRecord> {
        match decode(&self.data).expect("sound") {
            Decoded::Aggregate(rows) => rows,
            Decoded::Plain => vec![UserRecord {
                partition_key: self.partition_key.as_str().into(),
                explicit_hash_key: None,
                data: self.data.clone(),
                sub_sequence: 0,
            }],
        }
    }

    pub fn is_aggregate(&self) -> bool {
        !matches!(decode(&self.data), Ok(Decoded::Plain))
    }

    /// True if all of its user records belong to its shard: the KCL skips an aggregate with any other.
    pub fn is_at_home(&self) -> bool {
        let here = |row: &UserRecord| row.hash_key().is_some_and(|hash| self.range.contains(hash));
        !self.is_aggregate() || self.rows().iter().all(here)
    }
}

fn range_of(range: &HashKeyRange) -> HashRange {
    HashRange {
        start: range.starting_hash_key().parse().expect("a number"),
        end: range.ending_hash_key().parse().expect("a number"),
    }
}

impl World {
    pub fn writer(&self, options: &[(&str, &str)]) -> StreamWriter {
        self.writer_of(&Engine::new(), STREAM, options)
    }

    pub fn writer_of(&self, engine: &Engine, stream: &str, options: &[(&str, &str)]) -> StreamWriter {
        let mut all = BTreeMap::from([
            ("kinesis.streamName", stream),
            ("kinesis.endpointUrl", self.endpoint.as_str()),
            ("kinesis.region", "us-east-1"),
            ("kinesis.awsAccessKeyId", "AKIAWRITER"),
            ("kinesis.awsSecretKey", "secret"),
            ("kinesis.clientRetryIntervalsMs", "5"),
            ("kinesis.clientMaxRetryIntervalMs", "20"),
        ]);
        all.extend(options.iter().copied());
        let config = json!({ "version": 1, "options": all }).to_string();
        engine
            .open_writer(SinkConfig::parse(&config).expect("a configuration"))
            .expect("opened")
    }

    /// All records of the stream, shard by shard, including closed ones.
    pub async fn written(&self) -> Vec<Written> {
        self.written_to(STREAM).await
    }

    /// All records of this stream, shard by shard, including closed ones.
    pub async fn written_to(&self, stream: &str) -> Vec<Written> {
        let listing = self.client.list_shards().stream_name(stream).send();
        let mut all = Vec::new();
        for shard in listing.await.expect("listed").shards() {
            let range = range_of(shard.hash_key_range().expect("a range"));
            let iterator = self
                .client
                .get_shard_iterator()
                .stream_name(stream)
                .shard_id(shard.shard_id())
                .shard_iterator_type(ShardIteratorType::TrimHorizon)
                .send()
                .await
                .expect("an iterator");
            let mut next = iterator.shard_iterator;
            while let Some(iterator) = next {
                let page = self.client.get_records().shard_iterator(iterator).send();
                let page = page.await.expect("a page");
                all.extend(page.records.into_iter().map(|record| Written {
                    range,
                    partition_key: record.partition_key.unwrap_or_default(),
                    data: Bytes::from(Blob::into_inner(record.data)),
                }));
                let at_tip = page.millis_behind_latest == Some(0);
                next = page.next_shard_iterator.filter(|_| !at_tip);
            }
        }
        all
    }

    pub fn calls(&self, operation: &str) -> u64 {
        self.sandbox.stats().calls(operation)
    }
}

pub async fn write_all(writer: &StreamWriter, records: &[SinkRecord]) {
    for some in records.chunks(333) {
        writer.write(some.to_vec()).await.expect("taken");
    }
    writer.flush().await.expect("accepted");
}
