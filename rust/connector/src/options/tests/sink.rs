//! Options of the write only.

use std::time::Duration;

use super::*;

#[test]
fn defaults() {
    let parsed = super::super::sink(&with_name(&[])).unwrap();
    assert_eq!(
        parsed.options,
        SinkOptions {
            stream: StreamId {
                name: "orders".to_owned(),
                arn: None
            },
            row_streams: None,
            access: read(&[]).access,
            aggregation: false,
            ordering: SinkOrdering::None,
            max_buffered_time: Duration::from_secs(1),
            max_connections: 8,
            max_record_bytes: None,
            max_retry_time: Duration::from_secs(600),
            client_retry: RetryOptions {
                retries: 5,
                interval: Duration::from_secs(1),
                max_interval: Duration::from_secs(10),
            },
        }
    );
    assert_eq!(parsed.warnings, Vec::<String>::new());
}

#[test]
fn every_key_is_read() {
    let options = write(&[
        ("kinesis.sink.aggregationEnabled", "True"),
        ("kinesis.sink.ordering", "KEY"),
        ("kinesis.sink.recordMaxBufferedTimeMs", "0"),
        ("kinesis.sink.maxConnections", "256"),
        ("kinesis.sink.maxRecordBytes", "10m"),
        ("kinesis.sink.maxRetryTimeSec", "30"),
        ("kinesis.clientNumRetries", "3"),
        ("kinesis.region", "us-east-1"),
    ]);
    assert!(options.aggregation);
    assert_eq!(options.ordering, SinkOrdering::Key);
    assert_eq!(options.max_buffered_time, Duration::ZERO);
    assert_eq!(options.max_connections, 256);
    assert_eq!(options.max_record_bytes, Some(10_485_760));
    assert_eq!(options.max_retry_time, Duration::from_secs(30));
    assert_eq!(options.client_retry.retries, 3);
    assert_eq!(options.access.region.as_deref(), Some("us-east-1"));
}

#[test]
fn rows_may_name_the_streams_of_a_list() {
    let names = |options: &SinkOptions| options.row_streams.as_ref().unwrap().names.join(" ");
    let allowed = ("kinesis.sink.allowedStreams", " clicks,orders , a.b_c-1");
    let options = write(&[allowed]);
    assert_eq!(names(&options), "clicks orders a.b_c-1");
    assert!(options.row_streams.unwrap().optional);
    assert_eq!(options.stream.name, "orders");

    let nameless = super::super::sink(&map(&[allowed])).unwrap().options;
    assert!(!nameless.row_streams.unwrap().optional);
    assert_eq!(
        nameless.stream.name, "clicks",
        "a stream for what is said of the sink"
    );
    let arn = "arn:aws:kinesis:us-east-1:123456789012:stream/events";
    let by_arn = super::super::sink(&map(&[allowed, ("kinesis.streamArn", arn)])).unwrap();
    assert_eq!(by_arn.options.stream.name, "events");
    assert!(by_arn.options.row_streams.unwrap().optional);

    let many = (0..33)
        .map(|number| format!("s{number}"))
        .collect::<Vec<_>>()
        .join(",");
    for (value, why) in [
        ("a,,b", "\"\" is not the name of a stream: it has 0 characters"),
        ("a,b c", "\"b c\" is not the name of a stream: it contains ' '"),
        (arn, "is not the name of a stream: it contains ':'"),
        ("a,b,a", "\"a\" is named twice"),
        (many.as_str(), "it has 33 names"),
    ] {
        let error = write_error(&[("kinesis.sink.allowedStreams", value)]);
        assert!(error.message().contains(why), "{error}");
        assert!(error.message().contains("up to 32 stream names"), "{error}");
    }
}

#[test]
fn bad_values_say_what_is_allowed() {
    for (key, value, why, allowed) in [
        ("kinesis.sink.aggregationEnabled", "on", "", "true or false"),
        (
            "kinesis.sink.recordMaxBufferedTimeMs",
            "-1",
            ": it is not a whole number",
            "a whole number from 0 to 3600000",
        ),
        ("kinesis.sink.ordering", "shard", "", "none or key"),
        (
            "kinesis.sink.maxConnections",
            "0",
            ": it is too small",
            "a whole number from 1 to 256",
        ),
        (
            "kinesis.sink.maxRecordBytes",
            "10485761",
            ": it is too large",
            "a number of bytes from 1 to 10485760, or with one of the suffixes k, m, g (such as 8m)",
        ),
        (
            "kinesis.sink.flushWaitTimeMs",
            "x",
            ": it is not a whole number",
            "a whole number, 0 or more",
        ),
        (
            "kinesis.sink.recordTtl",
            "x",
            ": it is not a whole number",
            "a whole number, 0 or more",
        ),
    ] {
        assert_refused(
            &write_error(&[(key, value)]),
            key,
            &format!("{key} is \"{value}\"{why}. Allowed: {allowed}"),
        );
    }
}

#[test]
fn options_without_effect_are_accepted_with_a_warning() {
    let pairs = [
        ("kinesis.sink.flushWaitTimeMs", "50"),
        ("kinesis.sink.recordTtl", "30000"),
    ];
    assert_eq!(
        super::super::sink(&with_name(&pairs)).unwrap().warnings,
        [
            "kinesis.sink.flushWaitTimeMs has no effect: flushing waits for the answers, not for a clock",
            "kinesis.sink.recordTtl has no effect: records are never dropped, and a put that can't succeed fails the \
             task",
        ]
    );
}
