//! AWS's default chain of credentials: the environment, files, processes and the machine's metadata.
use std::time::Duration;

use super::{
    BY_CHAIN, ONCE, ask_bucket, ask_table, empty_store, reads_ten, refused, role, ten_records, write,
};
use crate::support::stub::{Answer, Stub, in_own_process, variable};
use crate::support::{World, assert_exact};
use kinesis_connector::ErrorKind;
use serde_json::json;

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
