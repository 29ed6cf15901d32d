//! Opens planners, readers and writers from configurations.

use std::sync::Arc;

use async_trait::async_trait;

use super::Engine;
use crate::config::SourceConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::options::WireProtocol;
use crate::plan::{Planner, batch_read_tasks};
use crate::read::{ReaderParts, ShardReader, TaskPlan};
use crate::service::KinesisApi;
use crate::sink::{
    self, SinkConfig, SinkFacts, SinkHost, SinkKey, SinkStream, StreamFacts, StreamWriter, TaskWriter,
};
use crate::storage::FileSystem;

impl Engine {
    /// Opens the planner of a streaming query. Describes the stream and creates nothing in it. `files` accesses the
    /// checkpoint location.
    pub async fn open_planner(&self, config: SourceConfig, files: Arc<dyn FileSystem>) -> Result<Planner> {
        let api = self.source_client(&config).await?;
        let store = self.store(&config, files.clone())?.ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidArgument,
                "a streaming query without a checkpoint location",
            )
        })?;
        let fan_out = match config.options.consumer {
            Some(_) => Some(self.fan_out_client(&config).await?),
            None => None,
        };
        let planner = Planner::with_feeds(api, fan_out, store, config, files, self.feeds()).await?;
        planner.warn_of_unused_start().await;
        Ok(planner)
    }

    /// The tasks of a batch read, from [`batch_read_tasks`].
    pub async fn batch_read_tasks(&self, config: &SourceConfig) -> Result<Vec<String>> {
        batch_read_tasks(&*self.source_client(config).await?, &config.options).await
    }

    /// Starts to read a `task` from [`Planner::partitions`], or from [`Self::batch_read_tasks`] if the configuration
    /// is that of a batch read. The rows have the configuration's columns. Must run in the runtime.
    pub fn open_reader(
        &self,
        config: SourceConfig,
        task: &str,
        files: Arc<dyn FileSystem>,
    ) -> Result<ShardReader> {
        let plan = TaskPlan::from_json(task)?;
        let store = self.store(&config, files)?;
        let (engine, options, columns) = (self.clone(), config.options.clone(), config.columns.clone());
        let marked = plan
            .tasks()
            .first()
            .and_then(|task| Some((task.source.clone(), task.mark.clone()?)));
        let fans_out = plan.tasks().iter().any(|task| task.consumer.is_some());
        let parts = async move {
            if let (Some(store), Some((source, start))) = (&store, &marked) {
                engine.see_mark(&**store, source, start).await?;
            }
            Ok(ReaderParts {
                api: engine.source_client(&config).await?,
                fan_out: match fans_out {
                    true => Some(engine.fan_out_client(&config).await?),
                    false => None,
                },
                store,
            })
        };
        Ok(ShardReader::start(plan, &options, &columns, self.feeds(), parts))
    }

    /// Opens the writer of a task, without I/O.
    pub fn open_task_writer(&self, config: SinkConfig) -> TaskWriter {
        TaskWriter::open(Arc::new(self.clone()), config)
    }

    /// Opens a writer of the configuration's own stream, without I/O. Must run in the runtime.
    pub fn open_writer(&self, config: SinkConfig) -> Result<StreamWriter> {
        StreamWriter::open(Arc::new(self.clone()), config)
    }

    /// The service's facts about a sink's streams that the driver needs.
    pub async fn sink_facts(&self, config: &SinkConfig) -> Result<SinkFacts> {
        sink::sink_facts(self, config).await
    }

    /// The service's facts about the configuration's own stream.
    pub async fn stream_facts(&self, config: &SinkConfig) -> Result<StreamFacts> {
        sink::stream_facts(self, config).await
    }
}

#[async_trait]
impl SinkHost for Engine {
    async fn sink_client(&self, config: &SinkConfig) -> Result<Arc<dyn KinesisApi>> {
        let options = &config.options;
        let (stream, retry) = (&options.stream, options.client_retry);
        Ok(self
            .client(&options.access, stream, retry, None, WireProtocol::Json)
            .await?)
    }

    fn sink_stream(&self, config: &SinkConfig) -> Arc<SinkStream> {
        let (stream, access) = (&config.options.stream, &config.options.access);
        let name = stream.arn.as_ref().unwrap_or(&stream.name).clone();
        let key: SinkKey = (self.properties().complete(access), name);
        self.inner.sinks.of(key)
    }
}
