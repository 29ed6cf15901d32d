//! A running sandbox, and its knobs as methods.

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
    /// In PEM; empty without TLS.
    authority: String,
}

/// A port that is served.
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
        // Ends with the cancellation that was just asked for.
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

    /// Where it listens, e.g. `http://127.0.0.1:4567`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.plain.address)
    }

    /// Where it listens for HTTPS, e.g. `https://127.0.0.1:4568`, if it does.
    pub fn tls_endpoint(&self) -> Option<String> {
        self.tls.as_ref().map(|tls| format!("https://{}", tls.address))
    }

    /// The certificate in PEM that clients of the HTTPS endpoint have to trust; another one at each start.
    pub fn tls_certificate(&self) -> Option<&str> {
        self.tls.as_ref().map(|_| self.authority.as_str())
    }

    /// The plain port it listens on.
    pub fn port(&self) -> u16 {
        self.plain.address.port()
    }

    /// Closes its ports and all connections, and waits until that is done.
    pub async fn stop(mut self) {
        self.plain.stop().await;
        if let Some(tls) = &mut self.tls {
            tls.stop().await;
        }
    }

    /// Turns any knobs at once, as `POST /sandbox/knobs` does.
    pub fn apply(&self, update: &KnobUpdate) -> Result<(), KnobError> {
        self.core.apply(update)
    }

    /// What was counted since the start or the last reset.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// Back to how it was started: no streams, no counts, the knobs of the configuration.
    pub fn reset(&self) {
        self.core.reset();
    }

    /// Makes calls of this operation fail: the next so many, or a part of all. Adds to earlier faults.
    pub fn fail(&self, operation: Operation, fault: Fault, schedule: Schedule) {
        let any = Aim::default();
        self.core.knobs.add_fault(operation, any, fault, schedule);
    }

    /// Makes calls of GetShardIterator, GetRecords or SubscribeToShard for this shard fail. Adds to earlier faults.
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

    /// Makes entries of PutRecords fail with this code, while the call succeeds. Adds to earlier faults.
    pub fn fail_entries(&self, code: ErrorCode, schedule: Schedule) {
        self.core.knobs.add_entry_fault(code, schedule);
    }

    /// Makes this befall subscriptions to come, after so many events of each. Adds to earlier faults.
    pub fn fail_subscriptions(&self, fault: SubscriptionFault, after_events: u64, schedule: Schedule) {
        self.core
            .fail_subscriptions(WaitingFault::to_come(fault, after_events, schedule));
    }

    /// Forgets all faults, of calls, of entries and of subscriptions to come.
    pub fn clear_faults(&self) {
        self.core.knobs.clear_faults();
    }

    /// Answers every call of this operation so much later; zero ends that.
    pub fn delay(&self, operation: Operation, delay: Duration) {
        self.core.knobs.change(|settings| {
            if delay.is_zero() {
                settings.delays.remove(&operation);
            } else {
                settings.delays.insert(operation, delay.as_millis() as u64);
            }
        });
    }

    /// How old an iterator may grow; the service's is five minutes.
    pub fn set_iterator_max_age(&self, age: Duration) {
        self.core
            .knobs
            .change(|settings| settings.iterator_max_age_ms = age.as_millis() as u64);
    }

    /// How old a page token may grow; the service's is five minutes.
    pub fn set_next_token_max_age(&self, age: Duration) {
        self.core
            .knobs
            .change(|settings| settings.next_token_max_age_ms = age.as_millis() as u64);
    }

    /// Makes all iterators given so far expired.
    pub fn expire_iterators(&self) {
        self.core.knobs.change(|settings| settings.iterator_epoch += 1);
    }

    /// Makes the next so many lists of a stream's shards tell of the time before its last reshard; 0 ends that.
    pub fn show_shards(&self, stream: &str, show: Listing, lists: u64) -> Result<(), KnobError> {
        self.core.list_so(&ListingUpdate {
            stream: stream.to_owned(),
            show,
            count: Some(lists),
            for_ms: None,
        })
    }

    /// Makes a stretch of a shard without records, everywhere or after a record; see [`StretchUpdate`].
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

    /// Removes records of a shard, or of all shards of a stream; returns how many.
    pub fn trim(&self, stream: &str, shard: Option<&str>, records: Trim) -> Result<usize, KnobError> {
        let (stream, shard) = (stream.to_owned(), shard.map(str::to_owned));
        self.core.trim(&TrimUpdate {
            stream,
            shard,
            records,
        })
    }

    /// Unlists a closed shard, with its records.
    pub fn forget_shard(&self, stream: &str, shard: &str) -> Result<(), KnobError> {
        self.core.forget(&ForgetUpdate {
            stream: stream.to_owned(),
            shard: shard.to_owned(),
        })
    }

    /// Caps the records of a GetRecords answer; `None` lifts the cap.
    pub fn set_max_records_per_get(&self, cap: Option<usize>) {
        self.core
            .knobs
            .change(|settings| settings.max_records_per_get = cap.filter(|n| *n > 0));
    }

    /// Makes the next so many GetRecords answers empty, with MillisBehindLatest above 0.
    pub fn answer_empty(&self, count: u64) {
        self.core.knobs.change(|settings| settings.empty_answers = count);
    }

    /// Switches throughput limits of shards on (see [`ShardLimits::default`]) or off.
    pub fn set_shard_limits(&self, limits: Option<ShardLimits>) {
        self.core.knobs.change(|settings| settings.shard_limits = limits);
    }

    /// Shifts the arrival time of records put from now on.
    pub fn set_arrival_offset_ms(&self, offset: i64) {
        self.core
            .knobs
            .change(|settings| settings.arrival_offset_ms = offset);
    }

    /// How long a stream is CREATING or UPDATING after a change from now on.
    pub fn set_transition(&self, time: Duration) {
        self.core
            .knobs
            .change(|settings| settings.transition_ms = time.as_millis() as u64);
    }

    /// Answers requests signed with this access key id with UnrecognizedClientException.
    pub fn reject_key(&self, access_key_id: &str) {
        self.core.knobs.change(|settings| {
            settings.rejected_keys.insert(access_key_id.to_owned());
        });
    }

    /// Takes access key ids rejected so far again.
    pub fn accept_all_keys(&self) {
        self.core.knobs.change(|settings| settings.rejected_keys.clear());
    }
}
