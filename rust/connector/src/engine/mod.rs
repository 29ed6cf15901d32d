//! Composition: the state that all queries and tasks of one process share, and the construction of planners, readers
//! and writers. Nothing else in the engine imports this.

mod open;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::Mutex;

use crate::claims::{self, ClaimStore, StoreClients};
use crate::config::SourceConfig;
use crate::error::Result;
use crate::options::{AccessOptions, RetryOptions, StreamId, WireProtocol};
use crate::read::FeedRegistry;
use crate::recent::Recent;
use crate::service::{AwsKinesis, Connection, FanOutApi, KinesisApi, SystemProperties};
use crate::sink::SinkStreams;
use crate::storage::FileSystem;

/// Maximum number of drivers' marks that a process remembers as seen; a repeated check costs one read.
const MARKS_KEPT: usize = 1_000;

/// The process-wide part of the connector: the clients' connection pools and the readers' feeds. Clones share it. It
/// must be used inside one tokio runtime only, since connections live in the runtime that opened them.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    clients: Mutex<Clients>,
    stores: StoreClients,
    feeds: FeedRegistry,
    /// The sources, with the starts of their queries, whose driver's mark this process has seen.
    marks_seen: parking_lot::Mutex<BTreeSet<(String, String)>>,
    sinks: SinkStreams,
    properties: RwLock<SystemProperties>,
}

/// Connections, by their access, and the clients of streams that use them.
#[derive(Debug, Default)]
struct Clients {
    connections: Recent<AccessOptions, Connection>,
    streams: Recent<StreamKey, AwsKinesis>,
}

/// Everything that a stream's client depends on.
#[derive(Debug, PartialEq)]
struct StreamKey {
    access: AccessOptions,
    stream: StreamId,
    retry: RetryOptions,
    fetch_interval: Option<Duration>,
    protocol: WireProtocol,
}

impl Engine {
    /// An engine without clients; they are created when a query first needs them.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the JVM's system properties. Existing clients stay as they are.
    pub fn set_system_properties(&self, properties: SystemProperties) {
        *self.inner.properties.write() = properties;
    }

    /// The feeds that earlier readers of this process left for the next ones.
    fn feeds(&self) -> &FeedRegistry {
        &self.inner.feeds
    }

    /// Checks, once per process, that this process sees the mark that the source's driver wrote to the store at this
    /// start.
    async fn see_mark(&self, store: &dyn ClaimStore, source: &str, start: &str) -> Result<()> {
        let mark = (source.to_owned(), start.to_owned());
        let seen = || self.inner.marks_seen.lock();
        if seen().contains(&mark) {
            return Ok(());
        }
        store.find_mark(source, start).await?;
        let mut seen = seen();
        if seen.len() >= MARKS_KEPT {
            seen.clear();
        }
        seen.insert(mark);
        Ok(())
    }

    /// The store of a source's claims; none for a batch read. `files` accesses the checkpoint location.
    fn store(
        &self,
        config: &SourceConfig,
        files: Arc<dyn FileSystem>,
    ) -> Result<Option<Arc<dyn ClaimStore>>> {
        let stores = &self.inner.stores;
        config
            .checkpoint_location
            .as_deref()
            .map(|location| claims::open(&config.options, location, stores, &self.properties(), files))
            .transpose()
    }

    /// The next report on this executor's subscriptions (enhanced fan-out), for [`Self::on_subscription_report`] in
    /// the driver. Reports follow at once after a change, and about once a second while there are subscriptions.
    pub async fn next_subscription_report(&self) -> Result<String> {
        self.feeds().subscriptions().next_report().await
    }

    /// Processes the driver's acknowledgement of a report, and ends the subscriptions of queries that ended.
    pub fn on_report_ack(&self, acknowledgement: &str) -> Result<()> {
        self.feeds().subscriptions().on_ack(acknowledgement)
    }

    /// Processes an executor's report in the driver, whose queries then need no probes. Returns the acknowledgement.
    pub fn on_subscription_report(&self, report: &str) -> Result<String> {
        self.feeds().subscriptions().on_report(report)
    }

    fn properties(&self) -> SystemProperties {
        self.inner.properties.read().clone()
    }

    /// The client of a source, created when first needed.
    async fn source_client(&self, config: &SourceConfig) -> Result<Arc<dyn KinesisApi>> {
        Ok(self.client_of_source(config).await?)
    }

    /// The client of a source, for enhanced fan-out.
    async fn fan_out_client(&self, config: &SourceConfig) -> Result<Arc<dyn FanOutApi>> {
        Ok(self.client_of_source(config).await?)
    }

    async fn client_of_source(&self, config: &SourceConfig) -> Result<Arc<AwsKinesis>> {
        let options = &config.options;
        self.client(
            &options.access,
            &options.stream,
            options.client_retry,
            Some(options.fetch_interval),
            options.protocol,
        )
        .await
    }

    async fn client(
        &self,
        access: &AccessOptions,
        stream: &StreamId,
        retry: RetryOptions,
        fetch_interval: Option<Duration>,
        protocol: WireProtocol,
    ) -> Result<Arc<AwsKinesis>> {
        let key = StreamKey {
            access: self.properties().complete(access),
            stream: stream.clone(),
            retry,
            fetch_interval,
            protocol,
        };
        let mut clients = self.inner.clients.lock().await;
        if let Some(client) = clients.streams.get(&key) {
            return Ok(client);
        }
        let connection = match clients.connections.get(&key.access) {
            Some(connection) => connection,
            None => {
                let connection = Arc::new(Connection::open(&key.access).await?);
                clients.connections.put(key.access.clone(), connection.clone());
                connection
            }
        };
        let client = AwsKinesis::on(connection, stream.clone(), retry).with_protocol(protocol);
        let client = Arc::new(match fetch_interval {
            Some(interval) => client.with_fetch_interval(interval),
            None => client,
        });
        clients.streams.put(key, client.clone());
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{SinkConfig, SinkHost};

    fn config(account: &str) -> SinkConfig {
        let json = serde_json::json!({"version": 1, "options": {
            "kinesis.streamName": "events",
            "kinesis.region": "us-east-1",
            "kinesis.stsRoleArn": format!("arn:aws:iam::{account}:role/writer"),
            "kinesis.stsSessionName": "writer",
        }});
        SinkConfig::parse(&json.to_string()).expect("a configuration")
    }

    #[test]
    fn a_stream_of_another_account_says_nothing_of_one_with_the_same_name() {
        let engine = Engine::new();
        let stream = |account| engine.sink_stream(&config(account));
        let (one, other) = (stream("111111111111"), stream("222222222222"));
        assert!(
            Arc::ptr_eq(&one, &stream("111111111111")),
            "writers of one stream share it"
        );
        assert!(!Arc::ptr_eq(&one, &other));
    }
}
