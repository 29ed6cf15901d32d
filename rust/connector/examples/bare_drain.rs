//! What the service and the SDK allow: reads a stream from its oldest records to the tip with aws-sdk-kinesis and
//! nothing else, one task for each shard. `scripts/bench drain` shows it beside the connector.
//!
//! Usage: `bare_drain ENDPOINT REGION STREAM`. Credentials are the environment's. Prints one line of JSON: records,
//! bytes, seconds, and CPU seconds of this process.

use std::error::Error;
use std::time::Instant;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::ShardIteratorType;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The most that GetRecords gives (AWS limit).
const LIMIT: i32 = 10_000;
/// What /proc counts CPU time in: USER_HZ, which is 100 on every Linux that matters here.
const TICKS_A_SECOND: f64 = 100.0;

#[derive(Clone, Copy, Default)]
struct Read {
    records: u64,
    bytes: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, region, stream] = arguments.as_slice() else {
        return Err("usage: bare_drain ENDPOINT REGION STREAM".into());
    };
    let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::new(region.clone()))
        .endpoint_url(endpoint)
        .load()
        .await;
    let client = Client::new(&config);
    let shards = client.list_shards().stream_name(stream).send().await?;

    // The clock starts behind the first connection, as it does for a query that is already running.
    let (began, cpu) = (Instant::now(), cpu_seconds()?);
    let readers: Vec<_> = shards
        .shards()
        .iter()
        .map(|shard| {
            let (client, stream, shard) = (client.clone(), stream.clone(), shard.shard_id().to_owned());
            tokio::spawn(drain(client, stream, shard))
        })
        .collect();
    let mut total = Read::default();
    for reader in readers {
        let read = reader.await??;
        total.records += read.records;
        total.bytes += read.bytes;
    }
    let result = serde_json::json!({
        "records": total.records,
        "bytes": total.bytes,
        "seconds": began.elapsed().as_secs_f64(),
        "cpuSeconds": cpu_seconds()? - cpu,
    });
    println!("{result}");
    Ok(())
}

/// Reads a shard until an answer says that there is no more.
async fn drain(client: Client, stream: String, shard: String) -> Result<Read> {
    let mut iterator = client
        .get_shard_iterator()
        .stream_name(stream)
        .shard_id(shard)
        .shard_iterator_type(ShardIteratorType::TrimHorizon)
        .send()
        .await?
        .shard_iterator;
    let mut read = Read::default();
    while let Some(at) = iterator.take() {
        let answer = client
            .get_records()
            .shard_iterator(at)
            .limit(LIMIT)
            .send()
            .await?;
        read.records += answer.records().len() as u64;
        read.bytes += answer
            .records()
            .iter()
            .map(|record| record.data().as_ref().len() as u64)
            .sum::<u64>();
        if answer.millis_behind_latest() != Some(0) {
            iterator = answer.next_shard_iterator;
        }
    }
    Ok(read)
}

/// User and system time of this process so far.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The fields after the program's name, which is in parentheses and may hold anything: state is the third of all.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(ticks as f64 / TICKS_A_SECOND)
}
