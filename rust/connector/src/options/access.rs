//! Stream, address and credentials: the options that the source and the sink share.

use super::parse::{self, Endpoint, StreamArn};
use super::proxy;
use super::raw::{RawOptions, conflict};
use super::spec::{OptionSpec, User};
use super::table as t;
use super::types::{AccessOptions, ProviderClass, RetryOptions, Secret, StaticKeys, StreamId};
use crate::error::Result;

/// The stream and the access to it. `instead` names the stream if no option does.
pub(super) fn stream_and_access(
    raw: &RawOptions,
    user: User,
    instead: Option<&str>,
    warnings: &mut Vec<String>,
) -> Result<(StreamId, AccessOptions)> {
    let name = raw.get(&t::STREAM_NAME, stream_name)?;
    let arn = raw.get(&t::STREAM_ARN, parse::stream_arn)?;
    let kinesis_region = raw.get(&t::KINESIS_REGION, parse::region)?;
    let region = raw.get(&t::REGION, parse::region)?;
    let endpoint = raw.get(&t::ENDPOINT_URL, parse::endpoint)?;
    let sts_role_arn = raw.get(&t::STS_ROLE_ARN, parse::role_arn)?;
    // The limits of session name and external ID are AssumeRole's.
    let sts_session_name = raw.get(&t::STS_SESSION_NAME, |text| {
        parse::made_of(text, 2, 64, "_+=,.@-")
    })?;
    let sts_endpoint = raw.get(&t::STS_ENDPOINT_URL, parse::endpoint)?;
    let sts_external_id = raw.get(&t::STS_EXTERNAL_ID, |text| {
        parse::made_of(text, 2, 1224, "_+=,.@:/-")
    })?;
    // Nothing else is checked: local services accept any key, such as `test`.
    let access_key_id = raw.get(&t::AWS_ACCESS_KEY_ID, parse::no_white_space)?;
    let secret = raw.text(&t::AWS_SECRET_KEY)?.map(Secret::new);
    let session_token = raw.text(&t::SESSION_TOKEN)?.map(Secret::new);
    let provider = raw.get(&t::CREDENTIAL_PROVIDER_CLASS, parse::class_name)?;
    let provider_param = raw.text(&t::CREDENTIAL_PROVIDER_PARAM)?.map(Secret::new);
    let proxy = proxy::parse(raw, user)?;

    let stream = stream(name, arn.as_ref(), instead)?;
    let region = stream_region(kinesis_region, region, endpoint.as_ref(), arn.as_ref(), warnings)?;
    let static_keys = static_keys(access_key_id, secret, session_token)?;
    let provider = provider_class(provider, provider_param, static_keys.is_some())?;
    if sts_role_arn.is_none() {
        for spec in [&t::STS_SESSION_NAME, &t::STS_ENDPOINT_URL, &t::STS_EXTERNAL_ID] {
            if raw.has(spec) {
                return Err(conflict(
                    spec,
                    format!(
                        "{} is given without {}: give the role too, or remove it",
                        spec.key,
                        t::STS_ROLE_ARN.key
                    ),
                ));
            }
        }
    }
    let access = AccessOptions {
        region,
        endpoint_url: endpoint.map(|endpoint| endpoint.url),
        sts_role_arn,
        sts_session_name,
        sts_region: sts_endpoint
            .as_ref()
            .and_then(|endpoint| parse::region_of_sts_host(&endpoint.host)),
        sts_endpoint_url: sts_endpoint.map(|endpoint| endpoint.url),
        sts_external_id,
        static_keys,
        provider,
        proxy,
    };
    Ok((stream, access))
}

/// The retries of Kinesis requests.
pub(super) fn client_retry(raw: &RawOptions, warnings: &mut Vec<String>) -> Result<RetryOptions> {
    let rows = [
        &t::CLIENT_NUM_RETRIES,
        &t::CLIENT_RETRY_INTERVAL,
        &t::CLIENT_MAX_RETRY_INTERVAL,
    ];
    raw.retry(rows, warnings)
}

fn stream(name: Option<String>, arn: Option<&StreamArn>, instead: Option<&str>) -> Result<StreamId> {
    let instead = instead.filter(|_| arn.is_none()).map(str::to_owned);
    match (name.or(instead), arn) {
        (None, None) => Err(conflict(
            &t::STREAM_NAME,
            format!(
                "{} is missing: name the stream, or give {}",
                t::STREAM_NAME.key,
                t::STREAM_ARN.key
            ),
        )),
        (Some(name), Some(arn)) if name != arn.stream => Err(conflict(
            &t::STREAM_NAME,
            format!(
                "{} is \"{name}\", but {} names the stream \"{}\": remove one, or make them agree",
                t::STREAM_NAME.key,
                t::STREAM_ARN.key,
                arn.stream
            ),
        )),
        (Some(name), arn) => Ok(StreamId {
            name,
            arn: arn.map(|arn| arn.arn.clone()),
        }),
        (None, Some(arn)) => Ok(StreamId {
            name: arn.stream.clone(),
            arn: Some(arn.arn.clone()),
        }),
    }
}

fn stream_region(
    kinesis_region: Option<String>,
    region: Option<String>,
    endpoint: Option<&Endpoint>,
    arn: Option<&StreamArn>,
    warnings: &mut Vec<String>,
) -> Result<Option<String>> {
    let of_endpoint = endpoint.and_then(|endpoint| parse::region_of_host(&endpoint.host));
    if let (Some(given), Some(of_endpoint)) = (&kinesis_region, &of_endpoint)
        && given != of_endpoint
    {
        warnings.push(format!(
            "{} is {given}, but the host of {} is in {of_endpoint}, which requests are signed for: make them agree",
            t::KINESIS_REGION.key,
            t::ENDPOINT_URL.key,
        ));
    }
    let of_arn = arn.map(|arn| arn.region.clone());
    // AWS's hosts accept no signature for another region; kinesis.region may be meant for the table or bucket alone.
    let chosen = of_endpoint
        .or(kinesis_region)
        .or(region)
        .or_else(|| of_arn.clone());
    match (&chosen, &of_arn) {
        (Some(chosen), Some(of_arn)) if chosen != of_arn => Err(conflict(
            &t::STREAM_ARN,
            format!(
                "{} is in {of_arn}, but the region is {chosen} by {}, {} or {}: make them agree",
                t::STREAM_ARN.key,
                t::KINESIS_REGION.key,
                t::REGION.key,
                t::ENDPOINT_URL.key
            ),
        )),
        _ => Ok(chosen),
    }
}

fn provider_class(
    name: Option<String>,
    param: Option<Secret>,
    static_keys: bool,
) -> Result<Option<ProviderClass>> {
    let (class, param_key) = (&t::CREDENTIAL_PROVIDER_CLASS, &t::CREDENTIAL_PROVIDER_PARAM);
    match name {
        Some(_) if static_keys => Err(conflict(
            class,
            format!(
                "{} and {} both say as whom the stream is called: remove one of them",
                class.key,
                t::AWS_ACCESS_KEY_ID.key
            ),
        )),
        Some(name) => Ok(Some(ProviderClass::new(name, param))),
        None if param.is_some() => Err(conflict(
            class,
            format!(
                "{} is given without {}: give the class too, or remove it",
                param_key.key, class.key
            ),
        )),
        None => Ok(None),
    }
}

fn static_keys(
    access_key_id: Option<String>,
    secret: Option<Secret>,
    session_token: Option<Secret>,
) -> Result<Option<StaticKeys>> {
    let missing = |given: &OptionSpec, missing: &OptionSpec| {
        conflict(
            missing,
            format!(
                "{} is given without {}: give both or neither",
                given.key, missing.key
            ),
        )
    };
    match (access_key_id, secret) {
        (Some(access_key_id), Some(secret)) => Ok(Some(StaticKeys {
            access_key_id,
            secret,
            session_token,
        })),
        (Some(_), None) => Err(missing(&t::AWS_ACCESS_KEY_ID, &t::AWS_SECRET_KEY)),
        (None, Some(_)) => Err(missing(&t::AWS_SECRET_KEY, &t::AWS_ACCESS_KEY_ID)),
        (None, None) if session_token.is_some() => Err(conflict(
            &t::AWS_ACCESS_KEY_ID,
            format!(
                "{} is given without {} and {}: give all three, or none",
                t::SESSION_TOKEN.key,
                t::AWS_ACCESS_KEY_ID.key,
                t::AWS_SECRET_KEY.key
            ),
        )),
        (None, None) => Ok(None),
    }
}

fn stream_name(text: &str) -> Result<String, parse::Refusal> {
    parse::resource_name(text).map_err(|why| match text.starts_with("arn:") {
        true => format!("{why}; an ARN belongs in {}", t::STREAM_ARN.key),
        false => why,
    })
}
