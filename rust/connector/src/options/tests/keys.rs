//! Keys: known, unknown, another user's; the table and its rendering; secret values.

use super::super::table::find;
use super::*;

#[test]
fn keys_are_case_insensitive() {
    let options = source(&map(&[
        ("KINESIS.STREAMNAME", "orders"),
        ("kinesis.FAILONDATALOSS", "TRUE"),
    ]))
    .unwrap()
    .options;
    assert_eq!(options.stream.name, "orders");
    assert!(options.fail_on_data_loss);
}

#[test]
fn one_key_in_two_spellings_is_refused_unless_the_values_agree() {
    let error = source(&map(&[("kinesis.streamName", "a"), ("kinesis.streamname", "b")])).unwrap_err();
    assert_eq!(
        error.message(),
        "kinesis.streamName and kinesis.streamname are the same option with different values; keep one"
    );
    assert!(
        source(&map(&[
            ("kinesis.streamName", "a"),
            ("kinesis.streamname", " a ")
        ]))
        .is_ok()
    );
}

#[test]
fn an_unknown_key_names_the_nearest() {
    assert_refused(
        &read_error(&[("kinesis.startPosition", "LATEST")]),
        "kinesis.startPosition",
        "kinesis.startPosition is not an option of this connector; the nearest one is kinesis.startingPosition",
    );
    assert_refused(
        &write_error(&[("kinesis.sink.maxConection", "2")]),
        "kinesis.sink.maxConection",
        "kinesis.sink.maxConection is not an option of this connector; the nearest one is kinesis.sink.maxConnections",
    );
}

#[test]
fn a_key_that_is_like_none_names_none() {
    for key in ["kinesis.foo", "kinesis.bootstrap.servers", "kinesis.x"] {
        assert_refused(
            &read_error(&[(key, "1")]),
            key,
            &format!("{key} is not an option of this connector; docs/options.md lists all options"),
        );
    }
    for (key, nearest) in [
        ("kinesis.endpoint", "kinesis.endpointUrl"),
        ("kinesis.initialPosition", "kinesis.startingPosition"),
        (
            "kinesis.getRecords.fetchInterval",
            "kinesis.getRecords.fetchIntervalMs",
        ),
    ] {
        let message = read_error(&[(key, "1")]).message().to_owned();
        assert!(
            message.ends_with(&format!("the nearest one is {nearest}")),
            "{message}"
        );
    }
}

#[test]
fn the_nearest_key_is_one_the_asker_may_use() {
    let error = write_error(&[("kinesis.endingPositon", "LATEST")]);
    assert!(!error.message().contains("endingPosition"), "{error}");
}

#[test]
fn options_of_spark_are_ignored() {
    let parsed = source(&with_name(&[
        ("path", "x"),
        ("checkpointLocation", "/c"),
        ("proxyHost", "p"),
    ]))
    .unwrap();
    assert_eq!(parsed.warnings, Vec::<String>::new());
}

#[test]
fn a_key_without_its_prefix_is_refused_unless_it_is_there_with_it() {
    assert_refused(
        &read_error(&[("startingposition", "TRIM_HORIZON")]),
        "startingposition",
        "startingposition has no effect: the option's name is kinesis.startingPosition, with the prefix. Add the \
         prefix, or remove the option",
    );
    let error = write_error(&[("sink.maxConnections", "2")]);
    assert!(
        error.message().contains("kinesis.sink.maxConnections, with"),
        "{error}"
    );
    let error = write_error(&[("awsSecretKey", "SECRET")]);
    assert!(error.message().contains("kinesis.awsSecretKey") && !error.to_string().contains("SECRET"));
    let both = [
        ("startingPosition", "LATEST"),
        ("kinesis.startingPosition", "TRIM_HORIZON"),
    ];
    let parsed = source(&with_name(&both)).unwrap();
    assert_eq!(parsed.options.starting_position, StartingPosition::TrimHorizon);
    // Keys of the other side, and unknown keys.
    assert!(super::super::sink(&with_name(&both[..1])).is_ok());
    assert!(
        source(&with_name(&[
            ("sink.maxConnections", "2"),
            ("startPosition", "x")
        ]))
        .is_ok()
    );
}

#[test]
fn internal_options_are_ignored_with_one_warning_each() {
    let pairs = [
        ("kinesis.internal.avoidEmptyBatches", "x"),
        ("kinesis.internal.dataQueueCapacity", "1000"),
    ];
    let expected = vec![
        "kinesis.internal.avoidEmptyBatches is an internal option of another connector: it has no effect here and can \
         be removed",
        "kinesis.internal.dataQueueCapacity is an internal option of another connector: it has no effect here and can \
         be removed",
    ];
    assert_eq!(source(&with_name(&pairs)).unwrap().warnings, expected);
    assert_eq!(super::super::sink(&with_name(&pairs)).unwrap().warnings, expected);
}

#[test]
fn an_option_of_the_other_side_is_a_warning() {
    // Whatever its value.
    let pairs = with_name(&[
        ("kinesis.sink.maxConnections", "many"),
        ("kinesis.CONSUMERTYPE", "SubscribeToShard"),
        ("kinesis.consumerName", "app"),
    ]);
    let written =
        "kinesis.sink.maxConnections has no effect: it is an option of writing (writeStream, write)";
    assert_eq!(source(&pairs).unwrap().warnings, [written]);
    let of_batches = super::super::batch_read(&with_name(&[("kinesis.sink.maxConnections", "many")]));
    assert_eq!(of_batches.unwrap().warnings, [written]);
    let pairs = with_name(&[
        ("kinesis.sink.maxConnections", "2"),
        ("kinesis.CONSUMERTYPE", "of any kind"),
        ("kinesis.endingPosition", "never"),
    ]);
    assert_eq!(
        super::super::sink(&pairs).unwrap().warnings,
        [
            "kinesis.consumerType has no effect: it is an option of reading (readStream, read)",
            "kinesis.endingPosition has no effect: it is an option of reading (readStream, read)",
        ]
    );
    let raw = RawOptions::new(pairs).unwrap();
    assert_eq!(
        raw.other_side(User::Sink).collect::<Vec<_>>(),
        ["kinesis.CONSUMERTYPE", "kinesis.endingPosition"]
    );
    assert_eq!(
        raw.other_side(User::Source).collect::<Vec<_>>(),
        ["kinesis.sink.maxConnections"]
    );
    assert!(
        write_error(&[("kinesis.startPosition", "LATEST")])
            .message()
            .contains("not an option")
    );
    assert!(
        read_error(&[("kinesis.sink.maxConections", "1")])
            .message()
            .contains("not an option")
    );
    assert_refused(
        &read_error(&[("kinesis.endingPosition", "LATEST")]),
        "kinesis.endingPosition",
        "kinesis.endingPosition is an option of batch reads (spark.read); a streaming query has no end: remove it",
    );
}

#[test]
fn every_key_is_for_exactly_those_the_table_says() {
    for spec in table() {
        for user in [User::Source, User::BatchRead, User::Sink] {
            let raw = RawOptions::new([(spec.key, "x")]).unwrap();
            assert_eq!(
                raw.check_keys(user).is_ok(),
                spec.users.admit(user) || spec.users.other_side(user),
                "{} {user:?}",
                spec.key
            );
        }
    }
    let users = |key: &str| find(key).unwrap().users;
    assert_eq!(users("kinesis.streamName"), Users::All);
    assert_eq!(users("kinesis.proxyAddress"), Users::All);
    assert_eq!(users("kinesis.sink.proxyAddress"), Users::Sink);
    assert_eq!(users("kinesis.clientNumRetries"), Users::All);
    assert_eq!(users("kinesis.startingPosition"), Users::Reads);
    assert_eq!(users("kinesis.endingPosition"), Users::BatchRead);
    assert_eq!(users("kinesis.sink.recordTtl"), Users::Sink);
}

#[test]
fn the_table_has_the_keys_of_the_documentation_once_each() {
    let mut keys: Vec<_> = table().iter().map(|spec| spec.key).collect();
    assert!(keys.iter().all(|key| key.starts_with("kinesis.")));
    assert_eq!(keys.len(), 70);
    keys.sort_unstable_by_key(|key| key.to_ascii_lowercase());
    keys.dedup_by_key(|key| key.to_ascii_lowercase());
    assert_eq!(keys.len(), 70);
    let secrets: Vec<_> = table()
        .iter()
        .filter(|spec| spec.secret)
        .map(|spec| spec.key)
        .collect();
    assert_eq!(
        secrets,
        [
            "kinesis.awsAccessKeyId",
            "kinesis.awsSecretKey",
            "kinesis.sessionToken",
            "kinesis.credentialProviderParam",
            "kinesis.proxyUsername",
            "kinesis.proxyPassword",
            "kinesis.sink.proxyUsername",
            "kinesis.sink.proxyPassword",
        ]
    );
}

#[test]
fn the_rendered_table_has_every_row() {
    let text = markdown();
    for spec in table() {
        assert_eq!(
            text.matches(&format!("| {} |", spec.key)).count(),
            1,
            "{}",
            spec.key
        );
        assert!(!spec.doc.is_empty() && !spec.allowed().is_empty());
    }
    assert!(
        text.starts_with(
            "### Stream\n\n| key | for | default | allowed | meaning |\n|---|---|---|---|---|\n"
        )
    );
    assert!(text.contains(
        "| kinesis.getRecords.numberOfRecordsPerFetch | source | `10000` | a whole number from 1 to 10000 | \
         the limit of a GetRecords request |\n"
    ));
    assert!(text.contains("| – | arn:aws:iam::&lt;account&gt;:role/&lt;name&gt; |"));
    assert!(text.contains("most PutRecords requests in flight in a task |\n"));
    assert!(text.ends_with("|\n") && !text.contains("\n\n\n"));
}

#[test]
fn rows_agree_with_themselves() {
    for spec in table() {
        if let Kind::Whole { min, max }
        | Kind::Bytes { min, max }
        | Kind::Time {
            min_ms: min,
            max_ms: max,
        } = spec.kind
        {
            assert!(min < max, "{}", spec.key);
        }
        let needs_default = matches!(spec.kind, Kind::Flag | Kind::OneOf(_) | Kind::Time { .. });
        let tells_without = matches!(spec.kind, Kind::OneOf(_)) && spec.default_note != "–";
        assert!(
            !needs_default || tells_without || spec.default.is_some(),
            "{}",
            spec.key
        );
        assert!(
            spec.group != Group::Sink || spec.users == Users::Sink,
            "{}",
            spec.key
        );
        if let Support::NoEffect(text) = spec.support {
            assert!(!text.is_empty());
        }
    }
}

/// No secret shows anywhere: in the Debug text of any type, or in the errors.
#[test]
fn secrets_never_show() {
    let pairs = [
        ("kinesis.awsAccessKeyId", "AKIDSECRETSECRET1"),
        ("kinesis.awsSecretKey", "SECRET2"),
        ("kinesis.sessionToken", "SECRET3"),
        ("kinesis.unknownSecret", "SECRET4"),
        ("kinesis.proxyPassword", "SECRET5"),
        ("kinesis.proxyUsername", "SECRET6"),
        ("kinesis.credentialProviderParam", "SECRET7"),
        ("kinesis.endpointUrl", "https://SECRET8@host"),
        ("password", "SECRET9"),
    ];
    let raw = format!("{:?}", RawOptions::new(with_name(&pairs)).unwrap());
    assert!(!raw.contains("SECRET"), "{raw}");
    assert!(
        raw.contains("orders") && raw.contains("kinesis.unknownSecret") && raw.contains("https://***@host"),
        "{raw}"
    );

    let class = [("kinesis.credentialProviderClass", "a.B"), pairs[6]];
    let by_class = format!("{:?}", source(&with_name(&class)).unwrap());
    assert!(
        by_class.contains("a.B") && !by_class.contains("SECRET"),
        "{by_class}"
    );

    let parsed = format!("{:?}", source(&with_name(&pairs[..3])).unwrap());
    assert!(!parsed.contains("SECRET"), "{parsed}");
    assert!(
        parsed.contains("StaticKeys { access_key_id: *********(redacted), secret: *********(redacted)"),
        "{parsed}"
    );

    for pair in &pairs[..8] {
        let error = read_error(std::slice::from_ref(pair));
        assert!(!format!("{error:?} {error}").contains("SECRET"), "{error}");
    }
    let secret = Secret::new("SECRET");
    assert_eq!(
        format!("{secret} {secret:?}"),
        "*********(redacted) *********(redacted)"
    );
    assert_eq!(secret.expose(), "SECRET");
}

#[test]
fn raw_options_come_from_json_too() {
    let raw = RawOptions::from_json(r#"{"kinesis.streamname":"orders","other":"x"}"#).unwrap();
    assert_eq!(raw.source().unwrap().options.stream.name, "orders");
    assert_eq!(raw.sink().unwrap().options.stream.name, "orders");
    assert_eq!(raw.batch_read().unwrap().options.stream.name, "orders");
    let within: Vec<RawOptions> = serde_json::from_str(r#"[{"kinesis.streamName":"orders"}]"#).unwrap();
    assert_eq!(within, [RawOptions::new([NAME]).unwrap()]);

    let error = RawOptions::from_json(r#"{"kinesis.awsSecretKey":12345}"#).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(
        error.message(),
        "the value of kinesis.awsSecretKey is not a JSON string"
    );
    let error = RawOptions::from_json(r#"{"kinesis.awsSecretKey":SECRET}"#).unwrap_err();
    assert_eq!(
        error.message(),
        "the options are not a JSON object (line 1, column 25)"
    );
}
