//! A stand-in for a writer.

use std::future::pending;
use std::sync::Arc;

use async_trait::async_trait;
use jni::objects::{JClass, JString};
use jni::sys::jlong;
use kinesis_connector::sink::SinkRow;
use kinesis_connector::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sparkkinesis::export;
use sparkkinesis::writer::{Writes, insert};

use crate::configuration;

/// Keeps the rows and shows them in its metrics. With `block`, it never has room; with `flushFails`, a flush fails.
struct StandIn {
    wanted: Value,
    written: Mutex<Vec<SinkRow>>,
}

#[async_trait]
impl Writes for StandIn {
    async fn write(&self, rows: Vec<SinkRow>) -> Result<()> {
        if self.wanted["block"] == true {
            return pending().await;
        }
        self.written.lock().extend(rows);
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        match self.wanted["flushFails"] == true {
            true => Err(Error::new(ErrorKind::PutFailed, "2 records were not accepted").with("stream", "s")),
            false => Ok(()),
        }
    }

    fn metrics(&self) -> Result<String> {
        let written = self.written.lock();
        let shown: Vec<Value> = written
            .iter()
            .take(10)
            .map(|SinkRow { stream, record }| {
                json!({
                    "key": record.partition_key,
                    "bytes": record.data.len(),
                    "sum": record.data.iter().map(|byte| u64::from(*byte)).sum::<u64>(),
                    "hash": record.explicit_hash_key,
                    "stream": stream,
                })
            })
            .collect();
        let bytes: usize = written.iter().map(|row| row.record.data.len()).sum();
        Ok(json!({ "records": written.len(), "bytes": bytes, "first": shown }).to_string())
    }

    fn report(&self) -> Result<String> {
        self.metrics()
    }
}

export! {
    /// A handle for a stand-in.
    fn Java_io_sparkkinesis_bridge_BoundaryTests_writer<'l>(
        env, _class: JClass<'l>, config: JString<'l>,
    ) -> jlong {
        Ok(insert(Arc::new(StandIn {
            wanted: configuration(env, &config)?,
            written: Mutex::default(),
        })))
    }
}
