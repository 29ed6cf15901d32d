//! Hostile records in one shard, and their effects on the process and on the reader of another shard. The numbers are
//! printed (`--nocapture`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::{STREAM, World, read_all};
use aws_sdk_kinesis::primitives::Blob;
use kinesis_aggregation::MAGIC;
use kinesis_connector::ErrorKind;
use kinesis_connector::claims::backends::memory::MemoryStore;
use kinesis_connector::read::{ReadTask, ShardReader};
use kinesis_connector::service::AwsKinesis;
use kinesis_connector::stream::Position;
use md5::{Digest, Md5};

const HOSTILE: &str = "shardId-000000000000";
const GOOD: &str = "shardId-000000000001";
const MIB: usize = 1024 * 1024;
/// Maximum length of a record with a short partition key.
const MOST_DATA: usize = MIB - 10;

/// An aggregate with as many user records as fit into a record, all without data and with this key; returns it and
/// their number.
fn empties(key: &str) -> (Vec<u8>, usize) {
    // Subtracts the key's own field, the magic and the digest.
    let count = (MOST_DATA - key.len() - 4 - 20) / RECORD.len();
    let mut message = vec![0x0A];
    push_varint(key.len(), &mut message);
    message.extend_from_slice(key.as_bytes());
    message.extend(RECORD.repeat(count));
    let digest = Md5::digest(&message);
    let data = [&MAGIC[..], &message, &digest[..]].concat();
    assert!(data.len() <= MOST_DATA);
    (data, count)
}

/// A user record of an aggregate: the first key, without data.
const RECORD: [u8; 6] = [0x1A, 4, 0x08, 0, 0x1A, 0];

fn push_varint(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

async fn put(world: &World, shard: &str, data: Vec<u8>) {
    let hash_key = if shard == HOSTILE { 0 } else { u128::MAX };
    let put = world.client.put_record().stream_name(STREAM).partition_key("k");
    let put = put.explicit_hash_key(hash_key.to_string()).data(Blob::new(data));
    assert_eq!(put.send().await.expect("put").shard_id(), shard);
}

async fn reader(world: &World, shard: &str, options: &[(&str, &str)]) -> ShardReader {
    let options = world.config(options).options;
    let api = AwsKinesis::connect(&options.access, options.stream.clone(), options.client_retry);
    let api = Arc::new(api.await.expect("a client"));
    // All hash keys but one, so that every key is checked.
    let range = serde_json::json!(format!("0-{}", u128::MAX - 1));
    let mut task = ReadTask::new("q", 1, shard.into(), Position::TrimHorizon);
    task.hash_range = Some(serde_json::from_value(range).expect("a range"));
    ShardReader::on(api, Arc::new(MemoryStore::default()), &options, task)
}

/// Peak memory of the process, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    kib.expect("a number") * 1024
}

/// Reads the shard repeatedly until `stop` is set; returns the longest duration.
async fn longest(world: &World, shard: &str, stop: Arc<std::sync::atomic::AtomicBool>) -> Duration {
    let mut longest = Duration::ZERO;
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        let start = Instant::now();
        let rows = read_all(&reader(world, shard, &[]).await).await.expect("rows");
        assert_eq!(rows.len(), 3);
        longest = longest.max(start.elapsed());
    }
    longest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_records_cost_no_memory_to_speak_of_and_can_be_skipped() {
    let world = Arc::new(World::with_shards(2).await);
    for _ in 0..3 {
        put(&world, GOOD, b"good".to_vec()).await;
    }
    // First, keys that no record of the stream can have. Last, records that only look odd: they grow twentyfold,
    // within bounds.
    let key = "k".repeat(60_000);
    for key in [&key[..11_000], &key[..20_000], &key] {
        put(&world, HOSTILE, empties(key).0).await;
    }
    let uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let mut expected = 1;
    for _ in 0..3 {
        let (data, count) = empties(uuid);
        put(&world, HOSTILE, data).await;
        expected += count;
    }
    put(&world, HOSTILE, b"last".to_vec()).await;

    let error = read_all(&reader(&world, HOSTILE, &[]).await)
        .await
        .expect_err("the records are broken");
    assert_eq!(error.kind(), ErrorKind::MalformedRecord);
    assert!(error.message().contains("more than 256 characters"), "{error}");

    let before = peak();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let good = {
        let (world, stop) = (Arc::clone(&world), Arc::clone(&stop));
        tokio::spawn(async move { longest(&world, GOOD, stop).await })
    };
    let start = Instant::now();
    let options = [
        ("kinesis.aggregation.broken", "SKIP"),
        ("kinesis.aggregation.outsideShard", "SKIP"),
        ("kinesis.maxFetchRecordsPerShard", "10000000"),
    ];
    let reading = reader(&world, HOSTILE, &options).await;
    let (mut rows, mut last) = (0, Vec::new());
    while let Some(batch) = reading.next().await.expect("rows") {
        rows += batch.rows();
        let data = batch.data.as_ref().expect("payloads");
        last = data.value(batch.rows() - 1).to_vec();
    }
    assert_eq!((rows, last.as_slice()), (expected, b"last".as_slice()));
    let (took, grown) = (start.elapsed(), peak() - before);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    println!(
        "{rows} rows of hostile records in {took:?}; the process grew by {} MiB; the other shard took {:?} at most",
        grown / MIB,
        good.await.expect("read")
    );
    // One response, its first aggregate decoded, and the data that waits for the task.
    assert!(grown < 250 * MIB, "{grown}");
}
