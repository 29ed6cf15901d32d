//! A planner's registered consumer, which one query uses at a time, from its start to its end.

mod consumer;
#[cfg(test)]
mod consumer_tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::options::{ConsumerChoice, table};
use crate::read::{Busy, InUseByQuery, SubscriptionReports};
use crate::service::FanOutApi;
use crate::storage::FileSystem;
use consumer::RegisteredConsumer;

/// Time within which a query that is ending must free its consumer for the next one.
const OTHER_ENDS: Duration = Duration::from_secs(5);
/// Time within which a query that is ending must deregister its consumer.
const DEREGISTERED: Duration = Duration::from_secs(60);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Fan-out state of a planner.
#[derive(Debug)]
pub(in crate::plan) struct FanOut {
    api: Arc<dyn FanOutApi>,
    subscriptions: SubscriptionReports,
    consumer: RegisteredConsumer,
    in_use: InUseByQuery,
}

impl FanOut {
    /// Finds or registers the consumer and reserves it for this query.
    pub(in crate::plan) async fn prepare(
        api: Arc<dyn FanOutApi>,
        subscriptions: SubscriptionReports,
        stream_arn: &str,
        choice: &ConsumerChoice,
        files: &dyn FileSystem,
        folder: &str,
    ) -> Result<Self> {
        refuse_other_stream(stream_arn, choice)?;
        // Reserve first: a query that is ending may be about to deregister the consumer that the description shows.
        let in_use = claim(&subscriptions, &key(stream_arn, choice)).await?;
        let inherited = in_use.inherited();
        let consumer =
            RegisteredConsumer::prepare(&*api, stream_arn, choice, inherited, files, folder).await?;
        in_use.goes_on();
        Ok(Self {
            api,
            subscriptions,
            consumer,
            in_use,
        })
    }

    /// The consumer's ARN.
    pub(in crate::plan) fn consumer(&self) -> String {
        self.consumer.arn.clone()
    }

    /// Accepts reports on the query's source from then on.
    pub(in crate::plan) fn serve(&self, source: &str) {
        self.subscriptions.serve(source, &self.consumer.arn);
    }

    /// Frees the consumer for another query, or for this one's next start.
    pub(in crate::plan) fn stop(&self) {
        self.in_use.leave(self.consumer.to_deregister());
    }

    /// Deregisters the consumer if the query registered it and nobody has taken it since; for a query that ended for
    /// good.
    pub(in crate::plan) async fn release(&self, files: &dyn FileSystem, folder: &str) -> Result<()> {
        let Some(arn) = self.consumer.to_deregister() else {
            return Ok(());
        };
        if !self.in_use.may_deregister() {
            tracing::info!(consumer = %arn, "the consumer stays: a query that started meanwhile reads with it");
            return Ok(());
        }
        self.consumer.release(&*self.api, files, folder).await
    }
}

/// Refuses the ARN of another stream's consumer, which would deliver that stream's records.
fn refuse_other_stream(stream_arn: &str, choice: &ConsumerChoice) -> Result<()> {
    let ConsumerChoice::Arn(consumer) = choice else {
        return Ok(());
    };
    let key = table::CONSUMER_ARN.key;
    match consumer.split_once("/consumer/") {
        Some((named, _)) if named == stream_arn => Ok(()),
        named => Err(Error::new(
            ErrorKind::InvalidOption,
            format!(
                "{key} names a consumer of another stream: of {}, and the stream to read is {stream_arn}. Give the \
                 ARN of one of its own consumers (ListStreamConsumers names them), or set {} instead",
                named.map_or("none", |(stream, _)| stream),
                table::CONSUMER_NAME.key,
            ),
        )
        .with("option", key)
        .with("consumer", consumer)),
    }
}

/// Reserves the consumer for one query of this process, for the lifetime of the returned value.
async fn claim(subscriptions: &SubscriptionReports, consumer: &str) -> Result<InUseByQuery> {
    let began = Instant::now();
    loop {
        let (patience, why) = match subscriptions.claim_consumer(consumer) {
            Ok(in_use) => return Ok(in_use),
            Err(Busy::Read) => (
                OTHER_ENDS,
                "another query of this application, or another source of this query, reads with the same consumer: one \
                 would take the shards from the other. Give each a kinesis.consumerName of its own",
            ),
            Err(Busy::Deregistered) => (
                DEREGISTERED,
                "a query of this application that ended is still deregistering the consumer: start again",
            ),
        };
        if began.elapsed() >= patience {
            return Err(Error::new(ErrorKind::InUse, why).with("consumer", consumer));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// A consumer's ARN without the time of its registration, whether the options give its name or its ARN.
fn key(stream_arn: &str, choice: &ConsumerChoice) -> String {
    match choice {
        ConsumerChoice::Name(name) => format!("{stream_arn}/consumer/{name}"),
        ConsumerChoice::Arn(arn) => arn
            .rsplit_once(':')
            .map_or(arn.as_str(), |(key, _)| key)
            .to_owned(),
    }
}
