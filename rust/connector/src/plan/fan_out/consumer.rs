//! The registered consumer of a query: found or registered when the query starts, and deregistered when it ends for
//! good.

use std::time::Duration;

use backon::{BackoffBuilder, ConstantBackoff, ConstantBuilder};
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::options::ConsumerChoice;
use crate::service::{Consumer, ConsumerId, ConsumerStatus, FanOutApi};
use crate::storage::FileSystem;
use crate::stream::offset_home;

/// The file in the checkpoint location that names the consumer that the query registered: its ARN, and on a second
/// line the [home](offset_home) of the query, since a copy of the checkpoint is another query's. Earlier files have
/// the ARN only.
const REGISTERED: &str = "registered-consumer";
/// Time within which a consumer must become active, or be deleted before another one can have its name.
const BECOMES_ACTIVE: Duration = Duration::from_secs(120);
/// Wait between two checks of a consumer's status.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Longest wait for the registration of a consumer: the service registers five at a time (AWS limit).
const REGISTERED_WITHIN: Duration = Duration::from_secs(600);
/// Wait between two attempts to register, with random jitter of up to the same again.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// The lowest of the service's limits for consumers of a stream (AWS limit). The account's own limit can't be
/// queried.
const LEAST_LIMIT: usize = 20;
/// Number of consecutive listings that must show the stream full: a refusal may have another reason, which has passed
/// by the time of the listing.
const FOUND_FULL: u32 = 3;

/// A query's active consumer.
#[derive(Debug)]
pub(super) struct RegisteredConsumer {
    pub arn: String,
    /// True if the query registered it, at this or an earlier start.
    ours: bool,
}

impl RegisteredConsumer {
    /// Finds the consumer or registers it, and waits until it is active. A consumer with the ARN `inherited` was
    /// registered by an earlier query and belongs to this one from then on. `folder` is the source's own folder in
    /// the checkpoint location.
    pub(super) async fn prepare(
        api: &dyn FanOutApi,
        stream_arn: &str,
        choice: &ConsumerChoice,
        inherited: Option<&str>,
        files: &dyn FileSystem,
        folder: &str,
    ) -> Result<Self> {
        let (id, name) = match choice {
            ConsumerChoice::Arn(arn) => (ConsumerId::Arn(arn), None),
            ConsumerChoice::Name(name) => (ConsumerId::Named { stream_arn, name }, Some(name.as_str())),
        };
        let mut deadline = Instant::now() + BECOMES_ACTIVE;
        let mut turn = Turn::new();
        loop {
            let status = match api.describe_consumer(id).await {
                Ok(found) if found.status == ConsumerStatus::Active => {
                    let ours = match name {
                        None => false,
                        Some(_) if registered(files, folder).await?.as_ref() == Some(&found.arn) => true,
                        Some(_) if inherited == Some(&found.arn) => {
                            note(files, folder, &found.arn).await?;
                            true
                        }
                        Some(_) => false,
                    };
                    return Ok(Self { arn: found.arn, ours });
                }
                Ok(found) => Some(found.status),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            match (status, name) {
                (None, Some(name)) => {
                    match api.register_consumer(stream_arn, name).await {
                        Ok(consumer) => {
                            tracing::info!(consumer = %consumer.arn, "registered the consumer");
                            note(files, folder, &consumer.arn).await?;
                        }
                        // Another process has just registered it.
                        Err(error) if error.kind() == ErrorKind::InUse => {
                            if Instant::now() >= deadline {
                                return Err(error);
                            }
                            tokio::time::sleep(ASK_EVERY).await;
                            continue;
                        }
                        Err(error) if error.kind() == ErrorKind::Throttled => {
                            turn.wait_after(error, api, stream_arn)
                                .await
                                .map_err(|error| about(choice, error))?;
                        }
                        Err(error) => return Err(error),
                    }
                    deadline = Instant::now() + BECOMES_ACTIVE;
                }
                (None | Some(ConsumerStatus::Deleting), None) => return Err(no_such(choice)),
                _ if Instant::now() >= deadline => return Err(not_active(choice)),
                _ => tokio::time::sleep(ASK_EVERY).await,
            }
        }
    }

    /// The consumer's ARN if the query registered it and so has to deregister it.
    pub(super) fn to_deregister(&self) -> Option<&str> {
        self.ours.then_some(self.arn.as_str())
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

/// The wait for a registration while others are in progress.
#[derive(Debug)]
struct Turn {
    until: Instant,
    waits: ConstantBackoff,
    found_full: u32,
}

impl Turn {
    fn new() -> Self {
        Self {
            until: Instant::now() + REGISTERED_WITHIN,
            waits: ConstantBuilder::default()
                .with_delay(TRY_EVERY)
                .without_max_times()
                .with_jitter()
                .build(),
            found_full: 0,
        }
    }

    /// Waits after a refusal. Fails if the stream is full, which no wait fixes, or after [`REGISTERED_WITHIN`].
    async fn wait_after(&mut self, refusal: Error, api: &dyn FanOutApi, stream_arn: &str) -> Result<()> {
        let listed = match api.list_consumers(stream_arn).await {
            Ok(listed) => Some(listed),
            // Without permission to list the consumers, assume that the reason may pass.
            Err(error) if error.kind() == ErrorKind::Access || error.is_retryable() => None,
            Err(error) => return Err(error),
        };
        let (all, changing) = listed.as_ref().map_or((0, 0), |listed| {
            let active = |consumer: &&Consumer| consumer.status == ConsumerStatus::Active;
            (listed.len(), listed.len() - listed.iter().filter(active).count())
        });
        self.found_full = match all >= LEAST_LIMIT && changing == 0 {
            true => self.found_full + 1,
            false => 0,
        };
        if self.found_full >= FOUND_FULL {
            return Err(limit_reached(all, refusal));
        }
        if Instant::now() >= self.until {
            return Err(no_turn(listed.map(|_| (all, changing)), refusal));
        }
        tracing::info!(
            consumers = all,
            changing,
            "waiting for the consumer's turn to be registered: {refusal}"
        );
        tokio::time::sleep(self.waits.next().unwrap_or(TRY_EVERY)).await;
        Ok(())
    }
}

/// Records which consumer the query registered.
async fn note(files: &dyn FileSystem, folder: &str, arn: &str) -> Result<()> {
    let path = path(folder);
    let note = format!("{arn}\n{}\n", offset_home(folder));
    files.delete(&path).await?;
    files.put_if_absent(&path, note.into_bytes()).await?;
    Ok(())
}

/// The ARN of the consumer that an earlier start of the query registered in this checkpoint location.
async fn registered(files: &dyn FileSystem, folder: &str) -> Result<Option<String>> {
    let kept = files.read(&path(folder)).await?;
    let note = kept.and_then(|note| String::from_utf8(note).ok());
    Ok(note.and_then(|note| {
        let mut lines = note.lines();
        let arn = lines.next()?.to_owned();
        let here = lines.next().is_none_or(|home| home == offset_home(folder));
        here.then_some(arn)
    }))
}

fn path(folder: &str) -> String {
    format!("{folder}/{REGISTERED}")
}

fn limit_reached(consumers: usize, refusal: Error) -> Error {
    refused(
        format!(
            "the stream has {consumers} consumers, and may have no more: the limit is 20, or 50 with On-demand \
             Advantage (AWS limits). Deregister one that nothing uses (ListStreamConsumers names them), set \
             kinesis.consumerArn to one that is there, or read with kinesis.consumerType GetRecords"
        ),
        refusal,
    )
}

fn no_turn(listed: Option<(usize, usize)>, refusal: Error) -> Error {
    let how_many = match listed {
        Some((all, changing)) => {
            format!("the stream has {all} consumers, {changing} of them being registered or deregistered")
        }
        None => {
            "how many consumers the stream has could not be listed (kinesis:ListStreamConsumers)".to_owned()
        }
    };
    refused(
        format!(
            "the consumer could not be registered within {} s: {how_many}, and the service makes five at a time, and \
             20 for a stream, or 50 with On-demand Advantage (AWS limits). Start again when fewer queries do, or \
             deregister a consumer that nothing uses",
            REGISTERED_WITHIN.as_secs()
        ),
        refusal,
    )
    .retryable(true)
}

/// The error with the service's message.
fn refused(message: String, refusal: Error) -> Error {
    let message = format!("{message}. The service said: {}", refusal.message());
    refusal.reworded(message).retryable(false)
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
