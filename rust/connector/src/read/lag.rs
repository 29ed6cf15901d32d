//! Lag of a batch: how far its last row is behind the shard's tip. Delivered rows count, not fetched ones.

use tokio::time::Instant;

/// Largest `MillisBehindLatest` that still means the tip: 1 stands for the tip in an answer that waited for a later
/// batch.
const TIP: i64 = 1;

/// The answer in which a batch ended, and how much of it was delivered. Times are milliseconds since the epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// Distance to the tip when the answer was requested, in milliseconds; none if the service doesn't report it.
    pub millis_behind_latest: Option<i64>,
    /// When the answer was received.
    pub received: Instant,
    /// When the answer's last record arrived in the shard.
    pub last_arrival: Option<i64>,
    /// When the batch's last record arrived, whether in this answer or an earlier one.
    pub delivered: Option<i64>,
    /// True if some of the answer's records were left.
    pub left: bool,
}

/// The lag of a batch. It grows with time while records are known to wait, since the tip moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lag {
    millis: i64,
    grows_since: Option<Instant>,
}

impl Lag {
    /// The lag of a batch with this ending; none if unknown.
    ///
    /// If a record follows the answer, the service reports the time from the answer's newest record to the present,
    /// which reveals the present by the service's clock. If the records left are the shard's newest, this machine's
    /// clock has to do.
    pub(super) fn of(ending: Ending) -> Option<Self> {
        let now = chrono::Utc::now().timestamp_millis();
        let waited = i64::try_from(ending.received.elapsed().as_millis()).unwrap_or(i64::MAX);
        Self::at(ending, now.saturating_sub(waited))
    }

    /// [`Self::of`] with the time of the answer by this machine's clock.
    fn at(ending: Ending, received: i64) -> Option<Self> {
        let Ending {
            millis_behind_latest,
            last_arrival,
            delivered,
            left,
            ..
        } = ending;
        let since = |time: Option<i64>| Some(time?.saturating_sub(delivered?).max(0));
        let behind = millis_behind_latest.filter(|millis| *millis > TIP);
        let millis = match (left, behind) {
            (false, _) => millis_behind_latest?,
            (true, Some(behind)) => behind.saturating_add(since(last_arrival).unwrap_or_default()),
            (true, None) => since(Some(received))?.max(since(last_arrival).unwrap_or_default()),
        };
        let grows = left || behind.is_some();
        Some(Self {
            millis: if grows { millis } else { 0 },
            grows_since: grows.then_some(ending.received),
        })
    }

    /// The present lag, in milliseconds.
    pub(super) fn millis(self) -> i64 {
        let grown = self.grows_since.map_or(0, |since| {
            i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX)
        });
        self.millis.saturating_add(grown)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// When the answer came by this machine's clock, which is an hour behind the service's here.
    const RECEIVED: i64 = 1_000_000;

    fn whole(millis_behind_latest: i64) -> Ending {
        Ending {
            millis_behind_latest: Some(millis_behind_latest),
            received: Instant::now(),
            last_arrival: Some(RECEIVED - 5_000),
            delivered: Some(RECEIVED - 5_000),
            left: false,
        }
    }

    fn millis(ending: Ending) -> Option<i64> {
        Lag::at(ending, RECEIVED).map(Lag::millis)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_taken_whole_is_as_far_behind_as_it_says() {
        assert_eq!(millis(whole(0)), Some(0));
        assert_eq!(millis(whole(1)), Some(0), "the tip of an answer that waited");
        assert_eq!(millis(whole(7_000)), Some(7_000));
        let unknown = Ending {
            millis_behind_latest: None,
            ..whole(0)
        };
        assert_eq!(millis(unknown), None);
    }

    #[tokio::test(start_paused = true)]
    async fn rows_that_were_left_count() {
        let left = |millis_behind_latest| Ending {
            millis_behind_latest,
            delivered: Some(RECEIVED - 65_000),
            left: true,
            ..whole(0)
        };
        assert_eq!(millis(left(Some(7_000))), Some(67_000));
        // The service's clock is unknown: at least the lag by this machine's clock.
        assert_eq!(millis(left(Some(0))), Some(65_000));
        assert_eq!(millis(left(None)), Some(65_000));
        let behind = Lag::at(left(Some(0)), RECEIVED - 3_600_000).map(Lag::millis);
        assert_eq!(behind, Some(60_000), "as far as the records are apart, at least");
        let nothing = Ending {
            delivered: None,
            ..left(Some(0))
        };
        assert_eq!(millis(nothing), None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_grows_while_records_wait() {
        let tip = Lag::at(whole(0), RECEIVED);
        let behind = Lag::at(whole(7_000), RECEIVED);
        let left = Ending {
            left: true,
            ..whole(0)
        };
        let left = Lag::at(left, RECEIVED);
        tokio::time::advance(Duration::from_secs(2)).await;
        let now = [tip, behind, left].map(|lag| lag.map(Lag::millis));
        assert_eq!(now, [Some(0), Some(9_000), Some(7_000)]);
    }
}
