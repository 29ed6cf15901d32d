//! Configuration with which the JVM side opens a writer.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::SinkFacts;
use crate::config::{check_version, malformed};
use crate::error::Result;
use crate::options::{self, ProviderClass, SinkOptions, StreamId};

/// A sink as the JVM side configures it.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    /// The user's options.
    pub options: SinkOptions,
    /// Facts about the streams, collected by the driver.
    pub facts: SinkFacts,
}

impl SinkConfig {
    /// Parses `{"version":1,"options":{…},"facts":{…}}`. Without facts, nothing is known about the streams.
    pub fn parse(json: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct SinkJson {
            version: u32,
            options: BTreeMap<String, String>,
            #[serde(default)]
            facts: SinkFacts,
        }
        let parsed: SinkJson = serde_json::from_str(json).map_err(|error| malformed(&error))?;
        check_version(parsed.version)?;
        let options = options::sink(&parsed.options)?.options;
        Ok(Self {
            options,
            facts: parsed.facts,
        })
    }

    /// The configuration for a sink of this stream alone.
    pub(crate) fn of_stream(&self, name: &str) -> Self {
        let mut options = self.options.clone();
        options.row_streams = None;
        if name == options.stream.name {
            return Self {
                options,
                facts: self.facts.clone(),
            };
        }
        // The stream is in the account of the options' own stream.
        let arn = options.stream.arn.as_deref().and_then(|arn| arn.rsplit_once('/'));
        options.stream = StreamId {
            name: name.to_owned(),
            arn: arn.map(|(account, _)| format!("{account}/{name}")),
        };
        let stream = self.facts.named.get(name).cloned().unwrap_or_default();
        Self {
            options,
            facts: SinkFacts {
                stream,
                ..SinkFacts::default()
            },
        }
    }

    /// The job's class that provides credentials, if the options name one.
    pub fn provider(&mut self) -> Option<&mut ProviderClass> {
        self.options.access.provider.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_rows_name_is_in_the_account_of_the_options_own() {
        let arn_of = |own: &str| {
            let json = format!(
                r#"{{"version":1,"options":{{{own},"kinesis.region":"us-east-1","kinesis.sink.allowedStreams":"clicks"}}}}"#
            );
            let config = SinkConfig::parse(&json)
                .expect("a configuration")
                .of_stream("clicks");
            assert_eq!(config.options.stream.name, "clicks");
            config.options.stream.arn
        };
        let arn = r#""kinesis.streamArn":"arn:aws:kinesis:us-east-1:222222222222:stream/orders""#;
        assert_eq!(
            arn_of(arn).as_deref(),
            Some("arn:aws:kinesis:us-east-1:222222222222:stream/clicks")
        );
        assert_eq!(arn_of(r#""kinesis.streamName":"orders""#), None);
    }
}
