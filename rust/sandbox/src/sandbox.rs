//! A running sandbox, with methods to set its knobs.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::config::SandboxConfig;
use crate::core::Core;
use crate::knobs::{
    Aim, Fault, ForgetUpdate, KnobError, KnobUpdate, Listing, ListingUpdate, Schedule, ShardLimits,
    StretchUpdate, SubscriptionFault, Trim, TrimUpdate, WaitingFault,
};
use crate::protocol::{ErrorCode, Operation};
use crate::server;
use crate::stats::Stats;
use crate::tls;

/// A running sandbox. Dropping it closes its ports and all connections.
#[derive(Debug)]
pub struct Sandbox {
    core: Arc<Core>,
    plain: Server,
    tls: Option<Server>,
    /// The authority's certificate in PEM; empty without TLS.
    authority: String,
}

/// A port and the task that serves it.
#[derive(Debug)]
struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(port: u16, core: &Arc<Core>, tls: Option<TlsAcceptor>) -> io::Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(|error| {
                io::Error::new(error.kind(), format!("cannot serve on 127.0.0.1:{port}: {error}"))
            })?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(server::serve(listener, Arc::clone(core), tls));
        Ok(Server { address, task })
    }

    async fn stop(&mut self) {
        self.task.abort();
        // The task ends because of the cancellation above.
        drop((&mut self.task).await);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sandbox {
    /// Binds to loopback and serves on the current tokio runtime.
    pub async fn start(config: SandboxConfig) -> io::Result<Sandbox> {
        let (port, tls_port) = (config.port, config.tls_port);
        let core = Arc::new(Core::new(config));
        let plain = Server::start(port, &core, None).await?;
        let (tls, authority) = match tls_port {
            None => (None, String::new()),
            Some(port) => {
                let identity = tls::identity()?;
                let server = Server::start(port, &core, Some(identity.acceptor)).await?;
                (Some(server), identity.authority)
            }
        };
        Ok(Sandbox {
            core,
            plain,
            tls,
            authority,
        })
    }

    /// HTTP endpoint, e.g. `http://127.0.0.1:4567`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.plain.address)
    }

    /// HTTPS endpoint, e.g. `https://127.0.0.1:4568`, if enabled.
    pub fn tls_endpoint(&self) -> Option<String> {
        self.tls.as_ref().map(|tls| format!("https://{}", tls.address))
    }

    /// Certificate in PEM that clients of the HTTPS endpoint must trust. Each start creates a new one.
    pub fn tls_certificate(&self) -> Option<&str> {
        self.tls.as_ref().map(|_| self.authority.as_str())
    }

    /// Port of the HTTP endpoint.
    pub fn port(&self) -> u16 {
        self.plain.address.port()
    }

    /// Closes the ports and all connections, and waits for completion.
    pub async fn stop(mut self) {
        self.plain.stop().await;
        if let Some(tls) = &mut self.tls {
            tls.stop().await;
        }
    }

    /// Applies an update of the knobs, as `POST /sandbox/knobs` does.
    pub fn apply(&self, update: &KnobUpdate) -> Result<(), KnobError> {
        self.core.apply(update)
    }

    /// Counters since the start or the last reset.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// Restores the initial state: no streams, counters at zero, the configured knobs.
    pub fn reset(&self) {
        self.core.reset();
    }

    /// Makes calls of this operation fail: the next `n`, or a fraction of all. Adds to existing faults.
    pub fn fail(&self, operation: Operation, fault: Fault, schedule: Schedule) {
        let any = Aim::default();
        self.core.knobs.add_fault(operation, any, fault, schedule);
    }

    /// Makes calls of GetShardIterator, GetRecords or SubscribeToShard for this shard fail. Adds to existing faults.
    pub fn fail_shard(
        &self,
        operation: Operation,
        (stream, shard): (&str, &str),
        fault: Fault,
        schedule: Schedule,
    ) {
        let aim = Aim {
            stream: Some(stream.to_owned()),
            shard: Some(shard.to_owned()),
        };
        self.core.knobs.add_fault(operation, aim, fault, schedule);
    }

    /// Makes entries of PutRecords fail with this code, while the call succeeds. Adds to existing faults.
    pub fn fail_entries(&self, code: ErrorCode, schedule: Schedule) {
        self.core.knobs.add_entry_fault(code, schedule);
    }

    /// Plans a fault for future subscriptions, after this number of events of each. Adds to existing faults.
    pub fn fail_subscriptions(&self, fault: SubscriptionFault, after_events: u64, schedule: Schedule) {
        self.core
            .fail_subscriptions(WaitingFault::to_come(fault, after_events, schedule));
    }

    /// Removes all faults: of calls, of entries and of future subscriptions.
    pub fn clear_faults(&self) {
        self.core.knobs.clear_faults();
    }

    /// Delays every response of this operation; zero ends that.
    pub fn delay(&self, operation: Operation, delay: Duration) {
        self.core.knobs.change(|settings| {
            if delay.is_zero() {
                settings.delays.remove(&operation);
            } else {
                settings.delays.insert(operation, delay.as_millis() as u64);
            }
        });
    }

    /// Maximum age of a shard iterator. The service's is five minutes.
    pub fn set_iterator_max_age(&self, age: Duration) {
        self.core
            .knobs
            .change(|settings| settings.iterator_max_age_ms = age.as_millis() as u64);
    }

    /// Maximum age of a page token. The service's is five minutes.
    pub fn set_next_token_max_age(&self, age: Duration) {
        self.core
            .knobs
            .change(|settings| settings.next_token_max_age_ms = age.as_millis() as u64);
    }

    /// Expires all iterators issued so far.
    pub fn expire_iterators(&self) {
        self.core.knobs.change(|settings| settings.iterator_epoch += 1);
    }

    /// Makes the next `lists` lists of a stream's shards show the state before its last reshard; 0 ends that.
    pub fn show_shards(&self, stream: &str, show: Listing, lists: u64) -> Result<(), KnobError> {
        self.core.list_so(&ListingUpdate {
            stream: stream.to_owned(),
            show,
            count: Some(lists),
            for_ms: None,
        })
    }

    /// Adds a stretch without records to a shard: before every position, or after a record. See [`StretchUpdate`].
    pub fn stretch(
        &self,
        (stream, shard): (&str, &str),
        after: Option<&str>,
        answers: u32,
    ) -> Result<(), KnobError> {
        self.core.stretch(&StretchUpdate {
            stream: stream.to_owned(),
            shard: shard.to_owned(),
            answers,
            after: after.map(str::to_owned),
        })
    }

    /// Removes records of one shard, or of all shards of a stream; returns their number.
    pub fn trim(&self, stream: &str, shard: Option<&str>, records: Trim) -> Result<usize, KnobError> {
        let (stream, shard) = (stream.to_owned(), shard.map(str::to_owned));
        self.core.trim(&TrimUpdate {
            stream,
            shard,
            records,
        })
    }

    /// Removes a closed shard and its records.
    pub fn forget_shard(&self, stream: &str, shard: &str) -> Result<(), KnobError> {
        self.core.forget(&ForgetUpdate {
            stream: stream.to_owned(),
            shard: shard.to_owned(),
        })
    }

    /// Caps the records of a GetRecords response; `None` lifts the cap.
    pub fn set_max_records_per_get(&self, cap: Option<usize>) {
        self.core
            .knobs
            .change(|settings| settings.max_records_per_get = cap.filter(|n| *n > 0));
    }

    /// Makes the next `count` GetRecords responses empty, with MillisBehindLatest above 0.
    pub fn answer_empty(&self, count: u64) {
        self.core.knobs.change(|settings| settings.empty_answers = count);
    }

    /// Enables throughput limits of shards (see [`ShardLimits::default`]); `None` disables them.
    pub fn set_shard_limits(&self, limits: Option<ShardLimits>) {
        self.core.knobs.change(|settings| settings.shard_limits = limits);
    }

    /// Offset added to the arrival time of records put from now on.
    pub fn set_arrival_offset_ms(&self, offset: i64) {
        self.core
            .knobs
            .change(|settings| settings.arrival_offset_ms = offset);
    }

    /// Time that a stream is CREATING or UPDATING after a change.
    pub fn set_transition(&self, time: Duration) {
        self.core
            .knobs
            .change(|settings| settings.transition_ms = time.as_millis() as u64);
    }

    /// Refuses requests signed with this access key id, with UnrecognizedClientException.
    pub fn reject_key(&self, access_key_id: &str) {
        self.core.knobs.change(|settings| {
            settings.rejected_keys.insert(access_key_id.to_owned());
        });
    }

    /// Accepts all rejected access key ids again.
    pub fn accept_all_keys(&self) {
        self.core.knobs.change(|settings| settings.rejected_keys.clear());
    }
}
