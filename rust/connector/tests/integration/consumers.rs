//! Registered consumers of queries with enhanced fan-out: which one is used, how it is registered concurrently, and
//! when it is deregistered.

use std::collections::BTreeMap;
use std::sync::Arc;

use kinesis_connector::plan::Planner;
use kinesis_connector::{Engine, ErrorKind, Result};
use kinesis_sandbox::ShardStats;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{FAN_OUT, LocalFiles, NAMED, PATIENCE, STREAM, World, assert_exact};

fn arn(stream: &str) -> String {
    format!("arn:aws:kinesis:us-east-1:000000000000:stream/{stream}")
}

async fn register(world: &World, stream: &str, name: &str) -> String {
    let made = world.client.register_stream_consumer().stream_arn(arn(stream));
    let made = made.consumer_name(name).send().await.expect("registered");
    made.consumer.expect("a consumer").consumer_arn
}

fn calls(world: &World, operation: &str) -> u64 {
    world.sandbox.stats().calls(operation)
}

#[tokio::test]
async fn a_consumer_of_another_stream_is_refused_before_anything_is_read() {
    let world = World::with_shards(1).await;
    for other in ["other", "events2", "event"] {
        let made = world.client.create_stream().stream_name(other).shard_count(1);
        made.send().await.expect("created");
        let consumer = register(&world, other, "app").await;
        let Err(error) = world
            .try_query(&[FAN_OUT, ("kinesis.consumerArn", &consumer)])
            .await
        else {
            panic!("{consumer} was taken")
        };
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
        let text = error.to_string();
        for part in [
            "kinesis.consumerArn",
            &arn(other),
            &arn(STREAM),
            "ListStreamConsumers",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    for elsewhere in [
        arn(STREAM).replace("us-east-1", "us-east-2"),
        arn(STREAM).replace("000000000000", "000000000001"),
        arn(STREAM).replace("arn:aws:", "arn:aws-cn:"),
    ] {
        let consumer = format!("{elsewhere}/consumer/app:1");
        let Err(error) = world
            .try_query(&[FAN_OUT, ("kinesis.consumerArn", &consumer)])
            .await
        else {
            panic!("{consumer} was taken")
        };
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
    }
    assert_eq!(calls(&world, "SubscribeToShard") + calls(&world, "GetRecords"), 0);
    let consumer = register(&world, STREAM, "app").await;
    let by_arn = arn(STREAM);
    let named_by_arn = [
        FAN_OUT,
        ("kinesis.streamArn", by_arn.as_str()),
        ("kinesis.consumerArn", consumer.as_str()),
    ];
    for options in [&[FAN_OUT, ("kinesis.consumerArn", &consumer)][..], &named_by_arn] {
        drop(world.query(options).await);
    }
}

#[tokio::test]
async fn more_new_consumers_than_may_be_created_at_a_time_wait_for_their_turn() {
    let world = World::with_shards(1).await;
    world.knobs(json!({"transition_ms": 700}));
    let names: Vec<String> = (0..7).map(|number| format!("app-{number}")).collect();
    let queries = names.iter().map(|name| {
        let world = &world;
        async move {
            let query = world.try_query(&[FAN_OUT, ("kinesis.consumerName", name)]).await;
            query.map(|query| query.planner)
        }
    });
    let all = tokio::time::timeout(PATIENCE, futures_util::future::join_all(queries));
    for planner in all.await.expect("in time") {
        planner.expect("registered in the end");
    }
    assert!(calls(&world, "RegisterStreamConsumer") > 7, "some had to wait");
}

#[tokio::test]
async fn a_consumer_too_many_says_how_many_there_are_and_what_the_limits_are() {
    let world = World::with_shards(1).await;
    for number in 0..20 {
        register(&world, STREAM, &format!("other-{number}")).await;
    }
    let opening = world.try_query(&[FAN_OUT, NAMED]);
    let Err(error) = tokio::time::timeout(PATIENCE, opening).await.expect("in time") else {
        panic!("registered")
    };
    let text = error.to_string();
    for part in [
        "has 20 consumers",
        "20, or 50 with On-demand Advantage",
        "kinesis.consumerArn",
        "ListStreamConsumers",
        "consumer=app",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!error.is_retryable());
    let shards: BTreeMap<String, ShardStats> = world.sandbox.stats().streams[STREAM].clone();
    assert!(shards.values().all(|shard| shard.subscriptions == 0));
}

/// A planner of the query on this engine, as at the query's next start in the same application.
async fn opened(world: &World, engine: &Engine) -> Result<Planner> {
    engine
        .open_planner(world.config(&[FAN_OUT, NAMED]), Arc::new(LocalFiles))
        .await
}

async fn names(world: &World) -> Vec<String> {
    let listed = world.client.list_stream_consumers().stream_arn(arn(STREAM));
    let listed = listed.send().await.expect("listed");
    let consumers = listed.consumers().iter();
    consumers
        .map(|consumer| consumer.consumer_name().to_owned())
        .collect()
}

#[tokio::test]
async fn a_query_that_stopped_can_be_started_again_before_it_is_known_how_it_ended() {
    let world = World::with_shards(1).await;
    world.put("r", 0..10).await;
    let mut query = world.query(&[FAN_OUT, NAMED]).await;
    assert_eq!(query.rows(10).await.len(), 10);
    query.planner.stop();
    // The listener is notified of this run's end only when the next run reads.
    let again = opened(&world, &query.engine).await.expect("opens at once");
    let first = std::mem::replace(&mut query.planner, again);
    world.put("r", 10..20).await;
    assert_exact(&query.rows(10).await, "r", 10..20);
    first.release().await.expect("nothing to release");
    drop(first);
    assert_eq!(
        calls(&world, "DeregisterStreamConsumer"),
        0,
        "the next run reads with it"
    );
    let subscribed = calls(&world, "SubscribeToShard");
    world.put("r", 20..30).await;
    assert_exact(&query.rows(10).await, "r", 20..30);
    assert_eq!(
        calls(&world, "SubscribeToShard"),
        subscribed,
        "its subscription stays"
    );
    assert_eq!(names(&world).await, ["app"]);
    query.planner.stop();
    query.planner.release().await.expect("released");
    assert_eq!(names(&world).await, [""; 0]);
}

#[tokio::test]
async fn a_query_that_takes_a_consumer_from_one_that_stopped_deregisters_it() {
    let mut world = World::with_shards(1).await;
    let first = world.query(&[FAN_OUT, NAMED]).await;
    first.planner.stop();
    let _kept = std::mem::replace(&mut world.checkpoint, TempDir::new().expect("a folder"));
    let other = opened(&world, &first.engine).await.expect("opens");
    first.planner.release().await.expect("nothing to release");
    drop(first.planner);
    assert_eq!(names(&world).await, ["app"]);
    other.release().await.expect("released");
    assert_eq!(names(&world).await, [""; 0]);
}

#[tokio::test]
async fn a_query_that_starts_while_its_consumer_is_deregistered_registers_another() {
    let world = World::with_shards(1).await;
    world.knobs(json!({"transition_ms": 300}));
    let query = world.query(&[FAN_OUT, NAMED]).await;
    query.planner.stop();
    let (released, again) = tokio::join!(
        async {
            let released = query.planner.release().await;
            drop(query.planner);
            released
        },
        opened(&world, &query.engine),
    );
    released.expect("released");
    let again = again.expect("opens");
    assert_eq!(names(&world).await, ["app"]);
    assert_eq!(calls(&world, "RegisterStreamConsumer"), 2);
    again.release().await.expect("released");
}

#[tokio::test]
async fn a_query_that_failed_leaves_its_consumer_to_its_next_start() {
    let world = World::with_shards(1).await;
    let query = world.query(&[FAN_OUT, NAMED]).await;
    query.planner.stop();
    drop(query.planner);
    let again = opened(&world, &query.engine).await.expect("opens");
    assert_eq!(calls(&world, "RegisterStreamConsumer"), 1);
    again.release().await.expect("released");
    assert_eq!(names(&world).await, [""; 0]);
}

#[tokio::test]
async fn a_query_from_a_copied_checkpoint_leaves_the_consumer_to_the_one_that_registered_it() {
    let world = World::with_shards(1).await;
    world.hasten_subscriptions();
    world.put("r", 0..10).await;
    let mut first = world.query(&[FAN_OUT, NAMED]).await;
    assert_exact(&first.rows(10).await, "r", 0..10);
    // Another cluster starts from a copy with the same options, and stops again.
    let copy = TempDir::new().expect("a folder");
    for name in ["initial-offset", "registered-consumer"] {
        let original = world.checkpoint.path().join(name);
        std::fs::copy(original, copy.path().join(name)).expect("copied");
    }
    let mut config = world.config(&[FAN_OUT, NAMED]);
    config.checkpoint_location = Some(copy.path().to_string_lossy().into_owned());
    let second = Engine::new().open_planner(config, Arc::new(LocalFiles)).await;
    second.expect("opens").release().await.expect("ends for good");
    assert_eq!(calls(&world, "DeregisterStreamConsumer"), 0);
    assert_eq!(names(&world).await, ["app"], "the first query reads with it");
    world.put("r", 10..20).await;
    assert_exact(&first.rows(10).await, "r", 10..20);
    first.planner.release().await.expect("ends for good");
    assert_eq!(names(&world).await, [""; 0]);
}
