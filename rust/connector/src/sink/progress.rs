//! Progress of a stream: whether it takes anything from this process, and when to give it up.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::facts::Remembered;
use super::gate::Gates;
use super::opening::Opening;
use super::shard_map::Shards;
use crate::options::AccessOptions;
use crate::recent::Recent;

/// Minimum time between two warnings about a stream.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// When a stream last accepted a record from this process's writers.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    accepted: Option<Instant>,
    warned: Option<Instant>,
}

impl Progress {
    /// Call when the stream accepts a record.
    pub(super) fn accepted(&self) {
        self.lock().accepted = Some(Instant::now());
    }

    /// Remaining time to retry what failed first at `since`: until the stream has accepted nothing from this process
    /// for `longest`. `None` when that time is over.
    pub(super) fn patience(&self, since: Instant, longest: Duration) -> Option<Duration> {
        let last = self.lock().accepted.map_or(since, |accepted| accepted.max(since));
        longest.checked_sub(last.elapsed()).filter(|left| !left.is_zero())
    }

    /// True if the stream accepted a record within the last `time`.
    pub(super) fn accepts(&self, time: Duration) -> bool {
        self.lock()
            .accepted
            .is_some_and(|accepted| accepted.elapsed() < time)
    }

    /// True if a warning is due that the stream doesn't take everything: once per [`WARNING_INTERVAL`].
    pub(super) fn warning_due(&self) -> bool {
        let mut state = self.lock();
        let due = state
            .warned
            .is_none_or(|warned| warned.elapsed() >= WARNING_INTERVAL);
        if due {
            state.warned = Some(Instant::now());
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Key of a stream: the access to it, which determines the account, and its name or ARN.
pub(crate) type SinkKey = (AccessOptions, String);

/// State that this process's writers to a stream share.
#[derive(Debug, Default)]
pub(crate) struct SinkStream {
    pub(super) progress: Progress,
    pub(super) shards: Shards,
    pub(super) gates: Gates,
    pub(super) opening: Opening,
    pub(super) facts: Remembered,
}

/// States of the streams that this process writes to, kept from one batch to the next.
#[derive(Debug, Default)]
pub(crate) struct SinkStreams(Mutex<Recent<SinkKey, SinkStream>>);

impl SinkStreams {
    /// The stream's state, which all its writers share.
    pub(crate) fn of(&self, stream: SinkKey) -> Arc<SinkStream> {
        let mut streams = self.0.lock();
        if let Some(known) = streams.get(&stream) {
            return known;
        }
        let new = Arc::<SinkStream>::default();
        streams.put(stream, Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn the_writers_of_a_stream_share_what_is_known_of_it() {
        let streams = SinkStreams::default();
        let access = AccessOptions {
            region: None,
            endpoint_url: None,
            sts_role_arn: None,
            sts_session_name: None,
            sts_endpoint_url: None,
            sts_region: None,
            sts_external_id: None,
            static_keys: None,
            provider: None,
            proxy: None,
        };
        let key = |name: &str| (access.clone(), name.to_owned());
        let one = streams.of(key("a"));
        assert!(Arc::ptr_eq(&one, &streams.of(key("a"))));
        assert!(!Arc::ptr_eq(&one, &streams.of(key("b"))));
        let known = Arc::as_ptr(&one);
        drop(one);
        assert_eq!(
            Arc::as_ptr(&streams.of(key("a"))),
            known,
            "the next batch's writers too"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn patience_begins_anew_with_every_accepted_record() {
        let progress = Progress::default();
        let start = Instant::now();
        assert!(!progress.accepts(PATIENCE));
        tokio::time::advance(PATIENCE - Duration::from_secs(1)).await;
        assert_eq!(progress.patience(start, PATIENCE), Some(Duration::from_secs(1)));
        progress.accepted();
        assert_eq!(progress.patience(start, PATIENCE), Some(PATIENCE));
        assert!(progress.accepts(PATIENCE));
        tokio::time::advance(PATIENCE).await;
        assert_eq!(progress.patience(start, PATIENCE), None);
        assert!(!progress.accepts(PATIENCE));
        assert_eq!(progress.patience(Instant::now(), PATIENCE), Some(PATIENCE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_warning_is_due_once_a_minute() {
        let progress = Progress::default();
        assert!(progress.warning_due());
        assert!(!progress.warning_due());
        tokio::time::advance(WARNING_INTERVAL).await;
        assert!(progress.warning_due());
    }
}
