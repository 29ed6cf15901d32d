//! Subscriptions through the SDK, and their events.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError;
use aws_sdk_kinesis::types::{
    ShardIteratorType, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
};
use tokio::time::timeout;

/// Time limit for anything that should happen at once.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Opens a subscription; returns its events, or the error's code.
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
    /// The next event, `None` at the end, or the error's code (`broken` for a transport error).
    pub async fn next(&mut self) -> Result<Option<SubscribeToShardEvent>, String> {
        let next = self.output.event_stream.recv();
        match timeout(PATIENCE, next).await.expect("an event in time") {
            Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => Ok(Some(event)),
            Ok(Some(other)) => panic!("unknown event {other:?}"),
            Ok(None) => Ok(None),
            Err(error) => Err(error.as_service_error().map_or("broken", exception).to_owned()),
        }
    }

    /// The next event. Panics at the end of the subscription.
    pub async fn event(&mut self) -> SubscribeToShardEvent {
        self.next().await.unwrap().expect("an event")
    }

    /// Keys of the next `count` records, across empty events.
    pub async fn keys(&mut self, count: usize) -> Vec<String> {
        let mut keys = Vec::new();
        while keys.len() < count {
            keys.extend(keys_of(&self.event().await));
        }
        keys
    }
}

/// Name of an error event. It is in a header, not in the JSON where the SDK looks for a code.
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
