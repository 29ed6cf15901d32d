//! How claim stores are called: with which credentials and headers, and what their errors show.
use super::{
    ONCE, ask_bucket, ask_table, claim, empty_store, refused, store_options, ten_records, try_write,
};
use crate::support::stub::{Answer, Stub, in_own_process, variable};
use kinesis_connector::claims::backends::dynamodb::DynamoDbStore;
use kinesis_connector::claims::backends::s3::S3Store;
use kinesis_connector::claims::{Claim, ClaimStore, PutResult};
use kinesis_connector::options::S3Location;
use kinesis_connector::{Error, ErrorKind};
use serde_json::json;

#[test]
fn a_store_is_called_by_the_jobs_chain_and_by_the_streams_keys_only_without_one() {
    let keys = [
        ("kinesis.awsAccessKeyId", "AKIDSTREAM"),
        ("kinesis.awsSecretKey", "secret"),
    ];
    let signed = move || async move {
        let store = empty_store().await;
        ask_table(&store.endpoint, &keys).await;
        ask_bucket(&store.endpoint, &keys).await;
        let seen = store.seen();
        assert!(seen.len() >= 2, "{seen:?}");
        seen.iter()
            .map(|seen| {
                seen.signed()
                    .split(['=', '/'])
                    .nth(1)
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect::<std::collections::BTreeSet<_>>()
    };
    let name = "a_store_is_called_by_the_jobs_chain_and_by_the_streams_keys_only_without_one";
    let job = [
        ("AWS_ACCESS_KEY_ID", "AKIDJOB"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    for (variables, key) in [(&job[..], "AKIDJOB"), (&[], "AKIDSTREAM")] {
        let variables = [variables, &[("EXPECTED_KEY", key)]].concat();
        in_own_process(name, &variables, async {
            assert_eq!(signed().await, [variable("EXPECTED_KEY")].into());
        });
    }
}

const DENIED: &str = "User: arn:aws:iam::123456789012:user/job is not authorized to perform: s3:PutObject with an \
                      explicit deny in a resource-based policy";

/// A bucket whose policy requires these headers for a PUT, and which stores each object only once.
async fn strict_bucket(demanded: &'static [(&'static str, &'static str)]) -> Stub {
    let there = std::sync::Mutex::new(std::collections::BTreeSet::new());
    Stub::start(move |_, seen| match seen.method.as_str() {
        "PUT" if demanded.iter().any(|(name, value)| seen.header(name) != *value) => Answer::of(
            403,
            format!("<Error><Code>AccessDenied</Code><Message>{DENIED}</Message></Error>"),
        ),
        "PUT" if !there.lock().expect("not poisoned").insert(seen.path.clone()) => {
            Answer::of(412, "<Error><Code>PreconditionFailed</Code></Error>")
        }
        "POST" => Answer::of(200, "<DeleteResult/>"),
        _ => Answer::of(200, ""),
    })
    .await
}

#[test]
fn objects_have_the_headers_that_a_bucket_s_policy_demands() {
    let job = [
        ("AWS_ACCESS_KEY_ID", "AKIDJOB"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    in_own_process(
        "objects_have_the_headers_that_a_bucket_s_policy_demands",
        &job,
        puts_with_headers(),
    );
}

async fn puts_with_headers() {
    const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/claims";
    let bucket = strict_bucket(&[
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", KEY),
        ("x-amz-acl", "bucket-owner-full-control"),
    ])
    .await;
    let location = S3Location::parse("s3://claims/x")
        .expect("a path")
        .expect("of S3");
    let store = |more: &[(&str, &str)]| {
        let address = [("kinesis.s3.endpointUrl", bucket.endpoint.as_str())];
        S3Store::new(&store_options(&[&address[..], more].concat()), &location)
    };
    let encryption = ("kinesis.s3.serverSideEncryption", "AWS:KMS");
    let key = ("kinesis.s3.kmsKeyId", KEY);
    let acl = ("kinesis.s3.acl", "bucket-owner-full-control");
    let fitting = store(&[encryption, key, acl]);
    fitting.prepare().await.expect("as the policy wants it");
    let end = Claim::new("AFTER 5".parse().expect("a position"));
    let put = fitting.put_if_absent(&claim(), &end).await.expect("put");
    assert_eq!(put, PutResult::Stored);

    for lacking in [&[][..], &[encryption, key], &[encryption, acl], &[acl]] {
        let error = store(lacking).prepare().await.expect_err("refused");
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Access, false));
        for part in ["PutObject", "AccessDenied", DENIED, encryption.0, acl.0] {
            assert!(error.message().contains(part), "{part} in: {error}");
        }
    }
}

/// Errors of the stores at their start when their service responds like this: [the table's, the bucket's].
async fn store_failures(status: u16, code: &str, message: &str) -> [Error; 2] {
    let of_table =
        json!({"__type": format!("com.amazon.coral.service#{code}"), "message": message}).to_string();
    let of_bucket = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    let service = Stub::start(move |_, seen| match seen.header("x-amz-target") {
        "" if seen.method == "HEAD" => Answer::of(200, ""),
        "" => Answer::of(status, of_bucket.clone()),
        _ => Answer::of(status, of_table.clone()),
    })
    .await;
    let address = service.endpoint.as_str();
    let table = DynamoDbStore::new(&store_options(&[
        ("kinesis.metadataCommitterType", "DYNAMODB"),
        ("kinesis.dynamodb.tableName", "claims"),
        ("kinesis.dynamodb.endpointUrl", address),
    ]));
    let location = S3Location::parse("s3://claims/x")
        .expect("a path")
        .expect("of S3");
    let bucket = S3Store::new(&store_options(&[("kinesis.s3.endpointUrl", address)]), &location);
    [
        table.expect("a store").prepare().await.expect_err("refused"),
        bucket.prepare().await.expect_err("refused"),
    ]
}

#[test]
fn stores_report_neither_signed_requests_nor_control_characters() {
    let job = [
        ("AWS_ACCESS_KEY_ID", "AKIDJOB"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let name = "stores_report_neither_signed_requests_nor_control_characters";
    in_own_process(name, &job, async {
        for code in [
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "AccessDeniedException",
        ] {
            let quoted = "the Canonical String should have been x-amz-security-token:TOKENSECRET";
            for error in store_failures(403, code, quoted).await {
                let message = error.to_string();
                assert!(
                    message.contains(code) && !message.contains("TOKENSECRET"),
                    "{error}"
                );
            }
        }
        for error in store_failures(403, "AccessDenied", "a\nb\u{9b}31m").await {
            assert!(error.message().contains(r"a\nb\u{9b}31m"), "{error}");
            assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
        }
    });
}

#[tokio::test]
async fn control_characters_of_a_service_are_escaped() {
    let body = json!({"__type": "ValidationException", "message": "a\nb\u{1b}[31m"}).to_string();
    let service = Stub::start(move |_, _| Answer::of(400, body.clone())).await;
    let mut world = ten_records(&[]).await;
    world.endpoint.clone_from(&service.endpoint);
    let error = refused(&world, &[]).await;
    assert!(error.message().contains(r"a\nb\u{1b}[31m"), "{error}");
    assert!(!error.to_string().chars().any(char::is_control), "{error:?}");

    // The error of one record, in a successful response.
    let failed = json!({"ErrorCode": "Internal\tFailure", "ErrorMessage": "a\nb\u{1b}[31m"});
    let body = json!({"FailedRecordCount": 1, "Records": [failed]}).to_string();
    let service = Stub::start(move |_, _| Answer::of(200, body.clone())).await;
    world.endpoint.clone_from(&service.endpoint);
    let error = try_write(&world, 1, &[ONCE]).await.expect_err("refused");
    assert!(error.message().contains(r"a\nb\u{1b}[31m"), "{error}");
    assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
}

/// A claim of the last run may be seconds old.
#[test]
fn whether_a_checkpoint_was_set_back_is_read_consistently() {
    let job = [
        ("AWS_ACCESS_KEY_ID", "AKIDJOB"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    in_own_process(
        "whether_a_checkpoint_was_set_back_is_read_consistently",
        &job,
        async {
            let service = empty_store().await;
            let table = [
                ("kinesis.metadataCommitterType", "DYNAMODB"),
                ("kinesis.dynamodb.tableName", "claims"),
                ("kinesis.dynamodb.endpointUrl", &service.endpoint),
            ];
            let store = DynamoDbStore::new(&store_options(&table)).expect("a store");
            assert!(!store.has_from("s", 3).await.expect("asked"));
            let asked: serde_json::Value = serde_json::from_str(&service.seen()[0].body).expect("json");
            assert_eq!(asked["ConsistentRead"], true, "{asked}");
        },
    );
}

/// Where many objects were deleted, or the store is another one than AWS's, a page may have no objects though more
/// follow.
#[test]
fn a_page_without_claims_is_not_the_end_of_them() {
    let job = [
        ("AWS_ACCESS_KEY_ID", "AKIDJOB"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    in_own_process("a_page_without_claims_is_not_the_end_of_them", &job, async {
        let service = Stub::start(|number, seen| {
            let (to_s3, first) = (seen.header("x-amz-target").is_empty(), number % 2 == 0);
            let key = format!("{:020}/shard", 4);
            Answer::of(
                200,
                match (to_s3, first) {
                    (true, true) => "<ListBucketResult><IsTruncated>true</IsTruncated>\
                                     <NextContinuationToken>2</NextContinuationToken></ListBucketResult>"
                        .to_owned(),
                    (true, false) => format!(
                        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>x/s/{key}</Key></Contents>\
                         </ListBucketResult>"
                    ),
                    (false, true) => json!({"Items": [], "LastEvaluatedKey": item("3")}).to_string(),
                    (false, false) => json!({"Items": [item(&key)]}).to_string(),
                },
            )
        })
        .await;
        let table = [
            ("kinesis.metadataCommitterType", "DYNAMODB"),
            ("kinesis.dynamodb.tableName", "claims"),
            ("kinesis.dynamodb.endpointUrl", &service.endpoint),
        ];
        let table = DynamoDbStore::new(&store_options(&table)).expect("a store");
        assert!(table.has_from("s", 3).await.expect("asked"));
        let options = store_options(&[("kinesis.s3.endpointUrl", &service.endpoint)]);
        let location = S3Location::parse("s3://claims/x")
            .expect("a path")
            .expect("of S3");
        let bucket = S3Store::new(&options, &location);
        assert!(bucket.has_from("s", 3).await.expect("asked"));
    });
}

fn item(sort: &str) -> serde_json::Value {
    json!({"metadataKey": {"S": "s"}, "metadataSortKey": {"S": sort}})
}
