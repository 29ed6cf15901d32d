//! The DynamoDB table: its client and its creation.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableDescription,
    TableStatus,
};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use crate::claims::backends::calls::Calls;
use crate::claims::backends::failure::Service;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{MetadataOptions, StoreAccess};
use crate::service::{guarded, store_access};

// The names used by awslabs/spark-sql-kinesis-connector, so that its tables can be reused.
/// Attribute of the source.
pub(super) const PARTITION_KEY: &str = "metadataKey";
/// Attribute of the batch and the shard.
pub(super) const SORT_KEY: &str = "metadataSortKey";
/// Attribute of the claim.
pub(super) const VALUE: &str = "metadataValue";

/// The service's names in messages.
pub(super) const SERVICE: Service = Service {
    name: "DynamoDB",
    endpoint_key: "kinesis.dynamodb.endpointUrl",
    permissions: "dynamodb:DescribeTable, PutItem, GetItem, Query and BatchWriteItem (or DeleteItem) on the table, and \
                  CreateTable where it does not exist yet",
};

/// Longest wait for the creation of a table, which takes some seconds.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// First and longest wait between two checks of the table's status.
const STATUS_CHECK_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A table and its client, shared by all its users in this process. The client is created when first needed.
pub(crate) struct Table {
    pub(super) name: String,
    /// The table's name in messages.
    pub(super) place: String,
    pub(super) calls: Calls,
    access: StoreAccess,
    endpoint_url: Option<String>,
    client: OnceCell<Client>,
    /// Held during [`Self::ensure`]: other tasks of this process wait, and then find the table.
    making: Mutex<()>,
    warned_of_single_deletes: AtomicBool,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Table {
    /// The table that the options name.
    pub(crate) fn new(access: StoreAccess, metadata: &MetadataOptions) -> Result<Self> {
        let name = metadata.dynamodb_table.clone().ok_or_else(|| {
            Error::new(
                ErrorKind::Internal,
                "a DynamoDB store was asked for without the name of a table",
            )
        })?;
        Ok(Self {
            place: format!("DynamoDB table {name}"),
            name,
            calls: Calls::new(metadata.retry),
            access,
            endpoint_url: metadata.dynamodb_endpoint_url.clone(),
            client: OnceCell::new(),
            making: Mutex::default(),
            warned_of_single_deletes: AtomicBool::new(false),
        })
    }

    /// Warns once that old claims can only be removed one by one.
    pub(super) fn warn_of_single_deletes(&self) {
        if !self.warned_of_single_deletes.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                table = %self.name,
                "dynamodb:BatchWriteItem is not allowed on the table: old claims are removed one by one \
                 (dynamodb:DeleteItem). Allow it for fewer requests (docs/permissions.md)"
            );
        }
    }

    pub(super) async fn client(&self) -> Result<&Client> {
        self.client
            .get_or_try_init(|| async {
                let access = store_access(&self.access).await?;
                let builder = aws_sdk_dynamodb::config::Builder::from(&access.config);
                let builder = guarded!(builder, access, &self.endpoint_url);
                Ok(Client::from_conf(builder.build()))
            })
            .await
    }

    /// Returns once the table exists, is usable and has the required keys; creates it if it is missing.
    pub(super) async fn ensure(&self) -> Result<()> {
        let _making = self.making.lock().await;
        let deadline = Instant::now() + LONGEST_WAIT;
        let (mut pause, longest_pause) = STATUS_CHECK_PAUSES;
        loop {
            let status = match self.describe().await? {
                Some(table) => {
                    self.check_keys(&table)?;
                    table.table_status
                }
                None => {
                    self.create().await?;
                    Some(TableStatus::Creating)
                }
            };
            let status = match status {
                Some(TableStatus::Active | TableStatus::Updating) => return Ok(()),
                Some(TableStatus::Creating | TableStatus::Deleting) | None if Instant::now() < deadline => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(longest_pause);
                    continue;
                }
                Some(status) => status.to_string(),
                None => "unknown".to_owned(),
            };
            return Err(Error::new(
                ErrorKind::Store,
                format!(
                    "the {} can't be used: its status is {status}. Look at it in the account, or name another table \
                     in kinesis.dynamodb.tableName",
                    self.place
                ),
            ));
        }
    }

    /// A better error than `error`, if the table has other keys than required.
    pub(super) async fn explain(&self, error: Error) -> Error {
        match self.describe().await {
            Ok(Some(table)) => self.check_keys(&table).err().unwrap_or(error),
            Ok(None) | Err(_) => error,
        }
    }

    async fn describe(&self) -> Result<Option<TableDescription>> {
        self.calls
            .retried("DescribeTable", || async {
                let sent = self
                    .client()
                    .await?
                    .describe_table()
                    .table_name(&self.name)
                    .send()
                    .await;
                match sent {
                    Ok(answer) => Ok(answer.table),
                    Err(error)
                        if matches!(
                            error.as_service_error(),
                            Some(DescribeTableError::ResourceNotFoundException(_))
                        ) =>
                    {
                        Ok(None)
                    }
                    Err(error) => Err(SERVICE.classify("DescribeTable", &self.place, error)),
                }
            })
            .await
    }

    /// Requests the creation of the table. A concurrent creation by another process is a success, too.
    async fn create(&self) -> Result<()> {
        let internal =
            |error: aws_sdk_dynamodb::error::BuildError| Error::new(ErrorKind::Internal, error.to_string());
        let mut keys = Vec::new();
        let mut attributes = Vec::new();
        for (name, kind) in [(PARTITION_KEY, KeyType::Hash), (SORT_KEY, KeyType::Range)] {
            keys.push(
                KeySchemaElement::builder()
                    .attribute_name(name)
                    .key_type(kind)
                    .build()
                    .map_err(internal)?,
            );
            attributes.push(
                AttributeDefinition::builder()
                    .attribute_name(name)
                    .attribute_type(ScalarAttributeType::S)
                    .build()
                    .map_err(internal)?,
            );
        }
        tracing::info!(table = %self.name, "making the table of the claims");
        self.calls
            .retried("CreateTable", || async {
                let sent = self
                    .client()
                    .await?
                    .create_table()
                    .table_name(&self.name)
                    .set_key_schema(Some(keys.clone()))
                    .set_attribute_definitions(Some(attributes.clone()))
                    .billing_mode(BillingMode::PayPerRequest)
                    .send()
                    .await;
                match sent {
                    Ok(_) => Ok(()),
                    Err(error)
                        if matches!(
                            error.as_service_error(),
                            Some(CreateTableError::ResourceInUseException(_))
                        ) =>
                    {
                        Ok(())
                    }
                    Err(error) => Err(SERVICE.classify("CreateTable", &self.place, error)),
                }
            })
            .await
    }

    fn check_keys(&self, table: &TableDescription) -> Result<()> {
        let type_of = |name: &str| {
            table
                .attribute_definitions()
                .iter()
                .find(|attribute| attribute.attribute_name() == name)
                .map_or_else(
                    || "?".to_owned(),
                    |attribute| attribute.attribute_type().to_string(),
                )
        };
        let found: Vec<_> = table
            .key_schema()
            .iter()
            .map(|key| {
                let name = key.attribute_name();
                format!("{name} ({} {})", key.key_type(), type_of(name))
            })
            .collect();
        let expected = [
            format!("{PARTITION_KEY} (HASH S)"),
            format!("{SORT_KEY} (RANGE S)"),
        ];
        if found == expected {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::InvalidOption,
            format!(
                "the {} has the keys {}, but claims need the keys {}. Name another table in \
                 kinesis.dynamodb.tableName: one that does not exist is made",
                self.place,
                found.join(", "),
                expected.join(", ")
            ),
        )
        .with("option", "kinesis.dynamodb.tableName")
        .with("store", self.place.clone()))
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
            ("kinesis.metadataCommitterType", "DYNAMODB".to_owned()),
            ("kinesis.dynamodb.tableName", "claims".to_owned()),
            ("kinesis.dynamodb.endpointUrl", service.endpoint()),
        ]
        .map(|(key, value)| (key.to_owned(), value));
        let metadata = options::source(&all.into()).expect("options").options.metadata;
        let table = Table::new(access, &metadata).expect("a table");
        let config = table.client().await.expect("a client").config().to_builder();
        let config = config
            .http_client(service.trusting())
            .timeout_config(Dark::timeouts());
        let client = Client::from_conf(config.build());
        service
            .costs_one_attempt(async || client.list_tables().send().await)
            .await;
    }
}
