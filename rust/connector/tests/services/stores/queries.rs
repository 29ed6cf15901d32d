//! Queries that keep their claims in these stores.
use std::collections::BTreeMap;

use super::{MOTO, keys, new_bucket};
use crate::doubles::{endpoint, options, unique};
use crate::support::{World, assert_exact};
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use kinesis_connector::claims::ClaimStore;
use kinesis_connector::claims::backends::dynamodb::DynamoDbStore;
use kinesis_connector::claims::backends::s3::S3Store;
use kinesis_connector::options::S3Location;
use kinesis_connector::sink::SinkRecord;
use kinesis_connector::{Engine, ErrorKind, SinkConfig};

/// The stream's role does not apply to the store: nothing listens where the role would be requested.
#[tokio::test]
async fn a_store_is_called_as_the_job_itself() {
    let (moto, name) = (endpoint(MOTO), unique("job"));
    new_bucket(&moto, &name).await;
    let role = [
        ("kinesis.stsRoleArn", "arn:aws:iam::111122223333:role/reader"),
        ("kinesis.stsEndpointUrl", "http://127.0.0.1:1"),
    ];
    let in_table = [
        ("kinesis.metadataCommitterType", "DYNAMODB"),
        ("kinesis.dynamodb.tableName", &name),
        ("kinesis.dynamodb.endpointUrl", &moto),
    ];
    let table = DynamoDbStore::new(&options(&[&role[..], &in_table].concat())).expect("a store");
    table.prepare().await.expect("prepared");
    let location = S3Location::parse(&format!("s3://{name}/x"))
        .expect("a path")
        .expect("of S3");
    let in_bucket = [("kinesis.s3.endpointUrl", moto.as_str())];
    let bucket = S3Store::new(&options(&[&role[..], &in_bucket].concat()), &location);
    bucket.prepare().await.expect("prepared");
}

/// Runs batches through planner and readers: one again after a restart, the following ones, and all with another
/// store.
async fn carries_a_query(store: &[(&str, &str)], other: &[(&str, &str)]) {
    let limit = |most| [("kinesis.maxFetchRecordsPerShard", most)];
    let options = [store, &limit("30")].concat();
    let world = World::with_shards(2).await;
    world.put("r", 0..200).await;
    let mut query = world.query(&options).await;
    let mut rows = query.batch().await.expect("a batch").expect("news");
    let offset = query.offset.clone();
    drop(query);

    let lower = [store, &limit("7")].concat();
    let again = world.query(&lower).await.run(offset.clone()).await;
    assert_eq!(
        again.expect("runs again"),
        rows,
        "the same rows, under another limit"
    );

    let mut restarted = world.query(&options).await.from(&offset);
    rows.extend(restarted.rows(200 - rows.len()).await);
    assert_exact(&rows, "r", 0..200);

    let elsewhere = [other, &limit("30")].concat();
    let rows = world.query(&elsewhere).await.from(&offset).rows(200).await;
    assert_exact(&rows, "r", 0..200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_goes_on_from_either_store() {
    let (moto, name) = (endpoint(MOTO), unique("query"));
    new_bucket(&moto, &name).await;
    let path = format!("s3a://{name}/claims of all");
    let table = [
        ("kinesis.metadataCommitterType", "DYNAMODB"),
        ("kinesis.dynamodb.tableName", name.as_str()),
        ("kinesis.dynamodb.endpointUrl", moto.as_str()),
    ];
    let folder = [
        ("kinesis.metadataPath", path.as_str()),
        ("kinesis.s3.endpointUrl", moto.as_str()),
    ];
    // Two queries whose claims share one table and one folder.
    tokio::join!(carries_a_query(&table, &folder), carries_a_query(&folder, &table));
    assert!(
        keys(&moto, &name)
            .await
            .iter()
            .all(|key| key.starts_with("claims of all/"))
    );
}

/// moto separates streams by account: that of the keys, or of the assumed role.
#[tokio::test]
async fn a_stream_of_another_account_is_read_and_written_by_its_role() {
    const OWNERS_ROLE: &str = "arn:aws:iam::222222222222:role/reader";
    let (moto, stream) = (endpoint(MOTO), unique("owned"));
    let sts = aws_sdk_sts::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AKIDJOB", "secret", None, None, "test"))
        .endpoint_url(&moto);
    let assumed = aws_sdk_sts::Client::from_conf(sts.build())
        .assume_role()
        .role_arn(OWNERS_ROLE)
        .role_session_name("owner");
    let assumed = assumed.send().await.expect("a session");
    let session = assumed.credentials().expect("of the role");
    let token = Some(session.session_token().to_owned());
    let keys = Credentials::new(
        session.access_key_id(),
        session.secret_access_key(),
        token,
        None,
        "test",
    );
    let owner = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(keys)
        .endpoint_url(&moto);
    let owner = aws_sdk_kinesis::Client::from_conf(owner.build());
    let create = owner.create_stream().stream_name(&stream).shard_count(1);
    create.send().await.expect("a stream");

    let mut world = World::with_shards(1).await;
    world.endpoint.clone_from(&moto);
    let by_job = [
        ("kinesis.streamName", stream.as_str()),
        ("kinesis.clientNumRetries", "0"),
    ];
    let error = world.try_query(&by_job).await.err().expect("refused");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");

    let role = [
        ("kinesis.stsRoleArn", OWNERS_ROLE),
        ("kinesis.stsEndpointUrl", moto.as_str()),
        ("kinesis.stsExternalId", "between-us"),
    ];
    let by_role = [&by_job[..], &role].concat();
    let mut options: BTreeMap<_, _> = by_role.iter().copied().collect();
    options.extend([
        ("kinesis.region", "us-east-1"),
        ("kinesis.endpointUrl", &moto),
        ("kinesis.awsAccessKeyId", "AKIDJOB"),
        ("kinesis.awsSecretKey", "secret"),
    ]);
    let config = serde_json::json!({"version": 1, "options": options}).to_string();
    let config = SinkConfig::parse(&config).expect("options");
    let writer = Engine::new().open_writer(config).expect("a writer");
    let records = (0..10).map(|row| SinkRecord {
        partition_key: Some("k".into()),
        data: format!("r{row}").into(),
        explicit_hash_key: None,
    });
    writer.write(records.collect()).await.expect("taken");
    writer.flush().await.expect("written");
    let mut query = world.query(&by_role).await;
    assert_exact(&query.rows(10).await, "r", 0..10);
}
