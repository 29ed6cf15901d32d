//! A stream at the service's limits of a shard, as the sandbox counts what it refused.

use std::sync::Arc;

use bytes::Bytes;
use kinesis_connector::Engine;
use kinesis_connector::sink::SinkRecord;
use kinesis_sandbox::{Sandbox, SandboxConfig, ShardLimits};

use crate::support::written::write_all;
use crate::support::{STREAM, World};

const SHARDS: i32 = 4;
const TASKS: usize = 16;

fn rows(task: usize, count: usize) -> Vec<SinkRecord> {
    (0..count)
        .map(|number| SinkRecord {
            partition_key: Some(format!("{task}-{number}")),
            data: Bytes::from(vec![b'x'; 100]),
            explicit_hash_key: None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_at_the_limit_of_shards_are_refused_little() {
    let config = SandboxConfig {
        shard_limits: Some(ShardLimits::default()),
        ..SandboxConfig::default()
    };
    let sandbox = Sandbox::start(config).await.expect("a sandbox");
    let world = Arc::new(World::with(sandbox, SHARDS).await);
    let engine = Engine::new();
    // All of it may be under way at once, and is six times what the shards take in a second.
    let count = 1_500;
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let (world, engine) = (Arc::clone(&world), engine.clone());
        tasks.push(tokio::spawn(async move {
            let writer = world.writer_of(&engine, STREAM, &[]);
            write_all(&writer, &rows(task, count)).await;
            writer.metrics()
        }));
    }
    let mut throttles = 0;
    for task in tasks {
        throttles += task.await.expect("written").throttles;
    }
    let stats = world.sandbox.stats();
    let shards = stats.streams[STREAM].values();
    let (accepted, refused) = shards.fold((0, 0), |(accepted, refused), shard| {
        (accepted + shard.records_in, refused + shard.records_refused)
    });
    assert_eq!(accepted, (TASKS * count) as u64, "exactly once");
    assert_eq!(throttles, refused);
    // Few requests find out what the stream takes; of all tasks' first ones it would refuse five in six.
    assert!(refused * 5 < accepted, "{refused} of {}", accepted + refused);
}
