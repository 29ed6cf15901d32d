//! Records that expired before they were read: an error or a counted warning, depending on `kinesis.failOnDataLoss`.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat};

use crate::error::{Error, ErrorKind, Result};
use crate::options::SourceOptions;
use crate::read::Shared;
use crate::service::RecordColumns;
use crate::stream::SequenceNumber;

/// Decides how a reader proceeds after a gap.
#[derive(Clone)]
pub(in crate::read) struct Retention {
    stream: String,
    fail: bool,
    shared: Arc<Shared>,
}

impl Retention {
    pub(in crate::read) fn new(options: &SourceOptions, shared: &Arc<Shared>) -> Self {
        Self {
            stream: options.stream.name.clone(),
            fail: options.fail_on_data_loss,
            shared: shared.clone(),
        }
    }

    /// The stream's name.
    pub(in crate::read) fn stream(&self) -> &str {
        &self.stream
    }

    /// Handles the loss of records between the batch's start and the shard's oldest record; `message` describes it.
    /// If the query continues, the reader's report includes the loss.
    pub(in crate::read) fn lost(&self, message: &str) -> Result<()> {
        let task = &self.shared.task;
        if self.fail {
            let cure = "Lengthen the stream's retention; to go on without those records set \
                        kinesis.failOnDataLoss to false";
            return Err(Error::new(ErrorKind::DataLoss, format!("{message}. {cure}"))
                .with("stream", self.stream.clone())
                .with("shard", task.shard.to_string())
                .with("position", task.start.to_string()));
        }
        tracing::warn!(
            stream = %self.stream,
            shard = %task.shard,
            position = %task.start,
            batch = task.batch,
            "DATA LOSS: {message}; going on without them, since kinesis.failOnDataLoss is false"
        );
        self.shared.progress().lost = true;
        Ok(())
    }
}

/// Message about the gap if these records come in place of the requested one.
pub(in crate::read) fn expired_after(before: &SequenceNumber, oldest: &RecordColumns) -> String {
    format!(
        "records of the shard that were not read have expired, or may have: record {before}, the last one that was \
         read, is older than the stream's retention; the oldest one now is {}, which arrived at {}",
        oldest.sequence_number(0),
        DateTime::from_timestamp_millis(oldest.arrival_millis(0))
            .unwrap_or_default()
            .to_rfc3339_opts(SecondsFormat::Millis, true)
    )
}
