//! Registered consumers: their names, their owners and their removal.
use super::{SHARD_0, another_folder, consumers, failure, query, rows, subscriptions, world};
use crate::support::{FAN_OUT, NAMED, PATIENCE, Query, STREAM, assert_exact, until};
use kinesis_connector::ErrorKind;
use serde_json::json;

#[tokio::test]
async fn a_query_that_ends_leaves_no_subscription() {
    let mut world = world(2).await;
    world.put("r", 0..100).await;
    for (consumer, available_now) in [("one", false), ("other", true)] {
        let _kept = another_folder(&mut world);
        let options = [FAN_OUT, ("kinesis.consumerName", consumer)];
        let mut query = world.query(&options).await;
        if available_now {
            query.planner.prepare_for_available_now();
        }
        rows(&mut query, 10).await;
        assert_ne!(subscriptions(&world), 0);
        let Query { planner, engine, .. } = query;
        drop(planner);
        until(|| subscriptions(&world) == 0).await;
        drop(engine);
    }
}

#[tokio::test]
async fn two_queries_with_two_consumers_both_read_all() {
    let mut world = world(2).await;
    let mut one = query(&world, &[]).await;
    let _kept = another_folder(&mut world);
    let mut other = world.query(&[FAN_OUT, ("kinesis.consumerName", "other")]).await;
    for first in (0..200).step_by(50) {
        world.put("r", first..first + 50).await;
        assert_exact(&rows(&mut one, 50).await, "r", first..first + 50);
        assert_exact(&rows(&mut other, 50).await, "r", first..first + 50);
    }
}

#[tokio::test]
async fn the_same_consumer_twice_in_a_process_is_refused_at_the_start() {
    let world = world(1).await;
    let first = query(&world, &[]).await;
    let config = world.config(&[FAN_OUT, NAMED]);
    let files = std::sync::Arc::new(crate::support::LocalFiles);
    let error = first
        .engine
        .open_planner(config, files)
        .await
        .expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert!(
        error.message().contains("kinesis.consumerName of its own"),
        "{error}"
    );
    drop(first.planner);
}

#[tokio::test]
async fn the_same_consumer_in_two_processes_is_an_error_soon() {
    let mut world = world(1).await;
    world.knobs(json!({"subscriptions": {"exclusive_ms": 50}}));
    let mut one = query(&world, &[]).await;
    let _kept = another_folder(&mut world);
    // A separate engine stands for another process.
    let mut other = query(&world, &[]).await;
    let mut first = 0;
    let error = tokio::time::timeout(PATIENCE, async {
        loop {
            world.put("r", first..first + 1).await;
            first += 1;
            for query in [&mut one, &mut other] {
                let mut got = 0;
                while got == 0 {
                    match query.batch().await {
                        Ok(rows) => got = rows.unwrap_or_default().len(),
                        Err(error) => return error,
                    }
                }
            }
        }
    })
    .await
    .expect("an error in time");
    assert_eq!(error.kind(), ErrorKind::InUse);
    let text = error.to_string();
    for part in ["kinesis.consumerName of its own", SHARD_0, "consumer/app"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn what_the_query_registered_goes_with_it_and_nothing_else() {
    let world = world(1).await;
    let first = query(&world, &[]).await;
    drop(first);
    let again = query(&world, &[]).await;
    assert_eq!(consumers(&world).await, ["app"], "a restart reuses it");
    again.planner.release().await.expect("released");
    assert_eq!(consumers(&world).await, [""; 0], "registered at the first start");

    let arn = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}");
    let made = world.client.register_stream_consumer().stream_arn(arn);
    let made = made.consumer_name("app").send().await.expect("registered");
    let consumer = made.consumer.expect("a consumer").consumer_arn;
    let named = query(&world, &[]).await;
    named.planner.release().await.expect("released");
    drop(named);
    let by_arn = world.query(&[FAN_OUT, ("kinesis.consumerArn", &consumer)]).await;
    by_arn.planner.release().await.expect("released");
    assert_eq!(consumers(&world).await, ["app"], "somebody else's");
}

#[tokio::test]
async fn a_consumer_that_is_not_there_or_goes_away_is_named() {
    let world = world(1).await;
    let gone = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}/consumer/gone:1");
    let Err(error) = world.try_query(&[FAN_OUT, ("kinesis.consumerArn", &gone)]).await else {
        panic!("found")
    };
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("consumer/gone:1"), "{error}");

    world.put("r", 0..5).await;
    let mut query = query(&world, &[]).await;
    rows(&mut query, 5).await;
    let arn = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}");
    let goes = world.client.deregister_stream_consumer().stream_arn(arn);
    goes.consumer_name("app").send().await.expect("deregistered");
    world.put("r", 5..10).await;
    let error = failure(&mut query).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("consumer was deregistered"), "{error}");
}
