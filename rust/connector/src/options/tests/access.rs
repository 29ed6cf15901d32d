//! Stream, region, endpoint and credentials.

use super::*;

fn id(pairs: &[(&str, &str)]) -> Result<StreamId> {
    source(&map(pairs)).map(|parsed| parsed.options.stream)
}

fn region(pairs: &[(&str, &str)]) -> Option<String> {
    read(pairs).access.region
}

#[test]
fn nothing_but_the_stream_is_needed() {
    let parsed = source(&with_name(&[])).unwrap();
    assert_eq!(
        parsed.options.stream,
        StreamId {
            name: "orders".to_owned(),
            arn: None
        }
    );
    assert_eq!(
        parsed.options.access,
        AccessOptions {
            region: None,
            endpoint_url: None,
            sts_role_arn: None,
            sts_session_name: None,
            sts_endpoint_url: None,
            sts_region: None,
            sts_external_id: None,
            static_keys: None,
            provider: None,
            proxy: None,
        }
    );
    assert_eq!(parsed.warnings, Vec::<String>::new());
}

#[test]
fn a_stream_goes_by_name_or_arn() {
    assert_eq!(
        id(&[("kinesis.streamArn", ARN)]).unwrap(),
        StreamId {
            name: "orders".into(),
            arn: Some(ARN.into())
        }
    );
    assert_eq!(
        id(&[NAME, ("kinesis.streamArn", ARN)]).unwrap().arn.as_deref(),
        Some(ARN)
    );
    assert_refused(
        &id(&[]).unwrap_err(),
        "kinesis.streamName",
        "kinesis.streamName is missing: name the stream, or give kinesis.streamArn",
    );
    assert_refused(
        &id(&[("kinesis.streamName", "other"), ("kinesis.streamArn", ARN)]).unwrap_err(),
        "kinesis.streamName",
        "kinesis.streamName is \"other\", but kinesis.streamArn names the stream \"orders\": remove one, or make \
         them agree",
    );
}

#[test]
fn a_stream_name_has_the_limits_of_the_service() {
    assert_eq!(id(&[("kinesis.streamName", "a.B_c-9")]).unwrap().name, "a.B_c-9");
    assert!(id(&[("kinesis.streamName", &"x".repeat(128))]).is_ok());
    let long = "x".repeat(200);
    assert_refused(
        &id(&[("kinesis.streamName", &long)]).unwrap_err(),
        "kinesis.streamName",
        &format!(
            "kinesis.streamName is \"{long}\": it has 200 characters. \
             Allowed: 1 to 128 letters, digits, and the characters _ . -"
        ),
    );
    assert_refused(
        &id(&[("kinesis.streamName", "a/b")]).unwrap_err(),
        "kinesis.streamName",
        "kinesis.streamName is \"a/b\": it contains '/'. Allowed: 1 to 128 letters, digits, and the characters _ . -",
    );
    let arn = "arn:aws:kinesis:eu-central-1:000000000000:stream/events";
    let refused = id(&[("kinesis.streamName", arn)]).unwrap_err();
    let hint = "it contains ':'; an ARN belongs in kinesis.streamArn.";
    assert!(refused.message().contains(hint), "{refused}");
    assert_refused(
        &id(&[("kinesis.streamName", "  ")]).unwrap_err(),
        "kinesis.streamName",
        "kinesis.streamName is \"\": it is empty; leave the option out instead. \
         Allowed: 1 to 128 letters, digits, and the characters _ . -",
    );
}

#[test]
fn an_arn_is_checked() {
    for good in [
        "arn:aws-cn:kinesis:cn-north-1:111122223333:stream/x",
        "arn:aws-us-gov:kinesis:us-gov-west-1:000000000000:stream/x",
    ] {
        assert_eq!(id(&[("kinesis.streamArn", good)]).unwrap().name, "x");
    }
    for (bad, why) in [
        ("orders", "it does not start with arn:aws"),
        (
            "arn:gcp:kinesis:eu-west-1:111122223333:stream/x",
            "it does not start with arn:aws",
        ),
        (
            "arn:aws:firehose:eu-west-1:111122223333:stream/x",
            "it is of the service \"firehose\", not kinesis",
        ),
        (
            "arn:aws:kinesis:eu-west-1:111122223333:table/x",
            "it names no stream",
        ),
        (
            "arn:aws:kinesis:eu-west-1:111122223333:stream/",
            "the stream's name is not one: it has 0 characters",
        ),
        (
            "arn:aws:kinesis:eu-west-1:111122223333:stream/x/consumer/c:1",
            "the stream's name is not one: it contains '/'",
        ),
        ("arn:aws:kinesis::111122223333:stream/x", "its region is not one"),
        (
            "arn:aws:kinesis:eu-west-1:1111:stream/x",
            "its account is not 12 digits",
        ),
    ] {
        assert_refused(
            &id(&[("kinesis.streamArn", bad)]).unwrap_err(),
            "kinesis.streamArn",
            &format!(
                "kinesis.streamArn is \"{bad}\": {why}. Allowed: arn:aws:kinesis:<region>:<account>:stream/<name>"
            ),
        );
    }
}

#[test]
fn the_region_is_found_in_order() {
    let endpoint = ("kinesis.endpointUrl", "https://kinesis.us-west-2.amazonaws.com");
    let region_key = ("kinesis.region", "us-west-2");
    assert_eq!(
        region(&[("kinesis.kinesisRegion", "ap-south-1"), region_key]).as_deref(),
        Some("ap-south-1")
    );
    assert_eq!(region(&[region_key]).as_deref(), Some("us-west-2"));
    assert_eq!(region(&[endpoint]).as_deref(), Some("us-west-2"));
    assert_eq!(
        region(&[("kinesis.streamArn", ARN)]).as_deref(),
        Some("eu-west-1")
    );
    assert_eq!(region(&[("kinesis.endpointUrl", "http://localhost:4566")]), None);
    assert_eq!(
        region(&[
            ("kinesis.endpointUrl", "http://localhost:4566"),
            ("kinesis.streamArn", ARN)
        ])
        .as_deref(),
        Some("eu-west-1")
    );
    assert_refused(
        &read_error(&[("kinesis.region", "US East")]),
        "kinesis.region",
        "kinesis.region is \"US East\". Allowed: a region's name, such as us-east-1",
    );
    assert_refused(
        &read_error(&[("kinesis.kinesisRegion", "")]),
        "kinesis.kinesisRegion",
        "kinesis.kinesisRegion is \"\": it is empty; leave the option out instead. Allowed: a region's name, such as \
         us-east-1",
    );
}

#[test]
fn regions_that_disagree_are_reported() {
    let parsed = source(&with_name(&[
        ("kinesis.region", "us-east-1"),
        ("kinesis.endpointUrl", "https://kinesis.us-west-2.amazonaws.com"),
    ]))
    .unwrap();
    // As where the table is in another region than the stream.
    assert_eq!(parsed.options.access.region.as_deref(), Some("us-west-2"));
    assert_eq!(parsed.options.store_access().region.as_deref(), Some("us-east-1"));
    assert_eq!(parsed.warnings, Vec::<String>::new());
    let parsed = source(&with_name(&[
        ("kinesis.kinesisRegion", "us-east-1"),
        ("kinesis.endpointUrl", "https://kinesis.us-west-2.amazonaws.com"),
    ]))
    .unwrap();
    assert_eq!(parsed.options.access.region.as_deref(), Some("us-west-2"));
    assert_eq!(
        parsed.warnings,
        [
            "kinesis.kinesisRegion is us-east-1, but the host of kinesis.endpointUrl is in us-west-2, which requests \
             are signed for: make them agree"
        ]
    );
    assert_refused(
        &read_error(&[("kinesis.region", "us-east-1"), ("kinesis.streamArn", ARN)]),
        "kinesis.streamArn",
        "kinesis.streamArn is in eu-west-1, but the region is us-east-1 by kinesis.kinesisRegion, kinesis.region or \
         kinesis.endpointUrl: make them agree",
    );
}

#[test]
fn endpoints_are_http_urls_with_a_host() {
    for good in [
        "http://localhost:4567",
        "https://kinesis.us-east-1.amazonaws.com",
        "HTTP://10.0.0.1:1/",
        "http://[::1]:4567",
        "https://a_b:65535/x/y",
    ] {
        assert_eq!(
            read(&[("kinesis.endpointUrl", good)])
                .access
                .endpoint_url
                .as_deref(),
            Some(good)
        );
    }
    for (bad, why) in [
        (
            "kinesis.us-east-1.amazonaws.com",
            "it does not start with http:// or https://",
        ),
        ("ftp://host", "it does not start with http:// or https://"),
        ("http://", "it has no host"),
        ("http://:4567", "it has no host"),
        ("http:///x", "it has no host"),
        ("http://host:0", "its port is not a number from 1 to 65535"),
        ("http://host:", "its port is not a number from 1 to 65535"),
        ("http://host:65536", "its port is not a number from 1 to 65535"),
        ("http://[::1]x", "its port is not a number from 1 to 65535"),
        ("http://[::x]", "its host is not one"),
        ("http://a..b", "its host is not one"),
        ("http://ho st", "it contains white space"),
        ("http://host?x", "it has a query or a fragment"),
    ] {
        assert_refused(
            &read_error(&[("kinesis.endpointUrl", bad)]),
            "kinesis.endpointUrl",
            &format!(
                "kinesis.endpointUrl is \"{bad}\": {why}. Allowed: an http:// or https:// URL with a host, \
                 such as https://vpce-1.example.com"
            ),
        );
    }
    let error = read_error(&[("kinesis.endpointUrl", "http://user:hush@host")]);
    assert!(
        error
            .message()
            .starts_with("kinesis.endpointUrl is \"http://***@host\": it holds a user's name."),
        "{error}"
    );
}

const KEYS: [(&str, &str); 2] = [
    ("kinesis.awsAccessKeyId", "AKIAIOSFODNN7EXAMPLE"),
    ("kinesis.awsSecretKey", "hush/+="),
];
const ROLE: (&str, &str) = ("kinesis.stsRoleArn", "arn:aws:iam::111122223333:role/path/reader");

#[test]
fn static_keys_come_together() {
    let keys = read(&KEYS).access.static_keys.unwrap();
    assert_eq!(
        (
            keys.access_key_id.as_str(),
            keys.secret.expose(),
            keys.session_token
        ),
        ("AKIAIOSFODNN7EXAMPLE", "hush/+=", None)
    );
    let keys = [
        ("kinesis.awsAccessKeyId", "test"),
        ("kinesis.awsSecretKey", "test"),
    ];
    assert_eq!(read(&keys).access.static_keys.unwrap().access_key_id, "test");
    let keys = write(&[KEYS[0], KEYS[1], ("kinesis.sessionToken", "token")])
        .access
        .static_keys
        .unwrap();
    assert_eq!(keys.session_token.unwrap().expose(), "token");
    assert_refused(
        &read_error(&KEYS[..1]),
        "kinesis.awsSecretKey",
        "kinesis.awsAccessKeyId is given without kinesis.awsSecretKey: give both or neither",
    );
    assert_refused(
        &read_error(&KEYS[1..]),
        "kinesis.awsAccessKeyId",
        "kinesis.awsSecretKey is given without kinesis.awsAccessKeyId: give both or neither",
    );
    assert_refused(
        &read_error(&[("kinesis.sessionToken", "token")]),
        "kinesis.awsAccessKeyId",
        "kinesis.sessionToken is given without kinesis.awsAccessKeyId and kinesis.awsSecretKey: give all three, or \
         none",
    );
    assert_refused(
        &read_error(&[("kinesis.awsAccessKeyId", "hush hush"), KEYS[1]]),
        "kinesis.awsAccessKeyId",
        "kinesis.awsAccessKeyId has a value that is not allowed. Allowed: text without white space",
    );
}

#[test]
fn a_role_stands_alone_or_on_static_keys() {
    let access = read(&[
        ROLE,
        KEYS[0],
        KEYS[1],
        ("kinesis.stsSessionName", "job@7"),
        ("kinesis.stsEndpointUrl", "http://localhost:4566"),
        ("kinesis.stsExternalId", "a:b/c"),
    ])
    .access;
    assert_eq!(access.sts_role_arn.as_deref(), Some(ROLE.1));
    assert_eq!(access.sts_session_name.as_deref(), Some("job@7"));
    assert_eq!(access.sts_endpoint_url.as_deref(), Some("http://localhost:4566"));
    assert_eq!(access.sts_external_id.as_deref(), Some("a:b/c"));
    assert!(access.static_keys.is_some());
    assert_eq!(read(&[ROLE]).access.sts_session_name, None);

    for (key, value) in [
        ("kinesis.stsSessionName", "job"),
        ("kinesis.stsEndpointUrl", "http://localhost:4566"),
        ("kinesis.stsExternalId", "xy"),
    ] {
        assert_refused(
            &read_error(&[(key, value)]),
            key,
            &format!("{key} is given without kinesis.stsRoleArn: give the role too, or remove it"),
        );
    }
    for (bad, why) in [
        ("reader", "it does not start with arn:aws"),
        ("arn:aws:iam::111122223333:user/x", "it names no role"),
        ("arn:aws:iam::111122223333:role/", "it names no role"),
        ("arn:aws:iam::1:role/x", "its account is not 12 digits"),
        (
            "arn:aws:iam:us-east-1:111122223333:role/x",
            "a role has no region",
        ),
    ] {
        assert_refused(
            &read_error(&[("kinesis.stsRoleArn", bad)]),
            "kinesis.stsRoleArn",
            &format!("kinesis.stsRoleArn is \"{bad}\": {why}. Allowed: arn:aws:iam::<account>:role/<name>"),
        );
    }
    assert_refused(
        &read_error(&[ROLE, ("kinesis.stsSessionName", "x")]),
        "kinesis.stsSessionName",
        "kinesis.stsSessionName is \"x\": it has 1 character. \
         Allowed: 2 to 64 letters, digits, and the characters _ + = , . @ -",
    );
    assert_refused(
        &read_error(&[ROLE, ("kinesis.stsExternalId", "a b")]),
        "kinesis.stsExternalId",
        "kinesis.stsExternalId is \"a b\": it contains ' '. \
         Allowed: 2 to 1224 letters, digits, and the characters _ + = , . @ : / -",
    );
    assert_refused(
        &read_error(&[ROLE, ("kinesis.stsEndpointUrl", "sts")]),
        "kinesis.stsEndpointUrl",
        "kinesis.stsEndpointUrl is \"sts\": it does not start with http:// or https://. Allowed: an http:// or \
         https:// URL with a host, such as https://vpce-1.example.com",
    );
}

#[test]
fn a_class_gives_credentials_where_no_keys_are_given() {
    let class = ("kinesis.credentialProviderClass", "com.example.Outer$Provider");
    let param = ("kinesis.credentialProviderParam", "hush");
    let provider = |pairs: &[(&str, &str)]| read(pairs).access.provider.expect("a class");
    assert_eq!(
        provider(&[class]),
        ProviderClass::new("com.example.Outer$Provider", None)
    );
    assert_eq!(
        provider(&[class, param, ROLE]),
        ProviderClass::new("com.example.Outer$Provider", Some(Secret::new("hush")))
    );
    let (key, secret) = (
        ("kinesis.awsAccessKeyId", "AKIA"),
        ("kinesis.awsSecretKey", "hush"),
    );
    let both = "kinesis.credentialProviderClass and kinesis.awsAccessKeyId both say as whom the stream is called: \
                remove one of them";
    let alone = "kinesis.credentialProviderParam is given without kinesis.credentialProviderClass: give the class \
                 too, or remove it";
    for error in [read_error, write_error] {
        assert_refused(&error(&[class, key, secret]), class.0, both);
        assert_refused(&error(&[param]), class.0, alone);
    }
    for odd in ["com.example.", "a b", "1a", "a.2b", "a/b", "a-b"] {
        let message = format!(
            "kinesis.credentialProviderClass is \"{odd}\". Allowed: the full name of a class, such as \
             com.example.Provider"
        );
        assert_refused(&read_error(&[(class.0, odd)]), class.0, &message);
    }
}
