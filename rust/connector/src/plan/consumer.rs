//! The registered consumer of a query: found or made when the query starts, and removed when it ends for good.

use std::time::Duration;

use tokio::time::Instant;

use crate::checkpoint::hadoop::FileSystem;
use crate::error::{Error, ErrorKind, Result};
use crate::options::ConsumerChoice;
use crate::service::{ConsumerId, ConsumerStatus, FanOutApi};

/// The file in the checkpoint location that names the consumer the query registered.
const REGISTERED: &str = "registered-consumer";
/// Longest that a consumer may take to become active, or to go before another one can have its name.
const BECOMES_ACTIVE: Duration = Duration::from_secs(120);
/// Between two questions whether it has.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// A query's consumer, which is active.
#[derive(Debug)]
pub(super) struct RegisteredConsumer {
    pub arn: String,
    /// The query registered it, now or at an earlier start.
    ours: bool,
}

impl RegisteredConsumer {
    /// Finds the consumer, or registers it, and waits until it is active. `folder` is the source's own in the
    /// checkpoint location.
    pub(super) async fn prepare(
        api: &dyn FanOutApi,
        stream_arn: &str,
        choice: &ConsumerChoice,
        files: &dyn FileSystem,
        folder: &str,
    ) -> Result<Self> {
        let (id, name) = match choice {
            ConsumerChoice::Arn(arn) => (ConsumerId::Arn(arn), None),
            ConsumerChoice::Name(name) => (ConsumerId::Named { stream_arn, name }, Some(name.as_str())),
        };
        let deadline = Instant::now() + BECOMES_ACTIVE;
        loop {
            let status = match api.describe_consumer(id).await {
                Ok(found) if found.status == ConsumerStatus::Active => {
                    let ours = name.is_some() && registered(files, folder).await? == Some(found.arn.clone());
                    return Ok(Self { arn: found.arn, ours });
                }
                Ok(found) => Some(found.status),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            match (status, name) {
                (None, Some(name)) => register(api, stream_arn, name, files, folder).await?,
                (None | Some(ConsumerStatus::Deleting), None) => return Err(no_such(choice)),
                _ if Instant::now() >= deadline => return Err(not_active(choice)),
                _ => tokio::time::sleep(ASK_EVERY).await,
            }
        }
    }

    /// Deregisters the consumer if the query registered it.
    pub(super) async fn release(
        &self,
        api: &dyn FanOutApi,
        files: &dyn FileSystem,
        folder: &str,
    ) -> Result<()> {
        if !self.ours {
            return Ok(());
        }
        match api.deregister_consumer(&self.arn).await {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {
                tracing::info!(consumer = %self.arn, "deregistered the consumer that the query had registered")
            }
        }
        files.delete(&path(folder)).await
    }
}

async fn register(
    api: &dyn FanOutApi,
    stream_arn: &str,
    name: &str,
    files: &dyn FileSystem,
    folder: &str,
) -> Result<()> {
    let consumer = match api.register_consumer(stream_arn, name).await {
        Ok(consumer) => consumer,
        // Somebody else did just now.
        Err(error) if error.kind() == ErrorKind::InUse => {
            tokio::time::sleep(ASK_EVERY).await;
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    tracing::info!(consumer = %consumer.arn, "registered the consumer");
    let path = path(folder);
    files.delete(&path).await?;
    files.put_if_absent(&path, consumer.arn.into_bytes()).await?;
    Ok(())
}

/// The ARN of the consumer that an earlier start of the query registered.
async fn registered(files: &dyn FileSystem, folder: &str) -> Result<Option<String>> {
    let kept = files.read(&path(folder)).await?;
    Ok(kept.and_then(|arn| String::from_utf8(arn).ok()))
}

fn path(folder: &str) -> String {
    format!("{folder}/{REGISTERED}")
}

fn no_such(choice: &ConsumerChoice) -> Error {
    about(
        choice,
        Error::new(
            ErrorKind::NotFound,
            "the stream has no such consumer: register one (RegisterStreamConsumer), or set kinesis.consumerName \
             instead of kinesis.consumerArn, which registers one of that name",
        ),
    )
}

fn not_active(choice: &ConsumerChoice) -> Error {
    about(
        choice,
        Error::new(
            ErrorKind::Transport,
            format!(
                "the consumer is not active after {} s: look at its state with DescribeStreamConsumer",
                BECOMES_ACTIVE.as_secs()
            ),
        )
        .retryable(true),
    )
}

fn about(choice: &ConsumerChoice, error: Error) -> Error {
    let (ConsumerChoice::Arn(consumer) | ConsumerChoice::Name(consumer)) = choice;
    error.with("consumer", consumer.clone())
}
