//! Checks options while a query is analysed, without any I/O.

use std::collections::BTreeMap;

use jni::objects::{JClass, JString};
use kinesis_connector::Result;
use kinesis_connector::options::{
    AccessOptions, ExtraColumn, Parsed, RawOptions, SourceOptions, StreamId, User,
};
use serde_json::json;

use crate::errors::invalid_argument;
use crate::guard::export;
use crate::values;

export! {
    /// Checks a user's options and returns
    /// `{"warnings":[…],"otherSide":[…],"streamName":"…","region":"…","extraColumns":[{"name":"…","type":"…"}]}`. The
    /// types are those of Spark SQL. `otherSide` lists a read's keys that are only for writes, or a write's keys that
    /// are only for reads.
    fn Java_io_sparkkinesis_bridge_NativeBridge_checkOptions<'l>(
        env, _class: JClass<'l>, kind: JString<'l>, json: JString<'l>,
    ) -> JString<'l> {
        let kind = values::text(env, &kind, "the kind of options")?;
        let json = values::text(env, &json, "the options")?;
        Ok(env.new_string(check(&kind, &json)?)?)
    }
}

fn check(kind: &str, json: &str) -> Result<String> {
    let raw: BTreeMap<String, String> = serde_json::from_str(json).map_err(|error| {
        // The parser's message could quote a value, and some values are secret.
        invalid_argument(format!(
            "the options are malformed at line {}, column {}",
            error.line(),
            error.column()
        ))
    })?;
    let raw = RawOptions::new(raw)?;
    let other_side = |user| raw.other_side(user).collect::<Vec<_>>();
    match kind {
        "source" => raw.source().map(|it| read_answer(&it, &other_side(User::Source))),
        "batchRead" => raw
            .batch_read()
            .map(|it| read_answer(&it, &other_side(User::BatchRead))),
        "sink" => raw.sink().map(|it| {
            let options = &it.options;
            answer(
                &it.warnings,
                &other_side(User::Sink),
                &options.stream,
                &options.access,
                &[],
            )
        }),
        other => Err(invalid_argument(format!(
            "there are no {other} options; ask for source, batchRead or sink"
        ))),
    }
}

fn read_answer(parsed: &Parsed<SourceOptions>, other_side: &[&str]) -> String {
    let options = &parsed.options;
    answer(
        &parsed.warnings,
        other_side,
        &options.stream,
        &options.access,
        &options.extra_columns,
    )
}

fn answer(
    warnings: &[String],
    other_side: &[&str],
    stream: &StreamId,
    access: &AccessOptions,
    extra: &[ExtraColumn],
) -> String {
    let extra_columns: Vec<_> = extra
        .iter()
        .map(|column| json!({ "name": column.name(), "type": column.sql_type() }))
        .collect();
    let answer = json!({
        "warnings": warnings,
        "otherSide": other_side,
        "streamName": stream.name,
        "region": access.region,
        "extraColumns": extra_columns,
    });
    answer.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinesis_connector::ErrorKind;

    #[test]
    fn good_options_are_answered_with_the_stream() {
        let answer = check(
            "source",
            r#"{"kinesis.StreamName":"orders","kinesis.region":"eu-west-1"}"#,
        )
        .unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["streamName"], "orders");
        assert_eq!(answer["region"], "eu-west-1");
        assert_eq!(answer["warnings"], json!([]));
        assert_eq!(answer["extraColumns"], json!([]));
    }

    #[test]
    fn extra_columns_are_answered_as_the_schema_has_them() {
        let options =
            r#"{"kinesis.streamName":"orders","kinesis.extracolumns":"subsequencenumber, SHARDID"}"#;
        for kind in ["source", "batchRead"] {
            let answer: serde_json::Value = serde_json::from_str(&check(kind, options).unwrap()).unwrap();
            let expected = json!([
                {"name": "subSequenceNumber", "type": "bigint"},
                {"name": "shardId", "type": "string"},
            ]);
            assert_eq!(answer["extraColumns"], expected, "{kind}");
        }
    }

    #[test]
    fn keys_of_the_other_side_are_named() {
        let options =
            r#"{"kinesis.streamName":"orders","kinesis.startingPosition":"?","kinesis.sink.recordTtl":"1"}"#;
        let answer: serde_json::Value = serde_json::from_str(&check("sink", options).unwrap()).unwrap();
        assert_eq!(answer["otherSide"], json!(["kinesis.startingPosition"]));
        let options = options.replace('?', "LATEST");
        let answer: serde_json::Value = serde_json::from_str(&check("source", &options).unwrap()).unwrap();
        assert_eq!(answer["otherSide"], json!(["kinesis.sink.recordTtl"]));
    }

    #[test]
    fn mistakes_are_told_apart() {
        let kind = |kind, json| check(kind, json).unwrap_err().kind();
        assert_eq!(kind("source", "{}"), ErrorKind::InvalidOption);
        assert_eq!(kind("sauce", "{}"), ErrorKind::InvalidArgument);
        let error = check("sink", r#"{"kinesis.awsSecretKey":"hush""#).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(!error.to_string().contains("hush"));
    }
}
