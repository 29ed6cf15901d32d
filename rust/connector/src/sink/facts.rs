//! Facts about a sink's streams that are needed before the first row.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::{try_join, try_join_all};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio::time::error::Elapsed;

use super::{SinkConfig, SinkHost};
use crate::error::{Error, ErrorKind, Result};
use crate::options::SinkOrdering;
use crate::service::StreamSummary;

/// Time for which an answer is reused: a streaming query asks in every batch, and an account has twenty such requests
/// a second.
const FRESH: Duration = Duration::from_secs(600);

/// Upper bound for a query's wait for the answer at its start. It then starts without: executors may reach what the
/// driver doesn't.
const PATIENCE: Duration = Duration::from_secs(20);

/// Interval between two questions for a stream that is being created.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Consecutive answers that must agree before a stream that was there counts as missing.
const ANSWERS: u32 = 3;

/// Facts about a stream, which the driver collects and passes to the tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StreamFacts {
    /// True if the stream is known to have AUTO record distribution, with which the service ignores partition keys.
    pub auto_distribution: bool,
    /// Largest record that the stream takes, in bytes, if that is known.
    pub max_record_bytes: Option<usize>,
}

/// The facts about all streams of a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SinkFacts {
    /// Facts about the options' own stream.
    pub stream: StreamFacts,
    /// Facts about the other streams that rows may name, by name.
    pub named: BTreeMap<String, StreamFacts>,
    /// True if any of the streams takes rows without a partition key.
    pub keyless: bool,
}

impl From<StreamSummary> for StreamFacts {
    fn from(summary: StreamSummary) -> Self {
        Self {
            auto_distribution: summary.auto_distribution,
            max_record_bytes: summary.max_record_bytes,
        }
    }
}

/// The last answer, valid for [`FRESH`].
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<Option<(Instant, StreamFacts)>>);

impl Remembered {
    fn get(&self) -> Option<StreamFacts> {
        let known = self.0.lock();
        let known = known.as_ref().filter(|(asked, _)| asked.elapsed() < FRESH);
        known.map(|(_, facts)| facts.clone())
    }

    /// The last answer, however old it is.
    fn last(&self) -> Option<StreamFacts> {
        self.0.lock().as_ref().map(|(_, facts)| facts.clone())
    }

    fn set(&self, facts: StreamFacts) {
        *self.0.lock() = Some((Instant::now(), facts));
    }
}

/// Asks the service for facts about all streams of a sink, each as [`stream_facts`] does.
pub(crate) async fn sink_facts(host: &dyn SinkHost, config: &SinkConfig) -> Result<SinkFacts> {
    let options = &config.options;
    let others = options.row_streams.iter().flat_map(|streams| &streams.names);
    let others = others.filter(|name| **name != options.stream.name);
    let others = others.map(|name| async move {
        let facts = stream_facts(host, &config.of_stream(name)).await?;
        Ok((name.clone(), facts))
    });
    let (stream, named) = try_join(stream_facts(host, config), try_join_all(others)).await?;
    let named = BTreeMap::from_iter(named);
    let keyless = std::iter::once(&stream)
        .chain(named.values())
        .any(|facts| facts.auto_distribution);
    Ok(SinkFacts {
        stream,
        named,
        keyless,
    })
}

/// Asks the service for facts about a sink's stream, on the driver, before any task.
///
/// Fails if the stream doesn't exist, or makes an option impossible. Returns the last answer, or the defaults if there
/// is none, if the driver isn't allowed to ask or gets no answer: the tasks have access of their own.
pub(crate) async fn stream_facts(host: &dyn SinkHost, config: &SinkConfig) -> Result<StreamFacts> {
    let shared = host.sink_stream(config);
    let facts = match shared.facts.get() {
        Some(facts) => facts,
        None => {
            let last = shared.facts.last();
            let mut answer = asked(host, config).await;
            for _ in 1..ANSWERS {
                let missing = answer
                    .as_ref()
                    .is_err_and(|error| error.kind() == ErrorKind::NotFound);
                if last.is_none() || !missing {
                    break;
                }
                // It was there before, and one answer proves nothing.
                tokio::time::sleep(ASK_AGAIN).await;
                answer = asked(host, config).await;
            }
            let facts = answer?.or(last).unwrap_or_default();
            shared.facts.set(facts.clone());
            facts
        }
    };
    if facts.auto_distribution && config.options.ordering == SinkOrdering::Key {
        return Err(Error::new(
            ErrorKind::InvalidOption,
            format!(
                "kinesis.sink.ordering is key, but stream {} has AUTO record distribution, where a key's records \
                 have no order. Leave the option out, or give the stream the USER_PARTITION_KEY strategy.",
                config.options.stream.name
            ),
        )
        .with("option", "kinesis.sink.ordering")
        .with("stream", config.options.stream.name.clone()));
    }
    Ok(facts)
}

/// Asks until the stream is created, for as long as its sink would wait for it. An error without an answer in time.
async fn created(
    host: &dyn SinkHost,
    config: &SinkConfig,
) -> std::result::Result<Result<StreamSummary>, Elapsed> {
    let began = Instant::now();
    loop {
        let asking = async { host.sink_client(config).await?.describe_stream().await };
        let answer = tokio::time::timeout(PATIENCE, asking).await?;
        let creating = answer.as_ref().is_ok_and(|summary| summary.creating);
        if !creating || began.elapsed() >= config.options.max_retry_time {
            return Ok(answer);
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// None if the driver isn't allowed to ask or gets no answer.
async fn asked(host: &dyn SinkHost, config: &SinkConfig) -> Result<Option<StreamFacts>> {
    let stream = &config.options.stream.name;
    match created(host, config).await {
        Ok(Ok(summary)) => Ok(Some(summary.into())),
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => Err(error),
        Ok(Err(error)) if error.kind() == ErrorKind::Access => {
            tracing::info!(
                %stream,
                "the stream isn't described, so it is taken to be as it was before, or if it never was described, to \
                 have records of at most 1 MiB with a partition key each: {error}"
            );
            Ok(None)
        }
        Ok(Err(error)) => {
            tracing::warn!(%stream, "the driver could not ask for the stream, tasks try their own way: {error}");
            Ok(None)
        }
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            tracing::warn!(%stream, seconds, "no answer about the stream on the driver, tasks try their own way");
            Ok(None)
        }
    }
}
