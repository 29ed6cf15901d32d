//! The service's clock, derived from the dates of its answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::Headers;
use aws_smithy_types::config_bag::ConfigBag;
use chrono::DateTime;
use parking_lot::Mutex;

/// Tolerated difference between this machine's clock and the service's, in milliseconds. Above it, signatures use the
/// service's clock; the service refuses those more than five minutes off.
const WITHIN_SIGNATURE: i64 = 240_000;

/// This machine's clock, corrected by the service's if it is too far off for signatures. Clones share one correction,
/// so what one client learns applies to all.
#[derive(Clone, Debug, Default)]
pub(super) struct ServiceClock {
    /// How far the service's clock is ahead, in milliseconds; 0 if the difference is tolerable.
    ahead: Arc<AtomicI64>,
}

impl ServiceClock {
    /// Learns from the date of an answer that refused a signature. True if this changes the clock, so that the next
    /// signature differs.
    pub fn learn(&self, date: i64) -> bool {
        let ahead = date - chrono::Utc::now().timestamp_millis();
        let ahead = if ahead.abs() < WITHIN_SIGNATURE { 0 } else { ahead };
        let before = self.ahead.swap(ahead, Ordering::Relaxed);
        let set = (ahead - before).abs() >= WITHIN_SIGNATURE;
        if set && ahead != 0 {
            tracing::warn!(
                "this machine's clock is {} s off the service's, by which requests are signed from now on",
                ahead / 1_000
            );
        }
        set
    }

    #[cfg(test)]
    pub fn set_ahead(&self, millis: i64) {
        self.ahead.store(millis, Ordering::Relaxed);
    }
}

impl TimeSource for ServiceClock {
    fn now(&self) -> SystemTime {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let apart = Duration::from_millis(ahead.unsigned_abs());
        match ahead < 0 {
            true => SystemTime::now() - apart,
            false => SystemTime::now() + apart,
        }
    }
}

/// The `Date` header, milliseconds since the epoch.
pub(super) fn date_of(headers: &Headers) -> Option<i64> {
    let date = DateTime::parse_from_rfc2822(headers.get("date")?).ok()?;
    Some(date.timestamp_millis())
}

/// Interceptor that captures the `Date` header of a call's answers.
#[derive(Clone, Debug, Default)]
pub(super) struct AnswerDate(Arc<Mutex<Option<i64>>>);

impl AnswerDate {
    /// The last answer's date, milliseconds since the epoch; none without an answer or a date in it.
    pub(super) fn millis(&self) -> Option<i64> {
        *self.0.lock()
    }
}

impl Intercept for AnswerDate {
    fn name(&self) -> &'static str {
        "AnswerDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = date_of(context.response().headers());
        *self.0.lock() = date;
        Ok(())
    }
}
