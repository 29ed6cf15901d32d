//! Where claims are kept.
use super::super::*;

const DYNAMODB: [(&str, &str); 2] = [
    ("kinesis.metadataCommitterType", "DynamoDB"),
    ("kinesis.dynamodb.tableName", "claims"),
];

#[test]
fn claims_are_kept_in_dynamodb() {
    let options = read(&[
        DYNAMODB[0],
        DYNAMODB[1],
        ("kinesis.dynamodb.endpointUrl", "http://localhost:1"),
    ]);
    assert_eq!(options.metadata.committer, Committer::DynamoDb);
    assert_eq!(options.metadata.dynamodb_table.as_deref(), Some("claims"));
    assert_eq!(
        options.metadata.dynamodb_endpoint_url.as_deref(),
        Some("http://localhost:1")
    );
    let with_path = [DYNAMODB[0], DYNAMODB[1], ("kinesis.metadataPath", "/claims")];
    assert_eq!(
        source(&with_name(&with_path)).unwrap().warnings,
        [
            "kinesis.metadataPath has no effect: with kinesis.metadataCommitterType DYNAMODB, claims are kept in the \
             table"
        ]
    );
}

#[test]
fn claims_are_kept_in_s3_by_the_path_s_scheme() {
    for path in [
        "s3://bucket/x",
        "S3A://bucket/x",
        "s3n://bucket",
        "/s3/x",
        "hdfs://s3/x",
    ] {
        let options = read(&[("kinesis.metadataPath", path)]);
        assert_eq!(options.metadata.path.as_deref(), Some(path));
        assert_eq!(options.metadata.committer, Committer::Hdfs);
    }
    let endpoint = ("kinesis.s3.endpointUrl", "http://localhost:1");
    // The checkpointLocation may be in S3, too.
    for path in [
        &[endpoint][..],
        &[endpoint, ("kinesis.metadataPath", "s3://bucket/x")],
    ] {
        assert_eq!(
            read(path).metadata.s3_endpoint_url.as_deref(),
            Some("http://localhost:1")
        );
    }
}

#[test]
fn options_of_one_store_do_not_go_with_another() {
    let table = "kinesis.dynamodb.tableName";
    let s3 = ("kinesis.s3.endpointUrl", "http://localhost:1");
    for (options, key, message) in [
        (
            &DYNAMODB[..1],
            table,
            "kinesis.dynamodb.tableName is missing: kinesis.metadataCommitterType DYNAMODB needs the name of a table, \
             which is made if it does not exist",
        ),
        (
            &DYNAMODB[1..],
            table,
            "kinesis.dynamodb.tableName is given without kinesis.metadataCommitterType DYNAMODB: set that too, or \
             remove it",
        ),
        (
            &[("kinesis.dynamodb.endpointUrl", "http://localhost:1")],
            "kinesis.dynamodb.endpointUrl",
            "kinesis.dynamodb.endpointUrl is given without kinesis.metadataCommitterType DYNAMODB: set that too, or \
             remove it",
        ),
        (
            &[DYNAMODB[0], DYNAMODB[1], s3],
            s3.0,
            "kinesis.s3.endpointUrl has no use with kinesis.metadataCommitterType DYNAMODB: remove one of them",
        ),
        (
            &[("kinesis.metadataPath", "hdfs://name/x"), s3],
            s3.0,
            "kinesis.s3.endpointUrl is given without a kinesis.metadataPath with the scheme s3, s3a or s3n: set that \
             too, or remove it",
        ),
    ] {
        assert_refused(&read_error(options), key, message);
    }
}

/// The stream's region may differ from the store's, which is the job's.
#[test]
fn the_store_s_region() {
    let region = |options: &[(&str, &str)]| {
        let options = read(options);
        (options.access.region, options.metadata.region)
    };
    let (home, away) = (Some("eu-west-1".to_owned()), Some("us-east-2".to_owned()));
    assert_eq!(
        region(&[("kinesis.region", "eu-west-1")]),
        (home.clone(), home.clone())
    );
    assert_eq!(
        region(&[
            ("kinesis.region", "eu-west-1"),
            ("kinesis.kinesisRegion", "us-east-2")
        ]),
        (away.clone(), home)
    );
    assert_eq!(
        region(&[("kinesis.kinesisRegion", "us-east-2")]),
        (away.clone(), None)
    );
    let of_host = [("kinesis.endpointUrl", "https://kinesis.us-east-2.amazonaws.com")];
    assert_eq!(region(&of_host), (away.clone(), away));
    assert_eq!(region(&[]), (None, None));
}

#[test]
fn a_mistake_is_reported_before_what_is_not_built() {
    let error = read_error(&[
        ("kinesis.extraColumns", "shardId"),
        ("kinesis.prefetch.maxBytesPerShard", "x"),
    ]);
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
}

#[test]
fn objects_of_claims_have_what_a_bucket_s_policy_demands() {
    let path = ("kinesis.metadataPath", "s3://bucket/claims");
    assert_eq!(read(&[path]).metadata.s3_puts, S3Puts::default());
    let (kms, key) = (
        ("kinesis.s3.serverSideEncryption", "AWS:KMS"),
        ("kinesis.s3.kmsKeyId", "alias/claims"),
    );
    let acl = ("kinesis.s3.acl", "Bucket-Owner-Full-Control");
    assert_eq!(
        read(&[path, kms, key, acl]).metadata.s3_puts,
        S3Puts {
            encryption: Some("aws:kms"),
            kms_key_id: Some("alias/claims".to_owned()),
            acl: Some("bucket-owner-full-control"),
        }
    );
    let without = "kinesis.s3.kmsKeyId is given without kinesis.s3.serverSideEncryption aws:kms or aws:kms:dsse: set \
                   that too, or remove it";
    assert_refused(&read_error(&[path, key]), key.0, without);
    assert_refused(&read_error(&[path, key, (kms.0, "AES256")]), key.0, without);
    assert_refused(
        &read_error(&[path, ("kinesis.s3.acl", "everybody")]),
        "kinesis.s3.acl",
        "kinesis.s3.acl is \"everybody\". Allowed: private or authenticated-read or aws-exec-read or \
         bucket-owner-read or bucket-owner-full-control",
    );
    for one in [kms, acl] {
        let hdfs = format!(
            "{} is given without a kinesis.metadataPath with the scheme s3, s3a or s3n: set that too, or remove it",
            one.0
        );
        assert_refused(
            &read_error(&[("kinesis.metadataPath", "hdfs://n/c"), one]),
            one.0,
            &hdfs,
        );
        let table = [
            ("kinesis.metadataCommitterType", "DYNAMODB"),
            ("kinesis.dynamodb.tableName", "claims"),
        ];
        let dynamodb = format!(
            "{} has no use with kinesis.metadataCommitterType DYNAMODB: remove one of them",
            one.0
        );
        assert_refused(&read_error(&[&table[..], &[one]].concat()), one.0, &dynamodb);
    }
}
