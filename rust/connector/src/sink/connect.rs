//! The client of a writer's stream, made by the first request that needs it: opening a writer does no I/O.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::{SinkConfig, SinkStream};
use crate::error::Result;
use crate::service::KinesisApi;

/// The process that sinks run in, with what their writers share.
#[async_trait]
pub(crate) trait SinkHost: Send + Sync {
    /// The client of a sink's stream, made by the first call.
    async fn sink_client(&self, config: &SinkConfig) -> Result<Arc<dyn KinesisApi>>;

    /// The state that this process's writers to a sink's stream share.
    fn sink_stream(&self, config: &SinkConfig) -> Arc<SinkStream>;
}

/// A client of the stream, made already or on demand.
pub(super) enum Connection {
    /// Made before the writer was opened.
    Made(Arc<dyn KinesisApi>),
    /// Made by the host at the first request.
    OnDemand {
        host: Arc<dyn SinkHost>,
        config: Box<SinkConfig>,
        made: OnceCell<Arc<dyn KinesisApi>>,
    },
}

impl Connection {
    pub(super) fn on_demand(host: Arc<dyn SinkHost>, config: SinkConfig) -> Self {
        Self::OnDemand {
            host,
            config: Box::new(config),
            made: OnceCell::new(),
        }
    }

    /// The client. Concurrent calls wait while it is made.
    pub(super) async fn get(&self) -> Result<Arc<dyn KinesisApi>> {
        match self {
            Self::Made(api) => Ok(Arc::clone(api)),
            Self::OnDemand { host, config, made } => {
                made.get_or_try_init(|| host.sink_client(config)).await.cloned()
            }
        }
    }
}
