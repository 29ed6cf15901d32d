//! The native methods by which executors tell the driver of their subscriptions.

use jni::objects::{JClass, JObjectArray, JString};
use jni::sys::jint;

use crate::guard::export;
use crate::pending::{Pending, wait_of};
use crate::{runtime, status, values};

/// What the process has to tell; one thread of it asks.
static TELLING: Pending = Pending::new();

export! {
    /// What the driver is to know of this executor's subscriptions into `out[0]`; AGAIN or DONE.
    fn Java_io_sparkkinesis_bridge_NativeBridge_newsToTell<'l>(
        env, _class: JClass<'l>, wait: jint, out: JObjectArray<'l, JString<'l>>,
    ) -> jint {
        let news = TELLING.drive(runtime::get()?, "telling news", wait_of(wait), || {
            let engine = runtime::engine()?;
            Ok(engine.tell_news())
        })?;
        let Some(news) = news else { return Ok(status::AGAIN) };
        values::answer(env, &out, &news)?;
        Ok(status::DONE)
    }
}

export! {
    /// Takes the driver's answer to what `newsToTell` gave.
    fn Java_io_sparkkinesis_bridge_NativeBridge_newsAnswered<'l>(
        env, _class: JClass<'l>, answer: JString<'l>,
    ) -> () {
        let answer = values::text(env, &answer, "the driver's answer")?;
        let _runtime = runtime::enter()?;
        Ok(runtime::engine()?.news_answered(&answer)?)
    }
}

export! {
    /// Takes, in the driver, what an executor tells, and answers it.
    fn Java_io_sparkkinesis_bridge_NativeBridge_newsHeard<'l>(
        env, _class: JClass<'l>, news: JString<'l>,
    ) -> JString<'l> {
        let news = values::text(env, &news, "an executor's news")?;
        let answer = runtime::engine()?.hear_news(&news)?;
        Ok(env.new_string(answer)?)
    }
}
