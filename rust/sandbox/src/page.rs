//! A page of a shard's records: what GetRecords answers, and what an event of SubscribeToShard carries.

use serde_json::{Value, json};

use crate::store::{Shard, ShardState, StreamState, shard_id};

/// Records that follow on a place in a shard.
#[derive(Debug)]
pub(crate) struct Page {
    /// Where the first one stands among those kept.
    from: usize,
    pub count: usize,
    /// Payload and partition keys, in bytes.
    pub size: usize,
    /// About as much JSON as the records make.
    pub json_len: usize,
    /// The index of the record after the last one.
    pub end: u64,
    pub millis_behind_latest: i64,
    /// The children of a closed shard, as JSON, when the page ends it.
    pub children: Option<String>,
}

impl Page {
    /// What follows from `index` on: at most so many records and bytes, but one record of any size.
    pub fn at(
        lineage: &StreamState,
        state: &ShardState,
        index: u64,
        (records, bytes): (usize, usize),
        now_ms: i64,
    ) -> Page {
        let from = state.offset(index);
        let (mut size, mut json_len, mut count) = (0, 0, 0);
        for record in state.records.range(from..).take(records) {
            if count > 0 && size + record.size() > bytes {
                break;
            }
            size += record.size();
            json_len += record.json_len();
            count += 1;
        }
        let next = state.records.get(from + count);
        let ends_shard = state.closed_ms.is_some() && next.is_none();
        Page {
            from,
            count,
            size,
            json_len,
            end: state.first + (from + count) as u64,
            millis_behind_latest: next.map_or(0, |next| (now_ms - next.arrival_ms).max(1)),
            children: ends_shard.then(|| children(lineage, state)),
        }
    }

    /// No record, though there may be some.
    pub fn empty(millis_behind_latest: i64) -> Page {
        Page {
            from: 0,
            count: 0,
            size: 0,
            json_len: 0,
            end: 0,
            millis_behind_latest,
            children: None,
        }
    }

    /// More time without records follows than its records tell.
    pub fn before_stretch(&mut self, millis_behind_latest: i64) {
        self.children = None;
        self.millis_behind_latest = millis_behind_latest;
    }

    /// Begins an answer with the records; `state` is the shard's, still locked, unless the page is empty.
    pub fn push_records(&self, state: Option<&ShardState>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"Records\":[");
        let records = state.map(|state| state.records.range(self.from..self.from + self.count));
        for (at, record) in records.into_iter().flatten().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            record.push_json(out);
        }
        out.push(b']');
    }

    /// Ends an answer with what both operations say last.
    pub fn push_rest(&self, out: &mut Vec<u8>) {
        if let Some(children) = &self.children {
            out.extend_from_slice(b",\"ChildShards\":");
            out.extend_from_slice(children.as_bytes());
        }
        out.extend_from_slice(format!(",\"MillisBehindLatest\":{}}}", self.millis_behind_latest).as_bytes());
    }
}

/// The children of a shard that was read to its end.
fn children(lineage: &StreamState, state: &ShardState) -> String {
    let children = state
        .children
        .iter()
        .filter_map(|index| lineage.shards.get(*index as usize));
    let children = children.map(|child| {
        json!({
            "ShardId": child.id,
            "ParentShards": child.parents().map(shard_id).collect::<Vec<_>>(),
            "HashKeyRange": range_json(child),
        })
    });
    Value::Array(children.collect()).to_string()
}

/// A shard's part of the key space, in decimal.
pub(crate) fn range_json(shard: &Shard) -> Value {
    json!({
        "StartingHashKey": shard.range.start.to_string(),
        "EndingHashKey": shard.range.end.to_string(),
    })
}
