//! Batch reads against the sandbox: all records between two positions, whatever happens meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::support::altered::{Altered, service};
use crate::support::{LocalFiles, Row, STREAM, World, assert_exact, read_all};
use kinesis_connector::batch::{Column, ExtraValues, RecordBatch};
use kinesis_connector::options::ExtraColumn;
use kinesis_connector::plan::batch_read_tasks;
use kinesis_connector::{Engine, ErrorKind, Result, SourceConfig};

struct BatchRead {
    engine: Engine,
    config: SourceConfig,
    tasks: Vec<String>,
}

impl BatchRead {
    fn config(world: &World, options: &[(&str, &str)]) -> SourceConfig {
        Self::parse(world, options).expect("a configuration")
    }

    fn parse(world: &World, options: &[(&str, &str)]) -> Result<SourceConfig> {
        let mut all = BTreeMap::from([
            ("kinesis.streamName", STREAM.to_owned()),
            ("kinesis.region", "us-east-1".to_owned()),
            ("kinesis.endpointUrl", world.sandbox.endpoint()),
            ("kinesis.awsAccessKeyId", "AKIDTEST".to_owned()),
            ("kinesis.awsSecretKey", "secret".to_owned()),
        ]);
        all.extend(options.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let json = serde_json::json!({ "version": 1, "options": all });
        SourceConfig::parse(&json.to_string())
    }

    async fn plan(world: &World, options: &[(&str, &str)]) -> Result<Self> {
        let (engine, config) = (Engine::new(), Self::parse(world, options)?);
        let tasks = engine.batch_read_tasks(&config).await?;
        Ok(Self {
            engine,
            config,
            tasks,
        })
    }

    async fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for task in &self.tasks {
            let reader = self
                .engine
                .open_reader(self.config.clone(), task, Arc::new(LocalFiles));
            let reader = reader.expect("a reader");
            rows.extend(read_all(&reader).await.expect("rows"));
            assert_eq!(
                reader.finish(true).await.expect("finished"),
                None,
                "a batch read reports nothing"
            );
        }
        rows.sort_by(|left, right| left.sequence_number.cmp(&right.sequence_number));
        rows
    }

    /// The batches of all tasks, with rows of these columns.
    async fn batches_of(&self, columns: &[Column]) -> Vec<RecordBatch> {
        let config = SourceConfig {
            columns: columns.to_vec(),
            ..self.config.clone()
        };
        let mut batches = Vec::new();
        for task in &self.tasks {
            let reader = self
                .engine
                .open_reader(config.clone(), task, Arc::new(LocalFiles));
            let reader = reader.expect("a reader");
            while let Some(batch) = reader.next().await.expect("rows") {
                batches.push(batch);
            }
        }
        batches
    }
}

/// Waits until the clock, which arrival times follow, shows another millisecond; returns it as ISO-8601.
fn next_millisecond() -> String {
    let now = chrono::Utc::now().timestamp_millis();
    while chrono::Utc::now().timestamp_millis() <= now {
        std::hint::spin_loop();
    }
    let time = chrono::DateTime::from_timestamp_millis(now + 1).expect("a time");
    time.to_rfc3339()
}

#[tokio::test]
async fn all_that_was_there_when_the_read_was_planned_and_nothing_later() {
    let world = World::with_shards(3).await;
    world.put("r", 0..500).await;
    let read = BatchRead::plan(&world, &[]).await.expect("planned");
    next_millisecond();
    world.put("late", 0..500).await;
    for _ in 0..2 {
        assert_exact(&read.rows().await, "r", 0..500);
    }
}

#[tokio::test]
async fn batches_hold_only_the_columns_asked_for() {
    let world = World::with_shards(2).await;
    world.put("r", 0..500).await;
    let extra = [("kinesis.extraColumns", "shardId,subSequenceNumber")];
    let read = BatchRead::plan(&world, &extra).await.expect("planned");
    let rows = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::rows).sum::<usize>();

    let none = read.batches_of(&[]).await;
    assert_eq!(rows(&none), 500);
    for batch in &none {
        assert!(batch.data.is_none() && batch.partition_key.is_none() && batch.arrival.is_none());
        assert!(batch.extra.is_empty());
    }
    let asked = [
        Column::Extra(ExtraColumn::SubSequenceNumber),
        Column::StreamName,
        Column::Data,
    ];
    let some = read.batches_of(&asked).await;
    assert_eq!(rows(&some), 500);
    let mut payloads = Vec::new();
    for batch in &some {
        let data = batch.data.as_ref().expect("payloads").iter().flatten();
        payloads.extend(data.map(|data| String::from_utf8_lossy(data).into_owned()));
        assert!(batch.partition_key.is_none() && batch.arrival.is_none());
        assert!(matches!(batch.extra.as_slice(), [ExtraValues::Numbers(_)]));
    }
    payloads.sort();
    let mut expected: Vec<String> = (0..500).map(|number| format!("r{number}")).collect();
    expected.sort();
    assert_eq!(payloads, expected);
}

#[tokio::test]
async fn no_limit_of_micro_batches_applies() {
    let world = World::with_shards(1).await;
    world.put("r", 0..300).await;
    let limited = [("kinesis.maxFetchRecordsPerShard", "10")];
    assert_exact(
        &BatchRead::plan(&world, &limited)
            .await
            .expect("planned")
            .rows()
            .await,
        "r",
        0..300,
    );
}

#[tokio::test]
async fn single_shards_start_at_their_given_positions() {
    let world = World::with_shards(3).await;
    world.put("early", 0..60).await;
    let start = next_millisecond();
    world.put("r", 0..60).await;
    // One shard from its beginning, one not at all, and the third from the default start time.
    let given = r#"{"shardId-000000000000": "TRIM_HORIZON", "shardId-000000000001": "SHARD_END"}"#;
    let at = format!("AT_TIMESTAMP {start}");
    let options = [
        ("kinesis.startingPositions", given),
        ("kinesis.startingPosition", at.as_str()),
    ];
    let read = BatchRead::plan(&world, &options).await.expect("planned");
    let mut expected = Vec::new();
    let each = [
        ("shardId-000000000000", "early"),
        ("shardId-000000000000", "r"),
        ("shardId-000000000002", "r"),
    ];
    for (shard, prefix) in each {
        let others: BTreeMap<&str, &str> = [
            "shardId-000000000000",
            "shardId-000000000001",
            "shardId-000000000002",
        ]
        .into_iter()
        .filter(|other| *other != shard)
        .map(|other| (other, "SHARD_END"))
        .collect();
        let alone = serde_json::to_string(&others).expect("json");
        let alone = BatchRead::plan(&world, &[("kinesis.startingPositions", &alone)]).await;
        let rows = alone.expect("planned").rows().await;
        assert!(!rows.is_empty());
        expected.extend(rows.into_iter().filter(|row| row.data.starts_with(prefix)));
    }
    expected.sort_by(|left, right| left.sequence_number.cmp(&right.sequence_number));
    assert_eq!(read.rows().await, expected);

    let unknown = [(
        "kinesis.startingPositions",
        r#"{"shardId-000000000007": "TRIM_HORIZON"}"#,
    )];
    let error = BatchRead::plan(&world, &unknown).await.err().expect("refused");
    assert!(error.message().contains("which the stream never had"), "{error}");
}

#[tokio::test]
async fn what_follows_a_named_shard_is_read_from_its_first_record_on_and_what_came_before_it_is_not() {
    let world = World::with_shards(1).await;
    world.put("before", 0..10).await;
    world.split("shardId-000000000000").await;
    world.put("after", 0..20).await;
    let now = format!("AT_TIMESTAMP {}", next_millisecond());
    let read = async |given: &str, at: &str| {
        let options = [
            ("kinesis.startingPositions", given),
            ("kinesis.startingPosition", at),
        ];
        BatchRead::plan(&world, &options)
            .await
            .expect("planned")
            .rows()
            .await
    };
    let parent = read(r#"{"shardId-000000000000": "SHARD_END"}"#, &now).await;
    assert_exact(&parent, "after", 0..20);
    let child = read(r#"{"shardId-000000000001": "TRIM_HORIZON"}"#, "TRIM_HORIZON").await;
    assert_exact(&child, "after", 0..20);
}

#[tokio::test]
async fn from_one_time_to_another() {
    let world = World::with_shards(2).await;
    world.put("early", 0..50).await;
    let start = next_millisecond();
    world.put("r", 0..50).await;
    let end = next_millisecond();
    world.put("late", 0..50).await;
    let (from, to) = (format!("AT_TIMESTAMP {start}"), format!("AT_TIMESTAMP {end}"));
    let options = [
        ("kinesis.startingPosition", from.as_str()),
        ("kinesis.endingPosition", to.as_str()),
    ];
    assert_exact(
        &BatchRead::plan(&world, &options)
            .await
            .expect("planned")
            .rows()
            .await,
        "r",
        0..50,
    );
}

#[tokio::test]
async fn all_generations_of_shards() {
    let world = World::with_shards(1).await;
    world.put("r", 0..100).await;
    world.split("shardId-000000000000").await;
    world.put("r", 100..200).await;
    world.merge("shardId-000000000001", "shardId-000000000002").await;
    world.put("r", 200..300).await;
    assert_exact(
        &BatchRead::plan(&world, &[]).await.expect("planned").rows().await,
        "r",
        0..300,
    );
}

#[tokio::test]
async fn a_missing_stream_and_a_start_at_latest_are_refused() {
    let world = World::with_shards(1).await;
    let refused = |options: Vec<(&'static str, &'static str)>| {
        let world = &world;
        async move {
            BatchRead::plan(world, &options)
                .await
                .map(|_| ())
                .expect_err("refused")
        }
    };
    let missing = refused(vec![("kinesis.streamName", "nowhere")]).await;
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let latest = refused(vec![("kinesis.startingPosition", "LATEST")]).await;
    assert_eq!(latest.kind(), ErrorKind::InvalidOption);
}

#[tokio::test]
async fn shards_share_tasks_if_that_is_wanted() {
    let world = World::with_shards(5).await;
    world.put("r", 0..500).await;
    let read = BatchRead::plan(&world, &[("kinesis.shardsPerTask", "2")])
        .await
        .expect("a plan");
    assert_eq!(read.tasks.len(), 3);
    let mut rows: Vec<String> = read.rows().await.into_iter().map(|row| row.data).collect();
    rows.sort();
    let mut expected: Vec<String> = (0..500).map(|number| format!("r{number}")).collect();
    expected.sort();
    assert_eq!(rows, expected);
}

fn at_timestamp(millis: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(millis).expect("a time");
    format!("AT_TIMESTAMP {}", time.to_rfc3339())
}

#[tokio::test]
async fn a_position_in_the_future_is_refused_by_name() {
    let world = World::with_shards(1).await;
    let later = chrono::Utc::now().timestamp_millis() + 60_000;
    for (key, millis) in [
        ("kinesis.endingPosition", later),
        ("kinesis.startingPosition", later),
        ("kinesis.endingPosition", later + 86_400_000),
    ] {
        let position = at_timestamp(millis);
        let planned = BatchRead::plan(&world, &[(key, &position)]).await;
        let error = planned.map(|_| ()).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
        assert!(error.to_string().contains(key), "{error}");
        assert!(error.to_string().contains("in the future"), "{error}");
    }
}

#[tokio::test]
async fn an_end_that_comes_soon_is_waited_for_and_the_rows_are_the_same_ever_after() {
    let world = World::with_shards(1).await;
    world.put("r", 0..50).await;
    let end = chrono::Utc::now().timestamp_millis() + 1_500;
    let read = BatchRead::plan(&world, &[("kinesis.endingPosition", &at_timestamp(end))]).await;
    let read = read.expect("planned");
    assert!(chrono::Utc::now().timestamp_millis() >= end, "its end has come");
    world.put("late", 0..50).await;
    assert_exact(&read.rows().await, "r", 0..50);
}

#[tokio::test]
async fn latest_ends_in_the_services_past_whatever_the_drivers_clock_says() {
    let world = World::with_shards(1).await;
    let config = BatchRead::config(&world, &[]);
    for apart in [-3_600_000, -4_000, 4_000, 3_600_000] {
        let api = Altered::new(service(&config).await).with_clock(apart);
        let before = chrono::Utc::now().timestamp_millis() + apart;
        let tasks = batch_read_tasks(&api, &config.options).await.expect("planned");
        let after = chrono::Utc::now().timestamp_millis() + apart;
        let task: serde_json::Value = serde_json::from_str(&tasks[0]).expect("json");
        let until = task["until"].as_i64().expect("an end");
        assert!(
            until <= after,
            "{apart}: it ends {} ms in the future",
            until - after
        );
        // The service's date may be a second old.
        assert!(
            until >= before - 1_000,
            "{apart}: it ends {} ms before the read",
            before - until
        );
    }
}
