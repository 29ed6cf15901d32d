//! Records that expired before they were read: an error or a counted warning, as `kinesis.failOnDataLoss` says.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::options::SourceOptions;
use crate::read::Shared;

/// Decides what becomes of a reader that finds a gap.
#[derive(Clone)]
pub(super) struct Retention {
    stream: String,
    fail: bool,
    shared: Arc<Shared>,
}

impl Retention {
    pub(super) fn new(options: &SourceOptions, shared: &Arc<Shared>) -> Self {
        Self {
            stream: options.stream.name.clone(),
            fail: options.fail_on_data_loss,
            shared: shared.clone(),
        }
    }

    /// Records between the batch's start and what is left of the shard are gone, as `message` tells. Where the
    /// query goes on without them, the reader's report says so.
    pub(super) fn lost(&self, message: &str) -> Result<()> {
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
            "{message}; going on without them"
        );
        self.shared.progress().lost = true;
        Ok(())
    }
}
