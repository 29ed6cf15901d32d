//! The suite over the stores in DynamoDB and S3, against moto 5.2.5 and DynamoDBLocal 3.1.0.
//!
//! To run it by hand:
//!
//! ```text
//! pip install 'moto==5.2.5' flask flask-cors
//! python scripts/lib/moto_server.py -H 127.0.0.1 -p 4503 &
//! java -cp 'DynamoDBLocal 3.1.0 and what it needs' scripts/lib/DynamoDbLocal.java -inMemory -port 4504 &
//! MOTO_ENDPOINT=http://127.0.0.1:4503 DYNAMODB_LOCAL_ENDPOINT=http://127.0.0.1:4504 \
//!     cargo test -p kinesis-connector --features store-services --test services
//! ```
//!
//! The services must ensure that exactly one of several attempts wins. DynamoDBLocal does; moto's own server does not,
//! so the script makes it handle one request at a time. For S3 itself this rests on its documentation only.

mod dynamodb;
mod permissions;
mod queries;
mod s3;
use std::sync::Arc;

use crate::doubles::{dynamodb_options, options, s3};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use kinesis_connector::claims::backends::dynamodb::DynamoDbStore;
use kinesis_connector::claims::backends::s3::S3Store;
use kinesis_connector::options::S3Location;

const MOTO: &str = "MOTO_ENDPOINT";

const DYNAMODB_LOCAL: &str = "DYNAMODB_LOCAL_ENDPOINT";

fn table(endpoint: &str, name: &str) -> Arc<DynamoDbStore> {
    Arc::new(DynamoDbStore::new(&dynamodb_options(endpoint, name)).expect("a store"))
}

/// A store in this folder of a bucket.
fn folder(endpoint: &str, path: &str) -> Arc<S3Store> {
    let location = S3Location::parse(path).expect("a path").expect("of S3");
    let options = options(&[
        ("kinesis.metadataPath", path),
        ("kinesis.s3.endpointUrl", endpoint),
    ]);
    Arc::new(S3Store::new(&options, &location))
}

async fn new_bucket(endpoint: &str, name: &str) {
    let place = CreateBucketConfiguration::builder()
        .location_constraint(BucketLocationConstraint::EuWest1)
        .build();
    let create = s3(endpoint)
        .create_bucket()
        .bucket(name)
        .create_bucket_configuration(place);
    create.send().await.expect("a bucket");
}

async fn put_object(endpoint: &str, bucket: &str, key: &str, content: &str) {
    let put = s3(endpoint).put_object().bucket(bucket).key(key);
    put.body(content.as_bytes().to_vec().into())
        .send()
        .await
        .expect("put");
}

async fn keys(endpoint: &str, bucket: &str) -> Vec<String> {
    let listed = s3(endpoint)
        .list_objects_v2()
        .bucket(bucket)
        .send()
        .await
        .expect("listed");
    listed
        .contents()
        .iter()
        .filter_map(|object| object.key().map(str::to_owned))
        .collect()
}
