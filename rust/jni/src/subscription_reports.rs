//! The native methods that carry executors' reports on their subscriptions to the driver.

use jni::objects::{JClass, JObjectArray, JString};
use jni::sys::jint;

use crate::guard::export;
use crate::layout::Status;
use crate::pending::{Pending, wait_of};
use crate::{runtime, values};

/// The wait for the process's next report. A single thread asks for it.
static REPORTING: Pending = Pending::new();

export! {
    /// Writes the next report on this executor's subscriptions to `out[0]`; AGAIN or DONE.
    fn Java_io_sparkkinesis_bridge_NativeBridge_nextSubscriptionReport<'l>(
        env, _class: JClass<'l>, wait: jint, out: JObjectArray<'l, JString<'l>>,
    ) -> Status {
        let report = REPORTING.drive(runtime::get()?, "waiting for a report", wait_of(wait), || {
            let engine = runtime::engine()?;
            Ok(engine.next_subscription_report())
        })?;
        let Some(report) = report else { return Ok(Status::Again) };
        values::answer(env, &out, &report)?;
        Ok(Status::Done)
    }
}

export! {
    /// Takes the driver's acknowledgement of a report.
    fn Java_io_sparkkinesis_bridge_NativeBridge_subscriptionReportAcknowledged<'l>(
        env, _class: JClass<'l>, acknowledgement: JString<'l>,
    ) -> () {
        let acknowledgement = values::text(env, &acknowledgement, "the driver's acknowledgement")?;
        let _runtime = runtime::enter()?;
        Ok(runtime::engine()?.on_report_ack(&acknowledgement)?)
    }
}

export! {
    /// Takes an executor's report in the driver, and returns the acknowledgement.
    fn Java_io_sparkkinesis_bridge_NativeBridge_onSubscriptionReport<'l>(
        env, _class: JClass<'l>, report: JString<'l>,
    ) -> JString<'l> {
        let report = values::text(env, &report, "an executor's report")?;
        let acknowledgement = runtime::engine()?.on_subscription_report(&report)?;
        Ok(env.new_string(acknowledgement)?)
    }
}
