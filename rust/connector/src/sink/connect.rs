//! The interface to the stream, made by the first request that needs it: opening a writer does no I/O.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::{SinkConfig, SinkStream};
use crate::error::Result;
use crate::service::KinesisApi;

/// The process that sinks are in: what their writers share.
#[async_trait]
pub(crate) trait SinkHost: Send + Sync {
    /// The client of a sink's stream, made when it is first asked for.
    async fn sink_client(&self, config: &SinkConfig) -> Result<Arc<dyn KinesisApi>>;

    /// What this process's writers know of a sink's stream together.
    fn sink_stream(&self, config: &SinkConfig) -> Arc<SinkStream>;
}

/// An interface to the stream, there already or still to be made.
pub(super) enum Connection {
    /// There from the start.
    Made(Arc<dyn KinesisApi>),
    /// Made by the host when first asked for.
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

    /// The interface. Those who ask while it is made wait for it.
    pub(super) async fn get(&self) -> Result<Arc<dyn KinesisApi>> {
        match self {
            Self::Made(api) => Ok(Arc::clone(api)),
            Self::OnDemand { host, config, made } => {
                made.get_or_try_init(|| host.sink_client(config)).await.cloned()
            }
        }
    }
}
