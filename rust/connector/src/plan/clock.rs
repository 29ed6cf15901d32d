//! The time that LATEST means: by the service's clock, where the driver's is wrong.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{ErrorKind, Result};
use crate::service::{KinesisApi, StreamSummary, jittered};

/// Largest difference from the service's clock at which the driver's counts as right: the service's time has whole
/// seconds and is taken some time after the request.
const TOLERANCE_MILLIS: i64 = 5_000;
/// Largest lead of the service's clock over the time in its response: that time has whole seconds, and a server may
/// use a second twice.
const MAX_LEAD_MILLIS: i64 = 1_999;

/// Uncertainty of the service's time: it has whole seconds, and its shards' clocks may differ a little.
const UNCERTAINTY_MILLIS: i64 = 2_000;

/// Time for which the description of a stream may be throttled, beyond the usual retries: an account has twenty
/// DescribeStreamSummary a second (AWS limit), and all queries of an application may start at once.
const THROTTLED_FOR: Duration = Duration::from_secs(120);

/// The service's clock, derived from the driver's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ServiceClock {
    /// Difference between the service's clock and the driver's; none if they were not compared.
    apart: Option<Apart>,
}

/// The service's time minus the driver's, in milliseconds, at both bounds of the moment at which the service
/// answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Apart {
    from_request: i64,
    from_arrival: i64,
}

impl ServiceClock {
    /// Describes the stream, compares the driver's clock with the response's time, and warns if they differ.
    pub(super) async fn asked(api: &dyn KinesisApi, stream: &str) -> Result<(Self, StreamSummary)> {
        let began = Instant::now();
        let (asked, summary) = loop {
            let asked = chrono::Utc::now().timestamp_millis();
            match api.describe_stream().await {
                Err(error) if error.kind() == ErrorKind::Throttled && began.elapsed() < THROTTLED_FOR => {
                    tokio::time::sleep(jittered(Duration::from_secs(1))).await;
                }
                summary => break (asked, summary?),
            }
        };
        let arrived = chrono::Utc::now().timestamp_millis();
        let clock = Self::between(asked, arrived, summary.service_millis);
        if clock.correction_millis() != 0 {
            let (seconds, side) = match clock.correction_millis() {
                behind if behind > 0 => (behind / 1000, "behind"),
                ahead => (-ahead / 1000, "ahead of"),
            };
            tracing::warn!(
                %stream,
                "the driver's clock is {seconds} seconds {side} the service's: LATEST is taken by the service's; \
                 set the machine's clock"
            );
        }
        Ok((clock, summary))
    }

    fn between(asked_millis: i64, arrived_millis: i64, service_millis: Option<i64>) -> Self {
        let apart = service_millis.map(|service| Apart {
            from_request: service - asked_millis,
            from_arrival: service - arrived_millis,
        });
        Self { apart }
    }

    /// Milliseconds to add to the driver's clock to get the service's; 0 where it is nearly right.
    fn correction_millis(self) -> i64 {
        match self.apart {
            Some(apart) if apart.from_arrival > TOLERANCE_MILLIS => apart.from_arrival,
            Some(apart) if apart.from_request < -TOLERANCE_MILLIS => apart.from_request,
            _ => 0,
        }
    }

    /// Least and largest number of milliseconds to add; (0, 0) where the driver's clock may be right.
    fn bounds_millis(self) -> (i64, i64) {
        let Some(apart) = self.apart else { return (0, 0) };
        let (least, most) = (apart.from_arrival, apart.from_request + MAX_LEAD_MILLIS);
        match least <= 0 && 0 <= most {
            true => (0, 0),
            false => (least, most),
        }
    }

    /// A time that none of the service's clocks has reached yet, in milliseconds since the epoch.
    pub(super) fn surely_later_millis(self) -> i64 {
        let driver = chrono::Utc::now().timestamp_millis();
        match self.apart {
            Some(apart) => driver + apart.from_request + UNCERTAINTY_MILLIS,
            None => driver + TOLERANCE_MILLIS,
        }
    }

    /// The earliest and latest value of now by the service's clock, in milliseconds since the epoch.
    pub(super) fn bounds(self) -> (i64, i64) {
        let (now, (least, most)) = (chrono::Utc::now().timestamp_millis(), self.bounds_millis());
        (now + least, now + most)
    }

    /// Now, by the service's clock; milliseconds since the epoch.
    pub(super) fn now_millis(self) -> i64 {
        chrono::Utc::now().timestamp_millis() + self.correction_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_nearly_right_is_left_alone() {
        for service in [None, Some(10_000_000), Some(9_995_000), Some(10_005_000)] {
            assert_eq!(
                ServiceClock::between(10_000_000, 10_000_000, service).correction_millis(),
                0
            );
        }
    }

    #[test]
    fn a_clock_that_is_an_hour_off_is_corrected() {
        for correction_millis in [-3_600_000, 3_600_000] {
            let clock = ServiceClock::between(10_000_000, 10_000_000, Some(10_000_000 + correction_millis));
            assert_eq!(clock.correction_millis(), correction_millis);
            let now = clock.now_millis() - correction_millis - chrono::Utc::now().timestamp_millis();
            assert!((-1_000..=0).contains(&now), "{now}");
        }
    }

    #[test]
    fn a_clock_is_believed_within_the_precision_of_the_services_time() {
        let bounds = |service| ServiceClock::between(10_000_000, 10_000_000, service).bounds_millis();
        for right in [None, Some(10_000_000), Some(9_999_000), Some(9_998_001)] {
            assert_eq!(bounds(right), (0, 0), "{right:?}");
        }
        assert_eq!(bounds(Some(10_000_001)), (1, 2_000), "the driver's is behind");
        assert_eq!(bounds(Some(9_996_000)), (-4_000, -2_001), "the driver's is ahead");
    }

    #[test]
    fn a_slow_answer_proves_no_wrong_clock() {
        let asked_at = |service| ServiceClock::between(10_000_000, 10_030_000, Some(service));
        for right in [10_000_000, 10_015_000, 10_029_000] {
            let clock = asked_at(right);
            assert_eq!(
                (clock.correction_millis(), clock.bounds_millis()),
                (0, (0, 0)),
                "{right}"
            );
        }
        assert_eq!(asked_at(9_900_000).correction_millis(), -100_000);
        assert_eq!(asked_at(10_130_000).correction_millis(), 100_000);
    }
}
