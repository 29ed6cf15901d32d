//! JVM system properties with the region and credentials for AWS.

use std::fmt;

use crate::options::{AccessOptions, Secret, StaticKeys, StoreAccess};

/// Property names, as read by AWS's SDK for Java, in the order of [`SystemProperties::new`].
pub const SYSTEM_PROPERTIES: [&str; 4] = [
    "aws.region",
    "aws.accessKeyId",
    "aws.secretAccessKey",
    "aws.sessionToken",
];

/// Values of the JVM's system properties. They rank after the connector's options and before the rest of the AWS
/// default chain, as in AWS's SDK for Java.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SystemProperties {
    values: [Option<String>; SYSTEM_PROPERTIES.len()],
}

impl SystemProperties {
    /// The values in the order of [`SYSTEM_PROPERTIES`]; empty ones count as missing.
    pub fn new(values: [Option<String>; SYSTEM_PROPERTIES.len()]) -> Self {
        Self {
            values: values.map(|value| value.filter(|text| !text.is_empty())),
        }
    }

    fn keys(&self) -> Option<StaticKeys> {
        let [_, key, secret, token] = &self.values;
        Some(StaticKeys {
            access_key_id: key.clone()?,
            secret: Secret::new(secret.clone()?),
            session_token: token.clone().map(Secret::new),
        })
    }

    fn region(&self) -> Option<String> {
        let [region, ..] = &self.values;
        region.clone()
    }

    /// The options, completed from the properties.
    pub(crate) fn complete(&self, access: &AccessOptions) -> AccessOptions {
        AccessOptions {
            region: access.region.clone().or_else(|| self.region()),
            static_keys: match access.provider {
                Some(_) => None,
                None => access.static_keys.clone().or_else(|| self.keys()),
            },
            ..access.clone()
        }
    }

    /// A store's options, completed from the properties. A store uses the job's credentials: the properties' keys
    /// rank before the options'.
    pub(crate) fn complete_store(&self, access: StoreAccess) -> StoreAccess {
        StoreAccess {
            region: access.region.or_else(|| self.region()),
            job_keys: self.keys(),
            ..access
        }
    }
}

impl fmt::Debug for SystemProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = SYSTEM_PROPERTIES.iter().zip(&self.values);
        f.debug_set()
            .entries(set.filter_map(|(name, value)| value.is_some().then_some(name)))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn access(options: &[(&str, &str)]) -> AccessOptions {
        let mut all = BTreeMap::from([("kinesis.streamName".to_owned(), "s".to_owned())]);
        all.extend(
            options
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        crate::options::source(&all).expect("options").options.access
    }

    fn properties() -> SystemProperties {
        SystemProperties::new(["eu-west-1", "AKIA", "hush", ""].map(|value| Some(value.to_owned())))
    }

    #[test]
    fn properties_fill_what_the_options_leave_open() {
        let completed = properties().complete(&access(&[]));
        assert_eq!(completed.region.as_deref(), Some("eu-west-1"));
        let keys = completed.static_keys.expect("keys");
        assert_eq!(
            (keys.access_key_id.as_str(), keys.secret.expose()),
            ("AKIA", "hush")
        );
        assert_eq!(keys.session_token, None);
    }

    #[test]
    fn options_come_first_and_half_a_pair_counts_for_nothing() {
        let given = access(&[
            ("kinesis.region", "us-east-1"),
            ("kinesis.awsAccessKeyId", "OWN"),
            ("kinesis.awsSecretKey", "own"),
        ]);
        assert_eq!(properties().complete(&given), given);
        let class = access(&[
            ("kinesis.region", "us-east-1"),
            ("kinesis.credentialProviderClass", "a.B"),
        ]);
        assert_eq!(properties().complete(&class), class);
        let half = SystemProperties::new([None, Some("AKIA".into()), None, None]);
        assert_eq!(half.complete(&access(&[])).static_keys, None);
    }

    #[test]
    fn a_store_is_called_by_the_properties_keys_before_the_options() {
        let stream_keys =
            access(&[("kinesis.awsAccessKeyId", "OWN"), ("kinesis.awsSecretKey", "own")]).static_keys;
        let store = properties().complete_store(StoreAccess {
            stream_keys: stream_keys.clone(),
            ..StoreAccess::default()
        });
        assert_eq!(store.region.as_deref(), Some("eu-west-1"));
        assert_eq!(store.job_keys.expect("keys").access_key_id, "AKIA");
        assert_eq!(store.stream_keys, stream_keys);
    }

    #[test]
    fn no_value_is_shown() {
        let shown = format!("{:?}", properties());
        assert!(
            shown.contains("aws.secretAccessKey") && !shown.contains("hush"),
            "{shown}"
        );
    }
}
