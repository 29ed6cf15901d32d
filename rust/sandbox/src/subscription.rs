//! An open subscription of SubscribeToShard, as the frames of its response.
//!
//! Frames are made when the connection asks for them, which requires an open client window. A slow client delays its
//! own subscription only, and takes up no memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, sleep_until};

use crate::core::Core;
use crate::knobs::{SubscriptionFault, SubscriptionSettings};
use crate::page::Page;
use crate::protocol::{self, ACCOUNT, ServiceError};
use crate::stats::add;
use crate::store::{Consumer, Control, Ending, Shard, Stream, now_ms};

/// Maximum size of an event, in bytes of payload and partition keys; a single record may be larger.
const MAX_EVENT: usize = 1024 * 1024;
const MAX_RECORDS: usize = 10_000;
/// Time for pushed bytes to leave the connection's buffers before a fault that would discard them.
const FLUSH: Duration = Duration::from_millis(50);

/// An open subscription and its place in the shard.
#[derive(Debug)]
pub(crate) struct Subscription {
    core: Arc<Core>,
    stream: Arc<Stream>,
    shard: Arc<Shard>,
    consumer: Arc<Consumer>,
    control: Arc<Control>,
    /// Index of the next record.
    index: u64,
    opened: Instant,
    last_event: Option<Instant>,
    stage: Stage,
    drip: Option<Drip>,
}

#[derive(Debug)]
enum Stage {
    Opened,
    Pushing,
    /// The next event is the last, and only half of it is sent.
    Breaking,
    Ended,
}

/// Next action of the connection.
#[derive(Debug)]
pub(crate) enum Push {
    Bytes(Bytes),
    /// Reset the stream.
    Reset,
    /// Stop all traffic of the connection.
    FallSilent,
}

/// Sends bytes in small pieces, with a delay before each.
#[derive(Debug)]
struct Drip {
    piece: usize,
    delay: Duration,
    left: Bytes,
}

impl Subscription {
    pub fn new(
        core: Arc<Core>,
        stream: Arc<Stream>,
        shard: Arc<Shard>,
        consumer: Arc<Consumer>,
        control: Arc<Control>,
        index: u64,
    ) -> Subscription {
        Subscription {
            core,
            stream,
            shard,
            consumer,
            control,
            index,
            opened: Instant::now(),
            last_event: None,
            stage: Stage::Opened,
            drip: None,
        }
    }

    /// Waits for the next action; `None` at the end of the subscription.
    pub async fn push(&mut self) -> Option<Push> {
        if let Some(piece) = self.piece().await {
            return Some(Push::Bytes(piece));
        }
        let push = self.frame().await?;
        match (&mut self.drip, push) {
            (Some(drip), Push::Bytes(frame)) => {
                drip.left = frame;
                self.piece().await.map(Push::Bytes)
            }
            (_, push) => Some(push),
        }
    }

    /// The next piece of a frame that is sent in pieces.
    async fn piece(&mut self) -> Option<Bytes> {
        let drip = self.drip.as_mut().filter(|drip| !drip.left.is_empty())?;
        sleep(drip.delay).await;
        let length = drip.piece.min(drip.left.len());
        Some(drip.left.split_to(length))
    }

    async fn frame(&mut self) -> Option<Push> {
        match self.stage {
            Stage::Opened => {
                self.stage = Stage::Pushing;
                return Some(Push::Bytes(protocol::initial_response()));
            }
            Stage::Pushing | Stage::Breaking => {}
            Stage::Ended => return None,
        }
        let (shard, control) = (Arc::clone(&self.shard), Arc::clone(&self.control));
        loop {
            // Enabled before the checks, so that no change is missed in between.
            let (mut arrival, mut changed) = (
                std::pin::pin!(shard.changes.wait()),
                std::pin::pin!(control.wait()),
            );
            arrival.as_mut().enable();
            changed.as_mut().enable();
            if let Some(fault) = control.fault()
                && let Some(push) = self.befall(fault).await
            {
                self.stage = Stage::Ended;
                return push;
            }
            if let Some(ending) = control.ending() {
                self.stage = Stage::Ended;
                return Some(Push::Bytes(protocol::exception(&self.error(ending))));
            }
            let settings = self.core.knobs.settings().subscriptions;
            let deadline = self.opened + Duration::from_millis(settings.lifetime_ms);
            if Instant::now() >= deadline {
                return None;
            }
            let empty_due = self
                .last_event
                .map(|last| last + Duration::from_millis(settings.idle_event_ms));
            let breaking = matches!(self.stage, Stage::Breaking);
            if let Some(mut event) = self.event(&settings, empty_due) {
                control.count_event();
                if breaking {
                    event.truncate(event.len() / 2);
                    self.stage = Stage::Ended;
                }
                return Some(Push::Bytes(event));
            }
            tokio::select! {
                () = arrival => {}
                () = changed => {}
                () = sleep_until(empty_due.map_or(deadline, |due| due.min(deadline))) => {}
            }
        }
    }

    /// Applies a fault. Returns the subscription's last action, or `None` if the subscription continues.
    async fn befall(&mut self, fault: SubscriptionFault) -> Option<Option<Push>> {
        match fault {
            SubscriptionFault::Cut => Some(None),
            SubscriptionFault::Reset => {
                sleep(FLUSH).await;
                Some(Some(Push::Reset))
            }
            SubscriptionFault::HalfOpen => {
                sleep(FLUSH).await;
                Some(Some(Push::FallSilent))
            }
            SubscriptionFault::Stall => std::future::pending().await,
            SubscriptionFault::HalfEvent => {
                self.stage = Stage::Breaking;
                None
            }
            SubscriptionFault::Drip { bytes, delay_ms } => {
                self.drip = Some(Drip {
                    piece: bytes,
                    delay: Duration::from_millis(delay_ms),
                    left: Bytes::new(),
                });
                None
            }
            SubscriptionFault::Exception(code) => {
                let error = ServiceError::new(code, format!("{code} asked for by a knob of the sandbox."));
                Some(Some(Push::Bytes(protocol::exception(&error))))
            }
        }
    }

    /// Event with records, with the shard's end, or an empty one that is due: at once after the start, then at
    /// `empty_due`.
    fn event(&mut self, settings: &SubscriptionSettings, empty_due: Option<Instant>) -> Option<Bytes> {
        let cap = settings.max_records_per_event.unwrap_or(MAX_RECORDS);
        let (now, now_ms) = (Instant::now(), now_ms());
        // Lock order: the stream before the shard.
        let lineage = self.stream.read();
        let state = self.shard.state();
        let page = Page::at(&lineage, &state, self.index, (cap, MAX_EVENT), now_ms);
        if page.count == 0 && page.children.is_none() && empty_due.is_some_and(|due| now < due) {
            return None;
        }
        let mut json = Vec::with_capacity(page.json_len + 512);
        page.push_records(Some(&state), &mut json);
        json.extend_from_slice(b",\"ContinuationSequenceNumber\":");
        if page.children.is_some() {
            json.extend_from_slice(b"null");
            self.stage = Stage::Ended;
        } else {
            let place = self.shard.place_before(page.end, now_ms);
            json.extend_from_slice(format!("\"{place}\"").as_bytes());
        }
        page.push_rest(&mut json);
        let counters = &self.shard.counters;
        add(&counters.events_pushed, 1);
        add(&counters.records_pushed, page.count);
        add(&counters.bytes_pushed, page.size);
        self.index = page.end;
        self.last_event = Some(now);
        Some(protocol::event(json))
    }

    fn error(&self, ending: Ending) -> ServiceError {
        match ending {
            Ending::TakenOver => ServiceError::in_use(
                self.consumer
                    .other_subscription(&self.stream.name, &self.shard.id),
            ),
            Ending::Deregistered => ServiceError::not_found(format!(
                "Consumer {} under stream {}, account {ACCOUNT} was deregistered.",
                self.consumer.arn, self.stream.name
            )),
            Ending::StreamDeleted => ServiceError::not_found(format!(
                "Stream {} under account {ACCOUNT} not found.",
                self.stream.name
            )),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.control.finish();
    }
}
