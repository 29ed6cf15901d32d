//! What all queries and tasks of one process share.

use std::sync::Arc;

/// The process-wide part of the connector: the clients' connection pools and what readers remember of shards.
/// Cloning shares it. It must be used inside one tokio runtime only, since connections live in the runtime
/// that opened them.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    inner: Arc<()>,
}

impl Engine {
    /// An engine without clients yet; they are made when a query first needs them.
    pub fn new() -> Self {
        Self::default()
    }
}
