//! The bucket: its client and its region.

use std::fmt;

use aws_config::Region;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::error::SdkError;
use futures_util::FutureExt;
use tokio::sync::OnceCell;

use crate::claims::backends::calls::Calls;
use crate::claims::backends::failure::Service;
use crate::error::Result;
use crate::options::{MetadataOptions, S3Puts, StoreAccess};
use crate::service::{Access, guarded, store_access};

/// The service's names in messages.
pub(super) const SERVICE: Service = Service {
    name: "S3",
    endpoint_key: "kinesis.s3.endpointUrl",
    permissions: "s3:GetObject, PutObject and DeleteObject beneath the path, and s3:ListBucket on the bucket, whose \
                  policy may also demand kinesis.s3.serverSideEncryption, kinesis.s3.kmsKeyId or kinesis.s3.acl",
};

/// The header that names a bucket's region, also in error responses (HeadBucket in the API reference).
const BUCKET_REGION: &str = "x-amz-bucket-region";

/// A bucket and its client, shared by all its users in this process. The client is created when first needed.
pub(crate) struct Bucket {
    pub(super) name: String,
    pub(super) calls: Calls,
    pub(super) puts: S3Puts,
    access: StoreAccess,
    endpoint_url: Option<String>,
    client: OnceCell<Client>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Bucket {
    /// A bucket, reached with the access of the options.
    pub(crate) fn new(access: StoreAccess, metadata: &MetadataOptions, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            calls: Calls::new(metadata.retry),
            puts: metadata.s3_puts.clone(),
            access,
            endpoint_url: metadata.s3_endpoint_url.clone(),
            client: OnceCell::new(),
        }
    }

    pub(super) async fn client(&self) -> Result<&Client> {
        // Boxed: inlined into every request's future, its layout is too large for the compiler.
        self.client.get_or_try_init(|| self.find().boxed()).await
    }

    /// A client for the bucket's region.
    async fn find(&self) -> Result<Client> {
        let access = store_access(&self.access).await?;
        let client = self.connect(&access);
        match self.region_of_bucket(&client).await? {
            Some(region)
                if access
                    .config
                    .region()
                    .is_none_or(|other| other.as_ref() != region) =>
            {
                let config = access.config.into_builder().region(Region::new(region)).build();
                Ok(self.connect(&Access { config, ..access }))
            }
            _ => Ok(client),
        }
    }

    fn connect(&self, access: &Access) -> Client {
        let builder = aws_sdk_s3::config::Builder::from(&access.config)
            // The signature covers the content; other stores with S3's protocol may not support more checksums.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            // The certificate does not cover a host with a dotted bucket name, and a custom address has no host per
            // bucket.
            .force_path_style(self.endpoint_url.is_some() || self.name.contains('.'));
        Client::from_conf(guarded!(builder, access, &self.endpoint_url).build())
    }

    /// The bucket's region, if the service returns it; it may differ from the stream's. A refusal without the region
    /// is left to the next request, whose response has a message.
    async fn region_of_bucket(&self, client: &Client) -> Result<Option<String>> {
        self.calls
            .retried("HeadBucket", || async {
                match client.head_bucket().bucket(&self.name).send().await {
                    Ok(answer) => Ok(answer.bucket_region),
                    Err(SdkError::ServiceError(answer)) if answer.raw().status().as_u16() < 500 => {
                        Ok(answer.raw().headers().get(BUCKET_REGION).map(str::to_owned))
                    }
                    Err(error) => Err(SERVICE.classify("HeadBucket", &self.name, error)),
                }
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use crate::service::dark::{Dark, keys};

    #[tokio::test]
    async fn a_connection_that_went_dark_costs_one_attempt() {
        let service = Dark::start().await;
        let access = StoreAccess {
            region: Some("us-east-1".to_owned()),
            job_keys: Some(keys()),
            ..StoreAccess::default()
        };
        let all = [
            ("kinesis.streamName", "s".to_owned()),
            ("kinesis.s3.endpointUrl", service.endpoint()),
        ]
        .map(|(key, value)| (key.to_owned(), value));
        let metadata = options::source(&all.into()).expect("options").options.metadata;
        let connected = store_access(&access).await.expect("an access");
        let bucket = Bucket::new(access, &metadata, "claims");
        let config = bucket.connect(&connected).config().to_builder();
        let config = config
            .http_client(service.trusting())
            .timeout_config(Dark::timeouts());
        let client = Client::from_conf(config.build());
        service
            .costs_one_attempt(async || client.get_object().bucket("claims").key("x").send().await)
            .await;
    }
}
