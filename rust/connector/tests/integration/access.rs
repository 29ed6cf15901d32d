//! Endpoints and credentials of the services, and a query's behaviour when either fails or changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::stub::{Answer, Stub, in_own_process, session, sts_refusal, variable};
use crate::support::{FAN_OUT, LocalFiles, NAMED, Query, STREAM, World, assert_exact, read_all};
use async_trait::async_trait;
use kinesis_connector::claims::backends::dynamodb::DynamoDbStore;
use kinesis_connector::claims::backends::s3::S3Store;
use kinesis_connector::claims::{Claim, ClaimKey, ClaimStore, PutResult};
use kinesis_connector::options::{
    GivenCredentials, GivesCredentials, S3Location, Secret, SourceOptions, StaticKeys,
};
use kinesis_connector::sink::SinkRecord;
use kinesis_connector::{Engine, Error, ErrorKind, SinkConfig, SourceConfig};
use serde_json::json;

const ROLE: &str = "arn:aws:iam::123456789012:role/reader";
/// Clears the options' static keys, so that the credentials chain is used.
const BY_CHAIN: [(&str, &str); 2] = [("kinesis.awsAccessKeyId", ""), ("kinesis.awsSecretKey", "")];
/// Disables retries.
const ONCE: (&str, &str) = ("kinesis.clientNumRetries", "0");

/// The error of a query with these options at its start.
async fn refused(world: &World, options: &[(&str, &str)]) -> Error {
    match world.try_query(options).await {
        Ok(_) => panic!("the query opens"),
        Err(error) => error,
    }
}

/// Options for a role of this STS.
fn role(sts: &Stub) -> [(&str, &str); 2] {
    [
        ("kinesis.stsRoleArn", ROLE),
        ("kinesis.stsEndpointUrl", sts.endpoint.as_str()),
    ]
}

/// A stream of ten records that refuses requests signed with one of these keys.
async fn ten_records(rejected_keys: &[&str]) -> World {
    let world = World::with_shards(1).await;
    world.put("r", 0..10).await;
    world.knobs(json!({"rejected_keys": rejected_keys}));
    world
}

async fn reads_ten(world: &World, options: &[(&str, &str)]) {
    let mut query = world.query(options).await;
    assert_exact(&query.rows(10).await, "r", 0..10);
}

fn store_options(more: &[(&str, &str)]) -> SourceOptions {
    crate::support::store_options("eu-west-1", more)
}

fn claim() -> ClaimKey {
    ClaimKey {
        source: "s".to_owned(),
        batch: 1,
        shard: "shardId-0".into(),
    }
}

async fn ask_table(endpoint: &str, more: &[(&str, &str)]) {
    let table = [
        ("kinesis.metadataCommitterType", "DYNAMODB"),
        ("kinesis.dynamodb.tableName", "claims"),
        ("kinesis.dynamodb.endpointUrl", endpoint),
    ];
    let store = DynamoDbStore::new(&store_options(&[&table[..], more].concat())).expect("a store");
    assert_eq!(store.get(&claim()).await.expect("asked"), None);
}

async fn ask_bucket(endpoint: &str, more: &[(&str, &str)]) {
    let options = store_options(&[&[("kinesis.s3.endpointUrl", endpoint)], more].concat());
    let location = S3Location::parse("s3://claims/x")
        .expect("a path")
        .expect("of S3");
    let store = S3Store::new(&options, &location);
    assert_eq!(store.get(&claim()).await.expect("asked"), None);
}

/// A store without content.
async fn empty_store() -> Stub {
    Stub::start(|_, seen| match seen.header("x-amz-target") {
        "" => Answer::of(404, "<Error><Code>NoSuchKey</Code></Error>"),
        _ => Answer::of(200, "{}"),
    })
    .await
}

/// Sets every variable that AWS's SDKs read to a value that would lead elsewhere.
#[test]
fn the_environment_never_beats_an_option() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let elsewhere = runtime.block_on(Stub::start(|_, _| Answer::of(500, "elsewhere")));
    let url = elsewhere.endpoint.as_str();
    let config = folder.path().join("config").to_string_lossy().into_owned();
    let services: String = ["kinesis", "sts", "dynamodb", "s3"]
        .map(|service| format!("{service} =\n  endpoint_url = {url}\n"))
        .concat();
    let profile = format!(
        "[profile hostile]\nregion = mars-north-1\nendpoint_url = {url}\nservices = all\n\
         use_fips_endpoint = true\n[services all]\n{services}"
    );
    std::fs::write(&config, profile).expect("written");
    let variables = [
        ("AWS_ENDPOINT_URL", url),
        ("AWS_ENDPOINT_URL_KINESIS", url),
        ("AWS_ENDPOINT_URL_STS", url),
        ("AWS_ENDPOINT_URL_DYNAMODB", url),
        ("AWS_ENDPOINT_URL_S3", url),
        ("AWS_REGION", "mars-north-1"),
        ("AWS_DEFAULT_REGION", "mars-north-1"),
        ("AWS_PROFILE", "hostile"),
        ("AWS_CONFIG_FILE", config.as_str()),
        ("AWS_ACCESS_KEY_ID", "AKIDHOSTILE"),
        ("AWS_SECRET_ACCESS_KEY", "hostile"),
        ("AWS_SESSION_TOKEN", "hostile"),
        ("AWS_ROLE_ARN", "arn:aws:iam::999999999999:role/hostile"),
        ("AWS_ROLE_SESSION_NAME", "hostile"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", config.as_str()),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url),
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
        ("AWS_RETRY_MODE", "adaptive"),
        ("AWS_MAX_ATTEMPTS", "1"),
        ("AWS_DEFAULTS_MODE", "in-region"),
        ("AWS_STS_REGIONAL_ENDPOINTS", "legacy"),
        ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "false"),
        ("AWS_AUTH_SCHEME_PREFERENCE", "sigv4a"),
        ("AWS_SIGV4A_SIGNING_REGION_SET", "*"),
        ("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported"),
        ("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_supported"),
        ("AWS_DISABLE_REQUEST_COMPRESSION", "false"),
        ("AWS_S3_USE_ARN_REGION", "true"),
        ("AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS", "false"),
    ];
    let here = in_own_process("the_environment_never_beats_an_option", &variables, async {
        let world = World::with_shards(1).await;
        world.knobs(json!({"rejected_keys": ["AKIDHOSTILE"]}));
        write(&world, 10, &[]).await;
        reads_ten(&world, &[]).await;

        let sts = Stub::sts().await;
        world.knobs(json!({"rejected_keys": ["AKIDHOSTILE", "AKIDTEST"]}));
        reads_ten(&world, &role(&sts)).await;
        let asked = sts.seen();
        assert_eq!(asked.len(), 1);
        assert!(
            asked[0].signed().contains("AKIDTEST") && asked[0].signed().contains("us-east-1/sts"),
            "{asked:?}"
        );

        let store = empty_store().await;
        ask_table(&store.endpoint, &[]).await;
        ask_bucket(&store.endpoint, &[]).await;
        let asked = store.seen();
        assert!(asked[0].signed().contains("eu-west-1/dynamodb"), "{:?}", asked[0]);
        let bucket = asked.last().expect("asked");
        assert!(bucket.signed().contains("eu-west-1/s3"), "{bucket:?}");
    });
    assert!(!here || elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
}

async fn write(world: &World, rows: usize, more: &[(&str, &str)]) {
    try_write(world, rows, more).await.expect("written");
}

async fn try_write(world: &World, rows: usize, more: &[(&str, &str)]) -> Result<(), Error> {
    let mut options = BTreeMap::from([
        ("kinesis.streamName", STREAM),
        ("kinesis.region", "us-east-1"),
        ("kinesis.endpointUrl", world.endpoint.as_str()),
        ("kinesis.awsAccessKeyId", "AKIDTEST"),
        ("kinesis.awsSecretKey", "secret"),
    ]);
    options.extend(more.iter().copied());
    let config = SinkConfig::parse(&json!({"version": 1, "options": options}).to_string());
    let writer = Engine::new()
        .open_writer(config.expect("options"))
        .expect("a writer");
    let records = (0..rows)
        .map(|row| SinkRecord {
            partition_key: Some("k".into()),
            data: format!("r{row}").into(),
            explicit_hash_key: None,
        })
        .collect();
    writer.write(records).await?;
    writer.flush().await
}

#[tokio::test]
async fn an_sts_that_throttles_or_fails_for_a_while_is_asked_again() {
    let world = ten_records(&["AKIDTEST"]).await;
    let sts = Stub::start(|number, seen| match number {
        0..=3 => sts_refusal(400, "Throttling", "Rate exceeded"),
        4..=7 => sts_refusal(503, "ServiceUnavailable", "later"),
        _ => session(seen, 0, 3_600),
    })
    .await;
    reads_ten(&world, &role(&sts)).await;
}

#[test]
fn one_failure_of_sts_ends_no_query_with_web_identity() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let sts = runtime.block_on(Stub::start(|number, seen| match number {
        0 => sts_refusal(503, "ServiceUnavailable", "later"),
        _ => session(seen, 0, 3_600),
    }));
    let folder = tempfile::TempDir::new().expect("a folder");
    let token = folder.path().join("token").to_string_lossy().into_owned();
    std::fs::write(&token, "token").expect("written");
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_ENDPOINT_URL_STS", sts.endpoint.as_str()),
    ];
    let here = in_own_process(
        "one_failure_of_sts_ends_no_query_with_web_identity",
        &variables,
        async {
            let world = ten_records(&[]).await;
            reads_ten(&world, &[&BY_CHAIN[..], &[ONCE]].concat()).await;
        },
    );
    assert!(!here || sts.seen().len() == 2, "{:?}", sts.seen());
}

#[tokio::test]
async fn a_refused_role_is_reported_in_the_words_of_sts() {
    let world = ten_records(&[]).await;
    let sts =
        Stub::start(|_, _| sts_refusal(403, "AccessDenied", "not authorized to perform: sts:AssumeRole"))
            .await;
    let error = refused(&world, &role(&sts)).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Access, false));
    for part in [
        "STS",
        &sts.endpoint,
        ROLE,
        "AccessDenied: not authorized to perform: sts:AssumeRole",
    ] {
        assert!(error.message().contains(part), "{part} in: {error}");
    }
    assert!(!error.message().contains("kinesis.awsAccessKeyId"), "{error}");
    assert_eq!(sts.seen().len(), 1, "a refusal is no failure that passes");
}

#[tokio::test]
async fn an_sts_out_of_reach_is_named() {
    let world = ten_records(&[]).await;
    let gone = Stub::sts().await.endpoint.clone();
    let role = [
        ("kinesis.stsRoleArn", ROLE),
        ("kinesis.stsEndpointUrl", &gone),
        ONCE,
    ];
    let error = refused(&world, &role).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Access, true));
    for part in ["STS", &gone, ROLE] {
        assert!(error.message().contains(part), "{part} in: {error}");
    }
    assert!(!error.message().contains("kinesis.awsAccessKeyId"), "{error}");
}

/// Simulated instance metadata: answers requests for a token, the role's name and credentials.
fn metadata(seen: &crate::support::stub::Seen) -> Answer {
    match seen
        .path
        .strip_prefix("/latest/meta-data/iam/security-credentials/")
    {
        None => Answer {
            headers: vec![("x-aws-ec2-metadata-token-ttl-seconds", "21600".to_owned())],
            ..Answer::of(200, "token")
        },
        Some("") => Answer::of(200, "job"),
        Some(_) => {
            let end = (chrono::Utc::now() + chrono::Duration::hours(6)).format("%Y-%m-%dT%H:%M:%SZ");
            let credentials = json!({
                "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIAJOB", "SecretAccessKey": "secret",
                "Token": "token", "LastUpdated": "2024-01-01T00:00:00Z", "Expiration": end.to_string(),
            });
            Answer::of(200, credentials.to_string())
        }
    }
}

#[test]
fn instance_metadata_may_be_slow_once() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let slow = Duration::from_millis(1_500);
    let imds = runtime.block_on(Stub::start(move |number, seen| match number {
        0 => metadata(seen).after(slow),
        _ => metadata(seen),
    }));
    let variables = [
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.endpoint.as_str()),
    ];
    in_own_process("instance_metadata_may_be_slow_once", &variables, async {
        let world = ten_records(&[]).await;
        reads_ten(&world, &[&BY_CHAIN[..], &[ONCE]].concat()).await;
    });
}

#[test]
fn silent_instance_metadata_are_reported_with_the_hop_limit() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let imds = runtime.block_on(Stub::start(|_, seen| {
        metadata(seen).after(Duration::from_secs(600))
    }));
    let variables = [
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.endpoint.as_str()),
    ];
    in_own_process(
        "silent_instance_metadata_are_reported_with_the_hop_limit",
        &variables,
        async {
            let world = ten_records(&[]).await;
            let error = refused(&world, &[&BY_CHAIN[..], &[ONCE]].concat()).await;
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Access, true));
            for part in ["instance metadata", "hop limit", "environment", "profile"] {
                assert!(error.message().contains(part), "{part} in: {error}");
            }
        },
    );
}

#[test]
fn no_credentials_at_all_is_final_and_lists_what_was_tried() {
    in_own_process(
        "no_credentials_at_all_is_final_and_lists_what_was_tried",
        &[],
        async {
            let world = ten_records(&[]).await;
            let error = refused(&world, &BY_CHAIN).await;
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Access, false));
            for part in [
                "environment",
                "profile",
                "web identity",
                "container",
                "kinesis.awsAccessKeyId",
            ] {
                assert!(error.message().contains(part), "{part} in: {error}");
            }
        },
    );
}

/// Changes a running query's credentials file, and makes the service refuse the old credentials.
async fn follows_a_file(path: &str, content: impl Fn(&str) -> String) {
    let world = ten_records(&[]).await;
    std::fs::write(path, content("AKIDOLD")).expect("written");
    let mut query = world.query(&[&BY_CHAIN[..], &[ONCE]].concat()).await;
    assert_exact(&query.rows(10).await, "r", 0..10);
    world.knobs(json!({"rejected_keys": ["AKIDOLD"]}));
    std::fs::write(path, content("AKIDNEW")).expect("written");
    world.put("s", 0..10).await;
    assert_exact(&query.rows(10).await, "s", 0..10);
}

#[test]
fn a_rotated_credentials_file_is_read_again() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("credentials").to_string_lossy().into_owned();
    let variables = [("AWS_SHARED_CREDENTIALS_FILE", path.as_str())];
    in_own_process("a_rotated_credentials_file_is_read_again", &variables, async {
        let content =
            |key: &str| format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n");
        follows_a_file(&variable("AWS_SHARED_CREDENTIALS_FILE"), content).await;
    });
}

#[test]
fn a_credential_process_is_run_again() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let config = folder.path().join("config").to_string_lossy().into_owned();
    let output = folder.path().join("told").to_string_lossy().into_owned();
    std::fs::write(&config, format!("[default]\ncredential_process = cat {output}\n")).expect("written");
    let variables = [("AWS_CONFIG_FILE", config.as_str()), ("TOLD", output.as_str())];
    in_own_process("a_credential_process_is_run_again", &variables, async {
        let content =
            |key: &str| json!({"Version": 1, "AccessKeyId": key, "SecretAccessKey": "secret"}).to_string();
        follows_a_file(&variable("TOLD"), content).await;
    });
}

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

const DENIED: &str = "User: arn:aws:iam::123456789012:user/job is not authorized to perform: s3:PutObject with an explicit \
                      deny in a resource-based policy";

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

/// A proxy leads STS's own address to the stub, as DNS would lead that of a VPC endpoint.
#[test]
fn sts_is_signed_for_the_region_of_its_own_address() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for (url, region) in [
        ("http://sts.eu-west-1.amazonaws.com", "eu-west-1"),
        (
            "http://vpce-0a1b-2c3d.sts.eu-west-1.vpce.amazonaws.com",
            "eu-west-1",
        ),
        ("http://sts.example.com", "us-east-1"),
    ] {
        let sts = runtime.block_on(Stub::sts());
        let variables = [
            ("HTTP_PROXY", sts.endpoint.as_str()),
            ("NO_PROXY", "127.0.0.1"),
            ("STS_URL", url),
        ];
        let here = in_own_process(
            "sts_is_signed_for_the_region_of_its_own_address",
            &variables,
            async {
                let world = ten_records(&["AKIDTEST"]).await;
                let url = variable("STS_URL");
                reads_ten(
                    &world,
                    &[("kinesis.stsRoleArn", ROLE), ("kinesis.stsEndpointUrl", &url)],
                )
                .await;
            },
        );
        let scope = format!("/{region}/sts/aws4_request");
        assert!(
            !here || sts.seen().iter().any(|seen| seen.signed().contains(&scope)),
            "{url}: {:?}",
            sts.seen()
        );
        if !here {
            return;
        }
    }
}

/// A resource policy allows access: the stream belongs to another account, and only its ARN finds it.
#[tokio::test]
async fn a_stream_of_another_account_is_read_and_written_by_its_arn() {
    let world = ten_records(&[]).await;
    world.hasten_subscriptions();
    let arn = format!(
        "arn:aws:kinesis:us-east-1:{}:stream/{STREAM}",
        kinesis_sandbox::ACCOUNT
    );
    world.knobs(json!({"foreign_callers": true}));
    let error = refused(&world, &[ONCE]).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");

    let by_arn = ("kinesis.streamArn", arn.as_str());
    reads_ten(&world, &[by_arn]).await;
    reads_ten(&world, &[by_arn, FAN_OUT, NAMED]).await;
    write(&world, 5, &[by_arn]).await;
    let mut query = world.query(&[by_arn]).await;
    assert_eq!(query.rows(15).await.len(), 15);
}

/// A credentials class controlled by the test: `give` returns the access key id for each load.
struct Class<F> {
    loads: AtomicUsize,
    give: F,
}

impl<F> Class<F> {
    fn of(give: F) -> Arc<Self> {
        let loads = AtomicUsize::new(0);
        Arc::new(Self { loads, give })
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::Relaxed)
    }
}

impl<F> std::fmt::Debug for Class<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Class")
    }
}

#[async_trait]
impl<F: Fn(usize) -> Result<String, Error> + Send + Sync> GivesCredentials for Class<F> {
    fn id(&self) -> u64 {
        1
    }

    async fn give(&self) -> Result<GivenCredentials, Error> {
        let key = (self.give)(self.loads.fetch_add(1, Ordering::Relaxed))?;
        Ok(GivenCredentials {
            keys: StaticKeys {
                access_key_id: key,
                secret: Secret::new("secret"),
                session_token: Some(Secret::new("token")),
            },
            expires_millis: Some(chrono::Utc::now().timestamp_millis() + 3_600_000),
        })
    }
}

/// A query whose options name this credentials class.
async fn query_by(
    world: &World,
    class: &Arc<impl GivesCredentials + 'static>,
    options: &[(&str, &str)],
) -> Result<Query, Error> {
    let named = [
        &BY_CHAIN[..],
        &[("kinesis.credentialProviderClass", "a.Provider")],
    ]
    .concat();
    let mut config = world.config(&[&named, options].concat());
    config.provider().expect("a class").bind(class.clone());
    world.query_of(config).await
}

#[tokio::test]
async fn a_class_gives_the_credentials_and_is_asked_again_when_they_are_refused() {
    let world = ten_records(&["AKIDTEST"]).await;
    let class = Class::of(|load| Ok(format!("AKIDCLASS{load}")));
    let mut query = query_by(&world, &class, &[]).await.expect("opens");
    assert_exact(&query.rows(10).await, "r", 0..10);
    assert_eq!(class.loads(), 1, "kept until they are due");
    world.knobs(json!({"rejected_keys": ["AKIDCLASS0"]}));
    world.put("s", 0..10).await;
    assert_exact(&query.rows(10).await, "s", 0..10);
    assert_eq!(class.loads(), 2);
}

#[tokio::test]
async fn a_role_is_assumed_with_what_a_class_gives() {
    let world = ten_records(&["AKIDTEST", "AKIDCLASS"]).await;
    let (sts, class) = (Stub::sts().await, Class::of(|_| Ok("AKIDCLASS".to_owned())));
    let mut query = query_by(&world, &class, &role(&sts)).await.expect("opens");
    assert_exact(&query.rows(10).await, "r", 0..10);
    let asked = sts.seen();
    assert!(
        asked.len() == 1 && asked[0].signed().contains("Credential=AKIDCLASS/"),
        "{asked:?}"
    );
}

#[test]
fn a_store_is_called_by_a_class_where_the_chain_has_nothing() {
    let name = "a_store_is_called_by_a_class_where_the_chain_has_nothing";
    in_own_process(name, &[], async {
        let store = empty_store().await;
        let mut options = store_options(&[
            ("kinesis.metadataCommitterType", "DYNAMODB"),
            ("kinesis.dynamodb.tableName", "claims"),
            ("kinesis.dynamodb.endpointUrl", &store.endpoint),
            ("kinesis.credentialProviderClass", "a.Provider"),
        ]);
        let class = options.access.provider.as_mut().expect("a class");
        class.bind(Class::of(|_| Ok("AKIDCLASS".to_owned())));
        let table = DynamoDbStore::new(&options).expect("a store");
        assert_eq!(table.get(&claim()).await.expect("asked"), None);
        let seen = store.seen();
        assert!(seen[0].signed().contains("Credential=AKIDCLASS/"), "{seen:?}");
    });
}

#[tokio::test]
async fn a_class_that_fails_for_a_while_is_asked_again() {
    let world = ten_records(&[]).await;
    let class = Class::of(|load| match load {
        0 | 1 => Err(Error::new(ErrorKind::Access, "java.io.IOException: later").retryable(true)),
        _ => Ok("AKIDCLASS".to_owned()),
    });
    let mut query = query_by(&world, &class, &[]).await.expect("opens");
    assert_exact(&query.rows(10).await, "r", 0..10);
}

#[tokio::test]
async fn a_class_that_gives_none_is_reported_in_its_own_words() {
    let world = ten_records(&[]).await;
    for (words, passes) in [
        ("com.example.Vault: sealed.", true),
        ("there is no such class.", false),
    ] {
        let class = Class::of(move |_| Err(Error::new(ErrorKind::Access, words).retryable(passes)));
        let error = query_by(&world, &class, &[]).await.err().expect("refused");
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Access, passes));
        let message = format!(
            "kinesis.credentialProviderClass a.Provider: {}",
            words.trim_end_matches('.')
        );
        assert!(error.message().contains(&message), "{error}");
        assert!(!error.message().contains("kinesis.awsAccessKeyId"), "{error}");
        assert_eq!(class.loads(), if passes { 6 } else { 1 }, "tries: {words}");
    }
    let quoting = Class::of(|_| {
        Err(Error::new(
            ErrorKind::Access,
            "The Canonical String should have been HUSH",
        ))
    });
    let error = query_by(&world, &quoting, &[]).await.err().expect("refused");
    assert!(!error.to_string().contains("HUSH"), "{error}");
}

#[tokio::test]
async fn a_refused_signature_is_reported_without_what_the_service_quotes() {
    let quoted = "the Canonical String should have been x-amz-security-token:TOKENSECRET \u{1b}[31m";
    let body = json!({"__type": "InvalidSignatureException", "message": quoted}).to_string();
    let service = Stub::start(move |_, _| Answer::of(400, body.clone())).await;
    let mut world = ten_records(&[]).await;
    world.endpoint.clone_from(&service.endpoint);
    let error = refused(&world, &[]).await.to_string();
    assert!(error.contains("InvalidSignatureException"), "{error}");
    assert!(
        !error.contains("TOKENSECRET") && !error.contains("Canonical"),
        "{error}"
    );

    let sts =
        Stub::start(move |_, _| sts_refusal(403, "SignatureDoesNotMatch", "security-token:TOKENSECRET"))
            .await;
    let error = refused(&world, &role(&sts)).await.to_string();
    assert!(error.contains("SignatureDoesNotMatch"), "{error}");
    assert!(!error.contains("TOKENSECRET"), "{error}");
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

/// The clock is ten minutes off the service's.
#[tokio::test]
async fn a_wrong_clock_is_corrected_by_the_services() {
    let world = ten_records(&[]).await;
    world.knobs(json!({"clock_offset_ms": 600_000}));
    reads_ten(&world, &[ONCE]).await;
    let refusals = |operation: &str| -> u64 {
        let stats = world.sandbox.stats();
        let errors = stats
            .operations
            .get(operation)
            .map(|operation| operation.errors.clone());
        errors.unwrap_or_default().values().sum()
    };
    world.hasten_subscriptions();
    let mut query = world.query(&[FAN_OUT, NAMED, ONCE]).await;
    assert_exact(&query.rows(10).await, "r", 0..10);
    assert_eq!(
        refusals("SubscribeToShard"),
        0,
        "{:?}",
        world.sandbox.stats().operations
    );
}

/// One long-lived process reads one time range of a stream after another.
#[tokio::test]
async fn reads_of_other_times_share_a_client() {
    let world = ten_records(&["AKIDTEST"]).await;
    let sts = Stub::sts().await;
    let engine = Engine::new();
    let before = world.sandbox.stats().connections;
    for earlier in 0..30 {
        let start = (chrono::Utc::now() - chrono::Duration::seconds(3_600 + earlier))
            .format("AT_TIMESTAMP %Y-%m-%dT%H:%M:%SZ")
            .to_string();
        let mut options = BTreeMap::from([
            ("kinesis.streamName", STREAM),
            ("kinesis.region", "us-east-1"),
            ("kinesis.endpointUrl", world.endpoint.as_str()),
            ("kinesis.awsAccessKeyId", "AKIDTEST"),
            ("kinesis.awsSecretKey", "secret"),
            ("kinesis.startingPosition", start.as_str()),
        ]);
        options.extend(role(&sts));
        let config =
            SourceConfig::parse(&json!({"version": 1, "options": options}).to_string()).expect("options");
        let mut rows = Vec::new();
        for task in engine.batch_read_tasks(&config).await.expect("planned") {
            let reader = engine
                .open_reader(config.clone(), &task, Arc::new(LocalFiles))
                .expect("a reader");
            rows.extend(read_all(&reader).await.expect("rows"));
            reader.finish(true).await.expect("finished");
        }
        assert_exact(&rows, "r", 0..10);
    }
    assert_eq!(sts.seen().len(), 1, "sessions of the role");
    assert!(
        world.sandbox.stats().connections - before <= 4,
        "{:?}",
        world.sandbox.stats().connections
    );
}

/// A proxy or gateway that asks for a retry by its HTTP status, without an error code of the service.
#[tokio::test]
async fn a_gateway_that_says_later_is_no_refusal() {
    for status in [408, 425, 429] {
        let service = Stub::start(move |_, _| Answer::of(status, "<html>later</html>")).await;
        let mut world = ten_records(&[]).await;
        world.endpoint.clone_from(&service.endpoint);
        let error = refused(&world, &[ONCE]).await;
        assert!(error.is_retryable(), "{status}: {error}");
    }
}
