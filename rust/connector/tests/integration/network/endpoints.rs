//! FIPS and dual-stack endpoints.
use super::{ONCE, ask_stores, assert_says, closed_proxy, places, refused};
use crate::support::World;
use crate::support::stub::in_own_process;

/// The environment's proxy records the connector's targets, and forwards nothing.
#[test]
fn fips_and_dual_stack_are_switched_by_the_environment() {
    let name = "fips_and_dual_stack_are_switched_by_the_environment";
    let plain = [
        "claims.s3.us-east-1.amazonaws.com:443",
        "dynamodb.us-east-1.amazonaws.com:443",
        "kinesis.us-east-1.amazonaws.com:443",
        "sts.us-east-1.amazonaws.com:443",
    ];
    let fips = [
        "claims.s3-fips.us-east-1.amazonaws.com:443",
        "dynamodb-fips.us-east-1.amazonaws.com:443",
        "kinesis-fips.us-east-1.amazonaws.com:443",
        "sts-fips.us-east-1.amazonaws.com:443",
    ];
    let dual_stack = [
        "claims.s3.dualstack.us-east-1.amazonaws.com:443",
        "dynamodb.us-east-1.api.aws:443",
        "kinesis.us-east-1.api.aws:443",
        "sts.us-east-1.api.aws:443",
    ];
    let both = [
        "claims.s3-fips.dualstack.us-east-1.amazonaws.com:443",
        "dynamodb-fips.us-east-1.api.aws:443",
        "kinesis-fips.us-east-1.api.aws:443",
        "sts-fips.us-east-1.api.aws:443",
    ];
    let (fips_on, dual_on) = (
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
    );
    for (switches, expected) in [
        (vec![], plain),
        (vec![fips_on], fips),
        (vec![dual_on], dual_stack),
        (vec![fips_on, dual_on], both),
    ] {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let proxy = runtime.block_on(closed_proxy());
        let variables = [("HTTPS_PROXY", proxy.endpoint.as_str())];
        let here = in_own_process(name, &[&variables[..], &switches].concat(), async {
            let keys = [
                ("kinesis.awsAccessKeyId", "AKIDTEST"),
                ("kinesis.awsSecretKey", "secret"),
            ];
            for answer in ask_stores(&keys).await {
                let error = answer.expect_err("no way");
                assert_says(&error, &["the proxy", "HTTPS_PROXY", ":443"]);
            }
            let mut world = World::with_shards(1).await;
            world.endpoint = String::new();
            refused(&world, &[ONCE]).await;
            refused(
                &world,
                &[
                    ONCE,
                    ("kinesis.stsRoleArn", "arn:aws:iam::123456789012:role/reader"),
                ],
            )
            .await;
        });
        if here {
            assert_eq!(places(&proxy), expected);
        }
    }
}
