//! What the JVM side hands over to open a planner, a reader or a writer.

use crate::error::Result;

/// A source as the JVM side configures it, the same for its planner and its readers.
#[derive(Clone, Debug)]
pub struct SourceConfig {}

impl SourceConfig {
    /// Reads `{"version":1,"options":{…},"checkpointLocation":"…","minBatchesToRetain":100}`.
    pub fn parse(_json: &str) -> Result<Self> {
        unimplemented!()
    }
}

/// A sink as the JVM side configures it.
#[derive(Clone, Debug)]
pub struct SinkConfig {}

impl SinkConfig {
    /// Reads `{"version":1,"options":{…}}`.
    pub fn parse(_json: &str) -> Result<Self> {
        unimplemented!()
    }
}
