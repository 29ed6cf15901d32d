//! The interface to the stream, made by the first request that needs it: opening a writer does no I/O.

use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::config::SinkConfig;
use crate::engine::Engine;
use crate::error::Result;
use crate::service::KinesisApi;

/// An interface to the stream, there already or still to be made.
pub(super) enum Connection {
    /// There from the start.
    Made(Arc<dyn KinesisApi>),
    /// Made by the engine when first asked for.
    OnDemand {
        engine: Engine,
        config: Box<SinkConfig>,
        made: OnceCell<Arc<dyn KinesisApi>>,
    },
}

impl Connection {
    pub(super) fn on_demand(engine: Engine, config: SinkConfig) -> Self {
        Self::OnDemand {
            engine,
            config: Box::new(config),
            made: OnceCell::new(),
        }
    }

    /// The interface. Those who ask while it is made wait for it.
    pub(super) async fn get(&self) -> Result<Arc<dyn KinesisApi>> {
        match self {
            Self::Made(api) => Ok(Arc::clone(api)),
            Self::OnDemand { engine, config, made } => {
                made.get_or_try_init(|| engine.sink_client(config)).await.cloned()
            }
        }
    }
}
