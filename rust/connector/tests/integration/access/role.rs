//! A role assumed at STS, whose service may fail for a while, refuse or be out of reach.
use super::{BY_CHAIN, ONCE, ROLE, reads_ten, refused, role, ten_records};
use crate::support::stub::{Stub, in_own_process, session, sts_refusal, variable};
use kinesis_connector::ErrorKind;

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
