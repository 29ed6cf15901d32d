//! Amazon resource names.
use super::{Refusal, digits, resource_name};

/// The parts of `arn:aws*:kinesis:region:account:stream/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::options) struct StreamArn {
    pub(in crate::options) arn: String,
    pub(in crate::options) region: String,
    pub(in crate::options) stream: String,
}

/// A stream's ARN.
pub(in crate::options) fn stream_arn(text: &str) -> Result<StreamArn, Refusal> {
    let [region, account, resource] = arn(text, "kinesis")?;
    let stream = resource.strip_prefix("stream/").ok_or("it names no stream")?;
    let stream = resource_name(stream).map_err(|why| format!("the stream's name is not one: {why}"))?;
    super::region(region).map_err(|_| "its region is not one")?;
    account_id(account)?;
    Ok(StreamArn {
        arn: text.to_owned(),
        region: region.to_owned(),
        stream,
    })
}

/// A registered consumer's ARN: the stream's, `/consumer/`, its name, and its creation time.
pub(in crate::options) fn consumer_arn(text: &str) -> Result<String, Refusal> {
    let (stream, consumer) = text.split_once("/consumer/").ok_or("it names no consumer")?;
    stream_arn(stream)?;
    let (name, made) = consumer.split_once(':').ok_or("it does not end with a number")?;
    resource_name(name).map_err(|why| format!("the consumer's name is not one: {why}"))?;
    digits(made).ok_or("it does not end with a number")?;
    Ok(text.to_owned())
}

/// A role's ARN; IAM has no regions.
pub(in crate::options) fn role_arn(text: &str) -> Result<String, Refusal> {
    let [region, account, resource] = arn(text, "iam")?;
    if !region.is_empty() {
        return Err("a role has no region".to_owned());
    }
    account_id(account)?;
    match resource.strip_prefix("role/") {
        Some(role) if !role.is_empty() && !role.contains(char::is_whitespace) => Ok(text.to_owned()),
        _ => Err("it names no role".to_owned()),
    }
}

/// Region, account and resource of an ARN of one service, in any partition (aws, aws-cn, aws-us-gov …).
fn arn<'a>(text: &'a str, service: &str) -> Result<[&'a str; 3], Refusal> {
    let mut parts = text.splitn(6, ':');
    let mut part = || parts.next().unwrap_or("");
    let (scheme, partition, named, region, account, resource) =
        (part(), part(), part(), part(), part(), part());
    if scheme != "arn" || !partition.starts_with("aws") {
        return Err("it does not start with arn:aws".to_owned());
    }
    if named != service {
        return Err(format!("it is of the service {named:?}, not {service}"));
    }
    Ok([region, account, resource])
}

fn account_id(text: &str) -> Result<(), Refusal> {
    if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
        Ok(())
    } else {
        Err("its account is not 12 digits".to_owned())
    }
}
