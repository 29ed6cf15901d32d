//! The offset from which a new query starts, kept in the checkpoint location.

use crate::error::{Error, ErrorKind, Result};
use crate::options::table;
use crate::plan::Planner;
use crate::stream::Offset;

use super::{of_query, pinned};

/// Name of the offset's file in the checkpoint location.
pub(in crate::plan) const INITIAL_OFFSET: &str = "initial-offset";

impl Planner {
    /// The offset from which a new query starts, as JSON. It is made once and kept in the checkpoint location, so
    /// that LATEST means the same moment however often the query is started before its first batch.
    pub async fn initial_offset(&self) -> Result<String> {
        let path = self.initial_offset_path();
        if let Some(kept) = self.files.0.read(&path).await? {
            return kept_offset(&path, kept);
        }
        let source = uuid::Uuid::new_v4().to_string();
        let (stream, created) = (
            self.config.options.stream.name.clone(),
            self.stream.created_millis,
        );
        let json = match &self.given {
            Some(shards) => Offset::given(source, stream, created, shards.clone(), self.home()),
            None => {
                let at = of_query(&self.config.options, self.clock).await?;
                Offset::initial(source, stream, created, at, self.home())
            }
        }
        .to_json()?;
        if self
            .files
            .0
            .put_if_absent(&path, json.clone().into_bytes())
            .await?
        {
            return Ok(json);
        }
        match self.files.0.read(&path).await? {
            Some(kept) => kept_offset(&path, kept),
            None => Err(Error::new(
                ErrorKind::Store,
                format!("{path} exists but can't be read: was the checkpoint location cleaned just now?"),
            )
            .retryable(true)),
        }
    }

    /// Warns if the options give a start that has no effect because the query has started before.
    pub(crate) async fn warn_of_unused_start(&self) {
        let options = &self.config.options;
        let unused = match (&options.import_checkpoint, options.starting_positions.is_empty()) {
            (Some(_), _) => Some(&table::IMPORT_CHECKPOINT),
            (None, false) => Some(&table::STARTING_POSITIONS),
            (None, true) => None,
        };
        if !options.starting_position_given && unused.is_none() {
            return;
        }
        // A file that can't be read is an error where it is needed.
        let kept = self
            .files
            .0
            .read(&self.initial_offset_path())
            .await
            .ok()
            .flatten();
        let pinned = kept
            .and_then(|json| Offset::from_json(&String::from_utf8(json).ok()?).ok())
            .and_then(|offset| offset.initial);
        let Some(pinned) = pinned else { return };
        let warning = match unused {
            Some(spec) => Some(pinned::unused_option(spec.key, &pinned)),
            None => pinned::unused(options.starting_position, &pinned),
        };
        if let Some(warning) = warning {
            tracing::warn!(stream = %options.stream.name, "{warning}");
        }
    }

    fn initial_offset_path(&self) -> String {
        let folder = self.config.checkpoint_location.as_deref().unwrap_or_default();
        format!("{folder}/{INITIAL_OFFSET}")
    }
}

/// Checks the offset that an earlier start of the query kept.
fn kept_offset(path: &str, kept: Vec<u8>) -> Result<String> {
    let json = String::from_utf8(kept).map_err(|_| {
        Error::new(
            ErrorKind::CorruptCheckpoint,
            format!("{path} is not text: it is none of this source's files"),
        )
    })?;
    Offset::from_json(&json).map_err(|error| error.with("file", path))?;
    Ok(json)
}
