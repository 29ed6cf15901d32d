//! A page of a shard's records: the content of a GetRecords response or of a SubscribeToShard event.

use serde_json::{Value, json};

use crate::store::{Shard, ShardState, StreamState, shard_id};

/// Consecutive records from a place in a shard.
#[derive(Debug)]
pub(crate) struct Page {
    /// Offset of the first record among the records kept.
    from: usize,
    pub count: usize,
    /// Payload and partition keys, in bytes.
    pub size: usize,
    /// Approximate length of the records as JSON.
    pub json_len: usize,
    /// Index of the record after the last one.
    pub end: u64,
    pub millis_behind_latest: i64,
    /// Children of a closed shard, as JSON, if the page reaches the shard's end.
    pub children: Option<String>,
}

impl Page {
    /// The page from `index` on, with at most this many records and bytes; the first record may have any size.
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

    /// A page without records, at a place that records may follow.
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

    /// Adjusts a page that a stretch without records follows: the shard's end is further away than its records show.
    pub fn before_stretch(&mut self, millis_behind_latest: i64) {
        self.children = None;
        self.millis_behind_latest = millis_behind_latest;
    }

    /// Appends the start of a response, with the records. `state` is the locked state of the shard; an empty page
    /// needs none.
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

    /// Appends the end of a response, which is the same for both operations.
    pub fn push_rest(&self, out: &mut Vec<u8>) {
        if let Some(children) = &self.children {
            out.extend_from_slice(b",\"ChildShards\":");
            out.extend_from_slice(children.as_bytes());
        }
        out.extend_from_slice(format!(",\"MillisBehindLatest\":{}}}", self.millis_behind_latest).as_bytes());
    }
}

/// Children of a shard that has been read to its end.
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

/// A shard's hash key range, in decimal.
pub(crate) fn range_json(shard: &Shard) -> Value {
    json!({
        "StartingHashKey": shard.range.start.to_string(),
        "EndingHashKey": shard.range.end.to_string(),
    })
}
