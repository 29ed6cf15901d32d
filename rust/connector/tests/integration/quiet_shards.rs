//! Batches of streams in which most shards are idle: these have no task, and none of their later records is lost,
//! repeated or late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::support::scripted::{Scripted, State, config, id, shard};
use crate::support::{BOTH_CONSUMERS, LocalFiles, Query, Row, STREAM, World, assert_exact};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use kinesis_connector::claims::backends::memory::MemoryStore;
use kinesis_connector::plan::Planner;
use kinesis_connector::read::TaskPlan;
use kinesis_connector::stream::{Offset, ShardId};
use kinesis_connector::{Error, ErrorKind};
use tempfile::TempDir;
use tokio::time::Instant;

const SHARDS: i32 = 50;

/// Puts records with these numbers into a shard.
async fn put_into(world: &World, shard: u128, numbers: std::ops::Range<usize>) {
    let key = (u128::MAX / SHARDS as u128) * shard + (u128::MAX / SHARDS as u128) / 2;
    let entries = numbers.map(|number| {
        let entry = PutRecordsRequestEntry::builder()
            .partition_key(format!("key-{shard}"))
            .explicit_hash_key(key.to_string());
        entry
            .data(Blob::new(format!("r{number}")))
            .build()
            .expect("an entry")
    });
    let put = world.client.put_records().stream_name(STREAM);
    let put = put.set_records(Some(entries.collect())).send().await;
    assert_eq!(put.expect("put").failed_record_count(), Some(0));
}

fn name(shard: u32) -> String {
    format!("shardId-{shard:012}")
}

/// Offset of the next planned batch.
async fn planned(query: &Query) -> String {
    loop {
        let planned = query.planner.latest_offset(&query.offset).await;
        if let Some(offset) = planned.expect("a look") {
            return offset;
        }
    }
}

/// Shards that have a task in the batch.
fn shards_with_tasks(query: &Query, offset: &str) -> Vec<String> {
    let tasks = query.planner.partitions(offset).expect("tasks");
    let plans = tasks
        .iter()
        .map(|task| TaskPlan::from_json(task).expect("a task"));
    let shards = plans.flat_map(|plan| plan.tasks().to_vec());
    shards.map(|task| task.shard.to_string()).collect()
}

/// A query that has read one record of every shard, and all batches that followed.
async fn begun(world: &World, options: &[(&str, &str)]) -> Query {
    for shard in 0..SHARDS as usize {
        put_into(world, shard as u128, shard..shard + 1).await;
    }
    let mut query = world.query(options).await;
    assert_exact(&query.rows(50).await, "r", 0..50);
    // By then the readers' subscriptions are open, and the stream is no longer busy.
    while query.batch().await.expect("a look").is_some() {}
    query
}

#[tokio::test]
async fn a_batch_reads_the_shards_that_have_something() {
    for consumer in BOTH_CONSUMERS {
        let world = World::with_shards(SHARDS).await;
        world.hasten_subscriptions();
        let mut query = begun(&world, consumer).await;
        let mut numbers = 50..110;
        for shard in [7, 31, 7] {
            // A shard that answers late on a busy machine has a task, too.
            let mut alone = false;
            while !alone {
                let number = numbers.next().expect("most batches read no other shard");
                put_into(&world, shard.into(), number..number + 1).await;
                let offset = planned(&query).await;
                let tasks = shards_with_tasks(&query, &offset);
                assert!(tasks.contains(&name(shard)), "{consumer:?}: {tasks:?}");
                let rows = query.run(offset).await.expect("rows");
                assert_exact(&rows, "r", number..number + 1);
                alone = tasks.len() == 1;
            }
        }
    }
}

/// A burst over several shards is then in one batch, though its records don't arrive at the same moment.
#[tokio::test]
async fn a_batch_reads_all_of_few_shards() {
    for consumer in BOTH_CONSUMERS {
        let world = World::with_shards(8).await;
        world.hasten_subscriptions();
        let mut query = world.query(consumer).await;
        world.put("r", 0..1).await;
        assert_exact(&query.rows(1).await, "r", 0..1);
        while query.batch().await.expect("a probe").is_some() {}
        world.put("r", 1..2).await;
        let offset = planned(&query).await;
        assert_eq!(shards_with_tasks(&query, &offset).len(), 8, "{consumer:?}");
        assert_exact(&query.run(offset).await.expect("rows"), "r", 1..2);
    }
}

#[tokio::test]
async fn the_first_batch_reads_them_alone_too() {
    // A shard that answers late on a busy machine has a task, too.
    for _ in 0..5 {
        let world = World::with_shards(SHARDS).await;
        put_into(&world, 7, 0..1).await;
        let mut query = world.query(&[]).await;
        let offset = planned(&query).await;
        let tasks = shards_with_tasks(&query, &offset);
        assert!(tasks.contains(&name(7)), "{tasks:?}");
        assert_exact(&query.run(offset).await.expect("rows"), "r", 0..1);
        assert_eq!(query.planner.metrics()["shardsRead"], tasks.len().to_string());
        assert_eq!(query.planner.metrics()["maxMillisBehindLatest"], "0");
        if tasks.len() == 1 {
            return;
        }
    }
    panic!("other shards had tasks in five first batches");
}

/// One engine runs the batch, and others run it again after shards with and without a task got records.
#[tokio::test]
async fn a_batch_that_runs_again_skips_the_same_shards() {
    for consumer in BOTH_CONSUMERS {
        let world = World::with_shards(SHARDS).await;
        world.hasten_subscriptions();
        let mut query = begun(&world, consumer).await;
        put_into(&world, 7, 50..52).await;
        let before = query.offset.clone();
        let offset = planned(&query).await;
        let tasks = shards_with_tasks(&query, &offset);
        assert!(tasks.contains(&name(7)), "{tasks:?}");
        let rows = query.run(offset.clone()).await.expect("rows");
        let after = query.offset.clone();
        drop(query);
        for shard in [6, 7, 8] {
            let number = 46 + 2 * shard as usize;
            put_into(&world, shard, number - 6..number - 4).await;
        }
        // Once before the commit, and once after it.
        let mut again = world.query(consumer).await.from(&before);
        assert_eq!(shards_with_tasks(&again, &offset), tasks);
        assert_eq!(again.run(offset.clone()).await.expect("runs again"), rows);
        assert_exact(&again.rows(6).await, "r", 52..58);
        let mut restarted = world.query(consumer).await.from(&after);
        assert_eq!(restarted.run(offset).await.expect("runs again"), rows);
    }
}

/// Claims of an earlier plan of the same batch, as after a checkpoint was set back. Those of shards that the batch
/// skips this time must not count.
#[tokio::test]
async fn claims_of_shards_that_the_batch_skips_do_not_count() {
    for per_task in ["1", "10"] {
        let world = World::with_shards(SHARDS).await;
        let options = [("kinesis.shardsPerTask", per_task)];
        let mut query = begun(&world, &options).await;
        put_into(&world, 7, 50..51).await;
        put_into(&world, 31, 51..52).await;
        // Both shards are read and claimed.
        let before = query.offset.clone();
        let first = planned(&query).await;
        assert_exact(&query.run(first.clone()).await.expect("rows"), "r", 50..52);
        // The same batch, planned without the shards around 31.
        let mut other = Offset::from_json(&first).expect("an offset");
        let skipped = (30..40).map(|shard| name(shard).as_str().into());
        other.skipped = &other.skipped | &skipped.collect::<BTreeSet<_>>();
        let mut restarted = world.query(&options).await.from(&before);
        let other = other.to_json().expect("writes");
        let rows = restarted.run(other.clone()).await.expect("rows");
        assert_exact(&rows, "r", 50..51);
        drop(restarted);
        let mut again = world.query(&options).await.from(&other);
        assert_exact(&again.rows(1).await, "r", 51..52);
    }
}

#[tokio::test]
async fn what_comes_to_a_skipped_shard_is_in_the_next_batch() {
    for consumer in BOTH_CONSUMERS {
        let world = World::with_shards(SHARDS).await;
        world.hasten_subscriptions();
        let mut query = begun(&world, consumer).await;
        put_into(&world, 7, 50..51).await;
        let offset = planned(&query).await;
        put_into(&world, 20, 51..52).await;
        assert_exact(&query.run(offset).await.expect("rows"), "r", 50..51);
        let next = planned(&query).await;
        assert!(shards_with_tasks(&query, &next).contains(&name(20)));
        assert_exact(&query.run(next).await.expect("rows"), "r", 51..52);
    }
}

#[tokio::test]
async fn skipped_shards_split_and_merge() {
    let world = World::with_shards(SHARDS).await;
    let mut query = begun(&world, &[]).await;
    put_into(&world, 7, 50..51).await;
    let offset = planned(&query).await;
    world.split(&name(3)).await;
    world.merge(&name(10), &name(11)).await;
    assert_exact(&query.run(offset).await.expect("rows"), "r", 50..51);
    for shard in [3, 10, 11, 7] {
        let number = match shard {
            3 => 51,
            7 => 54,
            _ => 42 + shard as usize,
        };
        put_into(&world, shard, number..number + 1).await;
    }
    let mut rows = query.rows(3).await;
    let mut restarted = world.query(&[]).await.from(&query.offset);
    drop(query);
    while rows.len() < 4 {
        rows.extend(restarted.rows(1).await);
    }
    assert_exact(&rows, "r", 51..55);
    while restarted.batch().await.expect("a look").is_some() {}
    let offset = Offset::from_json(&restarted.offset).expect("an offset");
    for gone in [3, 10, 11] {
        let gone = name(gone);
        assert!(!offset.shards.contains_key(&gone.as_str().into()), "{gone}");
    }
}

#[tokio::test]
async fn available_now_reads_all_of_them() {
    let world = World::with_shards(SHARDS).await;
    let query = begun(&world, &[]).await;
    for shard in 0..5 {
        let first = 50 + 20 * shard;
        put_into(&world, 10 * shard as u128 + 1, first..first + 20).await;
    }
    let offset = query.offset.clone();
    drop(query);
    let limited = [("kinesis.maxFetchRecordsPerShard", "7")];
    let mut query = world.query(&limited).await.from(&offset);
    query.planner.prepare_for_available_now();
    let mut rows = Vec::new();
    while let Some(batch) = query.batch().await.expect("a batch") {
        rows.extend(batch);
    }
    assert_exact(&rows, "r", 50..150);
}

/// The backlog of one shard takes many batches.
#[tokio::test]
async fn a_backlog_in_one_shard_is_read_by_one_task_and_others_are_probed() {
    let world = World::with_shards(SHARDS).await;
    let limited = [("kinesis.maxFetchRecordsPerShard", "10")];
    let mut query = begun(&world, &limited).await;
    put_into(&world, 7, 50..150).await;
    let (mut rows, mut of_20, mut crowded) = (Vec::<Row>::new(), None, 0);
    for batch in 0.. {
        if batch == 3 {
            put_into(&world, 20, 150..151).await;
        }
        let offset = planned(&query).await;
        let tasks = shards_with_tasks(&query, &offset);
        // A shard that answers late on a busy machine has a task, too.
        crowded += usize::from(tasks.len() > 2);
        let read = query.run(offset).await.expect("rows");
        assert!(read.len() <= 20);
        if read.iter().any(|row| row.key == "key-20") {
            of_20 = Some(batch);
        }
        rows.extend(read);
        if rows.len() == 101 {
            break;
        }
    }
    assert_exact(&rows, "r", 50..151);
    assert!(crowded < 5, "{crowded} batches read more than two shards");
    let of_20 = of_20.expect("it was read");
    assert!(
        of_20 < 9,
        "it came before the backlog was read, not in batch {of_20}"
    );
}

/// Groups are the same in every batch, so that their shards stay with their executors.
#[tokio::test]
async fn groups_are_skipped_whole() {
    let world = World::with_shards(SHARDS).await;
    let mut query = begun(&world, &[("kinesis.shardsPerTask", "4")]).await;
    let expected: Vec<_> = [4, 5, 6, 7, 48, 49].map(name).to_vec();
    let groups: Vec<Vec<_>> = (0..SHARDS as u32)
        .map(name)
        .collect::<Vec<_>>()
        .chunks(4)
        .map(<[_]>::to_vec)
        .collect();
    // A shard that answers late on a busy machine has a task, too.
    for attempt in 0..20 {
        let first = 50 + 2 * attempt;
        put_into(&world, 6, first..first + 1).await;
        put_into(&world, 49, first + 1..first + 2).await;
        let offset = planned(&query).await;
        let tasks = shards_with_tasks(&query, &offset);
        let whole = groups
            .iter()
            .filter(|group| group.iter().any(|shard| tasks.contains(shard)));
        assert_eq!(tasks, whole.flatten().cloned().collect::<Vec<_>>());
        assert!(expected.iter().all(|shard| tasks.contains(shard)), "{tasks:?}");
        assert_exact(&query.run(offset).await.expect("rows"), "r", first..first + 2);
        if tasks == expected {
            return;
        }
    }
    panic!("idle groups had tasks in twenty batches");
}

/// Where most shards deliver records, batches follow one another without a probe.
#[tokio::test]
async fn a_busy_stream_is_read_without_probes() {
    let world = World::with_shards(SHARDS).await;
    let mut query = world.query(&[("kinesis.maxFetchRecordsPerShard", "4")]).await;
    for shard in 0..SHARDS as usize {
        put_into(&world, shard as u128, shard * 40..(shard + 1) * 40).await;
    }
    let mut rows = query.rows(1).await;
    let probes = query.planner.metrics()["driverRequests"].clone();
    while rows.len() < 1_600 {
        rows.extend(query.rows(1).await);
        assert_eq!(query.planner.metrics()["driverRequests"], probes);
    }
    rows.extend(query.rows(400).await);
    assert_exact(&rows, "r", 0..2_000);
}

/// One shard can't be probed, and another one doesn't respond.
#[tokio::test(start_paused = true)]
async fn a_shard_of_which_nothing_is_known_is_read_and_waited_for_only_briefly() {
    let shards: Vec<_> = (0..20).map(|number| shard(number, None, None, false)).collect();
    let scripted = Scripted::new(State {
        listings: vec![(Duration::ZERO, shards)],
        records: BTreeMap::from([(id(7), 1)]),
        failing: [id(3)].into(),
        stuck: [id(5)].into(),
        ..State::default()
    });
    let checkpoint = TempDir::new().expect("a folder");
    let planner = Planner::on(
        scripted.clone(),
        Arc::<MemoryStore>::default(),
        config(&checkpoint, &[]),
        Arc::new(LocalFiles),
    );
    let planner = planner.await.expect("opens");
    let start = planner.initial_offset().await.expect("an offset");
    let began = Instant::now();
    let offset = planner
        .latest_offset(&start)
        .await
        .expect("a look")
        .expect("news");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let offset = Offset::from_json(&offset).expect("an offset");
    let read: Vec<_> = offset.read().map(|(shard, _)| shard.clone()).collect();
    assert_eq!(read, [id(3), id(5), id(7)]);
}

/// A query that has read the first of the two records of shard 7, the only ones in the stream, with the offset of
/// that batch.
async fn with_backlog(shards: u32, options: &[(&str, &str)]) -> (Arc<Scripted>, Planner, String, TempDir) {
    let listed = (0..shards).map(|number| shard(number, None, None, false));
    let scripted = Scripted::new(State {
        listings: vec![(Duration::ZERO, listed.collect())],
        records: BTreeMap::from([(id(7), 2)]),
        ..State::default()
    });
    let checkpoint = TempDir::new().expect("a folder");
    let planner = Planner::on(
        scripted.clone(),
        Arc::<MemoryStore>::default(),
        config(&checkpoint, options),
        Arc::new(LocalFiles),
    );
    let planner = planner.await.expect("opens");
    let start = planner.initial_offset().await.expect("an offset");
    let offset = planner.latest_offset(&start).await.expect("a look");
    let offset = offset.expect("records");
    let batch = Offset::from_json(&offset).expect("an offset");
    assert_eq!(batch.read().map(|(shard, _)| shard).collect::<Vec<_>>(), [&id(7)]);
    report(&planner, &offset, 1, "remaining");
    (scripted, planner, offset, checkpoint)
}

/// Reports on shard 7 in a batch that ended after its first record.
fn report(planner: &Planner, offset: &str, records: u64, backlog: &str) {
    let batch = Offset::from_json(offset).expect("an offset");
    let report = serde_json::json!({
        "source": batch.source, "batch": batch.batch, "shard": id(7).to_string(), "end": "AFTER 100",
        "backlog": backlog, "lost": false, "records": records, "bytes": 2, "requests": 1, "retries": 0, "throttles": 0,
        "millisBehindLatest": 1_000,
    });
    planner.report(&report.to_string()).expect("a report");
}

/// Shards that the next batch reads, and shards probed before it. The batch must be planned within two seconds.
async fn next_reads(planner: &Planner, scripted: &Scripted, offset: &str) -> (Vec<ShardId>, Vec<ShardId>) {
    scripted.state().asked.clear();
    let planned = tokio::time::timeout(Duration::from_secs(2), planner.latest_offset(offset));
    let planned = planned.await.expect("in time").expect("a look").expect("a batch");
    let planned = Offset::from_json(&planned).expect("an offset");
    let read = planned.read().map(|(shard, _)| shard.clone()).collect();
    let asked = std::mem::take(&mut scripted.state().asked);
    (read, asked)
}

#[tokio::test(start_paused = true)]
async fn a_backlog_waits_neither_for_a_shard_that_does_not_answer_nor_asks_again_what_fails() {
    let (scripted, planner, offset, _checkpoint) = with_backlog(20, &[]).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    scripted.state().failing = [id(3)].into();
    let (read, asked) = next_reads(&planner, &scripted, &offset).await;
    assert_eq!((read, asked.len()), (vec![id(3), id(7)], 19));
    let at_once = next_reads(&planner, &scripted, &offset).await;
    assert_eq!(at_once, (vec![id(3), id(7)], vec![]));

    scripted.state().failing.clear();
    scripted.state().stuck = [id(5)].into();
    tokio::time::advance(Duration::from_secs(1)).await;
    let (read, _) = next_reads(&planner, &scripted, &offset).await;
    assert_eq!(read, [id(7)], "the other one had nothing a second ago");
    tokio::time::advance(Duration::from_secs(10)).await;
    let (read, _) = next_reads(&planner, &scripted, &offset).await;
    assert_eq!(read, [id(5), id(7)], "nothing is known of it any more");
}

/// More shards than can be probed while a batch waits: the next batch's probe covers the others.
#[tokio::test(start_paused = true)]
async fn a_backlog_asks_the_other_shards_by_turns() {
    let one_by_one = [("kinesis.checkNewRecordThreads", "1")];
    let (scripted, planner, offset, _checkpoint) = with_backlog(40, &one_by_one).await;
    scripted.state().slow = (0..40).map(id).collect();
    let mut all = BTreeSet::new();
    for _ in 0..2 {
        tokio::time::advance(Duration::from_secs(1)).await;
        let (read, asked) = next_reads(&planner, &scripted, &offset).await;
        assert_eq!(read, [id(7)]);
        assert!((20..30).contains(&asked.len()), "{}", asked.len());
        all.extend(asked);
    }
    assert_eq!(all.len(), 39);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_loses_no_time_with_every_batch_to_shards_that_never_answer_in_time() {
    let (scripted, planner, offset, _checkpoint) = with_backlog(20, &[]).await;
    scripted.state().stuck = (0..20).map(id).collect();
    let began = Instant::now();
    for _ in 0..5 {
        tokio::time::advance(Duration::from_secs(1)).await;
        next_reads(&planner, &scripted, &offset).await;
    }
    let waited = began.elapsed() - Duration::from_secs(5);
    assert!(waited < Duration::from_millis(600), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn one_probe_without_answers_does_not_stop_the_next_one() {
    let (scripted, planner, offset, _checkpoint) = with_backlog(20, &[]).await;
    for (stuck, answered) in [(true, 8), (false, 19)] {
        tokio::time::advance(Duration::from_secs(1)).await;
        scripted.state().stuck = (0..20).filter(|_| stuck).map(id).collect();
        let (_, asked) = next_reads(&planner, &scripted, &offset).await;
        assert_eq!(asked.len(), answered, "stuck: {stuck}");
    }
}

/// Old iterators would be refused by another stream of the same name, which accepts positions without a record. The
/// probe that drops them can't wait for the check, and the first check fails.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_made_again_beside_a_backlog_is_noticed_later() {
    let (scripted, planner, offset, _checkpoint) = with_backlog(20, &[]).await;
    tokio::time::advance(Duration::from_secs(271)).await;
    scripted.state().made_again = true;
    let planned = planner.latest_offset(&offset).await.expect("a probe");
    let mut offset = planned.expect("a batch");
    let failure = Error::new(ErrorKind::Transport, "out of reach").retryable(true);
    scripted.state().descriptions = [failure].into();
    let noticed = loop {
        report(&planner, &offset, 0, "empty");
        match planner.latest_offset(&offset).await {
            Ok(planned) => offset = planned.unwrap_or(offset),
            Err(error) => break error,
        }
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(scripted.state().asked.len() < 1_000, "not noticed");
    };
    assert_eq!(noticed.kind(), ErrorKind::StreamChanged, "{noticed}");
}

#[tokio::test(start_paused = true)]
async fn a_backlog_waits_for_no_description_of_the_stream() {
    let (scripted, planner, offset, _checkpoint) = with_backlog(20, &[]).await;
    scripted.state().undescribed = true;
    // The iterators of the probe before are too old.
    tokio::time::advance(Duration::from_secs(271)).await;
    let (read, _) = next_reads(&planner, &scripted, &offset).await;
    assert_eq!(read, [id(7)]);
}

/// After a long batch the iterators are too old, so the stream is to be described. Meanwhile DescribeStreamSummary
/// fails again and again, each time after all its retries (25 s with the default options), while GetRecords works.
#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_be_described_delays_no_record_for_long() {
    let (scripted, planner, offset, _checkpoint) = with_backlog(20, &[]).await;
    tokio::time::advance(Duration::from_secs(271)).await;
    {
        let mut state = scripted.state();
        let failure = || Error::new(ErrorKind::Throttled, "rate exceeded").retryable(true);
        state.descriptions = std::iter::repeat_with(failure).take(1_000).collect();
        state.description_takes = Duration::from_secs(25);
        // Shard 7 has nothing more.
        state.records.insert(id(7), 1);
    }
    let offset = planner.latest_offset(&offset).await.expect("a look");
    let offset = offset.expect("the backlog");
    report(&planner, &offset, 0, "empty");
    let (began, mut longest) = (Instant::now(), Duration::ZERO);
    scripted.state().asked.clear();
    while began.elapsed() < Duration::from_secs(600) {
        let call = Instant::now();
        assert_eq!(planner.latest_offset(&offset).await.expect("a probe"), None);
        longest = longest.max(call.elapsed());
    }
    let probes = scripted
        .state()
        .asked
        .iter()
        .filter(|asked| **asked == id(3))
        .count();
    let failed = 1_000 - scripted.state().descriptions.len();
    scripted.state().records.insert(id(3), 1);
    let put = Instant::now();
    while planner.latest_offset(&offset).await.expect("a probe").is_none() {}
    let noticed = put.elapsed();
    assert!(
        probes > 200 && noticed < Duration::from_secs(30),
        "{probes} probes of each shard in ten minutes, {failed} failed descriptions, the longest call took \
         {longest:?}, and a record was noticed after {noticed:?}"
    );
}
