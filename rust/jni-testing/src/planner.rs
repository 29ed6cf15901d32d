//! A stand-in for a planner.

use std::future::{pending, ready};
use std::sync::Arc;

use async_trait::async_trait;
use jni::objects::{JClass, JObject, JString};
use jni::sys::jlong;
use kinesis_connector::storage::FileSystem;
use kinesis_connector::{Error, Result};
use serde_json::{Value, json};
use sparkkinesis::export;
use sparkkinesis::planner::{Plans, insert};
use sparkkinesis::upcall::Files;

use crate::configuration;
use crate::failures::panic_with;

/// A target of the library's own events, so that these reach the JVM's log at every level.
const TARGET: &str = "sparkkinesis::stand_in";

/// Answers with what it was given. An offset may choose something else: see `latest_offset`.
struct StandIn {
    wanted: Value,
    files: Files,
}

#[async_trait]
impl Plans for StandIn {
    /// Stores, reads and lists a file in the configured `folder`.
    async fn initial_offset(&self) -> Result<String> {
        let folder = self.wanted["folder"].as_str().unwrap_or_default();
        let path = format!("{folder}/offset");
        let first = self.files.put_if_absent(&path, b"content".to_vec()).await?;
        let again = self.files.put_if_absent(&path, b"other".to_vec()).await?;
        let content = self
            .files
            .read(&path)
            .await?
            .map(|content| String::from_utf8_lossy(&content).into_owned());
        let missing = self.files.read(&format!("{folder}/missing")).await?.is_none();
        let names = self.files.list(folder).await?;
        let answer =
            json!({ "first": first, "again": again, "content": content, "missing": missing, "names": names });
        Ok(answer.to_string())
    }

    async fn latest_offset(&self, start: &str) -> Result<Option<String>> {
        match start {
            "block" => pending().await,
            "panic" => panic_with("on a worker"),
            "none" => Ok(None),
            start => Ok(Some(format!("{start}+1"))),
        }
    }

    fn partitions(&self, offset: &str) -> Result<Vec<String>> {
        let count = offset.parse().unwrap_or(0);
        Ok((0..count).map(|n: u32| format!("task {n}")).collect())
    }

    fn report(&self, report: &str) -> Result<()> {
        tracing::info!(target: TARGET, report, "took a report");
        tracing::trace!(target: TARGET, report, "a detail that the log's level hides");
        Ok(())
    }

    async fn commit(&self, offset: &str) -> Result<()> {
        self.files.delete(offset).await
    }

    async fn prepare_for_available_now(&self) -> Result<()> {
        Ok(())
    }

    fn stop(&self) -> Result<()> {
        Ok(())
    }

    async fn release(&self) -> Result<()> {
        Ok(())
    }

    fn metrics(&self) -> Result<String> {
        Ok(json!({ "one": "1" }).to_string())
    }
}

export! {
    /// A handle for a stand-in, which `plannerAwaitOpen` opens.
    fn Java_io_sparkkinesis_bridge_BoundaryTests_planner<'l>(
        env, _class: JClass<'l>, config: JString<'l>, files: JObject<'l>,
    ) -> jlong {
        let planner: Arc<dyn Plans> = Arc::new(StandIn {
            wanted: configuration(env, &config)?,
            files: Files::new(env, &files)?,
        });
        Ok(insert(move || ready(Ok::<_, Error>(Arc::clone(&planner)))))
    }
}
