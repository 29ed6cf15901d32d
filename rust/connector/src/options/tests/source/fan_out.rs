//! Enhanced fan-out and its consumer.
use std::time::Duration;

use super::super::*;

#[test]
fn a_consumer_arn_is_checked() {
    let good = format!("{ARN}/consumer/app:1525898737");
    assert_eq!(
        read(&[FAN_OUT, ("kinesis.consumerArn", &good)]).consumer,
        Some(ConsumerChoice::Arn(good))
    );
    for (bad, why) in [
        (ARN.to_owned(), "it names no consumer"),
        (format!("{ARN}/consumer/app"), "it does not end with a number"),
        (format!("{ARN}/consumer/app:x"), "it does not end with a number"),
        (
            format!("{ARN}/consumer/:1"),
            "the consumer's name is not one: it has 0 characters",
        ),
        ("x/consumer/app:1".to_owned(), "it does not start with arn:aws"),
    ] {
        assert_refused(
            &read_error(&[("kinesis.consumerArn", &bad)]),
            "kinesis.consumerArn",
            &format!(
                "kinesis.consumerArn is \"{bad}\": {why}. \
                 Allowed: arn:aws:kinesis:<region>:<account>:stream/<name>/consumer/<consumer>:<number>"
            ),
        );
    }
}

const FAN_OUT: (&str, &str) = ("kinesis.consumerType", "subscribetoshard");

#[test]
fn fan_out_needs_one_consumer() {
    let options = read(&[
        FAN_OUT,
        ("kinesis.consumerName", "app"),
        ("kinesis.subscribeToShard.timeoutSec", "7"),
        ("kinesis.subscribeToShard.maxRetries", "3"),
        ("kinesis.prefetch.maxBytesPerExecutor", "1g"),
    ]);
    assert_eq!(options.consumer_type, ConsumerType::SubscribeToShard);
    assert_eq!(options.consumer, Some(ConsumerChoice::Name("app".to_owned())));
    assert_eq!(
        (options.subscribe_timeout, options.subscribe_max_retries),
        (Duration::from_secs(7), 3)
    );
    assert_eq!(options.prefetch_max_bytes_per_executor, 1 << 30);
    assert_refused(
        &read_error(&[FAN_OUT]),
        "kinesis.consumerName",
        "kinesis.consumerName is missing: kinesis.consumerType SubscribeToShard needs the name of a consumer, which is \
         registered if the stream has none of that name, or kinesis.consumerArn",
    );
    let arn = format!("{ARN}/consumer/app:1525898737");
    assert_refused(
        &read_error(&[
            FAN_OUT,
            ("kinesis.consumerName", "app"),
            ("kinesis.consumerArn", &arn),
        ]),
        "kinesis.consumerArn",
        "kinesis.consumerName and kinesis.consumerArn both name a consumer: remove one of them",
    );
    assert_refused(
        &batch_read(&with_name(&[FAN_OUT, ("kinesis.consumerName", "app")])).unwrap_err(),
        "kinesis.consumerType",
        "kinesis.consumerType SubscribeToShard is for streaming queries: a batch read is over before a subscription \
         would pay off. Read with GetRecords, the default",
    );
}

#[test]
fn options_of_fan_out_without_it_have_no_effect() {
    let pairs = [
        ("kinesis.consumerName", "app"),
        ("kinesis.subscribeToShard.timeoutSec", "10"),
        ("kinesis.subscribeToShard.maxRetries", "2"),
    ];
    assert_eq!(
        source(&with_name(&pairs)).unwrap().warnings,
        [
            "kinesis.consumerName has no effect: it belongs to kinesis.consumerType SubscribeToShard",
            "kinesis.subscribeToShard.timeoutSec has no effect: it belongs to kinesis.consumerType SubscribeToShard",
            "kinesis.subscribeToShard.maxRetries has no effect: it belongs to kinesis.consumerType SubscribeToShard",
        ]
    );
}

#[test]
fn a_first_wait_above_the_longest_is_bounded_with_a_warning() {
    let parsed = source(&with_name(&[("kinesis.clientRetryIntervalsMs", "20000")])).unwrap();
    assert_eq!(parsed.options.client_retry.interval, Duration::from_secs(10));
    assert_eq!(
        parsed.warnings,
        [
            "kinesis.clientRetryIntervalsMs (20000) is above kinesis.clientMaxRetryIntervalMs (10000): each wait \
          lasts the latter"
        ]
    );
}
