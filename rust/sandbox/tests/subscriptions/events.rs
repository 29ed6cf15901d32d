//! Subscribing through the SDK, and what is pushed.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError;
use aws_sdk_kinesis::types::{
    ShardIteratorType, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
};
use tokio::time::timeout;

/// How long anything may take that is to happen at once.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Opens a subscription; gives its events, or the error's code.
pub async fn subscribe(
    client: &Client,
    consumer: &str,
    shard: &str,
    position: StartingPosition,
) -> Result<Events, String> {
    let request = client.subscribe_to_shard().consumer_arn(consumer).shard_id(shard);
    let answer = timeout(PATIENCE, request.starting_position(position).send());
    match answer.await.expect("an answer in time") {
        Ok(output) => Ok(Events { output }),
        Err(error) => Err(match error.code() {
            Some(code) => code.to_owned(),
            None => format!("no answer: {error:?}"),
        }),
    }
}

pub fn at(kind: ShardIteratorType) -> StartingPosition {
    StartingPosition::builder().r#type(kind).build().unwrap()
}

pub fn horizon() -> StartingPosition {
    at(ShardIteratorType::TrimHorizon)
}

pub fn after(number: &str) -> StartingPosition {
    StartingPosition::builder()
        .r#type(ShardIteratorType::AfterSequenceNumber)
        .sequence_number(number)
        .build()
        .unwrap()
}

/// The events of one subscription.
pub struct Events {
    output: SubscribeToShardOutput,
}

impl Events {
    /// The next event, the end, or the error's code (`broken` for one of the transport).
    pub async fn next(&mut self) -> Result<Option<SubscribeToShardEvent>, String> {
        let next = self.output.event_stream.recv();
        match timeout(PATIENCE, next).await.expect("an event in time") {
            Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => Ok(Some(event)),
            Ok(Some(other)) => panic!("unknown event {other:?}"),
            Ok(None) => Ok(None),
            Err(error) => Err(error.as_service_error().map_or("broken", exception).to_owned()),
        }
    }

    /// The next event, which there must be.
    pub async fn event(&mut self) -> SubscribeToShardEvent {
        self.next().await.unwrap().expect("an event")
    }

    /// The keys of the next records that come, empty events left out.
    pub async fn keys(&mut self, count: usize) -> Vec<String> {
        let mut keys = Vec::new();
        while keys.len() < count {
            keys.extend(keys_of(&self.event().await));
        }
        keys
    }
}

/// The name of an error in the stream: it is in a header, not in the JSON that the SDK takes a code from.
fn exception(error: &SubscribeToShardEventStreamError) -> &'static str {
    use SubscribeToShardEventStreamError::*;
    match error {
        ResourceNotFoundException(_) => "ResourceNotFoundException",
        ResourceInUseException(_) => "ResourceInUseException",
        InternalFailureException(_) => "InternalFailureException",
        KmsThrottlingException(_) => "KMSThrottlingException",
        _ => "another exception",
    }
}

pub fn keys_of(event: &SubscribeToShardEvent) -> Vec<String> {
    event
        .records
        .iter()
        .map(|r| r.partition_key.clone().unwrap())
        .collect()
}
